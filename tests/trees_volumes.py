"""Small SYNTHETIC copies of the data sets that come as NIfTI with masks: BHSD and INSTANCE 2022."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.trees import SIDE, blood, head, save_nifti


@dataclass(frozen=True)
class BhsdScan:
    """A scan of the tree: the value of the blood in each slice, 0 for none."""

    name: str
    values: Sequence[int]


BHSD_SCANS = (
    BhsdScan("ID_0237f3c9_ID_40015688b9", [0, 1, 1, 0]),
    BhsdScan("ID_0237f3c9_ID_51126799ca", [0, 2, 3, 0, 0]),  # the same patient again
    BhsdScan("ID_11aa22bb_ID_0123456789", [4, 5, 0]),
)


def scan_and_mask(values: Sequence[int], side: int = SIDE) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Heads with a box of blood of 70 HU, and its outline, shape (slice, row, column)."""
    volume = np.stack([head(len(values), index, side) for index in range(len(values))])
    mask = np.zeros(volume.shape, dtype=np.uint8)
    for index, value in enumerate(values):
        if value:
            mask[index][blood(side)] = value
            volume[index][blood(side)] = 70
    return volume, mask


def bhsd_tree(root: Path, scans: Sequence[BhsdScan] = BHSD_SCANS, masks: str = "ground truths") -> Path:
    """``label_192.zip`` as it unpacks: a space in the name of the masks' folder."""
    for scan in scans:
        volume, mask = scan_and_mask(scan.values)
        save_nifti(root / "label_192" / "images" / f"{scan.name}.nii.gz", volume)
        save_nifti(root / "label_192" / masks / f"{scan.name}.nii.gz", mask)
    return root


INSTANCE_SCANS: Mapping[int, Sequence[int]] = {1: [0, 1, 1, 0], 2: [0, 0, 0], 100: [1, 0, 0, 1, 0]}


def instance_tree(root: Path, scans: Mapping[int, Sequence[int]] = INSTANCE_SCANS, part: str = "train_2") -> Path:
    """``train_2`` or ``train``: numbers of three digits, masks of 0 and 1."""
    for number, values in scans.items():
        volume, mask = scan_and_mask(values)
        save_nifti(root / part / "data" / f"{number:03d}.nii.gz", volume)
        save_nifti(root / part / "label" / f"{number:03d}.nii.gz", mask)
    return root
