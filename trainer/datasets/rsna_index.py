"""The RSNA 2019 files as a table: one pass over labels, names and headers, then study by study from SQLite.

Hundreds of thousands of files are never in memory together, neither their names nor their headers. A run that is
stopped goes on with the headers that are still missing.
"""

from __future__ import annotations

import csv
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import cast

from trainer.datasets.case import NO, NOTHING_KNOWN, UNKNOWN, YES, Labels, Unusable
from trainer.datasets.reading import dicom_head
from trainer.tell import Tell

LABELS, TRAIN, TEST = "stage_2_train.csv", "stage_2_train", "stage_2_test"
_TYPES = {"any": 0, "epidural": 1, "intraparenchymal": 2, "intraventricular": 3, "subarachnoid": 4, "subdural": 5}
"""Names in the label file to the places in `trainer.datasets.case.Labels`."""

_IMAGE_NAME = 12
_MISSING = 9
"""A label that no row was met of so far."""

_BATCH = 500
_TELL_SECONDS = 5.0
_READERS = 8
"""Threads that read headers: most of the time goes by waiting for the disk."""

_COLUMNS = ("any_blood", "edh", "iph", "ivh", "sah", "sdh")

_TABLES = f"""
CREATE TABLE IF NOT EXISTS done (step TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS label (
    image TEXT PRIMARY KEY, {", ".join(f"{column} INTEGER NOT NULL" for column in _COLUMNS)},
    repeated INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file (
    number INTEGER PRIMARY KEY, part TEXT NOT NULL, image TEXT NOT NULL,
    patient TEXT, study TEXT, height_mm REAL, fault TEXT, UNIQUE (part, image)
);
CREATE TABLE IF NOT EXISTS fault (number INTEGER PRIMARY KEY, location TEXT NOT NULL, reason TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS file_by_study ON file (patient, study, height_mm, image);
"""

Slice = tuple[Path, float, Labels]
"""File, height in mm, labels."""


