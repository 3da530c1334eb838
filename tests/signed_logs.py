"""Audit logs with signed checkpoints, and what is known where they are verified."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from tests.stores import at
from triage.domain.audit import AuditAction, AuditEvent, Checkpoint
from triage.services.checkpoint import Signer, sign_when_due
from triage.services.verify_audit import Proof
from triage.store.db import Database

EVERY = timedelta(minutes=5)


def write(db: Database, count: int, start: int = 0) -> None:
    with db.transaction() as tx:
        for number in range(start, start + count):
            tx.audit(AuditEvent(at=at(number), actor=f"actor {number}", action=AuditAction.JOB_MOVED))


def sign(db: Database, signer: Signer, minutes: float) -> Checkpoint | None:
    return sign_when_due(db, signer, EVERY, at(60 * minutes))


def proof(signer: Signer) -> Proof:
    """What the machine of the key knows."""
    return Proof(signer=signer, every=EVERY)


def run(db: Database, *statements: str) -> None:
    with db.transaction() as tx:
        for statement in statements:
            tx.connection.execute(text(statement))


def signed_log(db: Database, signer: Signer) -> None:
    """Rows 1 to 10, a checkpoint, rows 12 to 21, a checkpoint, and three rows that nothing covers yet."""
    write(db, 10)
    sign(db, signer, 0)
    write(db, 10, 10)
    sign(db, signer, 6)
    write(db, 3, 20)
