"""Every state against every move, on rows of both databases: what is allowed happens and is audited, the rest not."""

from __future__ import annotations

import itertools
from enum import StrEnum
from typing import Any

import pytest
from sqlalchemy import Table, select, text
from sqlalchemy.exc import IntegrityError

from tests.stores import STUDY, analysed, at, batch, claim, finish, logged, queued, receive, running
from triage.domain.audit import AuditAction
from triage.domain.errors import StaleState
from triage.domain.finding import ReasonCode
from triage.domain.lifecycle import (
    DELIVERY_MOVES,
    JOB_MOVES,
    SERIES_MOVES,
    DeliveryState,
    JobState,
    SeriesState,
)
from triage.store import audit, deliveries, jobs, moves, series
from triage.store import schema as tables
from triage.store.db import Database

MACHINES: list[tuple[Table, type[StrEnum], Any]] = [
    (tables.series, SeriesState, SERIES_MOVES),
    (tables.jobs, JobState, JOB_MOVES),
    (tables.deliveries, DeliveryState, DELIVERY_MOVES),
]


def _set(db: Database, table: Table, state: StrEnum) -> int:
    """Put the only row of a table into a state behind the store's back, and return its number."""
    with db.transaction() as tx:
        return tx.connection.execute(table.update().values(state=state).returning(table.c.id)).scalar_one()


def _state(db: Database, table: Table) -> StrEnum:
    with db.read() as tx:
        return tx.connection.execute(select(table.c.state)).scalar_one()


@pytest.mark.parametrize(("table", "states", "allowed"), MACHINES, ids=lambda value: getattr(value, "name", None))
def test_a_guarded_move_does_what_the_table_allows_and_nothing_else(
    database: Database, table: Table, states: type[StrEnum], allowed: Any
) -> None:
    analysed(database, kinds=("SR",))
    for actual, start, to in itertools.product(states, states, states):
        row_id = _set(database, table, actual)
        with database.transaction() as tx:
            if to not in allowed[start]:
                with pytest.raises(ValueError, match="moves from"):
                    moves.move(tx, table, row_id, start, to, allowed)
            elif start is not actual:
                with pytest.raises(StaleState, match="somebody else"):
                    moves.move(tx, table, row_id, start, to, allowed)
            else:
                assert moves.move(tx, table, row_id, start, to, allowed).state is to
        moved = start is actual and to in allowed[start]
        assert _state(database, table) is (to if moved else actual)


def test_series_move_and_audit_together(database: Database) -> None:
    for number, (start, to) in enumerate(itertools.product(SeriesState, SeriesState)):
        uid = f"2.25.{number}"
        reason = ReasonCode.GAP if to is SeriesState.UNUSABLE else None
        with database.transaction() as tx:
            made = receive(tx, 1, study=uid, series_uid=f"{uid}.1")
            tx.connection.execute(tables.series.update().where(tables.series.c.id == made.id).values(state=start))
            seen = series.get(tx, made.id)
            if to is SeriesState.RECEIVING:
                moved = receive(tx, 2, study=uid, series_uid=f"{uid}.1", now=at(60))
                assert moved.revision == (1 if start is SeriesState.RECEIVING else 2)
            elif to in SERIES_MOVES[start]:
                moved = series.move(tx, seen, to, now=at(60), actor="clock", reason=reason)
            else:
                with pytest.raises(ValueError, match="moves from"):
                    series.move(tx, seen, to, now=at(60), actor="clock", reason=reason)
                moved = seen
            assert series.get(tx, made.id) == moved
        with database.read() as tx:
            audited = [record.event.detail for record in audit.records(tx, study_instance_uid=uid)]
        expected = [(start, to)] if moved.state is to and start is not to else []
        assert [(detail["from"], detail["to"]) for detail in audited] == expected


def series_of(db: Database) -> series.SeriesRecord:
    """The one series of the study."""
    with db.read() as tx:
        (record,) = series.of_study(tx, STUDY)
    return record


