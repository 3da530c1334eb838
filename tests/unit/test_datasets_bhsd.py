"""BHSD as it unpacks: a space in a folder's name, a type for every pixel, patients with several scans."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.trees import SIDE, blood, found, head, read, said_of, save_nifti
from tests.trees_volumes import BHSD_SCANS, BhsdScan, bhsd_tree, scan_and_mask
from trainer.datasets.bhsd import BHSD
from trainer.datasets.case import NOTHING_KNOWN, SlicePixels, Unusable
from trainer.datasets.labels import labels_of_mask

FIRST = BHSD_SCANS[0].name


@pytest.mark.parametrize("masks", ["ground truths", "ground_truths"])
def test_every_scan_becomes_a_case_whose_masks_name_the_type(masks: str, tmp_path: Path) -> None:
    cases, unusable = found(BHSD, bhsd_tree(tmp_path / "bhsd", masks=masks), tmp_path)
    assert unusable == []
    assert [(case.patient, case.study, len(case.slices)) for case in cases] == [
        ("ID_0237f3c9", "ID_0237f3c9_ID_40015688b9", 4),
        ("ID_0237f3c9", "ID_0237f3c9_ID_51126799ca", 5),
        ("ID_11aa22bb", "ID_11aa22bb_ID_0123456789", 3),
    ]
    for case, scan in zip(cases, BHSD_SCANS, strict=True):
        volume, _ = scan_and_mask(scan.values)
        assert [one.position_mm for one in case.slices] == [5.0 * place for place in range(len(scan.values))]
        for pixels, image, value in zip(read(BHSD, case), volume, scan.values, strict=True):
            np.testing.assert_array_equal(pixels.image, image)
            np.testing.assert_array_equal(pixels.mask, np.where(blood(), value, 0))
            assert pixels.spacing_mm == (4.0, 4.0)


def test_values_are_types_in_the_order_of_this_project(tmp_path: Path) -> None:
    root = bhsd_tree(tmp_path / "bhsd", [BhsdScan(FIRST, [1, 2, 3, 4, 5])])
    (case,), _ = found(BHSD, root, tmp_path)
    names = ("EDH", "IPH", "IVH", "SAH", "SDH")
    for place, (pixels, name) in enumerate(zip(read(BHSD, case), names, strict=True), start=1):
        assert pixels.mask is not None
        labels = labels_of_mask(pixels.mask)
        assert labels == tuple(int(column in (0, place)) for column in range(6)), name
    assert case.labels == case.slices[0].labels == NOTHING_KNOWN, "the masks say it, while the cache is written"


@pytest.mark.parametrize(
    "turned",
    [
        np.diag([1.0, 1.0, -1.0]),
        np.diag([-1.0, -1.0, 1.0]),
        np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
    ],
    ids=["head first", "columns and rows reversed", "axes in another order"],
)
@pytest.mark.parametrize("both", [True, False], ids=["both files", "the mask alone"])
def test_slices_come_from_the_feet_up_however_a_file_is_stored(turned: np.ndarray, both: bool, tmp_path: Path) -> None:
    root = bhsd_tree(tmp_path / "bhsd", [BhsdScan(FIRST, [0, 1, 2, 0])])
    folders = ("images", "ground truths") if both else ("ground truths",)
    for folder in folders:
        file = root / "label_192" / folder / f"{FIRST}.nii.gz"
        image = nibabel.load(file)
        codes = nibabel.io_orientation(np.block([[turned, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]]))
        nibabel.save(image.as_reoriented(codes), tmp_path / "turned.nii.gz")
        (tmp_path / "turned.nii.gz").replace(file)
    (case,), unusable = found(BHSD, root, tmp_path)
    assert unusable == []
    assert [one.position_mm for one in case.slices] == [0, 5, 10, 15]
    volume, mask = scan_and_mask([0, 1, 2, 0])
    for pixels, image, outlined in zip(read(BHSD, case), volume, mask, strict=True):
        np.testing.assert_array_equal(pixels.image, image)
        np.testing.assert_array_equal(pixels.mask, outlined)


def test_every_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    names = [f"ID_0000000{letter}_ID_000000000{letter}" for letter in "abcdef"]
    root = bhsd_tree(tmp_path / "bhsd", [BhsdScan(name, [0, 3, 0]) for name in names])
    images, masks = root / "label_192" / "images", root / "label_192" / "ground truths"
    (images / f"{names[0]}.nii.gz").write_bytes(b"nothing")
    (masks / f"{names[1]}.nii.gz").unlink()
    save_nifti(masks / f"{names[2]}.nii.gz", np.zeros((3, 8, 8), dtype=np.uint8))
    save_nifti(masks / f"{names[3]}.nii.gz", np.zeros((3, SIDE, SIDE), dtype=np.uint8), spacing_mm=1.0)
    save_nifti(images / f"{names[4]}.nii", np.stack([head(3, 0)] * 3))
    (masks / f"{names[5]}.nii.gz").write_bytes(b"")
    save_nifti(images / "scan of Monday.nii.gz", np.stack([head(3, 0)] * 3))
    save_nifti(masks / "ID_9_ID_9.nii.gz", np.zeros((1, 8, 8), dtype=np.uint8))
    (images / "Thumbs.db").write_bytes(b"")
    cases, unusable = found(BHSD, root, tmp_path)
    assert [case.study for case in cases] == names[1:]
    assert [case.slices[0].mask is not None for case in cases] == [False, False, False, True, False]
    said = said_of(unusable)
    assert len(said) == len(unusable) == 9
    for name, reason in {
        f"{names[0]}.nii.gz": "it cannot be read as NIfTI",
        f"{names[1]}.nii.gz": "there is no mask of this scan; its slices go without",
        f"{names[2]}.nii.gz": "it has (3, 8, 8) slices, rows and columns, and its scan (3, 64, 64)",
        f"{names[3]}.nii.gz": "its header says another distance between pixels",
        f"{names[4]}.nii.gz": "the same scan lies beside it with another ending",
        f"{names[5]}.nii.gz": "it cannot be read as NIfTI",
        "scan of Monday.nii.gz": "its name is not ID_<patient>_ID_<study>",
        "ID_9_ID_9.nii.gz": "there is no scan to this mask",
        "Thumbs.db": "it is no NIfTI file",
    }.items():
        assert said[name].startswith(reason), (name, said[name])


def test_a_value_without_a_meaning_and_damaged_voxels_are_told_slice_by_slice(tmp_path: Path) -> None:
    root = bhsd_tree(tmp_path / "bhsd", [BhsdScan(FIRST, [0, 6, 1])])
    (case,), _ = found(BHSD, root, tmp_path)
    first, odd, last = BHSD.read(case)
    assert isinstance(first, SlicePixels)
    assert isinstance(last, SlicePixels)
    assert isinstance(odd, Unusable)
    assert odd.where.endswith(f"ground truths/{FIRST}.nii.gz, slice 2")
    assert odd.reason == "it holds the value 6, and only 0 to 5 have a meaning"
    file = root / "label_192" / "images" / f"{FIRST}.nii.gz"
    file.write_bytes(file.read_bytes()[:-200])
    (case,), _ = found(BHSD, root, tmp_path)
    with pytest.raises(ValueError, match="its voxels cannot be read"):
        list(BHSD.read(case))


def test_a_wrong_folder_is_told_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "ground truths").mkdir()
    for root in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ValueError, match=r"expected images/ID_\*_ID_\*\.nii\.gz and 'ground truths'/"):
            list(BHSD.find(root, tmp_path, print))
