"""PhysioNet CT-ICH 1.0 to 1.2 (Hssayeni): pictures captured from a screen, window 40/120, masks beside them.

Licence: CC BY 4.0, as the data paper says (Data 2020, 5, 14); the files are the user's to download.

- ``Patients_CT/NNN/brain/<slice>.jpg`` with ``<slice>_HGE_Seg.jpg`` beside it where blood was outlined; ``bone`` holds
  the same slices in another window and is not read.
- A JPEG mask is not clean: from half of white on it is meant. A slice that is labelled free of blood has no mask file
  and counts as outlined, with nothing in it; a slice with blood and without a mask file counts as not outlined.
- Pictures say neither how large a pixel is nor where a slice lies: slices are ordered by their number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from trainer.datasets.case import (
    NO,
    NOTHING_KNOWN,
    Case,
    Dataset,
    Labels,
    SlicePixels,
    SliceRecord,
    Unusable,
    wrong_folder,
)
from trainer.datasets.labels import labels_of_slices
from trainer.datasets.physionet import home_of, read_diagnoses, typed_mask
from trainer.datasets.reading import picture
from trainer.tell import Tell

NAME = "physionet_ct_ich_jpeg"
_TABLE, _PATIENTS = "hemorrhage_diagnosis.csv", "Patients_CT"
_EXPECTS = f"{_PATIENTS}/NNN/brain/<slice>.jpg and {_TABLE}, as PhysioNet CT-ICH 1.0 to 1.2 unpacks"
_SLICE = re.compile(r"(\d+)(_HGE_Seg)?\.jpe?g", re.IGNORECASE)
_MEANT = 128


def _find(root: Path, work: Path, tell: Tell) -> Iterator[Case | Unusable]:
    home = home_of(root, _PATIENTS, _TABLE)
    if home is None:
        raise wrong_folder(root, _EXPECTS)
    diagnoses = read_diagnoses(home / _TABLE)
    yield from diagnoses.unusable
    folders = {int(one.name): one for one in (home / _PATIENTS).iterdir() if one.is_dir() and one.name.isdecimal()}
    if not folders:
        raise wrong_folder(root, _EXPECTS)
    for patient in sorted({who for who, _ in diagnoses.labels} - set(folders)):
        yield Unusable(str(home / _TABLE), f"it speaks of patient {patient:03d}, of whom there is no folder")
    for patient, folder in sorted(folders.items()):
        yield from _patient(home, patient, folder / "brain", diagnoses.of_patient(patient))


def _patient(home: Path, patient: int, folder: Path, said: Mapping[int, Labels]) -> Iterator[Case | Unusable]:
    name = f"{patient:03d}"
    pictures: dict[int, Path] = {}
    masks: dict[int, Path] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = _SLICE.fullmatch(file.name)
        if match is None:
            yield Unusable(str(file), "its name is neither that of a slice nor that of a mask")
        else:
            (masks if match[2] else pictures)[int(match[1])] = file
    for number in sorted(set(masks) - set(pictures)):
        yield Unusable(str(masks[number]), "there is no picture to this mask")
    if not pictures:
        yield Unusable(str(folder), "it holds no slice")
        return
    if unlabelled := sorted(set(pictures) - set(said)):
        yield Unusable(str(home / _TABLE), f"it says nothing of {len(unlabelled)} slices of patient {name}")
    if beyond := sorted(set(said) - set(pictures)):
        yield Unusable(str(home / _TABLE), f"it speaks of slices {beyond} of patient {name}, of which there is none")
    slices = tuple(
        SliceRecord(file, float(number), said.get(number, NOTHING_KNOWN), mask=masks.get(number))
        for number, file in sorted(pictures.items())
    )
    yield Case(NAME, name, name, slices, labels_of_slices([one.labels for one in slices]))


def _read(case: Case) -> Iterator[SlicePixels | Unusable]:
    for one in case.slices:
        current = one.image
        try:
            image = picture(current)
            if one.mask is not None:
                current = one.mask
                mask = typed_mask(picture(current) >= _MEANT, one.labels)
                if mask.shape != image.shape:
                    raise ValueError(f"it is not as large as {one.image.name}")
                yield SlicePixels(image, None, mask)
            else:
                yield SlicePixels(image, None, np.zeros_like(image) if one.labels[0] == NO else None)
        except (OSError, ValueError) as exc:
            yield Unusable(str(current), str(exc))


PHYSIONET_CT_ICH_JPEG = Dataset(
    name=NAME,
    title="PhysioNet CT-ICH 1.0 to 1.2 (Hssayeni), pictures",
    licence="CC BY 4.0 (as stated by Data 2020, 5, 14)",
    source="https://physionet.org/content/ct-ich/1.0.0/",
    expects=_EXPECTS,
    find=_find,
    read=_read,
    pictures=True,
    window=(40.0, 120.0),
)
