"""Kaggle "Brain CT Hemorrhage Dataset" (abdulkader90): pictures of 27 patients without blood and 18 with.

Licence: none that is known here; ask before use. The files are the user's to download.

- ``Data/NORMAL/<id>[...]/*.jpg`` and ``Data/Hemorrhagic/KANAMA/<patient>/*.jpg`` (kanama: bleeding). Names of folders
  hold brackets.
- Labels are of patients: which slices of a patient show the blood, and of which type it is, nobody says. Papers that
  count every slice of a bleeding patient as positive train on wrong labels; here slices stay unknown.
- In some copies the pictures of NORMAL lie flat. Nothing then says of whom they are: they have no patient, and no
  protocol that splits by patient can use that copy.
- What stands before a bracket is taken for the patient, and the same name in both parts for the same person: people
  may so be taken together, and nobody is divided.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainer.datasets.case import (
    NO_BLOOD,
    UNKNOWN,
    YES,
    Case,
    Dataset,
    Labels,
    SlicePixels,
    SliceRecord,
    Unusable,
    slice_by_slice,
    wrong_folder,
)
from trainer.datasets.physionet import home_of
from trainer.datasets.picture_files import natural_order, picture_files
from trainer.datasets.reading import picture
from trainer.tell import Tell

NAME = "kaggle_cyprus"
_NORMAL, _BLEEDING, _INNER = "NORMAL", "Hemorrhagic", "KANAMA"
_EXPECTS = f"Data/{_NORMAL}/<patient>/*.jpg and Data/{_BLEEDING}/{_INNER}/<patient>/*.jpg, as it unpacks"
_BLOOD: Labels = (YES, *(UNKNOWN,) * 5)


def _find(root: Path, work: Path, tell: Tell) -> Iterator[Case | Unusable]:
    home = home_of(root, _NORMAL, _BLEEDING) or home_of(root / "Data", _NORMAL, _BLEEDING)
    if home is None:
        raise wrong_folder(root, _EXPECTS)
    inner = home / _BLEEDING / _INNER
    parts = ((home / _NORMAL, NO_BLOOD), (inner if inner.is_dir() else home / _BLEEDING, _BLOOD))
    if not any(one.suffix.lower() == ".jpg" for part, _ in parts for one in part.rglob("*")):
        raise wrong_folder(root, _EXPECTS)
    for part, labels in parts:
        yield from _part(part, labels)


def _part(part: Path, labels: Labels) -> Iterator[Case | Unusable]:
    flat, odd = picture_files(part)
    yield from odd
    if flat and labels == NO_BLOOD:
        yield Unusable(str(part), f"{len(flat)} pictures lie in no patient's folder; no split can keep patients apart")
        for file in flat:
            yield Case(NAME, None, f"{part.name}/{file.name}", (SliceRecord(file, 0.0),), labels)
    else:
        for file in flat:
            yield Unusable(str(file), "it lies in no patient's folder, and a slice alone may show no blood")
    folders = sorted((one for one in part.iterdir() if one.is_dir()), key=lambda one: (natural_order(one.name), one))
    for folder in folders:
        yield from _patient(folder, f"{part.name}/{folder.name}", labels)


def _patient(folder: Path, study: str, labels: Labels) -> Iterator[Case | Unusable]:
    """Pictures of one patient; a folder inside is a study of its own."""
    patient = folder.name.partition("[")[0].strip() or folder.name
    inner = sorted(one for one in folder.iterdir() if one.is_dir())
    for one in (folder, *inner):
        files, odd = picture_files(one)
        yield from odd
        if files:
            slices = tuple(SliceRecord(file, float(place)) for place, file in enumerate(files))
            name = study if one == folder else f"{study}/{one.name}"
            yield Case(NAME, patient.casefold(), name, slices, labels)
        elif one != folder or not inner:
            yield Unusable(str(one), "it holds no picture")


def _read(case: Case) -> Iterator[SlicePixels | Unusable]:
    return slice_by_slice(case, lambda one: SlicePixels(picture(one.image), None, None))


KAGGLE_CYPRUS = Dataset(
    name=NAME,
    title="Kaggle 'Brain CT Hemorrhage Dataset' (abdulkader90)",
    licence="not stated where it was looked for; ask its author before use",
    source="https://www.kaggle.com/datasets/abdulkader90/brain-ct-hemorrhage-dataset",
    expects=_EXPECTS,
    find=_find,
    read=_read,
    pictures=True,
)
