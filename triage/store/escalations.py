"""Suspected studies that nobody has opened: which they are, and that somebody was told again."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, or_, select, update

from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.finding import WorklistStatus
from triage.store.schema import result_objects, worklist
from triage.store.transaction import Transaction


class Unopened(NamedTuple):
    """A suspected study, and the series that its row speaks of."""

    study_instance_uid: str
    series_instance_uid: str
    flagged_at: datetime


def unopened(tx: Transaction, *, flagged_from: datetime, flagged_until: datetime) -> list[Unopened]:
    """Suspected studies that were flagged in this time and that nobody has opened since, the newest first."""
    waiting = select(*(worklist.columns[name] for name in Unopened._fields)).where(
        *_UNOPENED,
        worklist.c.flagged_at >= flagged_from,
        worklist.c.flagged_at <= flagged_until,
        worklist.c.updated_at >= flagged_from,  # true of all of them; it has the index that flagged_at has not
    )
    return [Unopened(*row) for row in tx.connection.execute(waiting.order_by(worklist.c.flagged_at.desc()))]


def known(tx: Transaction, identifiers: Collection[str]) -> set[str]:
    """Those of these messages that were made already."""
    made = select(result_objects.c.sop_instance_uid).where(result_objects.c.sop_instance_uid.in_(identifiers))
    return set(tx.connection.execute(made).scalars())


def still_unopened(tx: Transaction, study_instance_uid: str) -> bool:
    """Whether a study is still suspected and nobody has opened it. The caller holds the study's lock."""
    found = select(worklist.c.study_instance_uid).where(worklist.c.study_instance_uid == study_instance_uid, *_UNOPENED)
    return tx.connection.execute(found).first() is not None


def record(tx: Transaction, study: Unopened, *, name: str, minutes: int, now: datetime, actor: str) -> None:
    """A list was told again: show it on the worklist, and audit it. The caller holds the study's lock."""
    marked = update(worklist).where(worklist.c.study_instance_uid == study.study_instance_uid)
    tx.connection.execute(marked.values(escalated_at=now, updated_at=now))
    tx.audit(
        AuditEvent(
            at=now,
            actor=actor,
            action=AuditAction.STUDY_ESCALATED,
            study_instance_uid=study.study_instance_uid,
            series_instance_uid=study.series_instance_uid,
            detail={"told": name, "minutes": minutes, "flagged_at": study.flagged_at.isoformat(timespec="seconds")},
        )
    )


_UNOPENED: tuple[ColumnElement[bool], ...] = (
    worklist.c.status == WorklistStatus.SUSPECTED,
    # Who opened it before it was flagged has not seen why it should be read first.
    or_(worklist.c.opened_at.is_(None), worklist.c.opened_at < worklist.c.flagged_at),
)
