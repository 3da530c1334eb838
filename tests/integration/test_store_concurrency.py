"""Many threads at one database: every job once, every instance once, one chain, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from tests.stores import (
    NOW,
    STUDY,
    TIMINGS,
    analysed,
    at,
    claim,
    finish,
    header,
    logged,
    queued,
    receive,
    running,
)
from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.errors import StaleState
from triage.domain.lifecycle import DeliveryState, SeriesState
from triage.store import (
    associations,
    audit,
    deliveries,
    instances,
    jobs,
    reading_list,
    results,
    series,
    studies,
    worklist,
)
from triage.store.db import Database, Transaction

THREADS = 8


def together(count: int, act: Callable[[int], object]) -> list[object]:
    """Run ``act(0) .. act(count - 1)`` at the same moment; any exception is the test's."""
    barrier = threading.Barrier(count)

    def one(number: int) -> object:
        barrier.wait(30)
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def _verified(db: Database) -> int:
    with db.read() as tx:
        return audit.verify(tx)


def test_eight_workers_claim_each_of_two_hundred_jobs_once(database: Database) -> None:
    with database.transaction() as tx:
        for number in range(200):
            uid = f"2.25.{number}"
            record = receive(tx, study=uid, series_uid=f"{uid}.1")
            stable = series.move(tx, record, SeriesState.STABLE, now=NOW, actor="clock")
            jobs.add(tx, stable, priority=number % 3, deadline_at=at(number % 7), now=NOW)

    def work(number: int) -> list[int]:
        done = []
        while True:
            with database.transaction() as tx:
                job = jobs.claim(tx, owner=f"worker-{number}", now=NOW, lease_seconds=60)
            if job is None:
                return done
            with database.transaction() as tx:
                studies.lock(tx, job.study_instance_uid, now=NOW)
                jobs.succeed(tx, job, NOW)
            done.append(job.job_id)

    claimed = [job_id for done in together(THREADS, work) for job_id in done]
    assert len(claimed) == len(set(claimed)) == 200
    assert _verified(database) == 200 * 3  # series stable, job running, job succeeded


def test_senders_never_share_a_result_set(database: Database) -> None:
    for number in range(10):
        uid = f"2.25.{number}"
        finish(database, running(database, study=uid, series_uid=f"{uid}.1"), destinations=("pacs", "ward"))

    def send(number: int) -> list[tuple[str, str, int]]:
        destination, done, idle = ("pacs", "ward")[number % 2], [], 0
        while idle < 20:  # another destination's claim may hold the result for a moment
            with database.transaction() as tx:
                batch = deliveries.claim(tx, destination=destination, owner=f"s{number}", now=NOW, lease_seconds=60)
            if batch is None:
                idle += 1
                continue
            with database.transaction() as tx:
                for item in batch.objects:
                    deliveries.delivered(tx, batch, item.delivery_id, status=0, now=NOW)
            done.append((destination, batch.study_instance_uid, len(batch.objects)))
        return done

    sent = Counter(batch for done in together(THREADS, send) for batch in done)
    wanted = {(destination, f"2.25.{number}", 2) for destination in ("pacs", "ward") for number in range(10)}
    assert sent == Counter(wanted)


def test_one_uid_from_many_associations_is_stored_once(database: Database) -> None:
    def bring(number: int) -> bool:
        with database.transaction() as tx:
            associations.open(tx, f"a{number}", "listener-1", "SENDER", "ICHTRIAGE", "127.0.0.1", NOW)
            studies.lock(tx, STUDY, now=NOW)
            if instances.find(tx, header(1).sop_instance_uid) is not None:
                return False
            receive(tx, 1, association=f"a{number}")
            return True

    assert Counter(together(THREADS, bring)) == Counter({False: THREADS - 1, True: 1})


