"""Put right what a killed process left behind: lapsed leases, open associations, files without a row."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.finding import ReasonCode
from triage.domain.lifecycle import JobState
from triage.services.refuse import RETRY, end_unusable
from triage.store import associations, deliveries, instances, jobs, series, studies, worklist
from triage.store.db import Database
from triage.store.file_area import FileArea

log = structlog.get_logger()

ORPHAN_AGE = timedelta(hours=1)
"""Younger files may belong to an instance that is being received, or to a result that is being committed."""


def requeue_lapsed(db: Database, now: datetime) -> int:
    """Take jobs and deliveries away from workers and senders that stopped renewing their lease."""
    with db.read() as tx:
        lapsed = jobs.lapsed(tx, now)
        stuck = deliveries.any_lapsed(tx, now)
    moved = 0
    for study_instance_uid in {job.study_instance_uid for job in lapsed}:
        with db.transaction() as tx:
            studies.lock(tx, study_instance_uid, now=now)
            for job in jobs.requeue_lapsed(tx, study_instance_uid, now=now, max_attempts=RETRY.max_attempts):
                moved += 1
                log.warning("job_lease_lapsed", series_instance_uid=job.series_instance_uid, state=job.state.value)
                if job.state is JobState.FAILED:
                    end_unusable(
                        tx,
                        job.series_id,
                        ReasonCode.TIMED_OUT,
                        f"The analysis was taken up {job.attempt} times and never came to an end.",
                        actor="clock",
                        now=now,
                    )
    if stuck:
        with db.transaction() as tx:
            moved += deliveries.requeue_lapsed(tx, now)
    return moved


def end_lost_associations(db: Database, listener: str, now: datetime) -> int:
    """When a listener starts: associations that its killed predecessor left open carry nothing any more."""
    with db.transaction() as tx:
        return len(associations.end_lost(tx, listener, now))


def set_orphans_aside(db: Database, blobs: FileArea, now: datetime) -> int:
    """Set files aside that no row names: a crash between file and row, or a commit that failed.

    None is removed: where a database was changed for another, or put back from a backup, they were acknowledged.
    """
    old = list(blobs.keys_older_than(now - ORPHAN_AGE))
    found = 0
    for start in range(0, len(old), 500):
        keys = old[start : start + 500]
        with db.read() as tx:
            known = instances.blob_keys_known(tx, keys)
        for key in keys:
            if key in known:
                continue
            blobs.set_aside(key)
            found += 1
            with db.transaction() as tx:
                tx.audit(AuditEvent(at=now, actor="clock", action=AuditAction.ORPHAN_REMOVED, detail={"blob": key}))
    if found:
        log.warning("orphans_set_aside", files=found)
    return found


def retry_study(db: Database, study_instance_uid: str, *, actor: str, now: datetime) -> tuple[int, int]:
    """A person's hand: queue the failed jobs and deliveries of a study again.

    Returns
    -------
    tuple of int
        Jobs and deliveries that were queued again.
    """
    with db.transaction() as tx:
        studies.lock_known(tx, [study_instance_uid])
        again = series.retry_failed(tx, study_instance_uid, actor=actor, now=now)
        sent = deliveries.retry_failed(tx, study_instance_uid, actor=actor, now=now)
        if again:
            worklist.refresh(tx, study_instance_uid, now)
    return again, sent
