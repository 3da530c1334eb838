"""``reads.csv`` of CQ500: what three readers said of each patient, and how a patient is named there and on disk."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from trainer.datasets.case import NO, NOTHING_KNOWN, UNKNOWN, YES, Labels, Unusable, check_labels

READERS = ("R1", "R2", "R3")
COLUMNS = ("ICH", "EDH", "IPH", "IVH", "SAH", "SDH")
"""In the order of `trainer.datasets.case.Labels`."""

_MAJORITY = 2
_NAME = re.compile(r"CQ500[-_ ]?CT[-_ ]?(\d+)(?:[-_](\d+|[A-Z]{1,2}))?(?:[-_ ]+CQ500.*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class PatientKey:
    """A patient's number, and the suffix of one of several studies."""

    number: int
    suffix: str = ""

    @property
    def patient(self) -> str:
        """Studies that differ in the suffix alone are taken for one person, so that no split divides them."""
        return f"CQ500-CT-{self.number}"

    @property
    def study(self) -> str:
        """As ``reads.csv`` writes it."""
        return f"{self.patient}-{self.suffix}" if self.suffix else self.patient


def patient_key(name: str) -> PatientKey | None:
    """Whom a row or a folder is about: ``CQ500-CT-12``, ``CQ500CT12 CQ500CT12``, ``CQ500_CT_12``; None of others."""
    match = _NAME.fullmatch(name.strip())
    return PatientKey(int(match[1]), (match[2] or "").upper()) if match else None


@dataclass(frozen=True, slots=True)
class Reads:
    """What at least two of three readers said, and the rows that say nothing usable."""

    labels: Mapping[PatientKey, Labels]
    unusable: tuple[Unusable, ...]


def read_reads(path: Path) -> Reads:
    """Read ``name,Category,R1:ICH,...``.

    Raises
    ------
    ValueError
        A column is missing.
    """
    wanted = ("name", *(f"{reader}:{column}" for reader in READERS for column in COLUMNS))
    labels: dict[PatientKey, Labels] = {}
    unusable: list[Unusable] = []
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        header = [name.strip() for name in next(rows, [])]
        missing = [name for name in wanted if name not in header]
        if missing:
            raise ValueError(f"{path} has no column {', '.join(missing)}")
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            said = dict(zip(header, row, strict=False))
            where = f"{path}, line {rows.line_num}"
            key = patient_key(said["name"])
            if key is None:
                unusable.append(Unusable(where, f"{said['name']!r} is the name of no patient"))
                continue
            found = _majority(said)
            try:
                check_labels(found)
            except ValueError as exc:
                found = NOTHING_KNOWN
                unusable.append(Unusable(where, f"{exc}; the labels of {key.study} stay unknown"))
            if labels.setdefault(key, found) != found:
                labels[key] = NOTHING_KNOWN
                unusable.append(Unusable(where, f"another row says otherwise of {key.study}; its labels stay unknown"))
    return Reads(labels, tuple(unusable))


def _majority(row: Mapping[str, str]) -> Labels:
    return cast(
        Labels, tuple(_agreed([row.get(f"{reader}:{column}", "").strip() for reader in READERS]) for column in COLUMNS)
    )


def _agreed(cells: list[str]) -> int:
    """What two of three say; an empty cell, or one of another kind, is no vote."""
    for value in (NO, YES):
        if sum(cell in (str(value), f"{value}.0") for cell in cells) >= _MAJORITY:
            return value
    return UNKNOWN
