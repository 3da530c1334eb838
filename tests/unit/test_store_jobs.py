"""Jobs: who gets which, for how long, and how often."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.stores import NOW, STUDY, at, claim, finish, logged, moves, queued, receive, running
from triage.domain.audit import AuditAction, Outcome
from triage.domain.errors import StaleState
from triage.domain.lifecycle import JobState, SeriesState
from triage.domain.work import ClaimedJob
from triage.store import jobs, series
from triage.store.db import Database


def _add(db: Database, number: int, priority: int, deadline: float) -> int:
    uid = f"2.25.{number}"
    with db.transaction() as tx:
        record = receive(tx, number, study=uid, series_uid=f"{uid}.1")
        stable = series.move(tx, record, SeriesState.STABLE, now=NOW, actor="clock")
        return jobs.add(tx, stable, priority=priority, deadline_at=at(deadline), now=NOW)


def _state(db: Database) -> jobs.JobRecord:
    with db.read() as tx:
        (record,) = jobs.of_study(tx, STUDY)
    return record


def _give_back(db: Database, job: ClaimedJob, *, now: float = 1, wait: float = 5, max_attempts: int = 3) -> JobState:
    with db.transaction() as tx:
        return jobs.give_back(
            tx, job, error="It broke.", now=at(now), not_before=at(now + wait), max_attempts=max_attempts
        )


CATCHING_UP, OLDEST_FIRST = at(2 * 3600 + 30), at(2 * 3600)
"""Two hours later: in the middle of a minute, and at its beginning."""
NEW = 2 * 3600


def _order(db: Database, keys: list[tuple[int, float]], now: datetime) -> list[int]:
    """The jobs of these priorities and deadlines, by their place in the list, as they are claimed one after another."""
    added = {_add(db, number, *key): number for number, key in enumerate(keys)}
    claimed = [added[claim(db, now=now).job_id] for _ in keys]
    with db.transaction() as tx:
        assert not jobs.any_due(tx, now)
        assert jobs.claim(tx, owner="w", now=now, lease_seconds=1) is None
    return claimed


@pytest.mark.parametrize("now", [NOW, at(30)])
def test_claims_go_by_priority_then_deadline_then_age(database: Database, now: datetime) -> None:
    assert _order(database, [(1, 5), (0, 90), (1, 2), (1, 2), (2, 0)], now) == [1, 2, 3, 0, 4]


def test_after_an_outage_what_is_new_goes_first_and_then_the_newest(database: Database) -> None:
    late = [(1, 0.0), (1, 1800.0), (1, 3600.0), (1, 3600.0)]
    new = [(1, NEW - 5.0), (1, NEW - 300.0)]
    assert _order(database, [*late, *new], CATCHING_UP) == [5, 4, 3, 2, 1, 0]


def test_a_late_job_goes_before_a_new_one_of_less_priority(database: Database) -> None:
    assert _order(database, [(2, NEW - 5.0), (1, 0.0), (0, 10.0), (2, 0.0)], CATCHING_UP) == [2, 1, 0, 3]


def test_at_the_beginning_of_each_minute_the_oldest_has_its_turn(database: Database) -> None:
    assert _order(database, [(1, 1800.0), (1, 0.0), (1, NEW - 5.0), (0, 3600.0)], OLDEST_FIRST) == [3, 1, 0, 2]


@pytest.mark.parametrize(("deadline", "goes"), [(NEW + 30 - 600.0, 0), (NEW + 30 - 600.1, 1)])
def test_a_job_is_late_when_its_study_rises_in_the_list(database: Database, deadline: float, goes: int) -> None:
    assert _order(database, [(1, deadline), (1, NEW)], CATCHING_UP)[0] == goes


def test_a_claim_says_what_to_do_and_until_when(database: Database) -> None:
    stable = queued(database)
    job = claim(database, now=at(3))
    assert (job.series_id, job.series_instance_uid) == (stable.id, stable.series_instance_uid)
    assert (job.study_instance_uid, job.revision, job.attempt) == (STUDY, 1, 1)
    assert job.lease_until == at(3) + timedelta(seconds=15)
    record = _state(database)
    assert (record.state, record.lease_owner, record.started_at) == (JobState.RUNNING, "worker-1", at(3))
    assert moves(database, AuditAction.JOB_MOVED) == [("queued", "running")]
    assert logged(database, AuditAction.JOB_MOVED)[0].event.actor == "worker-1"


def test_a_series_has_one_job_in_work(database: Database) -> None:
    stable = queued(database)
    for _ in range(2):
        with pytest.raises(StaleState, match="in work already"), database.transaction() as tx:
            jobs.add(tx, stable, priority=1, deadline_at=NOW, now=NOW)
        with database.transaction() as tx:
            jobs.claim(tx, owner="w", now=NOW, lease_seconds=15)


def test_a_finished_job_leaves_room_for_the_next(database: Database) -> None:
    finish(database, running(database))
    with database.transaction() as tx:
        again = receive(tx, 2, now=at(60))
        stable = series.move(tx, again, SeriesState.STABLE, now=at(70), actor="clock")
        jobs.add(tx, stable, priority=1, deadline_at=at(70), now=at(70))
    assert claim(database, now=at(71)).revision == 2


def test_a_lease_can_be_kept(database: Database) -> None:
    job = running(database)
    with database.transaction() as tx:
        kept = jobs.renew(tx, job, at(30))
        assert kept.lease_until == at(30)
        assert jobs.lapsed(tx, at(29)) == []
        assert [lapsed.job_id for lapsed in jobs.lapsed(tx, at(31))] == [job.job_id]


def test_success_is_final(database: Database) -> None:
    job = running(database)
    with database.transaction() as tx:
        jobs.succeed(tx, job, at(4))
    record = _state(database)
    assert (record.state, record.finished_at, record.lease_until) == (JobState.SUCCEEDED, at(4), None)
    for act in (
        lambda tx: jobs.succeed(tx, job, at(5)),
        lambda tx: jobs.renew(tx, job, at(5)),
        lambda tx: jobs.give_back(tx, job, error="", now=at(5), not_before=at(5), max_attempts=9),
    ):
        with pytest.raises(StaleState, match="lease"), database.transaction() as tx:
            act(tx)


def test_a_job_given_back_waits_and_counts_its_attempts(database: Database) -> None:
    job = running(database)
    assert _give_back(database, job) is JobState.QUEUED
    with database.transaction() as tx:
        assert not jobs.any_due(tx, at(5))
        assert jobs.claim(tx, owner="w", now=at(5), lease_seconds=15) is None
    second = claim(database, now=at(6))
    assert (second.attempt, second.job_id) == (2, job.job_id)
    assert second.lease != job.lease
    assert _give_back(database, second, now=7, max_attempts=2) is JobState.FAILED
    record = _state(database)
    assert (record.error, record.finished_at, record.not_before) == ("It broke.", at(7), None)
    outcomes = [entry.event.outcome for entry in logged(database, AuditAction.JOB_MOVED)]
    assert outcomes == [Outcome.SUCCESS, Outcome.MINOR_FAILURE, Outcome.SUCCESS, Outcome.SERIOUS_FAILURE]


@pytest.mark.parametrize(("waited", "pause"), [(3, 1), (200, 20), (9000, 60)])
def test_a_job_put_back_has_lost_no_attempt_and_is_due_again_the_later_the_longer_it_waited(
    database: Database, waited: float, pause: float
) -> None:
    queued(database)
    job = claim(database, now=at(waited))
    with database.transaction() as tx:
        jobs.put_back(tx, job, why="The file area did not answer.", now=at(waited))
    record = _state(database)
    assert (record.state, record.attempt, record.lease_until) == (JobState.QUEUED, 0, None)
    assert (record.error, record.not_before) == ("The file area did not answer.", at(waited + pause))
    with pytest.raises(StaleState, match="lease"), database.transaction() as tx:
        jobs.put_back(tx, job, why="", now=at(waited))


def test_a_lapsed_lease_goes_to_the_next_worker_and_the_first_one_finds_out(database: Database) -> None:
    job = running(database)
    with database.transaction() as tx:
        assert jobs.requeue_lapsed(tx, STUDY, now=at(14), max_attempts=3) == []
        (again,) = jobs.requeue_lapsed(tx, STUDY, now=at(16), max_attempts=3)
    assert (again.state, again.series_id, again.attempt) == (JobState.QUEUED, job.series_id, 1)
    assert again.error is not None
    claim(database, now=at(16))
    with pytest.raises(StaleState, match="lease"), database.transaction() as tx:
        jobs.succeed(tx, job, at(17))
    assert moves(database, AuditAction.JOB_MOVED)[1:] == [("running", "queued"), ("queued", "running")]


def test_a_job_that_kills_its_workers_fails_in_the_end(database: Database) -> None:
    queued(database)
    for attempt in range(3):
        claim(database, now=at(100 * attempt))
        with database.transaction() as tx:
            (record,) = jobs.requeue_lapsed(tx, STUDY, now=at(100 * attempt + 50), max_attempts=3)
    assert (record.state, record.attempt) == (JobState.FAILED, 3)
    with database.read() as tx:
        assert not jobs.any_due(tx, at(10000))


def test_lapsed_jobs_of_other_studies_are_left_alone(database: Database) -> None:
    running(database)
    with database.transaction() as tx:
        assert jobs.requeue_lapsed(tx, "1.2.3", now=at(99), max_attempts=3) == []


def test_cancelling_takes_a_job_from_queue_or_worker(database: Database) -> None:
    job = running(database)
    with database.transaction() as tx:
        assert jobs.cancel_queued(tx, job.series_id, why="a better one", now=at(1), actor="clock") == 0
        assert jobs.cancel_live(tx, job.series_id, why="a late slice", now=at(1), actor="listener") == 1
        assert jobs.cancel_live(tx, job.series_id, why="again", now=at(1), actor="listener") == 0
    record = _state(database)
    assert (record.state, record.error, record.finished_at) == (JobState.CANCELLED, "a late slice", at(1))
    with pytest.raises(StaleState), database.transaction() as tx:
        jobs.renew(tx, job, at(30))
    assert logged(database, AuditAction.JOB_MOVED)[-1].event.detail["reason"] == "a late slice"


def test_a_job_that_nobody_has_yet_steps_back(database: Database) -> None:
    stable = queued(database)
    with database.transaction() as tx:
        assert jobs.cancel_queued(tx, stable.id, why="a better one", now=at(1), actor="clock") == 1
        assert not jobs.any_due(tx, at(2))


def test_only_a_failed_job_of_that_revision_is_tried_again(database: Database) -> None:
    job = running(database)
    with database.transaction() as tx:
        assert not jobs.retry_failed(tx, job.series_id, 1, as_revision=1, actor="ada", now=at(2))
    _give_back(database, job, max_attempts=1)
    with database.transaction() as tx:
        assert not jobs.retry_failed(tx, job.series_id, 2, as_revision=2, actor="ada", now=at(2))
        assert jobs.retry_failed(tx, job.series_id, 1, as_revision=2, actor="ada", now=at(2))
    again = claim(database, now=at(3))
    assert (again.job_id, again.attempt, again.revision) == (job.job_id, 1, 2)