@pytest.mark.parametrize("table", [tables.series, tables.jobs, tables.deliveries], ids=lambda table: table.name)
def test_the_database_itself_knows_the_states(database: Database, table: Table) -> None:
    analysed(database, kinds=("SR",))
    with pytest.raises(IntegrityError, match=f"ck_{table.name}_state"), database.transaction() as tx:
        tx.connection.execute(text(f"UPDATE {table.name} SET state = 'somewhere'"))


def test_every_way_of_a_job_leaves_its_trace(database: Database) -> None:
    """queued, running, lapsed, running, given back, running, failed, a person, running, succeeded."""
    queued(database)
    claim(database, now=at(0))
    with database.transaction() as tx:
        jobs.requeue_lapsed(tx, STUDY, now=at(20), max_attempts=3)
    second = claim(database, now=at(20))
    with database.transaction() as tx:
        jobs.give_back(tx, second, error="e", now=at(21), not_before=at(21), max_attempts=3)
    third = claim(database, now=at(21))
    with database.transaction() as tx:
        jobs.give_back(tx, third, error="e", now=at(22), not_before=at(22), max_attempts=3)
        jobs.retry_failed(tx, third.series_id, 1, as_revision=1, actor="ada", now=at(23))
    finish(database, claim(database, now=at(24)), now=at(25))
    trace = [record.event.detail for record in logged(database, AuditAction.JOB_MOVED)]
    assert [f"{detail['from']}>{detail['to']}" for detail in trace] == [
        "queued>running",
        "running>queued",
        "queued>running",
        "running>queued",
        "queued>running",
        "running>failed",
        "failed>queued",
        "queued>running",
        "running>succeeded",
    ]
    assert [detail["attempt"] for detail in trace] == [1, 1, 2, 2, 3, 3, 0, 1, 1]


def test_every_way_of_a_delivery_leaves_its_trace(database: Database) -> None:
    """pending, sending, lapsed, sending, later, sending, refused, a person, sending, delivered."""
    analysed(database, kinds=("SR",))
    batch(database, now=at(0))
    with database.transaction() as tx:
        deliveries.requeue_lapsed(tx, at(20))
    again = batch(database, now=at(20))
    (item,) = again.objects
    with database.transaction() as tx:
        deliveries.later(tx, again, item.delivery_id, error="e", status=None, at=at(30), now=at(21))
    third = batch(database, now=at(30))
    with database.transaction() as tx:
        deliveries.refused(tx, third, item.delivery_id, error="e", status=0xA900, now=at(31))
        deliveries.retry_failed(tx, STUDY, actor="ada", now=at(40))
    last = batch(database, now=at(40))
    with database.transaction() as tx:
        deliveries.delivered(tx, last, item.delivery_id, status=0, now=at(41))
    trace = [record.event.detail for record in logged(database, AuditAction.DELIVERY_MOVED)]
    assert [f"{detail['from']}>{detail['to']}" for detail in trace] == [
        "pending>sending",
        "sending>pending",
        "pending>sending",
        "sending>pending",
        "pending>sending",
        "sending>failed",
        "failed>pending",
        "pending>sending",
        "sending>delivered",
    ]
    assert [detail["attempt"] for detail in trace] == [1, 1, 2, 2, 3, 3, 0, 1, 1]


def test_a_worker_that_was_killed_leaves_a_job_that_comes_back(database: Database) -> None:
    job = running(database)
    with database.read() as tx:
        assert [lapsed.job_id for lapsed in jobs.lapsed(tx, at(16))] == [job.job_id]
        assert not jobs.any_due(tx, at(16))
    with database.transaction() as tx:
        jobs.requeue_lapsed(tx, STUDY, now=at(16), max_attempts=3)
    finish(database, claim(database, now=at(16)), now=at(18))
    assert series_of(database).state is SeriesState.ANALYSED
