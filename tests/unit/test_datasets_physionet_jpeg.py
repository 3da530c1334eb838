"""PhysioNet CT-ICH as pictures: masks beside images, masks that are not clean, a second window that is not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trees import (
    IPH,
    PHYSIONET_HEADER,
    SDH,
    PhysionetScan,
    blood,
    found,
    physionet_jpeg_tree,
    physionet_rows,
    read,
    write_rows,
)
from trainer.datasets.case import BLOOD_OF_UNKNOWN_TYPE, NO_BLOOD, NOTHING_KNOWN, SlicePixels, Unusable
from trainer.datasets.physionet_jpeg import PHYSIONET_CT_ICH_JPEG

TABLE = "hemorrhage_diagnosis.csv"
MANY = PhysionetScan(50, 11, {10: [IPH]})
"""As text, slice 10 comes before slice 2."""


def test_masks_are_no_slices_and_slices_are_ordered_by_number(tmp_path: Path) -> None:
    cases, unusable = found(PHYSIONET_CT_ICH_JPEG, physionet_jpeg_tree(tmp_path / "jpeg", [MANY]), tmp_path)
    (case,) = cases
    assert unusable == []
    assert case.patient == "050"
    assert [one.image.name for one in case.slices] == [f"{number}.jpg" for number in range(1, 12)]
    assert [one.mask.name for one in case.slices if one.mask] == ["10_HGE_Seg.jpg"]
    assert [one.labels[0] for one in case.slices] == [0] * 9 + [1, 0]
    assert case.labels == (1, 0, 1, 0, 0, 0)


def test_counts_and_labels_are_those_of_the_table(tmp_path: Path) -> None:
    cases, _ = found(PHYSIONET_CT_ICH_JPEG, physionet_jpeg_tree(tmp_path / "jpeg"), tmp_path)
    assert [(case.patient, len(case.slices)) for case in cases] == [("049", 5), ("058", 4), ("066", 6)]
    assert cases[0].slices[2].labels == (1, 0, 1, 1, 0, 0)
    assert cases[1].labels == NO_BLOOD


def test_masks_are_cut_at_half_of_white(tmp_path: Path) -> None:
    root = physionet_jpeg_tree(tmp_path / "jpeg")
    raw = np.asarray(Image.open(root / "Patients_CT" / "049" / "brain" / "2_HGE_Seg.jpg"))
    assert len(np.unique(raw)) > 2, "a mask that is not clean"
    cases, _ = found(PHYSIONET_CT_ICH_JPEG, root, tmp_path)
    slices = read(PHYSIONET_CT_ICH_JPEG, cases[0])
    for pixels, value in zip(slices, (0, 2, BLOOD_OF_UNKNOWN_TYPE, 5, 0), strict=True):
        assert pixels.image.dtype == np.uint8
        assert pixels.spacing_mm is None
        assert pixels.mask is not None, "a slice without blood has an empty mask"
        np.testing.assert_array_equal(pixels.mask, np.where(blood(), value, 0))
    assert slices[1].image[blood()].mean() > 180, "70 HU in a window of 40/120"


def test_blood_that_nobody_outlined_has_no_mask(tmp_path: Path) -> None:
    root = physionet_jpeg_tree(tmp_path / "jpeg", [MANY])
    (root / "Patients_CT" / "050" / "brain" / "10_HGE_Seg.jpg").unlink()
    (case,), _ = found(PHYSIONET_CT_ICH_JPEG, root, tmp_path)
    masks = [pixels.mask for pixels in read(PHYSIONET_CT_ICH_JPEG, case)]
    assert [mask is None for mask in masks] == [False] * 9 + [True, False]


def test_every_file_and_row_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    scans = [PhysionetScan(49, 4, {2: [SDH], 3: [SDH]}), PhysionetScan(51, 1, {})]
    root = physionet_jpeg_tree(tmp_path / "jpeg", scans)
    brain = root / "Patients_CT" / "049" / "brain"
    (brain / "Thumbs.db").write_bytes(b"")
    (brain / "9_HGE_Seg.jpg").write_bytes(b"")
    whole = (brain / "1.jpg").read_bytes()
    (brain / "1.jpg").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(brain / "2_HGE_Seg.jpg")
    (brain / "3_HGE_Seg.jpg").write_bytes(b"no picture")
    (root / "Patients_CT" / "052" / "bone").mkdir(parents=True)
    rows = physionet_rows(49, 3, scans[0].types) + physionet_rows(51, 2, {}) + physionet_rows(60, 1, {})
    write_rows(root / TABLE, PHYSIONET_HEADER, rows)
    cases, unusable = found(PHYSIONET_CT_ICH_JPEG, root, tmp_path)
    assert [f"{Path(one.where).name}: {one.reason}" for one in unusable] == [
        f"{TABLE}: it speaks of patient 060, of whom there is no folder",
        "Thumbs.db: its name is neither that of a slice nor that of a mask",
        "9_HGE_Seg.jpg: there is no picture to this mask",
        f"{TABLE}: it says nothing of 1 slices of patient 049",
        f"{TABLE}: it speaks of slices [2] of patient 051, of which there is none",
        "brain: it holds no slice",
    ]
    assert [len(case.slices) for case in cases] == [4, 1]
    assert cases[0].slices[3].labels == NOTHING_KNOWN
    slices = list(PHYSIONET_CT_ICH_JPEG.read(cases[0]))
    named = [Path(one.where).name for one in slices if isinstance(one, Unusable)]
    assert named == ["1.jpg", "2_HGE_Seg.jpg", "3_HGE_Seg.jpg"]
    assert isinstance(slices[3], SlicePixels)
    assert slices[3].mask is None, "of a slice without a label nobody knows"


def test_a_wrong_folder_is_told_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "Patients_CT").mkdir()
    (tmp_path / TABLE).write_text(f"{PHYSIONET_HEADER}\n")
    for root in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ValueError, match=r"expected Patients_CT/NNN/brain/<slice>\.jpg and hemorrhage_diagnosis"):
            list(PHYSIONET_CT_ICH_JPEG.find(root, tmp_path, lambda line: None))