class RsnaIndex:
    """The table of one data set, in a file."""

    def __init__(self, path: Path, home: Path) -> None:
        self._home = home
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def fill(self, tell: Tell) -> None:
        """Read what has not been read: labels, names, headers."""
        self._once("labels", self._read_labels, tell)
        self._once("names", self._read_names, tell)
        self._read_headers(tell)
        self._once("studies", self._refuse_shared_studies, tell)

    def files(self) -> int:
        """How many files there are."""
        return int(self._db.execute("SELECT count(*) FROM file").fetchone()[0])

    def unusable(self) -> Iterator[Unusable]:
        """Rows and files that could not be used, in a fixed order."""
        table = str(self._home / LABELS)
        with closing(self._db.execute("SELECT location, reason FROM fault ORDER BY location, number")) as rows:
            for location, reason in rows:
                yield Unusable(str(self._home / location), reason)
        with closing(self._db.execute("SELECT image, repeated FROM label WHERE repeated > 0 ORDER BY image")) as rows:
            for image, repeated in rows:
                yield Unusable(table, f"it repeats {repeated} rows of {image}; each was used once")
        odd = "SELECT image FROM label WHERE any_blood = 0 AND 1 IN (edh, iph, ivh, sah, sdh) ORDER BY image"
        with closing(self._db.execute(odd)) as rows:
            for (image,) in rows:
                yield Unusable(table, f"it names a type of blood and no blood for {image}; its labels stay unknown")
        lonely = "SELECT image FROM label WHERE NOT EXISTS (SELECT 1 FROM file WHERE part = ? AND image = label.image)"
        with closing(self._db.execute(f"{lonely} ORDER BY image", (TRAIN,))) as rows:
            for (image,) in rows:
                yield Unusable(str(self._home / TRAIN / f"{image}.dcm"), "it has labels, and the file is missing")
        faulty = "SELECT part, image, fault FROM file WHERE fault != '' ORDER BY part, image"
        with closing(self._db.execute(faulty)) as rows:
            for part, image, fault in rows:
                yield Unusable(str(self._home / part / f"{image}.dcm"), fault)

    def studies(self) -> Iterator[tuple[str, str, list[Slice]]]:
        """Patient, study and slices from the feet up, study by study, those of one patient one after the other."""
        statement = (
            f"SELECT patient, study, part, file.image, height_mm, {', '.join(_COLUMNS)} "  # noqa: S608 - names of ours
            "FROM file LEFT JOIN label ON label.image = file.image AND part = ? "
            "WHERE fault = '' ORDER BY patient, study, height_mm, file.image"
        )
        with closing(self._db.execute(statement, (TRAIN,))) as rows:
            for (patient, study), group in groupby(rows, key=lambda row: (row[0], row[1])):
                yield (
                    patient,
                    study,
                    [(self._home / row[2] / f"{row[3]}.dcm", row[4], _labels(row[5:])) for row in group],
                )

    def _once(self, step: str, read: Callable[[], int], tell: Tell) -> None:
        """Do a step that is all or nothing, unless it was done."""
        if self._db.execute("SELECT 1 FROM done WHERE step = ?", (step,)).fetchone():
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            count = read()
            self._db.execute("INSERT INTO done VALUES (?)", (step,))
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        tell(f"{step}: {count} read")

    def _read_labels(self) -> int:
        """Rows of one image mostly follow each other; where they do not, they are put together."""
        table = self._home / LABELS
        count = 0
        with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            if header != ["ID", "Label"]:
                raise ValueError(f"{table} has the columns {header}, not ID and Label")
            for image, group in groupby(self._rows(rows), key=lambda row: row[0]):
                values = [_MISSING] * len(_TYPES)
                repeated = 0
                for _, place, value in group:
                    count += 1
                    repeated += values[place] == value
                    values[place] = self._joined(image, values[place], value)
                self._keep_labels(image, values, repeated)
        return count

    def _rows(self, rows: Iterator[list[str]]) -> Iterator[tuple[str, int, int]]:
        """Image, place in the labels, value; what is no such row is noted."""
        for number, row in enumerate(rows, start=2):
            if len(row) == 2:
                image, place = row[0][:_IMAGE_NAME], _TYPES.get(row[0][_IMAGE_NAME + 1 :].strip())
                if place is not None and row[1].strip() in ("0", "1"):
                    yield image, place, int(row[1])
                    continue
            if row:
                self._fault(f"{LABELS}, line {number}", "the row does not say ID_<image>_<type> and 0 or 1")

    def _joined(self, image: str, before: int, value: int) -> int:
        if before in (_MISSING, value):
            return value
        if before != UNKNOWN:
            self._fault(LABELS, f"rows of {image} contradict each other; the label stays unknown")
        return UNKNOWN

    def _keep_labels(self, image: str, values: list[int], repeated: int) -> None:
        names = ", ".join(_COLUMNS)
        before = self._db.execute(
            f"SELECT {names}, repeated FROM label WHERE image = ?",  # noqa: S608 - names of ours
            (image,),
        ).fetchone()
        if before is not None:
            repeated += before[-1] + sum(old == new != _MISSING for old, new in zip(before[:-1], values, strict=True))
            values = [
                old if new == _MISSING else self._joined(image, old, new)
                for old, new in zip(before[:-1], values, strict=True)
            ]
        self._db.execute("INSERT OR REPLACE INTO label VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (image, *values, repeated))

    def _read_names(self) -> int:
        count = 0
        for part in (TRAIN, TEST):
            folder = self._home / part
            if not folder.is_dir():
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    image = entry.name.removesuffix(".dcm")
                    if image == entry.name:
                        self._fault(f"{part}/{entry.name}", "its name is not that of a slice")
                        continue
                    self._db.execute("INSERT INTO file (part, image) VALUES (?, ?)", (part, image))
                    count += 1
        return count

    def _read_headers(self, tell: Tell) -> None:
        total = self.files()
        done = total - int(self._db.execute("SELECT count(*) FROM file WHERE fault IS NULL").fetchone()[0])
        if done == total:
            return
        begun = told_at = time.monotonic()
        fresh = after = 0
        with ThreadPoolExecutor(_READERS) as readers:
            while batch := self._without_header(after):
                after = batch[-1][0]
                headers = readers.map(_header, [self._home / part / f"{image}.dcm" for _, part, image in batch])
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany(
                    "UPDATE file SET patient = ?, study = ?, height_mm = ?, fault = ? WHERE number = ?",
                    [(*header, number) for header, (number, _, _) in zip(headers, batch, strict=True)],
                )
                self._db.execute("COMMIT")
                fresh += len(batch)
                now = time.monotonic()
                if now - told_at >= _TELL_SECONDS:
                    tell(f"headers: {done + fresh} of {total}, {fresh / (now - begun):.0f} files/s")
                    told_at = now
        tell(f"headers: {total} read")

    def _refuse_shared_studies(self) -> int:
        """A study of two patients could lie on both sides of a split."""
        self._db.execute(
            "UPDATE file SET fault = 'its study names several patients' WHERE fault = '' AND study IN "
            "(SELECT study FROM file WHERE fault = '' GROUP BY study HAVING count(DISTINCT patient) > 1)"
        )
        return int(self._db.execute("SELECT count(DISTINCT study) FROM file WHERE fault = ''").fetchone()[0])

    def _without_header(self, after: int) -> list[tuple[int, str, str]]:
        return self._db.execute(
            "SELECT number, part, image FROM file WHERE number > ? AND fault IS NULL ORDER BY number LIMIT ?",
            (after, _BATCH),
        ).fetchall()

    def _fault(self, location: str, reason: str) -> None:
        self._db.execute("INSERT INTO fault (location, reason) VALUES (?, ?)", (location, reason))


def _header(path: Path) -> tuple[str, str, float, str]:
    """Patient, study, height in mm, and why the file cannot be used ("" when it can)."""
    try:
        head = dicom_head(path)
    except (OSError, ValueError) as exc:
        return "", "", 0.0, str(exc)
    if head.position_mm is None:
        fault = "it does not say where its slice lies"
    elif not head.study:
        fault = "it names no study"
    elif not head.has_pixels:
        fault = "it holds no pixels"
    elif not head.complete:
        fault = "its pixel data are cut short"
    else:
        fault = ""
    return head.patient, head.study, head.position_mm[2] if head.position_mm else 0.0, fault


def _labels(stored: Sequence[int | None]) -> Labels:
    """Labels of a slice; those that contradict each other say nothing."""
    values = tuple(UNKNOWN if value is None or value == _MISSING else value for value in stored)
    if values[0] == NO and YES in values[1:]:
        return NOTHING_KNOWN
    return cast(Labels, values)
