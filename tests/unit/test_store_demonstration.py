"""A row says that a demonstration bundle speaks in it: of the result it shows, or else of the bundle in use."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import event

from tests import many_studies
from tests.stores import DIGEST, NOW, STUDY, analysed, at, claim, queued, receive, result, running
from triage.domain.downtime import Heartbeat
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.domain.lifecycle import SeriesState
from triage.store import bundles, heartbeats, jobs, reading_list, results, schema, series, worklist
from triage.store.db import Database
from triage.store.demonstration import only_demonstrated
from triage.store.folder_area import FolderArea
from triage.store.transaction import Transaction

MADE, TRAINED = "aa" * 32, "bb" * 32
"""A bundle for demonstration, and one that is not."""


@pytest.fixture
def db(database: Database) -> Database:
    """A database that knows both bundles."""
    on_record(database, MADE, demonstration=True)
    on_record(database, TRAINED, demonstration=False)
    return database


def on_record(db: Database, digest: str, *, demonstration: bool) -> None:
    with db.transaction() as tx:
        manifest = {"provenance": {"demonstration": demonstration}}
        bundles.record(tx, digest=digest, name="b", version=digest[:2], manifest=manifest, now=at(0))


def in_use(db: Database, digest: str, seconds: float = 0) -> None:
    with db.transaction() as tx:
        heartbeats.beat(tx, Heartbeat("h/1/work", "work", NOW, at(seconds), detail={"digest": digest}))


def finished(db: Database, digest: str) -> None:
    job = running(db)
    with db.transaction() as tx:
        series.move(tx, series.get(tx, job.series_id), SeriesState.ANALYSED, now=at(2), actor="worker")
        results.record(tx, job, result(0.9), bundle_digest=digest, bundle="b", now=at(2))
        worklist.refresh(tx, STUDY, at(2))


def marked(db: Database) -> bool:
    with db.read() as tx:
        found = worklist.row(tx, STUDY)
        assert found is not None
        assert (STUDY in only_demonstrated(tx, [STUDY])) is found.demonstration
    return found.demonstration


@pytest.mark.parametrize(("made_by", "runs"), [(MADE, TRAINED), (TRAINED, MADE)])
def test_what_counts_is_the_bundle_that_made_the_result_and_not_the_one_in_use(
    db: Database, made_by: str, runs: str
) -> None:
    finished(db, made_by)
    in_use(db, runs)
    assert marked(db) is (made_by == MADE)


def test_the_newest_result_speaks(db: Database) -> None:
    job = running(db)
    with db.transaction() as tx:
        for digest in (MADE, TRAINED):
            results.record(tx, job, result(0.9), bundle_digest=digest, bundle="b", now=at(2))
        worklist.refresh(tx, STUDY, at(2))
    assert not marked(db)


def test_a_shadow_does_not_speak(db: Database) -> None:
    finished(db, TRAINED)
    with db.transaction() as tx:
        record = series.of_study(tx, STUDY)[0]
        tx.connection.execute(
            schema.results.insert().values(
                series_id=record.id, revision=9, bundle_digest=MADE, bundle="b", provisional=False, score=0.9,
                status=WorklistStatus.SUSPECTED, rule={}, subtypes={}, total_volume_ml=0.0, created_at=at(3),
                shadow=True,
            )
        )  # fmt: skip
    assert not marked(db)


def test_a_gate_that_finds_nothing_does_not_speak_in_a_row_that_stays_suspected(db: Database) -> None:
    finished(db, MADE)
    with db.transaction() as tx:
        record = series.move(tx, receive(tx, 2, now=at(3)), SeriesState.STABLE, now=at(3), actor="clock")
        jobs.add(tx, record, priority=1, deadline_at=at(3), now=at(3))
    job = claim(db, now=at(4))
    with db.transaction() as tx:
        results.put_provisional(tx, job, result(0.1, provisional=True), bundle_digest=TRAINED, bundle="b", now=at(4))
        assert worklist.refresh(tx, STUDY, at(4)).status is WorklistStatus.SUSPECTED
    assert marked(db)


@pytest.mark.parametrize("runs", [MADE, TRAINED])
def test_a_row_without_a_result_goes_by_the_bundle_in_use(db: Database, runs: str) -> None:
    queued(db)
    in_use(db, runs)
    with db.transaction() as tx:
        assert worklist.refresh(tx, STUDY, at(1)).status is WorklistStatus.PENDING
    assert marked(db) is (runs == MADE)


def test_a_refusal_that_was_reported_keeps_the_bundle_that_refused(db: Database) -> None:
    with db.transaction() as tx:
        record = series.move(
            tx, receive(tx), SeriesState.UNUSABLE, now=at(1), actor="clock", reason=ReasonCode.GAP, detail="a gap"
        )
        results.record_undetermined(tx, record, ReasonCode.GAP, bundle_digest=MADE, bundle="b", now=at(1))
        assert worklist.refresh(tx, STUDY, at(1)).status is WorklistStatus.NOT_ANALYSED
    in_use(db, TRAINED)
    assert marked(db)


def test_a_bundle_that_is_not_on_record_is_not_called_a_demonstration(database: Database) -> None:
    analysed(database)
    assert not marked(database)
    on_record(database, DIGEST, demonstration=True)
    assert marked(database)


def test_a_page_of_many_rows_asks_no_more_often_than_a_page_of_one(db: Database) -> None:
    for number in range(1, 9):
        queued(db, study=f"{STUDY}.{number}", series_uid=f"{STUDY}.{number}.1", number=number)
        with db.transaction() as tx:
            worklist.refresh(tx, f"{STUDY}.{number}", at(1))
    in_use(db, MADE)
    # Of eight, so that both pages are full.
    assert statements_of_a_page(db, 1) == statements_of_a_page(db, 7)


def statements_of_a_page(db: Database, size: int) -> int:
    """How many statements a page takes whose rows are all marked."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    with db.read() as tx:
        event.listen(tx.connection, "before_cursor_execute", note)
        found = reading_list.page(tx, reading_list.EVERYTHING, at(1), size=size)
        event.remove(tx.connection, "before_cursor_execute", note)
    assert [study.row.demonstration for study in found.studies] == [True] * size
    assert statements
    return len(statements)


def test_what_it_costs_does_not_grow_with_the_list(sqlite_url: str, tmp_path: Path) -> None:
    db, blobs = Database(sqlite_url), FolderArea(tmp_path / "blobs")
    costs = []
    for seed, count in enumerate((40, 400)):
        many_studies.insert(db, blobs, count, now=NOW, seed=seed)
        with db.read() as tx:
            found = reading_list.page(tx, reading_list.EVERYTHING, NOW, size=25)
            costs.append(_steps(tx, [study.row.study_instance_uid for study in found.studies]))
    db.dispose()
    few, many = costs
    assert many < 2 * few, "asked for a page of studies, the database went through all of them"


def _steps(tx: Transaction, study_instance_uids: list[str]) -> int:
    """Tens of instructions that SQLite executes to tell which of the studies were only demonstrated."""
    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 1

    connection = tx.connection.connection.driver_connection
    assert connection is not None
    connection.set_progress_handler(count, 10)
    only_demonstrated(tx, study_instance_uids)
    connection.set_progress_handler(None, 0)
    return taken
