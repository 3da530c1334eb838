"""Series: revisions, the deadline in its column, and who has hung up."""

from __future__ import annotations

import pytest

from tests.stores import NOW, SERIES, STUDY, TIMINGS, at, header, logged, moves, queued, receive, running
from triage.domain.audit import AuditAction, Outcome
from triage.domain.errors import NotFound, StaleState
from triage.domain.finding import ReasonCode
from triage.domain.lifecycle import JobState, SeriesState
from triage.store import associations, jobs, series, studies
from triage.store.db import Database


def test_the_first_instance_makes_the_series(database: Database) -> None:
    with database.transaction() as tx:
        record = receive(tx, candidate=False)
    assert record.study_instance_uid == STUDY
    assert record.series_instance_uid == SERIES
    assert (record.state, record.revision, record.reason, record.candidate) == (SeriesState.RECEIVING, 1, None, False)
    assert record.received_at == record.first_received_at == record.last_received_at == NOW
    assert record.assemble_at == at(TIMINGS.quiet_seconds)
    assert moves(database, AuditAction.SERIES_MOVED) == []
    with database.read() as tx:
        assert series.get(tx, record.id) == record


def test_every_instance_puts_the_deadline_off_up_to_the_longest_wait(database: Database) -> None:
    with database.transaction() as tx:
        receive(tx, 1)
        second = receive(tx, 2, now=at(4))
        late = receive(tx, 3, now=at(115))
        back_in_time = receive(tx, 4, now=at(100))
    assert second.assemble_at == at(4 + TIMINGS.quiet_seconds)
    assert late.assemble_at == at(TIMINGS.max_wait_seconds)
    assert back_in_time.last_received_at == at(115)
    assert late.first_received_at == NOW


def test_one_candidate_instance_makes_a_candidate_series(database: Database) -> None:
    with database.transaction() as tx:
        assert not receive(tx, 1, candidate=False).candidate
        assert receive(tx, 2, candidate=True).candidate
        assert receive(tx, 3, candidate=False).candidate


def test_two_studies_may_use_one_series_uid(database: Database) -> None:
    with database.transaction() as tx:
        first = receive(tx, 1, study="1.1")
        second = receive(tx, 2, study="1.2")
    assert first.id != second.id


def test_a_late_instance_opens_the_next_revision_and_cancels_the_work(database: Database) -> None:
    job = running(database)
    with database.transaction() as tx:
        late = receive(tx, 2, now=at(60))
    assert (late.state, late.revision) == (SeriesState.RECEIVING, 2)
    assert (late.received_at, late.first_received_at, late.last_received_at) == (NOW, at(60), at(60))
    assert late.assemble_at == at(60 + TIMINGS.quiet_seconds)
    with database.read() as tx:
        (cancelled,) = jobs.of_study(tx, STUDY)
    assert cancelled.state is JobState.CANCELLED
    assert cancelled.error == "Revision 2 has begun to arrive."
    with pytest.raises(StaleState), database.transaction() as tx:
        jobs.succeed(tx, job, at(61))
    event = logged(database, AuditAction.SERIES_MOVED)[-1].event
    assert (event.actor, event.detail["from"], event.detail["revision"]) == ("listener", "stable", 2)


def test_a_late_instance_clears_the_reason(database: Database) -> None:
    with database.transaction() as tx:
        record = receive(tx)
        ended = series.move(
            tx, record, SeriesState.UNUSABLE, now=NOW, actor="clock", reason=ReasonCode.GAP, detail="One is missing."
        )
        assert (ended.reason, ended.detail, ended.assemble_at) == (ReasonCode.GAP, "One is missing.", None)
        again = receive(tx, 2, now=at(9))
    assert (again.reason, again.detail, again.revision) == (None, None, 2)
    first, second = (record.event for record in logged(database, AuditAction.SERIES_MOVED))
    assert first.outcome is Outcome.MINOR_FAILURE
    assert first.detail["reason"] == "gap"
    assert second.outcome is Outcome.SUCCESS


