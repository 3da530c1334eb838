"""Look at the series whose deadline has passed: wait on, refuse with a reason, or queue for analysis."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from triage.dicom.select import exclusion, preference, usable
from triage.domain.completeness import Timings, complete_at, is_gap_free
from triage.domain.errors import StoreUnavailable
from triage.domain.lifecycle import SeriesState
from triage.services import choose
from triage.store import instances, series, studies, worklist
from triage.store.db import Database, Transaction
from triage.store.series import SeriesRecord

log = structlog.get_logger()

ACTOR = "clock"
LOOK_AGAIN_AFTER = timedelta(seconds=30)
"""So long a series that could not be looked at is left alone, so that others have their turn."""


def assemble_due(db: Database, timings: Timings, now: datetime) -> int:
    """Look at every series that is due, one transaction each; return how many reached a new state.

    One that cannot be looked at is told in the log, and put off.

    Raises
    ------
    StoreUnavailable
    """
    ended = 0
    while True:
        with db.read() as tx:
            if not series.any_due(tx, now):
                return ended
        record = None
        try:
            with db.transaction() as tx:
                record = series.claim_due(tx, now)
                if record is None:
                    return ended
                moved = _look(tx, record, timings, now)
            ended += moved
        except StoreUnavailable:
            raise
        except Exception as exc:  # one series that trips over a fault of ours must not keep all others waiting
            if record is None:
                raise
            _put_off(db, record, exc, now)


def _put_off(db: Database, record: SeriesRecord, exc: Exception, now: datetime) -> None:
    log.error(
        "series_not_assembled",
        series_instance_uid=record.series_instance_uid,
        revision=record.revision,
        exc_info=exc,
    )
    with db.transaction() as tx:
        studies.lock_known(tx, [record.study_instance_uid])
        series.look_again(tx, record.id, now + LOOK_AGAIN_AFTER)


def _look(tx: Transaction, record: SeriesRecord, timings: Timings, now: datetime) -> bool:
    headers = [stored.header for stored in instances.of_series(tx, record.id)]
    frames = [frame for header in usable(headers) for frame in header.frames]
    # What cannot be a head CT is not waited for: no missing slice would make it one.
    whole = not record.candidate or is_gap_free(frames)
    due = complete_at(series.arrival(tx, record), whole, timings)
    if due > now:
        series.look_again(tx, record.id, due)
        return False
    refused = exclusion(headers)
    if refused is not None:
        series.move(
            tx,
            record,
            SeriesState.UNUSABLE,
            now=now,
            actor=ACTOR,
            reason=refused.reason,
            detail=refused.sentence,
        )
        choose.reconsider(tx, record.study_instance_uid, now=now, actor=ACTOR)
    else:
        choose.enter(tx, record, preference(headers), now=now, actor=ACTOR)
    worklist.refresh(tx, record.study_instance_uid, now)
    log.info(
        "series_assembled",
        series_instance_uid=record.series_instance_uid,
        revision=record.revision,
        instances=len(headers),
        reason=refused.reason.value if refused else None,
        why=refused.sentence if refused else None,
    )
    return True
