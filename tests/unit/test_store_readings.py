"""Who opened a study first, and what was said of it: the latest on the list, all of it kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from tests.stores import NOW, STUDY, analysed, at, finish, running
from triage.domain.errors import NotFound
from triage.domain.finding import WorklistStatus
from triage.domain.reading import NOTE_CHARACTERS, Reading, Verdict
from triage.domain.worklist import ListedStudy
from triage.store import readings, worklist
from triage.store.db import Database

FIRST = Reading(STUDY, Verdict.AGREE, "", "r.adler", at(60))


def listed(db: Database) -> ListedStudy:
    with db.read() as tx:
        found = worklist.listed(tx, STUDY)
    assert found is not None
    return found


def opened(db: Database, reader: str, seconds: float) -> bool:
    with db.transaction() as tx:
        return readings.mark_opened(tx, STUDY, reader=reader, now=at(seconds))


def kept(db: Database, *given: Reading) -> None:
    with db.transaction() as tx:
        for reading in given:
            readings.add(tx, reading)


def test_the_first_to_open_a_study_stays_the_first(database: Database) -> None:
    analysed(database)
    assert opened(database, "r.adler", 30)
    assert not opened(database, "r.berg", 40)
    found = listed(database)
    assert (found.opened_by, found.opened_at, found.updated_at) == ("r.adler", at(30), at(30))


def test_who_looked_before_the_flag_has_not_ended_its_wait(database: Database) -> None:
    job = running(database)
    with database.transaction() as tx:
        worklist.refresh(tx, STUDY, at(1))
    assert opened(database, "early", 2)
    assert not opened(database, "early", 3)
    finish(database, job, now=at(10))
    found = listed(database)
    assert (found.row.status, found.opened_at, found.opened_by) == (WorklistStatus.SUSPECTED, None, None)
    assert opened(database, "r.adler", 20)
    assert not opened(database, "r.berg", 21)
    with database.transaction() as tx:
        worklist.refresh(tx, STUDY, at(30))
    assert listed(database).opened_by == "r.adler"


def test_nobody_opens_what_is_not_there(database: Database) -> None:
    assert not opened(database, "r.adler", 1)
    with database.transaction() as tx, pytest.raises(NotFound):
        readings.lock_status(tx, STUDY)


def test_a_later_reading_replaces_the_first_on_the_list_and_both_are_kept(database: Database) -> None:
    analysed(database)
    second = replace(FIRST, verdict=Verdict.DISAGREE, note="old blood; \x00 seen before", reader="r.berg", at=at(90))
    kept(database, FIRST)
    assert listed(database).verdict is Verdict.AGREE
    kept(database, second)
    assert (listed(database).verdict, listed(database).updated_at) == (Verdict.DISAGREE, at(90))
    with database.read() as tx:
        latest, first = readings.of_study(tx, STUDY)
    assert first == FIRST
    assert latest == replace(second, note="old blood; ? seen before")


def test_the_status_is_the_one_on_the_list(database: Database) -> None:
    analysed(database, score=0.1)
    with database.transaction() as tx:
        assert readings.lock_status(tx, STUDY) is WorklistStatus.NOT_SUSPECTED
    with database.read() as tx:
        assert readings.of_study(tx, "2.25.999") == []


def test_a_reading_is_valid_once_it_is_made() -> None:
    assert len(replace(FIRST, note="x" * NOTE_CHARACTERS).note) == NOTE_CHARACTERS
    with pytest.raises(ValueError, match="500 characters"):
        replace(FIRST, note="x" * (NOTE_CHARACTERS + 1))
    with pytest.raises(ValueError, match="aware"):
        replace(FIRST, at=datetime(2026, 11, 21, 8))  # noqa: DTZ001
    assert FIRST.at > NOW
