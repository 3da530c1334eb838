"""What ``trainer prepare`` found and how far it is: the SQLite file ``OUT/work/index.sqlite``.

======== ==================================================================================================
plan     the settings of the run, and how far it is as a whole; a second run must come with the same ones
patient  names, numbered as they were met
study    one row a study: its case, the rows of the arrays it owns, and what its slices came to once written
unusable every file that could not be used, by study and place in it, so that the order never depends on speed
======== ==================================================================================================

A study is done once its rows are on disk. Whatever a kill interrupts is done again and comes to the same bytes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trainer.datasets.case import Case, Labels, SliceRecord, Unusable

NAME = "index.sqlite"
FOUND, ALLOCATED = "found", "allocated"
BEFORE_STUDIES = -1
"""Study number of what was unusable while the studies were looked for."""

_TABLES = """
CREATE TABLE IF NOT EXISTS plan (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS patient (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS study (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, patient INTEGER, start INTEGER NOT NULL,
    slices INTEGER NOT NULL, outlined INTEGER NOT NULL, content TEXT NOT NULL,
    digests BLOB, lost INTEGER NOT NULL DEFAULT 0, contradicted INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS unusable (
    study INTEGER NOT NULL, place INTEGER NOT NULL, location TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (study, place)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class StudyTask:
    """A study whose slices are to be written to the rows from ``start`` on. ``patient`` is -1 without a name."""

    number: int
    patient: int
    start: int
    case: Case


@dataclass(frozen=True, slots=True)
class StudyAnswer:
    """What became of a study.

    Attributes
    ----------
    digests : bytes
        32 bytes a slice, see `trainer.datasets.cache.slice_digest`.
    lost : int
        Slices whose outlined blood is too thin for the size of the cache.
    contradicted : int
        Slices that are labelled free of blood although blood is outlined.
    """

    number: int
    slices: int
    digests: bytes
    lost: int
    contradicted: int
    unusable: tuple[Unusable, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """What the index holds: studies and slices, slices that come with a mask, what is done, and what came of it."""

    studies: int
    slices: int
    outlined: int
    studies_done: int
    slices_done: int
    lost: int
    contradicted: int
    unusable: int


class PrepareIndex:
    """The file, open. One process writes it; every method leaves it consistent."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def plan(self) -> dict[str, str]:
        """What was said of the run so far."""
        return dict(self._db.execute("SELECT key, value FROM plan"))

    def note(self, key: str, value: str) -> None:
        """Say one thing of the run."""
        self._db.execute("INSERT OR REPLACE INTO plan VALUES (?, ?)", (key, value))

    def forget_plan(self) -> None:
        """As if the run had never begun."""
        self._db.execute("DELETE FROM plan")

    def keep_found(self, found: Iterator[Case | Unusable]) -> None:
        """Number all studies and say that all are found: everything, or after a kill nothing.

        Raises
        ------
        ValueError
            The data set names a study twice, or holds no study.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            start = number = place = 0
            for one in found:
                if isinstance(one, Unusable):
                    self._unusable(BEFORE_STUDIES, place, one)
                    place += 1
                    continue
                self._study(number, start, one)
                number, start = number + 1, start + len(one.slices)
            if not number:
                raise ValueError("the data set holds no study that could be used")
            self.note(FOUND, str(start))
        except sqlite3.IntegrityError as exc:
            self._db.execute("ROLLBACK")
            raise ValueError("the data set names a study twice; its adapter must tell them apart") from exc
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def keep_answers(self, answers: list[StudyAnswer]) -> None:
        """Mark studies as done."""
        self._db.execute("BEGIN IMMEDIATE")
        for answer in answers:
            for place, one in enumerate(answer.unusable):
                self._unusable(answer.number, place, one)
            self._db.execute(
                "UPDATE study SET digests = ?, lost = ?, contradicted = ? WHERE number = ?",
                (answer.digests, answer.lost, answer.contradicted, answer.number),
            )
        self._db.execute("COMMIT")

    def counts(self) -> Counts:
        """How much there is and how much is done."""
        studies, slices, outlined, lost, contradicted = self._db.execute(
            "SELECT count(*), coalesce(sum(slices), 0), coalesce(sum(outlined), 0), coalesce(sum(lost), 0), "
            "coalesce(sum(contradicted), 0) FROM study"
        ).fetchone()
        studies_done, slices_done = self._db.execute(
            "SELECT count(*), coalesce(sum(slices), 0) FROM study WHERE digests IS NOT NULL"
        ).fetchone()
        (unusable,) = self._db.execute("SELECT count(*) FROM unusable").fetchone()
        return Counts(studies, slices, outlined, studies_done, slices_done, lost, contradicted, unusable)

    def waiting(self, dataset: str) -> Iterator[StudyTask]:
        """Studies that are not done, in the order in which they were found."""
        after = -1
        statement = (
            "SELECT number, name, patient, start, content FROM study "
            "WHERE number > ? AND digests IS NULL ORDER BY number LIMIT 1"
        )
        while (row := self._db.execute(statement, (after,)).fetchone()) is not None:
            after, name, patient, start, content = row
            case = _case(dataset, name, self._patient_name(patient), content)
            yield StudyTask(after, -1 if patient is None else patient, start, case)

    def digests(self) -> Iterator[bytes]:
        """The digests of all slices, study by study."""
        with closing(self._db.execute("SELECT digests FROM study ORDER BY number")) as rows:
            for (digests,) in rows:
                yield digests

    def patients(self) -> tuple[str, ...]:
        """Names, each at the place of its number."""
        return tuple(name for (name,) in self._db.execute("SELECT name FROM patient ORDER BY number"))

    def studies(self) -> tuple[str, ...]:
        """Names, each at the place of its number."""
        return tuple(name for (name,) in self._db.execute("SELECT name FROM study ORDER BY number"))

    def unusable(self) -> Iterator[Unusable]:
        """What could not be used: first what was seen while looking, then study by study."""
        with closing(self._db.execute("SELECT location, reason FROM unusable ORDER BY study, place")) as rows:
            for location, reason in rows:
                yield Unusable(location, reason)

    def _patient_name(self, number: int | None) -> str | None:
        if number is None:
            return None
        return str(self._db.execute("SELECT name FROM patient WHERE number = ?", (number,)).fetchone()[0])

    def _unusable(self, study: int, place: int, one: Unusable) -> None:
        self._db.execute("INSERT INTO unusable VALUES (?, ?, ?, ?)", (study, place, one.where, one.reason))

    def _study(self, number: int, start: int, case: Case) -> None:
        patient = None
        if case.patient is not None:
            known = self._db.execute("SELECT number FROM patient WHERE name = ?", (case.patient,)).fetchone()
            patient = known[0] if known else self._next_patient()
            if known is None:
                self._db.execute("INSERT INTO patient VALUES (?, ?)", (patient, case.patient))
        outlined = sum(one.mask is not None for one in case.slices)
        self._db.execute(
            "INSERT INTO study (number, name, patient, start, slices, outlined, content) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, case.study, patient, start, len(case.slices), outlined, _content(case)),
        )

    def _next_patient(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(number) + 1, 0) FROM patient").fetchone()[0])


def _content(case: Case) -> str:
    slices = [
        [str(one.image), one.position_mm, one.labels, one.frame, str(one.mask) if one.mask else None, one.mask_frame]
        for one in case.slices
    ]
    return json.dumps([case.labels, slices], separators=(",", ":"))


def _case(dataset: str, study: str, patient: str | None, content: str) -> Case:
    labels, slices = json.loads(content)
    return Case(dataset, patient, study, tuple(map(_slice, slices)), cast(Labels, tuple(labels)))


def _slice(said: list[Any]) -> SliceRecord:
    image, position_mm, labels, frame, mask, mask_frame = said
    return SliceRecord(
        image=Path(image),
        position_mm=position_mm,
        labels=cast(Labels, tuple(labels)),
        frame=frame,
        mask=Path(mask) if mask is not None else None,
        mask_frame=mask_frame,
    )
