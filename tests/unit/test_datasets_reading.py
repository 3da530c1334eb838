"""Files of one slice and volumes, the right way up, with the faults that public data sets carry."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from tests.builders import ct_series, localizer, part10, rgb_screen
from trainer.datasets.nifti import NiftiVolume, nifti_grid
from trainer.datasets.reading import HEAD_BYTES, dicom_head, dicom_slice, picture

VOLUME = np.random.default_rng(4).integers(-1000, 1500, (3, 6, 5)).astype(np.int16)
"""Slices from the feet up, rows from front to back, columns from the patient's right to left."""


def stored(affine: NDArray[np.float64], axes: tuple[int, int, int] = (0, 1, 2)) -> nibabel.Nifti1Image:
    """The volume as a file of this orientation would hold it; ``axes`` puts x, y, z elsewhere."""
    voxels = VOLUME.transpose(2, 1, 0)[::-1, ::-1]  # x to the right, y to the front, z to the head
    for axis in range(3):
        if affine[axis, axis] < 0:
            voxels = np.flip(voxels, axis)
    turned = np.eye(4)
    turned[:3, :3] = affine[:3, :3][:, list(axes)]
    return nibabel.Nifti1Image(np.ascontiguousarray(voxels.transpose(axes)), turned)


@pytest.mark.parametrize("end", ["nii", "nii.gz"])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, -1, -1)])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_volumes_are_turned_to_how_radiologists_read(
    signs: tuple[int, int, int], axes: tuple[int, int, int], end: str, tmp_path: Path
) -> None:
    file = tmp_path / f"v.{end}"
    nibabel.save(stored(np.diag([0.5 * signs[0], 0.75 * signs[1], 5.0 * signs[2], 1.0]), axes), file)
    grid = nifti_grid(file)
    assert grid.shape == (3, 6, 5)
    assert grid.spacing_mm == pytest.approx((0.75, 0.5))
    assert np.diff(grid.positions_mm[grid.feet_first]).tolist() == [5.0, 5.0]
    volume = NiftiVolume.open(file)
    for height, index in enumerate(grid.feet_first):
        np.testing.assert_array_equal(volume.hu(index), VOLUME[height])
    assert grid.feet_first[0] == (0 if signs[2] > 0 else 2), "slices keep the order of the file"


def test_stored_values_are_scaled_and_what_is_no_number_is_air(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(27, dtype=np.int16).reshape(3, 3, 3), np.diag([-1, 1, 1, 1]))
    image.header.set_slope_inter(2.0, -1024.0)
    nibabel.save(image, tmp_path / "scaled.nii")
    values = NiftiVolume.open(tmp_path / "scaled.nii").hu(0)
    assert sorted(values.ravel().tolist()) == [-1024 + 2 * k for k in range(0, 27, 3)]
    odd = np.array([np.nan, np.inf, -5000.0, 40.4], dtype=np.float32).reshape(2, 2, 1)
    nibabel.save(nibabel.Nifti1Image(odd, np.eye(4)), tmp_path / "odd.nii")
    assert sorted(NiftiVolume.open(tmp_path / "odd.nii").hu(0).ravel().tolist()) == [-1024, -1024, 40, 32767]


def test_a_fourth_axis_of_one_is_no_axis(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6, 1), np.uint8), np.eye(4)), tmp_path / "four.nii.gz")
    volume = NiftiVolume.open(tmp_path / "four.nii.gz")
    assert volume.grid.shape == (6, 5, 4)
    assert volume.labels(5).tolist() == np.ones((5, 4)).tolist()


def test_what_is_no_volume_is_refused_in_a_sentence(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6, 2), np.uint8), np.eye(4)), tmp_path / "two.nii")
    colour = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), tmp_path / "colour.nii")
    whole = tmp_path / "whole.nii.gz"
    noise = np.random.default_rng(5).integers(0, 2**15, (40, 40, 10)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(noise, np.eye(4)), whole)
    (tmp_path / "torn.nii.gz").write_bytes(whole.read_bytes()[:-400])
    (tmp_path / "text.nii").write_text("no image at all, but long enough to hold the header of a volume" * 10)
    for name, sentence in (
        ("two.nii", r"of shape \(4, 5, 6, 2\), not one volume"),
        ("colour.nii", "not plain numbers"),
        ("torn.nii.gz", "its voxels cannot be read"),
        ("text.nii", "cannot be read as NIfTI"),
        ("absent.nii", "cannot be read as NIfTI"),
    ):
        with pytest.raises(ValueError, match=sentence) as told:
            NiftiVolume.open(tmp_path / name)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, JPEG2000Lossless])
def test_a_slice_reads_the_same_in_every_transfer_syntax(syntax: str, tmp_path: Path) -> None:
    hu = np.arange(64 * 64, dtype=np.int16).reshape(64, 64) - 1024
    (ds,) = ct_series(1, hu=hu, transfer_syntax=syntax, PatientID="someone")
    file = tmp_path / "one.dcm"
    file.write_bytes(part10(ds))
    image, spacing_mm = dicom_slice(file)
    np.testing.assert_array_equal(image, hu)
    assert spacing_mm == (4.0, 4.0)
    head = dicom_head(file)
    assert (head.patient, head.study, head.modality) == ("someone", ds.StudyInstanceUID, "CT")
    assert (head.rows, head.columns, head.frames, head.has_pixels, head.complete) == (64, 64, 1, True, True)
    assert head.position_mm == (-126.0, -126.0, 0.0)


def test_a_header_longer_than_the_first_read_is_read_in_full(tmp_path: Path) -> None:
    (ds,) = ct_series(1, PatientID="someone")
    ds.ImageComments = "SYNTHETIC " * 1000
    ds.add_new(0x00291010, "OB", bytes(HEAD_BYTES))
    file = tmp_path / "long.dcm"
    file.write_bytes(part10(ds))
    head = dicom_head(file)
    assert head.has_pixels
    assert head.patient == "someone"
    file.write_bytes(part10(ds)[:-2])
    assert not dicom_head(file).complete


def test_what_holds_no_hu_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (whole,) = ct_series(1)
    (unscaled,) = ct_series(1, RescaleSlope=None)
    contents = {
        "empty": b"",
        "text": b"not DICOM, although it goes on for a while" * 20,
        "colour": part10(rgb_screen()),
        "unscaled": part10(unscaled),
        "torn": part10(whole)[:-10],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            dicom_slice(tmp_path / name)
    (tmp_path / "localizer").write_bytes(part10(localizer()))
    assert dicom_head(tmp_path / "localizer").has_pixels


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_pictures_become_grey(mode: str, tmp_path: Path) -> None:
    grey = (np.indices((20, 30)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(grey).convert(mode).save(tmp_path / "one.png")
    image = picture(tmp_path / "one.png")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, grey)


def test_pictures_that_cannot_be_read_are_refused_in_a_sentence(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((300, 300), dtype=np.uint8)).save(tmp_path / "whole.jpg")
    (tmp_path / "torn.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-300])
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    for name, sentence in (("torn.jpg", "as a picture"), ("text.png", "as a picture"), ("deep.png", "16 bits")):
        with pytest.raises(ValueError, match=sentence):
            picture(tmp_path / name)
