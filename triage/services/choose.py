"""Which series of a study is analysed, and why the others are not."""

from __future__ import annotations

from datetime import datetime

from triage.dicom.select import Preference, preference
from triage.domain.lifecycle import SeriesState
from triage.store import instances, jobs, series
from triage.store.db import Transaction
from triage.store.series import SeriesRecord

ROUTINE = 1
"""Priority of a job; lower numbers are claimed first."""


def enter(tx: Transaction, record: SeriesRecord, mine: Preference, *, now: datetime, actor: str) -> None:
    """Queue a series for analysis, unless a series of its study that is at least as good stands for it.

    The caller holds the study's lock. A worse series that is still queued steps back; one that is already
    running is left to finish, for an early answer is worth more than the time it saves.
    """
    rivals = [
        (other, _preference(tx, other))
        for other in series.of_study(tx, record.study_instance_uid)
        if other.id != record.id and other.state in (SeriesState.STABLE, SeriesState.ANALYSED)
    ]
    better = max((r for r in rivals if r[1] >= mine), key=lambda r: r[1], default=None)
    if better is not None:
        series.move(tx, record, SeriesState.PASSED_OVER, now=now, actor=actor, detail=_why(better[1], mine))
        return
    for other, theirs in rivals:
        if other.state is SeriesState.STABLE and jobs.cancel_queued(
            tx, other.id, why="a better series of the study arrived", now=now, actor=actor
        ):
            series.move(tx, other, SeriesState.PASSED_OVER, now=now, actor=actor, detail=_why(mine, theirs))
    _queue(tx, record, mine, now=now, actor=actor)


def reconsider(tx: Transaction, study_instance_uid: str, *, now: datetime, actor: str) -> None:
    """After a series turned out unusable: take up the best one that was passed over, if none is left.

    The caller holds the study's lock.
    """
    records = series.of_study(tx, study_instance_uid)
    if any(r.state in (SeriesState.STABLE, SeriesState.ANALYSED) for r in records):
        return
    waiting = [(r, _preference(tx, r)) for r in records if r.state is SeriesState.PASSED_OVER]
    if waiting:
        record, theirs = max(waiting, key=lambda w: w[1])
        _queue(tx, record, theirs, now=now, actor=actor)


def _queue(tx: Transaction, record: SeriesRecord, chosen: Preference, *, now: datetime, actor: str) -> None:
    moved = series.move(tx, record, SeriesState.STABLE, now=now, actor=actor, detail=f"Chosen: {chosen.sentence}.")
    jobs.add(tx, moved, priority=ROUTINE, deadline_at=record.received_at, now=now)


def _preference(tx: Transaction, record: SeriesRecord) -> Preference:
    return preference([stored.header for stored in instances.of_series(tx, record.id)])


def _why(chosen: Preference, other: Preference) -> str:
    return f"Another series of the study is better for analysis: {chosen.sentence}, against {other.sentence}."
