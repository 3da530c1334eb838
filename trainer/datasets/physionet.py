"""PhysioNet CT-ICH 1.3.1 (Hssayeni): 75 scans of 5 mm in NIfTI with masks of blood of any type.

Licence: PhysioNet Restricted Health Data License 1.5.0 with a data use agreement; the files are the user's to download.

- The label file begins with a byte order mark and counts slices from 1; "any" is what ``No_Hemorrhage`` is not.
- Patients 059 to 065 do not exist. ``Patient_demographics.csv`` is odd in every release; nothing here needs it.
- Masks do not say which type is outlined. Where the label of the slice names exactly one, the mask is of that type.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.case import (
    NO,
    NOTHING_KNOWN,
    YES,
    Case,
    Dataset,
    Labels,
    SlicePixels,
    SliceRecord,
    Unusable,
    check_labels,
    wrong_folder,
)
from trainer.datasets.labels import labels_of_slices, only_subtype
from trainer.datasets.nifti import NiftiVolume, nifti_grid
from trainer.tell import Tell

NAME = "physionet_ct_ich"
_TABLE = "hemorrhage_diagnosis_raw_ct.csv"
_EXPECTS = f"ct_scans/NNN.nii, masks/NNN.nii and {_TABLE}, as PhysioNet CT-ICH 1.3.1 unpacks"
_COLUMNS = ("No_Hemorrhage", "Epidural", "Intraparenchymal", "Intraventricular", "Subarachnoid", "Subdural")
"""In the order of `trainer.datasets.case.Labels`; the first one says the opposite."""

Key = tuple[int, int]
"""Patient number, slice number from 1."""


@dataclass(frozen=True, slots=True)
class Diagnoses:
    """The label file: what it says of each slice, and its rows that say nothing usable."""

    labels: Mapping[Key, Labels]
    unusable: tuple[Unusable, ...]

    def of_patient(self, patient: int) -> dict[int, Labels]:
        """Labels by slice number."""
        return {number: labels for (who, number), labels in self.labels.items() if who == patient}


def read_diagnoses(path: Path) -> Diagnoses:
    """Read ``PatientNumber,SliceNumber,<subtypes>,No_Hemorrhage,...``, with or without a byte order mark.

    Raises
    ------
    ValueError
        A column is missing.
    """
    labels: dict[Key, Labels] = {}
    unusable: list[Unusable] = []
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        header = [name.strip() for name in next(rows, [])]
        missing = [name for name in ("PatientNumber", "SliceNumber", *_COLUMNS) if name not in header]
        if missing:
            raise ValueError(f"{path} has no column {', '.join(missing)}")
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            where = f"{path}, line {rows.line_num}"
            try:
                key, said = _diagnosis(dict(zip(header, row, strict=False)))
            except (KeyError, ValueError) as exc:
                unusable.append(Unusable(where, f"the row cannot be read: {exc}"))
                continue
            if labels.setdefault(key, said) != said:
                unusable.append(Unusable(where, "another row says otherwise of this slice; its labels stay unknown"))
                labels[key] = NOTHING_KNOWN
    return Diagnoses(labels, tuple(unusable))


def _diagnosis(row: Mapping[str, str]) -> tuple[Key, Labels]:
    numbers = [int(float(row[name])) for name in _COLUMNS]
    if any(number not in (NO, YES) for number in numbers):
        raise ValueError("a label is neither 0 nor 1")
    labels = cast(Labels, (1 - numbers[0], *numbers[1:]))
    check_labels(labels)
    return (int(float(row["PatientNumber"])), int(float(row["SliceNumber"]))), labels


def home_of(root: Path, *wanted: str) -> Path | None:
    """The folder that holds all of ``wanted``: the one given, or one folder below it, as archives unpack."""
    candidates = [root, *sorted(one for one in root.iterdir() if one.is_dir())] if root.is_dir() else []
    return next((one for one in candidates if all((one / name).exists() for name in wanted)), None)


def typed_mask(outlined: NDArray[np.bool_], labels: Labels) -> NDArray[np.uint8]:
    """A mask of blood of any type, of the one type that the labels name where they name one."""
    return np.where(outlined, np.uint8(only_subtype(labels)), np.uint8(0))


def _find(root: Path, work: Path, tell: Tell) -> Iterator[Case | Unusable]:
    home = home_of(root, "ct_scans", _TABLE)
    if home is None:
        raise wrong_folder(root, _EXPECTS)
    diagnoses = read_diagnoses(home / _TABLE)
    yield from diagnoses.unusable
    scans: dict[int, Path] = {}
    for file in sorted((home / "ct_scans").iterdir()):
        number = file.name.removesuffix(".gz").removesuffix(".nii")
        if number != file.name and number.isascii() and number.isdigit():
            scans[int(number)] = file
        else:
            yield Unusable(str(file), "its name is not the number of a patient with .nii")
    if not scans:
        raise wrong_folder(root, _EXPECTS)
    for patient in sorted({who for who, _ in diagnoses.labels} - set(scans)):
        yield Unusable(str(home / _TABLE), f"it speaks of patient {patient:03d}, of whom there is no scan")
    for patient, scan in scans.items():
        yield from _scan(home, patient, scan, diagnoses.of_patient(patient))


def _scan(home: Path, patient: int, scan: Path, said: Mapping[int, Labels]) -> Iterator[Case | Unusable]:
    name = f"{patient:03d}"
    mask = next((file for end in ("nii", "nii.gz") if (file := home / "masks" / f"{name}.{end}").is_file()), None)
    try:
        grid = nifti_grid(scan)
    except ValueError as exc:
        yield Unusable(str(scan), str(exc))
        return
    if mask is None:
        yield Unusable(str(home / "masks" / f"{name}.nii"), "there is no mask of this scan; its slices go without")
    else:
        try:
            fault = "" if nifti_grid(mask).shape == grid.shape else "it is not as large as its scan"
        except ValueError as exc:
            fault = str(exc)
        if fault:
            yield Unusable(str(mask), f"{fault}; the slices go without a mask")
            mask = None
    count = grid.shape[0]
    if unlabelled := sorted(set(range(1, count + 1)) - set(said)):
        yield Unusable(str(home / _TABLE), f"it says nothing of {len(unlabelled)} slices of patient {name}")
    if beyond := sorted(set(said) - set(range(1, count + 1))):
        yield Unusable(str(home / _TABLE), f"it speaks of slices {beyond} of patient {name}, whose scan has {count}")
    slices = tuple(
        SliceRecord(
            image=scan,
            position_mm=float(grid.positions_mm[index]),
            labels=said.get(index + 1, NOTHING_KNOWN),
            frame=index,
            mask=mask,
            mask_frame=index,
        )
        for index in grid.feet_first
    )
    yield Case(NAME, name, name, slices, labels_of_slices([one.labels for one in slices]))


def _read(case: Case) -> Iterator[SlicePixels | Unusable]:
    scan = NiftiVolume.open(case.slices[0].image)
    masks: NiftiVolume | None = None
    if (path := case.slices[0].mask) is not None:
        try:
            masks = NiftiVolume.open(path)
        except ValueError as exc:
            raise ValueError(f"its mask {path} is damaged: {exc}") from exc
    for one in case.slices:
        # 255 where blood is outlined; anything above 0 is meant.
        mask = typed_mask(masks.labels(one.mask_frame) > 0, one.labels) if masks is not None else None
        yield SlicePixels(scan.hu(one.frame), scan.grid.spacing_mm, mask)


PHYSIONET_CT_ICH = Dataset(
    name=NAME,
    title="PhysioNet CT-ICH 1.3.1 (Hssayeni), NIfTI",
    licence="PhysioNet Restricted Health Data License 1.5.0 and data use agreement",
    source="https://physionet.org/content/ct-ich/1.3.1/",
    expects=_EXPECTS,
    find=_find,
    read=_read,
)
