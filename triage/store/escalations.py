"""Suspected studies that nobody has opened: which they are, and that somebody was told again."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Text, select, type_coerce, update

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
    # What was flagged then was written since: few rows. The empty text beside the status keeps SQLite from the index
    # by status, which gives every suspicion there ever was.
    recent = worklist.c.updated_at >= flagged_from
    suspected = type_coerce(worklist.c.status, Text).concat("") == WorklistStatus.SUSPECTED.value
    waiting = select(*(worklist.columns[name] for name in Unopened._fields)).where(
        recent,
        suspected,
        worklist.c.opened_at.is_(None),
        worklist.c.flagged_at >= flagged_from,
        worklist.c.flagged_at <= flagged_until,
    )
    return [Unopened(*row) for row in tx.connection.execute(waiting.order_by(worklist.c.flagged_at.desc()))]


def known(tx: Transaction, identifiers: Collection[str]) -> set[str]:
    """Those of these messages that were made already."""
    made = select(result_objects.c.sop_instance_uid).where(result_objects.c.sop_instance_uid.in_(identifiers))
    return set(tx.connection.execute(made).scalars())


def still_unopened(tx: Transaction, study_instance_uid: str) -> bool:
    """Whether a study is still suspected and nobody has opened it. The caller holds the study's lock."""
    mine = worklist.c.study_instance_uid == study_instance_uid
    found = select(worklist.c.study_instance_uid).where(
        mine, worklist.c.status == WorklistStatus.SUSPECTED, worklist.c.opened_at.is_(None)
    )
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