def test_one_uid_under_two_studies_is_stored_once(database: Database) -> None:
    sop_instance_uid = "2.25.5"

    def bring(number: int) -> bool:
        with database.transaction() as tx:
            head = header(1, study=f"1.{number}", series_uid=f"1.{number}.1", sop_instance_uid=sop_instance_uid)
            associations.open(tx, f"a{number}", "listener-1", "SENDER", "ICHTRIAGE", "127.0.0.1", NOW)
            studies.lock(tx, head.study_instance_uid, now=NOW)
            record = series.receive(tx, head, candidate=True, now=NOW, timings=TIMINGS).series
            filed = {"digest": "d", "blob_key": f"00/{number}", "size_bytes": 1, "association_id": f"a{number}"}
            if not instances.add(tx, head, series=record, now=NOW, **filed):
                raise StaleState("the other was first")
            return True

    def outcome(number: int) -> bool:
        try:
            return bring(number)
        except StaleState:
            return False

    assert Counter(together(THREADS, outcome)) == Counter({False: THREADS - 1, True: 1})
    with database.read() as tx:
        kept = instances.find(tx, sop_instance_uid)
        assert kept is not None
        assert len(series.of_study(tx, kept.header.study_instance_uid)) == 1


def test_a_series_from_four_associations_is_one_series(database: Database) -> None:
    def bring(number: int) -> int:
        for slice_number in range(number * 10, number * 10 + 10):
            with database.transaction() as tx:
                record = receive(tx, slice_number, association=f"a{number}", now=at(slice_number / 100))
        with database.transaction() as tx:
            carried = associations.end(tx, f"a{number}", how="released", now=at(5))
            series.pull_deadline(tx, carried, at(6.5))
        return record.id

    (series_id,) = set(together(4, bring))
    with database.read() as tx:
        assert len(instances.of_series(tx, series_id)) == 40
        record = series.get(tx, series_id)
        assert (record.revision, record.assemble_at) == (1, at(6.5))
        assert series.arrival(tx, record).released_at == at(5)
    received = [record.event.detail["instances"] for record in logged(database, AuditAction.INSTANCES_RECEIVED)]
    assert received == [10] * 4


def test_clocks_take_each_due_series_once(database: Database) -> None:
    with database.transaction() as tx:
        for number in range(40):
            receive(tx, study=f"2.25.{number}", series_uid=f"2.25.{number}.1")

    def look(number: int) -> list[int]:
        done = []
        while True:
            with database.transaction() as tx:
                record = series.claim_due(tx, at(60))
                if record is None:
                    return done
                series.move(tx, record, SeriesState.STABLE, now=at(60), actor=f"clock-{number}")
                done.append(record.id)

    taken = [series_id for done in together(4, look) for series_id in done]
    assert len(taken) == len(set(taken)) == 40


def test_audited_steps_of_many_threads_make_one_chain(database: Database) -> None:
    def act(number: int) -> None:
        for step in range(20):
            with database.transaction() as tx:
                tx.audit(AuditEvent(at=at(step), actor=f"t{number}", action=AuditAction.JOB_MOVED))
                tx.audit(AuditEvent(at=at(step), actor=f"t{number}", action=AuditAction.SERIES_MOVED))

    together(THREADS, act)
    assert _verified(database) == THREADS * 40


def test_a_late_slice_and_a_finishing_worker_never_both_win(database: Database) -> None:
    for round_number in range(10):
        uid = f"2.25.{round_number}"
        job = running(database, study=uid, series_uid=f"{uid}.1")
        outcomes: dict[str, bool] = {}

        def act(number: int, uid: str = uid, job=job, outcomes: dict[str, bool] = outcomes) -> None:
            if number == 0:
                with database.transaction() as tx:
                    receive(tx, 2, study=uid, series_uid=f"{uid}.1", now=at(1))
                return
            try:
                finish(database, job)
            except StaleState:
                outcomes["finished"] = False
            else:
                outcomes["finished"] = True

        together(2, act)
        with database.read() as tx:
            (record,) = series.of_study(tx, uid)
            (kept,) = jobs.of_study(tx, uid)
            latest = results.latest(tx, record.id)
        assert (record.state, record.revision) == (SeriesState.RECEIVING, 2)
        assert kept.state.value == ("succeeded" if outcomes["finished"] else "cancelled")
        assert (latest is not None) is outcomes["finished"]


