"""A small SYNTHETIC folder of one's own: CT as NIfTI and DICOM, pictures, MRI, masks and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import MRImageStorage

from tests.builders import ct_series, part10
from tests.trees import MM, SIDE, blood, save_nifti, write_rows
from tests.trees_pictures import grey_head, save_picture
from tests.trees_volumes import scan_and_mask

LABEL_HEADER = "patient,study,slice,any,EDH,IPH,IVH,SAH,SDH"


def save_dicom(folder: Path, volume: NDArray[Any], **overrides: Any) -> None:
    """One file a slice, called after nothing that orders it."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, ds in enumerate(ct_series(len(volume), SIDE, SIDE, spacing_mm=MM, hu=volume.astype(float), **overrides)):
        (folder / f"{'cabd'[index % 4]}{index}").write_bytes(part10(ds))


def save_mri(folder: Path, volume: NDArray[Any]) -> None:
    """MRI without rescale: stored values mean what they are."""
    save_dicom(
        folder,
        volume,
        intercept=0.0,
        Modality="MR",
        SOPClassUID=MRImageStorage,
        RescaleSlope=None,
        RescaleIntercept=None,
        RescaleType=None,
    )


def folder_tree(root: Path) -> Path:
    """Two patients of CT: NIfTI with a mask, DICOM with a mask in NIfTI, DICOM with masks as pictures, and labels."""
    volume, mask = scan_and_mask([0, 1, 1, 0])
    save_nifti(root / "images" / "anna" / "day 1.nii.gz", volume)
    save_nifti(root / "masks" / "anna" / "day 1.nii.gz", mask)
    save_dicom(root / "images" / "anna" / "day 2", volume)
    save_nifti(root / "masks" / "anna" / "day 2.nii.gz", mask * 255)
    save_dicom(root / "images" / "bert" / "only", volume)
    save_picture(root / "masks" / "bert" / "only" / "a1.png", blood().astype(np.uint8), "L")
    save_picture(root / "masks" / "bert" / "only" / "b2.jpg", np.where(blood(), 255, 0).astype(np.uint8), "L")
    rows: list[Sequence[object]] = [
        ["anna", "day 1", "", 1, "", "", "", "", ""],
        ["anna", "day 1", 1, 0, 0, 0, 0, 0, 0],
        ["anna", "day 1", 2, "", 0, 1, 0, 0, 0],
        ["anna", "day 1", 3, 1, 0, 1, 0, 0, 1],
    ]
    write_rows(root / "labels.csv", LABEL_HEADER, rows)
    return root


def picture_tree(root: Path) -> Path:
    """Three patients: pictures with masks, MRI as DICOM with a mask in NIfTI, MRI as NIfTI without."""
    for number in range(1, 12):
        save_picture(root / "images" / "anna" / "t2" / f"{number}.png", grey_head(number))
    save_picture(root / "masks" / "anna" / "t2" / "3.png", np.where(blood(), 255, 0).astype(np.uint8), "L")
    volume, mask = scan_and_mask([0, 1, 0, 0])
    mri = np.clip(volume + 1000, 0, 1500).astype(np.int16)
    save_mri(root / "images" / "bert" / "t2", mri)
    save_nifti(root / "masks" / "bert" / "t2.nii.gz", mask)
    save_nifti(root / "images" / "carl" / "t2.nii", (mri / 1000.0).astype(np.float32))
    return root
