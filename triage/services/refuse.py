"""How a series ends that cannot be analysed, or was tried too often."""

from __future__ import annotations

from datetime import datetime

from triage.domain.finding import ReasonCode
from triage.domain.lifecycle import SeriesState
from triage.domain.work import RetryPolicy
from triage.services import choose
from triage.store import series, worklist
from triage.store.db import Transaction

RETRY = RetryPolicy(base_seconds=1.0, cap_seconds=30.0, max_attempts=3)
"""Of an analysis that failed for no fault of the series."""


def end_unusable(
    tx: Transaction, series_id: int, reason: ReasonCode, sentence: str, *, actor: str, now: datetime
) -> None:
    """Move a stable series to its reason, take up one that was passed over for it, and show both.

    The caller holds the study's lock.
    """
    record = series.get(tx, series_id)
    series.move(tx, record, SeriesState.UNUSABLE, now=now, actor=actor, reason=reason, detail=sentence)
    choose.reconsider(tx, record.study_instance_uid, now=now, actor=actor)
    worklist.refresh(tx, record.study_instance_uid, now)
