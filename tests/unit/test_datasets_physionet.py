"""PhysioNet CT-ICH as it unpacks: marks, numbers from 1, masks of any type, patients that do not exist."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.trees import (
    EDH,
    IPH,
    IVH,
    PHYSIONET_HEADER,
    SDH,
    PhysionetScan,
    blood,
    found,
    head,
    physionet_rows,
    physionet_tree,
    read,
    save_nifti,
    write_rows,
)
from trainer.datasets.case import BLOOD_OF_UNKNOWN_TYPE, NO_BLOOD, NOTHING_KNOWN
from trainer.datasets.physionet import PHYSIONET_CT_ICH

TABLE = "hemorrhage_diagnosis_raw_ct.csv"


def test_every_scan_becomes_a_case_with_the_labels_of_its_slices(tmp_path: Path) -> None:
    cases, unusable = found(PHYSIONET_CT_ICH, physionet_tree(tmp_path / "ct-ich"), tmp_path)
    assert [(case.patient, case.study, len(case.slices)) for case in cases] == [
        ("049", "049", 5),
        ("058", "058", 4),
        ("066", "066", 6),
    ]
    assert unusable == []
    assert [one.labels for one in cases[0].slices] == [
        NO_BLOOD,
        (1, 0, 1, 0, 0, 0),
        (1, 0, 1, 1, 0, 0),
        (1, 0, 0, 0, 0, 1),
        NO_BLOOD,
    ]
    assert [case.labels for case in cases] == [(1, 0, 1, 1, 0, 1), NO_BLOOD, (1, 1, 0, 0, 0, 0)]
    assert [one.position_mm for one in cases[2].slices] == [0, 5, 10, 15, 20, 25]


def test_the_parent_of_the_unpacked_folder_will_do(tmp_path: Path) -> None:
    physionet_tree(tmp_path / "in" / "computed-tomography-images-1.3.1")
    assert len(found(PHYSIONET_CT_ICH, tmp_path / "in", tmp_path)[0]) == 3


def test_pixels_are_hu_the_right_way_up_and_masks_take_the_only_type(tmp_path: Path) -> None:
    cases, _ = found(PHYSIONET_CT_ICH, physionet_tree(tmp_path / "ct-ich"), tmp_path)
    slices = read(PHYSIONET_CT_ICH, cases[0])
    np.testing.assert_array_equal(slices[0].image, head(5, 0))
    assert slices[0].spacing_mm == (4.0, 4.0)
    several = BLOOD_OF_UNKNOWN_TYPE
    for pixels, value in zip(slices, (0, 2, several, 5, 0), strict=True):
        assert pixels.mask is not None
        np.testing.assert_array_equal(pixels.mask, np.where(blood(), value, 0))


def test_slices_stored_from_the_head_down_are_turned_and_keep_their_labels(tmp_path: Path) -> None:
    root = physionet_tree(tmp_path / "ct-ich", [PhysionetScan(66, 4, {1: [EDH]})])
    for folder in ("ct_scans", "masks"):
        file = root / folder / "066.nii"
        image = nibabel.load(file)
        affine = image.affine @ np.diag([1, 1, -1, 1])
        content = np.asarray(image.dataobj).copy()
        nibabel.save(nibabel.Nifti1Image(content, affine), file)
    (case,), _ = found(PHYSIONET_CT_ICH, root, tmp_path)
    assert [(one.frame, one.labels[0]) for one in case.slices] == [(3, 0), (2, 0), (1, 0), (0, 1)]
    masks = [one.mask for one in read(PHYSIONET_CT_ICH, case)]
    assert [bool(mask is not None and mask.any()) for mask in masks] == [False, False, False, True]


def test_every_file_and_row_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    scans = [PhysionetScan(49, 3, {1: [IPH]}), PhysionetScan(50, 3, {}), PhysionetScan(51, 3, {2: [SDH]})]
    root = physionet_tree(tmp_path / "ct-ich", [*scans, PhysionetScan(52, 3, {})])
    rows = [row for scan in scans for row in physionet_rows(scan.patient, scan.slices, scan.types)]
    rows[1] = [49, 2, 0, 1, 0, 0, 0, 1, 0]  # a type of blood, and no blood
    rows += [[49, 1, 0, 0, 0, 1, 0, 0, 0], [50, 9, 0, 0, 0, 0, 0, 1, 0], [59, 1, 0, 0, 0, 0, 0, 1, 0]]
    write_rows(root / TABLE, PHYSIONET_HEADER, [*rows, ["", "", "", "", "", "", "", "", ""]])
    (root / "ct_scans" / "050.nii").write_bytes(b"nothing")
    (root / "masks" / "049.nii").unlink()
    save_nifti(root / "masks" / "051.nii", np.zeros((2, 8, 8), dtype=np.uint8))
    (root / "ct_scans" / "Thumbs.db").write_bytes(b"")
    cases, unusable = found(PHYSIONET_CT_ICH, root, tmp_path)
    assert [case.patient for case in cases] == ["049", "051", "052"]
    assert cases[0].slices[0].labels == NOTHING_KNOWN, "two rows contradict each other"
    assert cases[0].slices[1].labels == NOTHING_KNOWN, "the row contradicts itself"
    assert cases[2].slices[0].labels == NOTHING_KNOWN, "no row at all"
    assert all(one.mask is None for case in cases[:2] for one in case.slices)
    said = [f"{Path(one.where).name}: {one.reason}" for one in unusable]
    for part in (
        f"{TABLE}, line 3: the row cannot be read",
        f"{TABLE}, line 11: another row says otherwise",
        f"{TABLE}: it speaks of patient 059, of whom there is no scan",
        "Thumbs.db: its name is not",
        "050.nii: it cannot be read as NIfTI",
        "049.nii: there is no mask",
        "051.nii: it is not as large as its scan",
        f"{TABLE}: it says nothing of 3 slices of patient 052",
        f"{TABLE}: it says nothing of 1 slices of patient 049",
    ):
        assert any(line.startswith(part) for line in said), (part, said)
    assert len(said) == 9


def test_a_row_beyond_the_scan_is_named(tmp_path: Path) -> None:
    root = physionet_tree(tmp_path / "ct-ich", [PhysionetScan(49, 2, {})])
    write_rows(root / TABLE, PHYSIONET_HEADER, physionet_rows(49, 3, {3: [IVH]}), mark=False)
    (case,), (one,) = found(PHYSIONET_CT_ICH, root, tmp_path)
    assert len(case.slices) == 2
    assert one.reason == "it speaks of slices [3] of patient 049, whose scan has 2"


def test_a_wrong_folder_is_told_what_was_expected(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ValueError, match=r"expected ct_scans/NNN\.nii, masks/NNN\.nii and hemorrhage_diagnosis"):
            list(PHYSIONET_CT_ICH.find(root, tmp_path, lambda line: None))


def test_a_label_file_without_a_column_is_refused(tmp_path: Path) -> None:
    root = physionet_tree(tmp_path / "ct-ich")
    write_rows(root / TABLE, PHYSIONET_HEADER.replace("No_Hemorrhage", "Nothing"), [])
    with pytest.raises(ValueError, match="has no column No_Hemorrhage"):
        list(PHYSIONET_CT_ICH.find(root, tmp_path, lambda line: None))