def test_a_move_from_an_old_look_is_stale(database: Database) -> None:
    with database.transaction() as tx:
        record = receive(tx)
        series.move(tx, record, SeriesState.STABLE, now=NOW, actor="clock")
    with pytest.raises(StaleState, match="moved on"), database.transaction() as tx:
        series.move(tx, record, SeriesState.PASSED_OVER, now=NOW, actor="clock")
    assert moves(database, AuditAction.SERIES_MOVED) == [("receiving", "stable")]


def test_a_move_of_an_older_revision_is_stale(database: Database) -> None:
    old = queued(database)
    with database.transaction() as tx:
        again = receive(tx, 2, now=at(60))
        series.move(tx, again, SeriesState.STABLE, now=at(70), actor="clock")
    with pytest.raises(StaleState), database.transaction() as tx:
        series.move(tx, old, SeriesState.ANALYSED, now=at(71), actor="worker")


def test_moves_that_make_no_sense_are_refused(database: Database) -> None:
    stable = queued(database)
    with database.transaction() as tx:
        with pytest.raises(ValueError, match="has a reason"):
            series.move(tx, stable, SeriesState.UNUSABLE, now=NOW, actor="clock")
        with pytest.raises(ValueError, match="no other has one"):
            series.move(tx, stable, SeriesState.ANALYSED, now=NOW, actor="clock", reason=ReasonCode.GAP)
        with pytest.raises(ValueError, match="only a new instance"):
            series.move(tx, stable, SeriesState.RECEIVING, now=NOW, actor="clock")


def test_only_what_is_due_is_claimed_the_longest_overdue_first(database: Database) -> None:
    with database.transaction() as tx:
        receive(tx, study="1.1", series_uid="1.1.1", now=at(3))
        receive(tx, study="1.2", series_uid="1.2.1", now=NOW)
        assert not series.any_due(tx, at(9.9))
        assert series.claim_due(tx, at(9.9)) is None
        assert series.any_due(tx, at(10))
        assert series.claim_due(tx, at(10)).study_instance_uid == "1.2"
        first = series.claim_due(tx, at(60))
        assert first.study_instance_uid == "1.2"
        series.move(tx, first, SeriesState.STABLE, now=at(60), actor="clock")
        assert series.claim_due(tx, at(60)).study_instance_uid == "1.1"


def test_the_clock_can_be_told_to_look_again(database: Database) -> None:
    with database.transaction() as tx:
        record = receive(tx)
        series.look_again(tx, record.id, at(50))
        assert series.claim_due(tx, at(49)) is None
        assert series.claim_due(tx, at(50)).id == record.id


def test_a_release_pulls_the_deadline_but_never_pushes_it(database: Database) -> None:
    with database.transaction() as tx:
        near = receive(tx, study="1.1", series_uid="1.1.1")
        far = receive(tx, study="1.2", series_uid="1.2.1", now=at(5))
        done = receive(tx, study="1.3", series_uid="1.3.1")
        series.move(tx, done, SeriesState.STABLE, now=at(1), actor="clock")
        series.pull_deadline(tx, [near.id, far.id, done.id], at(12))
        assert series.get(tx, near.id).assemble_at == at(10)
        assert series.get(tx, far.id).assemble_at == at(12)
        assert series.get(tx, done.id).assemble_at is None
        series.pull_deadline(tx, [], at(1))


def _ended(db: Database, association: str, how: str, seconds: float) -> None:
    with db.transaction() as tx:
        associations.end(tx, association, how=how, now=at(seconds))


def test_released_is_when_the_last_carrier_of_the_study_hung_up(database: Database) -> None:
    with database.transaction() as tx:
        record = receive(tx, 1, association="a1")
        receive(tx, 2, association="a2", series_uid=f"{STUDY}.2", now=at(1))
        receive(tx, 3, association="a3", study="1.9", series_uid="1.9.1")
        assert series.arrival(tx, record).released_at is None
    _ended(database, "a1", "released", 2)
    with database.read() as tx:
        assert series.arrival(tx, record).released_at is None
    _ended(database, "a2", "released", 5)
    with database.read() as tx:
        found = series.arrival(tx, record)
    assert (found.first_received_at, found.last_received_at, found.released_at) == (NOW, NOW, at(5))


