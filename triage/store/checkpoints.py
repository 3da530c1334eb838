"""Signed checkpoints of the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, or_, select

from triage.domain.audit import Checkpoint
from triage.domain.errors import AuditBroken
from triage.store.audit_stored import instant, stored
from triage.store.schema import audit, audit_checkpoints, audit_head
from triage.store.transaction import Transaction

_STORED = stored(audit_checkpoints.columns)


def lock_head(tx: Transaction) -> tuple[int, str]:
    """Number and digest of the newest row; nothing is appended before this transaction ends.

    Raises
    ------
    AuditBroken
        The head of the chain is missing.
    """
    head = tx.connection.execute(select(audit_head.c.sequence, audit_head.c.digest).with_for_update()).one_or_none()
    if head is None:
        raise AuditBroken("The audit log has lost its head row; restore the database from a backup.")
    return head.sequence, head.digest


def add(tx: Transaction, checkpoint: Checkpoint) -> None:
    """Keep a checkpoint. The caller holds the head."""
    tx.connection.execute(
        audit_checkpoints.insert().values(
            sequence=checkpoint.sequence,
            digest=checkpoint.digest,
            at=checkpoint.at,
            key_id=checkpoint.key_id,
            signature=checkpoint.signature,
        )
    )


def latest(tx: Transaction) -> Checkpoint | None:
    """The newest checkpoint."""
    row = tx.connection.execute(select(*_STORED).order_by(audit_checkpoints.c.sequence.desc()).limit(1)).first()
    return None if row is None else _checkpoint(row)


def find(tx: Transaction, sequence: int) -> Checkpoint | None:
    """The checkpoint of one row."""
    row = tx.connection.execute(select(*_STORED).where(audit_checkpoints.c.sequence == sequence)).first()
    return None if row is None else _checkpoint(row)


def every(tx: Transaction) -> Iterator[Checkpoint]:
    """All checkpoints in their order."""
    ordered = select(*_STORED).order_by(audit_checkpoints.c.sequence)
    with tx.connection.execute(ordered, execution_options={"yield_per": 500}) as found:
        for row in found:
            yield _checkpoint(row)


def contradicted(tx: Transaction) -> Checkpoint | None:
    """The first checkpoint whose row is gone, or has another digest than was signed."""
    row = tx.connection.execute(
        select(*_STORED)
        .select_from(audit_checkpoints.outerjoin(audit, audit.c.sequence == audit_checkpoints.c.sequence))
        .where(or_(audit.c.digest.is_(None), audit.c.digest != audit_checkpoints.c.digest))
        .order_by(audit_checkpoints.c.sequence)
        .limit(1)
    ).first()
    return None if row is None else _checkpoint(row)


def before(tx: Transaction, sequence: int) -> Checkpoint | None:
    """The last checkpoint before one."""
    earlier = select(*_STORED).where(audit_checkpoints.c.sequence < sequence)
    row = tx.connection.execute(earlier.order_by(audit_checkpoints.c.sequence.desc()).limit(1)).first()
    return None if row is None else _checkpoint(row)


def _checkpoint(row: Row[Any]) -> Checkpoint:
    try:
        at = instant(row.at)
    except (ValueError, AttributeError) as exc:
        raise AuditBroken(
            f"The audit log cannot be trusted: the checkpoint of row {row.sequence} has no time any more."
        ) from exc
    return Checkpoint(row.sequence, row.digest, at, row.key_id, row.signature)
