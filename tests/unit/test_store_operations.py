"""What the operations page counts, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.stores import DIGEST, NOW, STUDY, analysed, at, batch, claim, finish, queued, receive, result, running
from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.domain.lifecycle import DeliveryState, JobState, SeriesState
from triage.store import deliveries, jobs, operations, results, series, worklist
from triage.store.db import Database

LONG_AGO = NOW - timedelta(days=30)


def study(number: int) -> dict[str, str]:
    return {"study": f"2.25.{number}", "series_uid": f"2.25.{number}.1"}


def test_the_queue_is_counted_by_state_with_its_oldest(database: Database) -> None:
    analysed(database, now=at(0))
    running(database, now=at(10), **study(2))
    for number, seconds in ((3, 30.0), (4, 20.0)):
        queued(database, now=at(seconds), **study(number))
    with database.read() as tx:
        assert operations.oldest_queued_at(tx) == at(20)
        assert operations.queue(tx, LONG_AGO) == [
            (JobState.QUEUED, 2, at(20)),
            (JobState.RUNNING, 1, at(10)),
            (JobState.SUCCEEDED, 1, at(0)),
        ]
        assert [row.state for row in operations.queue(tx, at(5))] == [JobState.QUEUED, JobState.RUNNING]


def test_an_empty_database_has_nothing_to_say(database: Database) -> None:
    with database.read() as tx:
        assert operations.oldest_queued_at(tx) is None
        assert operations.queue(tx, LONG_AGO) == operations.sent(tx) == operations.intake_mix(tx, LONG_AGO, 5) == []
        assert operations.flag_times(tx, LONG_AGO) == []
        assert operations.bytes_received(tx, LONG_AGO) == 0
        assert operations.refusals(tx, LONG_AGO) == {"instance_conflict": 0}


def test_deliveries_are_counted_and_the_last_error_of_what_did_not_arrive_is_told(database: Database) -> None:
    analysed(database, now=at(0), destinations=("pacs", "ris"))
    one = batch(database, now=at(5))
    with database.transaction() as tx:
        first, second = (item.delivery_id for item in one.objects)
        deliveries.delivered(tx, one, first, status=0, now=at(6))
        deliveries.refused(tx, one, second, error="No such class.", status=0x0122, now=at(7))
    with database.read() as tx:
        assert operations.sent(tx) == [
            ("pacs", DeliveryState.DELIVERED, 1, at(6)),
            ("pacs", DeliveryState.FAILED, 1, at(7)),
            ("ris", DeliveryState.PENDING, 2, at(0)),
        ]
        assert operations.last_errors(tx) == {"pacs": ("pacs", "No such class.", at(7))}


def test_a_result_that_is_older_than_a_late_instance_does_not_count(database: Database) -> None:
    analysed(database, now=at(0))
    with database.read() as tx:
        (found,) = operations.flag_times(tx, LONG_AGO)
        assert found.seconds == pytest.approx(0.0, abs=1e-3)
        assert found.suspected
        assert found.received_seconds == pytest.approx(NOW.timestamp(), abs=1e-3)
    with database.transaction() as tx:
        receive(tx, 2, now=at(100))
        worklist.refresh(tx, STUDY, at(100))
    with database.read() as tx:
        assert operations.flag_times(tx, LONG_AGO) == []


def test_a_gate_that_finds_nothing_does_not_count_for_an_earlier_flag(database: Database) -> None:
    analysed(database, now=at(0))
    with database.transaction() as tx:
        record = series.move(tx, receive(tx, 2, now=at(100)), SeriesState.STABLE, now=at(100), actor="clock")
        jobs.add(tx, record, priority=1, deadline_at=at(100), now=at(100))
    job = claim(database, now=at(101))
    with database.transaction() as tx:
        gate = result(0.1, provisional=True)
        results.put_provisional(tx, job, gate, bundle_digest=DIGEST, bundle="demo 1", now=at(102))
        assert worklist.refresh(tx, STUDY, at(102)).status is WorklistStatus.SUSPECTED
    with database.read() as tx:
        assert operations.flag_times(tx, LONG_AGO) == []


def test_a_series_that_a_person_had_analysed_anew_says_nothing_of_how_long_a_flag_takes(database: Database) -> None:
    job = running(database, now=at(0))
    finish(database, job, now=at(4))
    with database.read() as tx:
        assert [round(one.seconds) for one in operations.flag_times(tx, LONG_AGO)] == [4]
    with database.transaction() as tx:
        begun = series.begin_again(tx, series.get(tx, job.series_id), why="Anew.", now=at(9000), actor="person")
        jobs.add(tx, begun, priority=2, deadline_at=at(9000), now=at(9000))
    finish(database, claim(database, now=at(9001)), now=at(9004))
    with database.read() as tx:
        assert operations.flag_times(tx, LONG_AGO) == []


def test_a_result_that_took_seconds_is_told_so_and_old_studies_do_not_count(database: Database) -> None:
    finish(database, running(database, now=at(0)), now=at(4.25))
    finish(database, running(database, now=at(10), **study(2)), now=at(12), score=0.1)
    with database.read() as tx:
        found = operations.flag_times(tx, LONG_AGO)
        assert {one.suspected: round(one.seconds, 3) for one in found} == {True: 4.25, False: 2.0}
        assert [round(one.seconds, 3) for one in operations.flag_times(tx, at(5))] == [2.0]
        assert operations.status_counts(tx, LONG_AGO) == {
            WorklistStatus.SUSPECTED: 1,
            WorklistStatus.NOT_SUSPECTED: 1,
        }


def test_the_intake_is_counted_by_scanner_and_by_its_size(database: Database) -> None:
    for number in (1, 2, 3):
        finish(database, running(database, now=at(number), **study(number)), now=at(number))
    with database.read() as tx:
        (origin,) = operations.intake_mix(tx, LONG_AGO, 5)
        assert origin.total == 3
        assert operations.bytes_received(tx, LONG_AGO) == 3000
        assert operations.bytes_received(tx, at(1.5)) == 2000


def test_what_was_not_taken_in_is_counted_by_kind(database: Database) -> None:
    with database.transaction() as tx:
        for seconds in (-100, 1, 2):
            tx.audit(AuditEvent(at(seconds), "listener", AuditAction.ASSOCIATION_REFUSED))
        tx.audit(AuditEvent(at(3), "listener", AuditAction.INSTANCE_IGNORED))
    with database.read() as tx:
        assert operations.refusals(tx, at(0)) == {
            "association_refused": 2,
            "instance_ignored": 1,
            "instance_conflict": 0,
        }


def test_a_job_that_failed_counts_until_a_later_revision_overtakes_it(database: Database) -> None:
    job = running(database, now=at(0))
    with database.transaction() as tx:
        jobs.give_back(tx, job, error="No.", now=at(1), not_before=at(1), max_attempts=1)
        failed, why = series.get(tx, job.series_id), ReasonCode.FAILED
        series.move(tx, failed, SeriesState.UNUSABLE, now=at(1), actor="worker", reason=why)
    with database.read() as tx:
        assert operations.queue(tx, LONG_AGO) == operations.queue(tx, at(9000)) == [(JobState.FAILED, 1, at(0))]
        assert jobs.any_failed(tx, STUDY)
    finish(database, running(database, number=2, now=at(100)), now=at(101))
    with database.read() as tx:
        assert operations.queue(tx, LONG_AGO) == [(JobState.SUCCEEDED, 1, at(100))]
        assert operations.queue(tx, at(9000)) == []
        assert not jobs.any_failed(tx, STUDY)
