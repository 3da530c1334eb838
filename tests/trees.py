"""Small SYNTHETIC copies of public data sets as they unpack, with their quirks; nothing in them was ever downloaded."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from tests.builders import ellipse_head

SIDE = 64
MM = 4.0
PHYSIONET_HEADER = (
    "PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,"
    "No_Hemorrhage,Fracture_Yes_No"
)
IVH, IPH, SAH, EDH, SDH = range(5)
"""Columns of the PhysioNet table."""

DEMOGRAPHICS = ",Patient,Age,Gender,Hemorrhage type\n,Number,(years),,\n,,,,\n49,49,1,Male,\n,,,,\n"


def head(slices: int, index: int, side: int = SIDE, mm: float = MM) -> NDArray[np.int16]:
    """One slice of a plain head in HU; every slice is another one."""
    hu = ellipse_head(side, side, mm, height=(index + 0.5) / slices - 0.5)
    hu[0, 0] = -900 + index
    return hu.round().astype(np.int16)


def blood(side: int = SIDE, top: int = 20, height: int = 8) -> NDArray[np.bool_]:
    """A box off the middle, so that a turned mask shows."""
    mask = np.zeros((side, side), dtype=np.bool_)
    mask[top : top + height, 34:44] = True
    return mask


def save_nifti(path: Path, volume: NDArray[Any], spacing_mm: float = MM, step_mm: float = 5.0) -> None:
    """Write a volume of axes (slice, row, column), seen as radiologists do, the way scanners' converters store it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.ascontiguousarray(volume.transpose(2, 1, 0)[:, ::-1])  # columns to the left, rows to the front
    affine = np.diag([-spacing_mm, spacing_mm, step_mm, 1.0])
    nibabel.save(nibabel.Nifti1Image(stored, affine), path)


def physionet_rows(patient: int, slices: int, types: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """Rows of the label file; ``types`` names the columns that are 1, by slice number from 1."""
    rows = []
    for number in range(1, slices + 1):
        flags = [int(column in types.get(number, ())) for column in range(5)]
        rows.append([patient, number, *flags, int(number not in types), 0])
    return rows


def write_rows(path: Path, header: str, rows: Sequence[Sequence[object]], *, mark: bool = True) -> None:
    """A csv file as Excel saves it: byte order mark, carriage returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8-sig" if mark else "utf-8", newline="") as file:
        file.write(f"{header}\r\n")
        csv.writer(file).writerows(rows)


@dataclass(frozen=True)
class PhysionetScan:
    """A patient of the tree: how many slices, which of them (from 1) show what."""

    patient: int
    slices: int
    types: Mapping[int, Sequence[int]]


PHYSIONET_SCANS = (
    PhysionetScan(49, 5, {2: [IPH], 3: [IPH, IVH], 4: [SDH]}),
    PhysionetScan(58, 4, {}),
    PhysionetScan(66, 6, {1: [EDH], 2: [EDH]}),
)
"""Between 58 and 66 lies the gap of the real data set."""


def physionet_tree(root: Path, scans: Sequence[PhysionetScan] = PHYSIONET_SCANS, side: int = SIDE) -> Path:
    """Layout of 1.3.1: ``ct_scans/NNN.nii``, ``masks/NNN.nii`` of 0 and 255, the label file with its mark."""
    rows: list[list[int]] = []
    for scan in scans:
        volume = np.stack([head(scan.slices, index, side) for index in range(scan.slices)])
        mask = np.zeros(volume.shape, dtype=np.uint8)
        for number in scan.types:
            mask[number - 1][blood(side)] = 255
            volume[number - 1][blood(side)] = 70
        save_nifti(root / "ct_scans" / f"{scan.patient:03d}.nii", volume)
        save_nifti(root / "masks" / f"{scan.patient:03d}.nii", mask)
        rows += physionet_rows(scan.patient, scan.slices, scan.types)
    write_rows(root / "hemorrhage_diagnosis_raw_ct.csv", PHYSIONET_HEADER, rows)
    (root / "Patient_demographics.csv").write_text(DEMOGRAPHICS, encoding="utf-8")
    (root / "split_raw_data.py").write_text("# SYNTHETIC\n", encoding="utf-8")
    return root
