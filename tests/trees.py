"""Small SYNTHETIC copies of public data sets as they unpack, with their quirks; nothing in them was ever downloaded."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from tests.builders import ct_series, ellipse_head, part10, set_pixels
from trainer.datasets import case

SIDE = 64
MM = 4.0
PHYSIONET_HEADER = (
    "PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,"
    "No_Hemorrhage,Fracture_Yes_No"
)
IVH, IPH, SAH, EDH, SDH = range(5)
"""Columns of the PhysioNet table."""

DEMOGRAPHICS = ",Patient,Age,Gender,Hemorrhage type\n,Number,(years),,\n,,,,\n49,49,1,Male,\n,,,,\n"


def found(dataset: case.Dataset, root: Path, work: Path) -> tuple[list[case.Case], list[case.Unusable]]:
    """What an adapter finds: cases, and what it could not use."""
    everything = list(dataset.find(root, work, lambda line: None))
    cases = [one for one in everything if isinstance(one, case.Case)]
    return cases, [one for one in everything if isinstance(one, case.Unusable)]


def read(dataset: case.Dataset, one: case.Case) -> list[case.SlicePixels]:
    """The pixels of a case, all of which can be read."""
    slices = [pixels for pixels in dataset.read(one) if isinstance(pixels, case.SlicePixels)]
    assert len(slices) == len(one.slices)
    return slices


def said_of(unusable: Sequence[case.Unusable]) -> dict[str, str]:
    """Reasons by the last part of the place."""
    return {one.where.rpartition("/")[2]: one.reason for one in unusable}


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


def physionet_jpeg_tree(root: Path, scans: Sequence[PhysionetScan] = PHYSIONET_SCANS, side: int = SIDE) -> Path:
    """Layout of 1.0 to 1.2: pictures by slice number, masks beside them, the bone window in a folder of its own."""
    rows: list[list[int]] = []
    for scan in scans:
        folder = root / "Patients_CT" / f"{scan.patient:03d}"
        for window in ("brain", "bone"):
            (folder / window).mkdir(parents=True, exist_ok=True)
        for number in range(1, scan.slices + 1):
            hu = head(scan.slices, number - 1, side)
            hu[blood(side)] = 70 if number in scan.types else hu[blood(side)]
            grey = np.clip((hu + 20.0) / 120.0 * 255, 0, 255).astype(np.uint8)
            Image.fromarray(grey).convert("RGB").save(folder / "brain" / f"{number}.jpg", quality=95)
            Image.fromarray(grey // 2).save(folder / "bone" / f"{number}.jpg")
            if number in scan.types:
                mask = np.where(blood(side), 255, 0).astype(np.uint8)
                Image.fromarray(mask).save(folder / "brain" / f"{number}_HGE_Seg.jpg", quality=60)
        rows += physionet_rows(scan.patient, scan.slices, scan.types)
    write_rows(root / "hemorrhage_diagnosis.csv", PHYSIONET_HEADER, rows)
    (root / "patient_demographics.csv").write_text(DEMOGRAPHICS, encoding="utf-8")
    return root


RSNA_TYPES = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")


@dataclass(frozen=True)
class RsnaSlice:
    """One file of the tree."""

    image: str
    patient: str
    study: str
    height_mm: float | None
    types: Sequence[str] = ()


def rsna_pattern(side: int = SIDE) -> Dataset:
    """A CT slice without what the competition's files do not have."""
    (ds,) = ct_series(1, side, side, spacing_mm=MM)
    for keyword in ("InstanceNumber", "SliceThickness", "BodyPartExamined", "StudyDate", "FrameOfReferenceUID"):
        if keyword in ds:
            delattr(ds, keyword)
    return ds


def rsna_bytes(pattern: Dataset, one: RsnaSlice) -> bytes:
    """The file of a slice; its names are no valid UIDs, and pydicom would say so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pattern.SOPInstanceUID = pattern.file_meta.MediaStorageSOPInstanceUID = one.image
        pattern.PatientID, pattern.StudyInstanceUID = one.patient, one.study
        pattern.SeriesInstanceUID = one.study.replace("ID_", "ID_5")
        pattern.ImagePositionPatient = [-125, -125, one.height_mm] if one.height_mm is not None else None
        pattern.WindowCenter, pattern.WindowWidth = ["00036", "00036"], ["00080", "00080"]
        return part10(pattern)


def rsna_label_rows(slices: Sequence[RsnaSlice]) -> list[list[object]]:
    """Six rows an image, ``any`` last."""
    return [
        [f"{one.image}_{name}", int(name in one.types or (name == "any" and bool(one.types)))]
        for one in slices
        for name in RSNA_TYPES
    ]


RSNA_TRAIN = (
    RsnaSlice("ID_0000000c3", "ID_pat_a", "ID_study_1", 20.0, ["epidural"]),
    RsnaSlice("ID_0000000a1", "ID_pat_a", "ID_study_1", 10.0),
    RsnaSlice("ID_0000000b2", "ID_pat_a", "ID_study_1", 15.0, ["epidural", "subdural"]),
    RsnaSlice("ID_0000000d4", "ID_pat_b", "ID_study_2", -5.0),
    RsnaSlice("ID_0000000e5", "ID_pat_a", "ID_study_3", 0.0, ["intraventricular"]),
)
RSNA_TEST = (
    RsnaSlice("ID_0000000f6", "ID_pat_c", "ID_study_4", 3.0),
    RsnaSlice("ID_0000000f7", "ID_pat_c", "ID_study_4", 1.0),
)


def rsna_tree(root: Path, train: Sequence[RsnaSlice] = RSNA_TRAIN, test: Sequence[RsnaSlice] = RSNA_TEST) -> Path:
    """The competition as it unpacks: files whose names carry no order, labels of the training part."""
    pattern = rsna_pattern()
    for folder, slices in (("stage_2_train", train), ("stage_2_test", test)):
        (root / folder).mkdir(parents=True)
        for index, one in enumerate(slices):
            set_pixels(pattern, head(8, index) + 1024.0)
            (root / folder / f"{one.image}.dcm").write_bytes(rsna_bytes(pattern, one))
    write_rows(root / "stage_2_train.csv", "ID,Label", rsna_label_rows(train), mark=False)
    (root / "stage_2_sample_submission.csv").write_text("ID,Label\n", encoding="utf-8")
    return root


def wrapped(ds: Dataset, hu: NDArray[np.int16]) -> Dataset:
    """Store HU as the faulty files do: modulo 4096 in 12 unsigned bits, with an intercept near 0."""
    set_pixels(ds, np.mod(hu.astype(np.int32), 4096).astype(float), bits_stored=12, signed=False)
    ds.RescaleIntercept = -1
    return ds