def _churn(db: Database, study: str, number: int) -> None:
    """Everything that happens to a study, in the order of a busy afternoon."""
    for step in range(4):
        now = at(100 * step + number)
        with db.transaction() as tx:
            receive(
                tx, 100 * number + step, study=study, series_uid=f"{study}.{number}", association=f"{number}", now=now
            )
            worklist.refresh(tx, study, now)
        with db.transaction() as tx:
            record = series.claim_due(tx, at(10000))
            if record is not None:
                stable = series.move(tx, record, SeriesState.STABLE, now=now, actor="clock")
                jobs.add(tx, stable, priority=1, deadline_at=now, now=now)
                worklist.refresh(tx, record.study_instance_uid, now)
        with db.transaction() as tx:
            job = jobs.claim(tx, owner=f"w{number}", now=now, lease_seconds=0)
        if job is not None:
            with contextlib.suppress(StaleState):
                finish(db, job, now=now, kinds=("SR",))
        with db.transaction() as tx:
            batch = deliveries.claim(tx, destination="pacs", owner=f"s{number}", now=now, lease_seconds=60)
            for item in batch.objects if batch else ():
                deliveries.delivered(tx, batch, item.delivery_id, status=0, now=now)
        _sweep(db, now)


def _sweep(db: Database, now) -> None:
    with db.read() as tx:
        lapsed = {job.study_instance_uid for job in jobs.lapsed(tx, now)}
    for study in lapsed:
        with db.transaction() as tx:
            studies.lock(tx, study, now=now)
            jobs.requeue_lapsed(tx, study, now=now, max_attempts=100)
    with db.transaction() as tx:
        deliveries.requeue_lapsed(tx, now)


def test_everything_at_once_never_deadlocks(database: Database) -> None:
    """The order of locks in ``triage.store.db`` holds: a deadlock would be a StoreUnavailable here."""
    together(THREADS, lambda number: _churn(database, f"2.25.{number % 2}", number))
    assert _verified(database) > 0
    with database.read() as tx:
        assert len(list(reading_list.every(tx, NOW))) == 2


@pytest.mark.parametrize("end", ["commit", "roll back"])
@pytest.mark.parametrize("now", [at(30), at(3630)], ids=["in time", "late"])
def test_a_claim_steps_over_what_another_holds(database: Database, end: str, now: datetime) -> None:
    """PostgreSQL only: SQLite has one writer at a time, and the second one waits."""
    if database.is_sqlite:
        return
    first = queued(database, study="1.1", series_uid="1.1.1")
    second = queued(database, study="1.2", series_uid="1.2.1")
    if now > at(600):  # the newest first
        first, second = second, first

    def hold(tx: Transaction) -> None:
        held = jobs.claim(tx, owner="w1", now=now, lease_seconds=60)
        with database.transaction() as other:
            stepped = jobs.claim(other, owner="w2", now=now, lease_seconds=60)
            assert jobs.claim(other, owner="w2", now=now, lease_seconds=60) is None
        assert (held.series_id, stepped.series_id) == (first.id, second.id)
        if end == "roll back":
            raise InterruptedError

    try:
        with database.transaction() as tx:
            hold(tx)
    except InterruptedError:
        assert claim(database, now=now).series_id == first.id


def test_a_sender_steps_over_a_result_that_another_is_claiming(database: Database) -> None:
    if database.is_sqlite:
        return
    analysed(database)
    asked = {"destination": "pacs", "now": NOW, "lease_seconds": 60}
    with database.transaction() as tx:
        assert deliveries.claim(tx, owner="s1", **asked) is not None
        with database.transaction() as other:
            assert deliveries.claim(other, owner="s2", **asked) is None
    with database.read() as tx:
        assert {record.state for record in deliveries.of_study(tx, STUDY)} == {DeliveryState.SENDING}
