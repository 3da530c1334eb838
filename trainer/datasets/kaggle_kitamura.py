"""Kaggle "Head CT - hemorrhage" (Kitamura): 200 pictures of one slice each, half of them with blood.

Licence: none that is known here; ask before use. The files are the user's to download.

- ``head_ct/head_ct/NNN.png`` and ``labels.csv`` with the header ``id, hemorrhage``: the second name begins with a
  space, and the ids are not padded.
- One slice per person. Sizes all differ, some pictures are RGBA; the window is not said.
- Which type of blood is shown, nobody says.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from trainer.datasets.case import (
    NO_BLOOD,
    NOTHING_KNOWN,
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
from trainer.datasets.picture_files import picture_files
from trainer.datasets.reading import picture
from trainer.tell import Tell

NAME = "kaggle_kitamura"
_TABLE, _PICTURES = "labels.csv", "head_ct"
_EXPECTS = f"{_TABLE} and {_PICTURES}/{_PICTURES}/NNN.png, as 'Head CT - hemorrhage' unpacks"
_COLUMNS = ("id", "hemorrhage")
_SAID: dict[str, Labels] = {"0": NO_BLOOD, "1": (YES, *(UNKNOWN,) * 5)}


def _find(root: Path, work: Path, tell: Tell) -> Iterator[Case | Unusable]:
    home = home_of(root, _TABLE, _PICTURES)
    if home is None:
        raise wrong_folder(root, _EXPECTS)
    nested = home / _PICTURES / _PICTURES
    files, odd = picture_files(nested if nested.is_dir() else home / _PICTURES)
    if not files:
        raise wrong_folder(root, _EXPECTS)
    yield from odd
    said: dict[int, Labels] = {}
    yield from _read_labels(home / _TABLE, said)
    numbers: dict[int, Path] = {}
    for file in files:
        if not (file.stem.isascii() and file.stem.isdecimal()):
            yield Unusable(str(file), "its name is not the number of a picture")
        elif int(file.stem) in numbers:
            yield Unusable(str(file), f"{numbers[int(file.stem)].name} has the same number")
        else:
            numbers[int(file.stem)] = file
    for number in sorted(set(said) - set(numbers)):
        yield Unusable(str(home / _TABLE), f"it speaks of picture {number:03d}, which is missing")
    for number, file in sorted(numbers.items()):
        if number not in said:
            yield Unusable(str(home / _TABLE), f"it says nothing of picture {number:03d}; its label stays unknown")
        labels = said.get(number, NOTHING_KNOWN)
        yield Case(NAME, f"{number:03d}", f"{number:03d}", (SliceRecord(file, 0.0, labels),), labels)


def _read_labels(table: Path, said: dict[int, Labels]) -> Iterator[Unusable]:
    """Fill ``said`` by picture number; yields the rows that say nothing usable."""
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file, skipinitialspace=True)
        header = tuple(name.strip().lower() for name in next(rows, []))
        if header[:2] != _COLUMNS:
            raise ValueError(f"{table} has the columns {', '.join(header)}, not {', '.join(_COLUMNS)}")
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            number = row[0].strip()
            label = _SAID.get(row[1].strip()) if len(row) > 1 else None
            where = f"{table}, line {rows.line_num}"
            if label is None or not (number.isascii() and number.isdecimal()):
                yield Unusable(where, "the row does not say a number and 0 or 1")
            elif said.setdefault(int(number), label) != label:
                said[int(number)] = NOTHING_KNOWN
                yield Unusable(where, "another row says otherwise of this picture; its label stays unknown")


def _read(case: Case) -> Iterator[SlicePixels | Unusable]:
    return slice_by_slice(case, lambda one: SlicePixels(picture(one.image), None, None))


KAGGLE_KITAMURA = Dataset(
    name=NAME,
    title="Kaggle 'Head CT - hemorrhage' (Kitamura)",
    licence="not stated where it was looked for; ask its author before use",
    source="https://www.kaggle.com/datasets/felipekitamura/head-ct-hemorrhage",
    expects=_EXPECTS,
    find=_find,
    read=_read,
    pictures=True,
)
