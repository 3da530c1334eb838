"""Associations that carried instances: who sent, when, and how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Row, func, select, update

from triage.domain.audit import AuditAction, AuditEvent, Outcome
from triage.store.schema import AssociationEnd, associations, instances, series
from triage.store.transaction import Transaction


def open(  # noqa: A001 - the module is the noun: associations.open
    tx: Transaction,
    association_id: str,
    listener: str,
    calling_ae_title: str,
    called_ae_title: str,
    address: str,
    now: datetime,
) -> None:
    """Record an association; does nothing when it is recorded already."""
    tx.insert_new(
        associations,
        id=association_id,
        listener=listener,
        calling_ae_title=calling_ae_title,
        called_ae_title=called_ae_title,
        address=address,
        opened_at=now,
    )


def end(tx: Transaction, association_id: str, *, how: Literal["released", "aborted"], now: datetime) -> list[int]:
    """Record how an association ended, with one audit row per study that it brought instances of.

    Returns
    -------
    list of int
        The series whose instances it brought. Empty when it brought nothing new, and when it ended before.
    """
    statement = update(associations).where(associations.c.id == association_id, associations.c.ended_at.is_(None))
    ended = tx.connection.execute(
        statement.values(ended_at=now, ended_how=AssociationEnd(how)).returning(*associations.columns)
    ).one_or_none()
    if ended is None:
        return []
    _audit_received(tx, ended)
    carried = select(instances.c.series_id).where(instances.c.association_id == association_id).distinct()
    return list(tx.connection.execute(carried.order_by(instances.c.series_id)).scalars())


def end_lost(tx: Transaction, listener: str, now: datetime) -> list[str]:
    """End what a killed listener left open; called when a listener of the same name starts."""
    statement = update(associations).where(associations.c.listener == listener, associations.c.ended_at.is_(None))
    lost = tx.connection.execute(
        statement.values(ended_at=now, ended_how=AssociationEnd.LOST).returning(*associations.columns)
    ).all()
    for row in sorted(lost, key=lambda row: (row.opened_at, row.id)):
        _audit_received(tx, row)
    return sorted(row.id for row in lost)


def _audit_received(tx: Transaction, ended: Row[Any]) -> None:
    brought = tx.connection.execute(
        select(
            series.c.study_instance_uid,
            func.count().label("instances"),
            func.count(instances.c.series_id.distinct()).label("series"),
            func.sum(instances.c.size_bytes).label("size_bytes"),
        )
        .join_from(instances, series)
        .where(instances.c.association_id == ended.id)
        .group_by(series.c.study_instance_uid)
        .order_by(series.c.study_instance_uid)
    ).all()
    released = ended.ended_how is AssociationEnd.RELEASED
    for row in brought:
        tx.audit(
            AuditEvent(
                at=ended.ended_at,
                actor=ended.calling_ae_title,
                action=AuditAction.INSTANCES_RECEIVED,
                outcome=Outcome.SUCCESS if released else Outcome.MINOR_FAILURE,
                study_instance_uid=row.study_instance_uid,
                detail={
                    "instances": row.instances,
                    "series": row.series,
                    "bytes": int(row.size_bytes),
                    "association": ended.id,
                    "ended": ended.ended_how.value,
                    "called_ae_title": ended.called_ae_title,
                    "address": ended.address,
                },
            )
        )
