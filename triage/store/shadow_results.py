"""What a shadow bundle says: recorded beside the result that counts, and never shown, sent or told."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select

from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.finding import ReasonCode, TriageResult, WorklistStatus
from triage.domain.lifecycle import SeriesState
from triage.store.codec import result_columns
from triage.store.retention import is_gone
from triage.store.schema import results, series, studies
from triage.store.transaction import Transaction

LOOK_BACK = 200
"""So many of the latest results are looked at. A shadow that cannot keep up leaves out the older ones."""


class Unshadowed(NamedTuple):
    """A series revision whose result counts, and of which the shadow has said nothing yet."""

    series_id: int
    study_instance_uid: str
    series_instance_uid: str
    revision: int


def next_unshadowed(tx: Transaction, digest: str, since: datetime) -> Unshadowed | None:
    """The latest series that was analysed since then and not by the bundle of this digest; None when there is none."""
    recent = (
        select(results.c.id, results.c.series_id, results.c.revision, results.c.bundle_digest, results.c.finished_at)
        .where(~results.c.shadow, ~results.c.provisional, results.c.reason.is_(None))
        .order_by(results.c.id.desc())
        .limit(LOOK_BACK)
        .subquery()
    )
    said = results.alias()
    already = select(said.c.id).where(
        said.c.series_id == recent.c.series_id,
        said.c.revision == recent.c.revision,
        said.c.bundle_digest == digest,
    )
    waiting = (
        select(series.c.id, series.c.study_instance_uid, series.c.series_instance_uid, series.c.revision)
        .join_from(recent, series, series.c.id == recent.c.series_id)
        .join(studies)
        .where(
            recent.c.finished_at >= since,
            series.c.revision == recent.c.revision,
            series.c.state == SeriesState.ANALYSED,
            ~is_gone(),
            ~already.exists(),
        )
        .order_by(recent.c.id.desc())
        .limit(1)
    )
    row = tx.connection.execute(waiting).one_or_none()
    return None if row is None else Unshadowed(*row)


def record(
    tx: Transaction,
    about: Unshadowed,
    said: TriageResult | ReasonCode,
    *,
    bundle_digest: str,
    bundle: str,
    now: datetime,
    actor: str = "worker",
) -> bool:
    """Keep what the shadow said, or why it could say nothing; False when it is on record already."""
    if isinstance(said, TriageResult):
        values = result_columns(said)
        told: dict[str, str | float] = {"status": said.status.value, "score": said.score}
    else:
        nothing = {"score": 0.0, "rule": {}, "subtypes": {}, "total_volume_ml": 0.0, "provisional": False}
        values = {**nothing, "status": WorklistStatus.NOT_ANALYSED, "reason": said}
        told = {"status": WorklistStatus.NOT_ANALYSED.value, "reason": said.value}
    new = tx.insert_new(
        results,
        series_id=about.series_id,
        revision=about.revision,
        bundle_digest=bundle_digest,
        bundle=bundle,
        shadow=True,
        created_at=now,
        finished_at=now,
        **values,
    )
    if new is None:
        return False
    tx.audit(
        AuditEvent(
            at=now,
            actor=actor,
            action=AuditAction.RESULT_RECORDED,
            study_instance_uid=about.study_instance_uid,
            series_instance_uid=about.series_instance_uid,
            detail={
                "shadow": True,
                "revision": about.revision,
                "bundle": bundle,
                "bundle_digest": bundle_digest,
                **told,
            },
        )
    )
    return True