@pytest.mark.parametrize("how", ["aborted", "lost"])
def test_a_carrier_that_broke_off_is_never_a_release(database: Database, how: str) -> None:
    with database.transaction() as tx:
        record = receive(tx, 1, association="a1")
        receive(tx, 2, association="a2")
    _ended(database, "a1", "released", 1)
    if how == "aborted":
        _ended(database, "a2", "aborted", 2)
    else:
        with database.transaction() as tx:
            associations.end_lost(tx, "listener-1", at(2))
    with database.read() as tx:
        assert series.arrival(tx, record).released_at is None


def test_only_carriers_of_the_current_revision_count(database: Database) -> None:
    with database.transaction() as tx:
        first = receive(tx, 1, association="a1")
        series.move(tx, first, SeriesState.STABLE, now=at(1), actor="clock")
    _ended(database, "a1", "aborted", 1)
    with database.transaction() as tx:
        second = receive(tx, 2, association="a2", now=at(60))
    _ended(database, "a2", "released", 61)
    with database.read() as tx:
        assert series.arrival(tx, second).released_at == at(61)


def test_the_series_of_a_study_come_in_the_order_of_their_arrival(database: Database) -> None:
    with database.transaction() as tx:
        for number, uid in enumerate(("2.9", "2.1", "2.5")):
            receive(tx, number, series_uid=uid)
        assert [record.series_instance_uid for record in series.of_study(tx, STUDY)] == ["2.9", "2.1", "2.5"]
        assert series.of_study(tx, "1.2") == []
        with pytest.raises(NotFound, match="12345"):
            series.get(tx, 12345)


def _fail(db: Database) -> None:
    job = running(db)
    with db.transaction() as tx:
        studies.lock(tx, STUDY, now=NOW)
        jobs.give_back(tx, job, error="No model.", now=at(1), not_before=at(2), max_attempts=1)
        record = series.get(tx, job.series_id)
        series.move(tx, record, SeriesState.UNUSABLE, now=at(1), actor="worker", reason=ReasonCode.FAILED)


def test_a_person_queues_a_failed_analysis_again(database: Database) -> None:
    _fail(database)
    with database.transaction() as tx:
        studies.lock(tx, STUDY, now=at(9))
        assert series.retry_failed(tx, STUDY, actor="ada", now=at(9)) == 1
        assert series.retry_failed(tx, STUDY, actor="ada", now=at(9)) == 0
        (record,) = series.of_study(tx, STUDY)
        (job,) = jobs.of_study(tx, STUDY)
    assert (record.state, record.reason) == (SeriesState.STABLE, None)
    assert (job.state, job.attempt, job.finished_at) == (JobState.QUEUED, 0, None)
    assert logged(database)[-1].event.actor == "ada"


def test_the_failed_job_of_an_older_revision_is_not_queued_again(database: Database) -> None:
    _fail(database)
    with database.transaction() as tx:
        again = receive(tx, 2, now=at(60))
        series.move(tx, again, SeriesState.UNUSABLE, now=at(61), actor="clock", reason=ReasonCode.GAP)
        assert series.retry_failed(tx, STUDY, actor="ada", now=at(70)) == 0


def test_a_study_keeps_its_first_accession_number(database: Database) -> None:
    from triage.store.schema import studies as table

    with database.transaction() as tx:
        for number in ("", "A1", "A2", ""):
            studies.lock(tx, STUDY, accession_number=number, now=NOW)
    with database.read() as tx:
        row = tx.connection.execute(table.select()).one()
    assert (row.accession_number, row.received_at, row.flagged_at) == ("A1", NOW, None)


def test_a_series_cannot_be_filed_without_its_study(database: Database) -> None:
    from sqlalchemy.exc import IntegrityError

    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), database.transaction() as tx:
        series.receive(tx, header(), candidate=True, now=NOW, timings=TIMINGS)
