"""A folder of one's own: CT in HU, pictures and MRI in grey, masks beside them, labels of slices and studies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.builders import ct_series, enhanced_ct, part10, structured_report
from tests.trees import SIDE, blood, found, read, said_of, save_nifti, write_rows
from tests.trees_folder import LABEL_HEADER, folder_tree, picture_tree, save_dicom, save_mri
from tests.trees_pictures import grey_head, save_picture
from tests.trees_volumes import scan_and_mask
from trainer.datasets.case import BLOOD_OF_UNKNOWN_TYPE, NO_BLOOD, NOTHING_KNOWN, Unusable
from trainer.datasets.folder import FOLDER, FOLDER_PICTURES

EXPECTED = r"expected images/PATIENT/STUDY\.nii\.gz or images/PATIENT/STUDY/ with a file a slice"


def test_ct_is_read_from_nifti_and_dicom_with_masks_of_every_kind(tmp_path: Path) -> None:
    cases, unusable = found(FOLDER, folder_tree(tmp_path / "own"), tmp_path)
    assert unusable == []
    assert [(case.patient, case.study) for case in cases] == [
        ("anna", "anna/day 1"),
        ("anna", "anna/day 2"),
        ("bert", "bert/only"),
    ]
    volume, _ = scan_and_mask([0, 1, 1, 0])
    several = BLOOD_OF_UNKNOWN_TYPE
    outlined = {"anna/day 1": (0, 2, several, 0), "anna/day 2": (0, several, several, 0)}
    for case in cases:
        assert [one.position_mm for one in case.slices] == [0, 5, 10, 15]
        slices = read(FOLDER, case)
        for pixels, image in zip(slices, volume, strict=True):
            np.testing.assert_array_equal(pixels.image, image)
            assert pixels.spacing_mm == (4.0, 4.0)
        for pixels, value in zip(slices, outlined.get(case.study, ()), strict=False):
            np.testing.assert_array_equal(pixels.mask, np.where(blood(), value, 0))
    drawn = [one.mask for one in read(FOLDER, cases[2])]
    assert drawn[0] is None
    assert drawn[3] is None, "no file of this slice: nobody drew one"
    for mask in drawn[1:3]:
        np.testing.assert_array_equal(mask, np.where(blood(), several, 0))


def test_labels_are_of_slices_and_studies_and_may_be_missing(tmp_path: Path) -> None:
    cases, _ = found(FOLDER, folder_tree(tmp_path / "own"), tmp_path)
    assert [one.labels for one in cases[0].slices] == [NO_BLOOD, (1, 0, 1, 0, 0, 0), (1, 0, 1, 0, 0, 1), NOTHING_KNOWN]
    assert cases[0].labels == (1, -1, -1, -1, -1, -1)
    assert cases[1].labels == cases[2].labels == NOTHING_KNOWN
    (tmp_path / "own" / "labels.csv").unlink()
    cases, unusable = found(FOLDER, tmp_path / "own", tmp_path)
    assert unusable == []
    assert all(case.labels == NOTHING_KNOWN for case in cases)


@pytest.mark.parametrize("file", ["c0", "a1", "d3"], ids=["lowest", "inside", "highest"])
def test_numbers_of_slices_mean_nothing_where_one_may_be_missing(tmp_path: Path, file: str) -> None:
    """A file that cannot be read would shift the labels of every slice above it."""
    volume, _ = scan_and_mask([0, 1, 1, 0])
    study = tmp_path / "images" / "p" / "s"
    save_dicom(study, volume)
    save_dicom(study.with_name("whole"), volume)
    numbered = [["p", name, 1 + at, at % 2, "", "", "", "", ""] for name in ("s", "whole") for at in range(4)]
    write_rows(tmp_path / "labels.csv", LABEL_HEADER, [["p", "s", "", 1, "", "", "", "", ""], *numbered])
    (study / file).write_bytes((study / file).read_bytes()[:-100])
    (cut, whole), unusable = found(FOLDER, tmp_path, tmp_path)
    assert [one.labels for one in cut.slices] == [NOTHING_KNOWN] * 3
    assert cut.labels == (1, -1, -1, -1, -1, -1)
    assert [one.labels[0] for one in whole.slices] == [0, 1, 0, 1]
    assert said_of(unusable) == {
        file: "its pixel data are cut short",
        "labels.csv": "a file of p/s could not be read, so that nobody knows which slices its numbers mean: its labels "
        "of single slices are left out",
    }


def test_pictures_and_mri_become_grey(tmp_path: Path) -> None:
    cases, unusable = found(FOLDER_PICTURES, picture_tree(tmp_path / "own"), tmp_path)
    assert unusable == []
    pictures, dicom, nifti = cases
    assert [one.image.stem for one in pictures.slices] == [str(number) for number in range(1, 12)]
    slices = read(FOLDER_PICTURES, pictures)
    np.testing.assert_array_equal(slices[4].image, grey_head(5))
    assert [one.mask is not None for one in slices] == [number == 3 for number in range(1, 12)]
    np.testing.assert_array_equal(slices[2].mask, np.where(blood(), BLOOD_OF_UNKNOWN_TYPE, 0))
    volume, mask = scan_and_mask([0, 1, 0, 0])
    white = np.percentile(np.clip(volume + 1000, 0, 1500), 99.5)
    for case in (dicom, nifti):
        for pixels, hu, outlined in zip(read(FOLDER_PICTURES, case), volume, mask, strict=True):
            expected = np.rint(np.clip((np.clip(hu + 1000.0, 0, 1500)) / white, 0, 1) * 255)
            assert np.abs(pixels.image - expected).max() <= 1
            assert pixels.spacing_mm == (4.0, 4.0)
            assert (pixels.mask is not None) == (case is dicom)
            if pixels.mask is not None:
                np.testing.assert_array_equal(pixels.mask, outlined * BLOOD_OF_UNKNOWN_TYPE)


def test_every_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    root = tmp_path / "own"
    images, masks = root / "images", root / "masks"

    def sideways(index: int) -> list[int]:
        return [5 * index, 0, 0]

    volume, mask = scan_and_mask([0, 1, 1, 0])
    save_dicom(images / "p" / "good", volume)
    save_dicom(images / "p" / "cut", volume)
    (images / "p" / "cut" / "c0").write_bytes((images / "p" / "cut" / "c0").read_bytes()[:-100])
    (images / "p" / "cut" / "notes.txt").write_text("hello")
    save_mri(images / "p" / "mri", volume)
    save_picture(images / "p" / "pictures" / "1.png", grey_head(1))
    save_dicom(
        images / "p" / "sagittal", volume, ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImagePositionPatient=sideways
    )
    save_dicom(images / "p" / "nowhere", volume, ImagePositionPatient=None)
    (images / "p" / "empty").mkdir()
    (images / "p" / "damaged.nii").write_bytes(b"nothing")
    save_nifti(images / "p" / "good.nii", volume)
    (images / "p" / "list.txt").write_text("")
    (images / "loose.nii").write_bytes(b"")
    save_nifti(masks / "p" / "good.nii", mask[:3])
    save_picture(masks / "p" / "cut" / "a1.png", np.zeros((8, 8), dtype=np.uint8))
    save_picture(masks / "p" / "cut" / "z.png", np.zeros((8, 8), dtype=np.uint8))
    save_nifti(masks / "p" / "nobody.nii", mask)
    cases, unusable = found(FOLDER, root, tmp_path)
    assert [(case.study, len(case.slices)) for case in cases] == [("p/cut", 3), ("p/good", 4)]
    said = said_of([one for one in unusable if "/mri/" not in one.where])
    for name, part in {
        "c0": "its pixel data are cut short",
        "notes.txt": "it is no DICOM file",
        "mri": "it holds no slice that could be used",
        "pictures": "pictures hold no HU: prepare them as folder_pictures",
        "sagittal": "its slices are not axial",
        "nowhere": "its headers do not say one place and direction for each slice",
        "empty": "it holds no slice that could be used",
        "damaged.nii": "it cannot be read as NIfTI",
        "list.txt": "it is neither a NIfTI file nor the folder of a study",
        "loose.nii": "it lies in no patient's folder",
        "z.png": "there is no slice to this mask",
        "nobody.nii": "there is no study to this mask",
    }.items():
        assert part in said.get(name, ""), (name, said)
    assert any(
        "it has (3, 64, 64) slices, rows and columns, and its study (4, 64, 64)" in one.reason for one in unusable
    )
    assert any(one.where.endswith("p/good.nii") and "the same study" in one.reason for one in unusable)
    assert sum("it is MR: prepare it as folder_pictures" in one.reason for one in unusable) == 4
    (odd,) = (one for one in FOLDER.read(cases[0]) if isinstance(one, Unusable))
    assert odd.where.endswith("cut/a1.png")
    assert odd.reason == "it is not as large as a1"


def test_the_longest_series_of_a_folder_is_taken(tmp_path: Path) -> None:
    volume, _ = scan_and_mask([0, 1, 1, 0])
    study = tmp_path / "own" / "images" / "p" / "s"
    save_dicom(study, volume)
    save_dicom(study / "more", volume[:2])
    for file in (study / "more").iterdir():
        file.rename(study / f"x{file.name}")
    (study / "more").rmdir()
    (case,), (one,) = found(FOLDER, tmp_path / "own", tmp_path)
    assert len(case.slices) == 4
    assert one.reason == "its series of 2 files lies beside one of 4"


def test_a_mask_volume_is_not_laid_over_slices_that_are_stored_turned(tmp_path: Path) -> None:
    volume, mask = scan_and_mask([0, 1, 1, 0])
    save_dicom(tmp_path / "images" / "p" / "s", volume, ImageOrientationPatient=[1, 0, 0, 0, -1, 0])
    save_nifti(tmp_path / "masks" / "p" / "s.nii", mask)
    (case,), (one,) = found(FOLDER, tmp_path, tmp_path)
    assert all(said.mask is None for said in case.slices)
    assert one.where.endswith("masks/p/s.nii")
    assert one.reason.startswith("its study is stored turned")


def test_files_of_many_frames_and_files_without_pixels_are_named(tmp_path: Path) -> None:
    study = tmp_path / "images" / "p" / "s"
    volume, _ = scan_and_mask([0, 1, 1, 0])
    save_dicom(study, volume)
    (study / "enhanced.dcm").write_bytes(part10(enhanced_ct(ct_series(3, SIDE, SIDE))))
    (study / "report.dcm").write_bytes(part10(structured_report()))
    (case,), unusable = found(FOLDER, tmp_path, tmp_path)
    assert len(case.slices) == 4
    assert said_of(unusable) == {
        "enhanced.dcm": "it holds several frames, and a file of one slice is expected",
        "report.dcm": "it holds no pixels",
    }


def test_two_pictures_of_one_name_and_two_masks_of_one_slice_are_named(tmp_path: Path) -> None:
    study, masks = tmp_path / "images" / "p" / "s", tmp_path / "masks" / "p" / "s"
    for file in (study / "1.png", study / "1.jpg", masks / "1.png", masks / "1.jpg"):
        save_picture(file, grey_head(1), "L")
    (study / "readme.md").write_text("")
    (case,), unusable = found(FOLDER_PICTURES, tmp_path, tmp_path)
    assert [(one.image.name, one.mask is not None and one.mask.name) for one in case.slices] == [("1.jpg", "1.jpg")]
    assert sorted(one.reason for one in unusable) == [
        "1.jpg is a mask of the same slice",
        "another picture has the same name",
        "it is no JPEG or PNG picture",
    ]


def test_values_of_mri_without_contrast_are_refused(tmp_path: Path) -> None:
    flat = np.full((3, SIDE, SIDE), 7, dtype=np.int16)
    save_mri(tmp_path / "images" / "p" / "flat", flat)
    save_nifti(tmp_path / "images" / "p" / "volume.nii", flat)
    save_dicom(tmp_path / "images" / "p" / "ct", flat)
    cases, unusable = found(FOLDER_PICTURES, tmp_path, tmp_path)
    assert [case.study for case in cases] == ["p/flat", "p/volume"]
    assert {one.reason for one in unusable} == {
        "it is CT: prepare it as folder",
        "it holds no slice that could be used",
    }
    for case in cases:
        slices = list(FOLDER_PICTURES.read(case))
        assert {one.reason for one in slices if isinstance(one, Unusable)} == {
            "every pixel of the study has the same value"
        }
        assert len(slices) == 3


def test_rows_of_the_labels_that_do_not_fit_are_named(tmp_path: Path) -> None:
    volume, _ = scan_and_mask([0, 1])
    save_nifti(tmp_path / "images" / "p" / "s.nii", volume)
    rows = [
        ["p", "s", 1, 0, 0, 0, 0, 0, 0],
        ["p", "s", 1, 1, 0, 0, 0, 0, 1],
        ["p", "s", 2, 0, 1, "", "", "", ""],
        ["p", "s", 3, 0, "", "", "", "", ""],
        ["p", "s", 0, 0, "", "", "", "", ""],
        ["p", "s", 2, "yes", "", "", "", "", ""],
        ["q", "s", "", 0, "", "", "", "", ""],
    ]
    write_rows(tmp_path / "labels.csv", LABEL_HEADER, rows)
    (case,), unusable = found(FOLDER, tmp_path, tmp_path)
    assert [one.labels for one in case.slices] == [NOTHING_KNOWN, NOTHING_KNOWN]
    for one, (where, reason) in zip(
        unusable,
        (
            ("labels.csv, line 3", "another row says otherwise of the same; its labels stay unknown"),
            ("labels.csv, line 4", "the row cannot be read: labels name a subtype of blood that is said to be absent"),
            ("labels.csv, line 6", "the row cannot be read: slices are counted from 1"),
            ("labels.csv, line 7", "the row cannot be read: a label is 0, 1 or empty"),
            ("labels.csv", "it speaks of slices [3] of p/s, which has 2"),
            ("labels.csv", "it speaks of study s of patient q, which is missing"),
        ),
        strict=True,
    ):
        assert Path(one.where).name == where
        assert one.reason.startswith(reason)


def test_labels_of_a_study_that_its_slices_contradict_are_not_used(tmp_path: Path) -> None:
    volume, _ = scan_and_mask([0, 1])
    save_nifti(tmp_path / "images" / "p" / "s.nii", volume)
    rows = [["p", "s", "", 0, 0, 0, 0, 0, 0], ["p", "s", 2, 1, 0, 0, 0, 0, 1], ["p", "s", 1, 0, 0, 0, 0, 0, 0]]
    write_rows(tmp_path / "labels.csv", LABEL_HEADER, rows)
    (case,), (one,) = found(FOLDER, tmp_path, tmp_path)
    assert case.labels == (1, 0, 0, 0, 0, 1)
    assert one.reason == "it says otherwise of p/s than of its slices"


def test_a_label_file_of_other_columns_is_refused(tmp_path: Path) -> None:
    root = folder_tree(tmp_path / "own")
    write_rows(root / "labels.csv", LABEL_HEADER.replace("study", "exam"), [])
    with pytest.raises(ValueError, match="has the columns patient, exam, slice"):
        list(FOLDER.find(root, tmp_path, print))


def test_a_wrong_folder_is_told_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "images" / "p").mkdir(parents=True)
    for root in (tmp_path, tmp_path / "nothing"):
        for dataset in (FOLDER, FOLDER_PICTURES):
            with pytest.raises(ValueError, match=EXPECTED):
                list(dataset.find(root, tmp_path, print))
