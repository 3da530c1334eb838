"""``labels.csv`` of a folder of one's own: what is known of studies and slices."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from trainer.datasets.case import NO, NOTHING_KNOWN, UNKNOWN, YES, Labels, Unusable, check_labels

COLUMNS = ("any", "EDH", "IPH", "IVH", "SAH", "SDH")
"""In the order of `trainer.datasets.case.Labels`; one that is missing, or an empty cell, is unknown."""

NAMING = ("patient", "study", "slice")
WHOLE_STUDY = 0

Key = tuple[str, str, int]
"""Patient, study, slice from 1 from the feet up (or in the order of the pictures); ``WHOLE_STUDY`` for all of it."""

_VALUES = {"": UNKNOWN, "0": NO, "1": YES}


@dataclass(frozen=True, slots=True)
class FolderLabels:
    """What the file says, where each was said, and its rows that say nothing usable."""

    labels: Mapping[Key, Labels]
    unusable: tuple[Unusable, ...]


def read_folder_labels(path: Path) -> FolderLabels:
    """Read ``patient,study,slice,any,EDH,IPH,IVH,SAH,SDH``; without the file nothing is known.

    Raises
    ------
    ValueError
        A column that names is missing, or one is of another name.
    """
    labels: dict[Key, Labels] = {}
    unusable: list[Unusable] = []
    if not path.is_file():
        return FolderLabels(labels, ())
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        header = [name.strip() for name in next(rows, [])]
        if sorted({*header} - {*COLUMNS}) != sorted(NAMING) or len(set(header)) != len(header):
            raise ValueError(f"{path} has the columns {', '.join(header)}, not {', '.join((*NAMING, *COLUMNS))}")
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            where = f"{path}, line {rows.line_num}"
            try:
                key, said = _row({name: cell.strip() for name, cell in zip(header, row, strict=False)})
            except (KeyError, ValueError) as exc:
                unusable.append(Unusable(where, f"the row cannot be read: {exc}"))
                continue
            if labels.setdefault(key, said) != said:
                labels[key] = NOTHING_KNOWN
                unusable.append(Unusable(where, "another row says otherwise of the same; its labels stay unknown"))
    return FolderLabels(labels, tuple(unusable))


def _row(row: Mapping[str, str]) -> tuple[Key, Labels]:
    cells = [row.get(name, "") for name in COLUMNS]
    if any(cell not in _VALUES for cell in cells):
        raise ValueError("a label is 0, 1 or empty")
    number = int(row["slice"]) if row["slice"] else WHOLE_STUDY
    if row["slice"] and number < 1:
        raise ValueError("slices are counted from 1, and the cell is empty for the whole study")
    labels = cast(Labels, tuple(_VALUES[cell] for cell in cells))
    if labels[0] == UNKNOWN and YES in labels[1:]:
        labels = (YES, *labels[1:])
    check_labels(labels)
    return (row["patient"], row["study"], number), labels
