"""INSTANCE 2022 as it unpacks: one folder or another, masks that name no type, scans without a mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trees import blood, found, head, read, said_of, save_nifti
from tests.trees_volumes import INSTANCE_SCANS, instance_tree
from trainer.datasets.case import BLOOD_OF_UNKNOWN_TYPE, NOTHING_KNOWN, Unusable
from trainer.datasets.instance import INSTANCE_2022
from trainer.datasets.labels import labels_of_mask


@pytest.mark.parametrize("part", ["train_2", "train"])
def test_every_scan_becomes_a_case_and_blood_has_no_type(part: str, tmp_path: Path) -> None:
    cases, unusable = found(INSTANCE_2022, instance_tree(tmp_path / "instance", part=part), tmp_path)
    assert unusable == []
    assert [(case.patient, case.study, len(case.slices)) for case in cases] == [
        ("001", "001", 4),
        ("002", "002", 3),
        ("100", "100", 5),
    ]
    for case, values in zip(cases, INSTANCE_SCANS.values(), strict=True):
        assert all(one.labels == NOTHING_KNOWN for one in case.slices)
        for pixels, value in zip(read(INSTANCE_2022, case), values, strict=True):
            assert pixels.mask is not None
            np.testing.assert_array_equal(pixels.mask, np.where(blood(), value * BLOOD_OF_UNKNOWN_TYPE, 0))
            assert labels_of_mask(pixels.mask) == ((1, -1, -1, -1, -1, -1) if value else (0,) * 6)


def test_the_folder_of_the_part_itself_will_do(tmp_path: Path) -> None:
    assert len(found(INSTANCE_2022, instance_tree(tmp_path) / "train_2", tmp_path)[0]) == 3


def test_every_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    root = instance_tree(tmp_path / "instance", {1: [1, 0], 2: [0, 0], 3: [2, 0]})
    data, label = root / "train_2" / "data", root / "train_2" / "label"
    (label / "001.nii.gz").unlink()
    (data / "002.nii.gz").write_bytes(b"nothing")
    save_nifti(data / "1.nii", np.stack([head(2, 0)] * 2))
    save_nifti(data / "example.nii.gz", np.stack([head(2, 0)] * 2))
    save_nifti(label / "009.nii.gz", np.zeros((2, 8, 8), dtype=np.uint8))
    cases, unusable = found(INSTANCE_2022, root, tmp_path)
    assert [(case.patient, case.slices[0].mask is None) for case in cases] == [("001", True), ("003", False)]
    said = said_of(unusable)
    assert set(said) == {"001.nii.gz", "002.nii.gz", "1.nii", "example.nii.gz", "009.nii.gz"}
    assert said["001.nii.gz"] == "there is no mask of this scan; its slices go without"
    assert said["1.nii"] == "001.nii.gz has the same number"
    odd, plain = INSTANCE_2022.read(cases[1])
    assert isinstance(odd, Unusable)
    assert odd.reason == "it holds the value 2, and only 0 and 1 have a meaning"
    assert not isinstance(plain, Unusable)


def test_a_damaged_mask_is_named_with_its_scan(tmp_path: Path) -> None:
    root = instance_tree(tmp_path / "instance", {1: [1, 0]})
    mask = root / "train_2" / "label" / "001.nii.gz"
    mask.write_bytes(mask.read_bytes()[:-20])
    (case,), _ = found(INSTANCE_2022, root, tmp_path)
    with pytest.raises(ValueError, match=r"its mask .*label/001\.nii\.gz is damaged"):
        list(INSTANCE_2022.read(case))


def test_a_wrong_folder_is_told_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "label").mkdir()
    for root in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ValueError, match=r"expected train_2/data/NNN\.nii\.gz and train_2/label/NNN\.nii\.gz"):
            list(INSTANCE_2022.find(root, tmp_path, print))
