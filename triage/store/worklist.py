"""The worklist: one row per study, made anew from its series by the rule in ``triage.domain.worklist``."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select, update

from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.errors import NotFound
from triage.domain.worklist import ObjectState, SeriesOutcome, WorklistRow, study_row
from triage.store import results
from triage.store import series as series_store
from triage.store.codec import key_slice_json, key_slice_of, subtypes_json, subtypes_of
from triage.store.schema import deliveries, instances, result_objects, series, studies, worklist
from triage.store.schema import results as result_rows
from triage.store.transaction import Transaction


def refresh(tx: Transaction, study_instance_uid: str, now: datetime, *, actor: str = "worker") -> WorklistRow:
    """Make the row of a study anew; its first flag is stamped ``now`` and audited. The caller holds the study's lock.

    Raises
    ------
    NotFound
        No instance of this study has come in.
    """
    study = tx.connection.execute(
        select(studies).where(studies.c.study_instance_uid == study_instance_uid)
    ).one_or_none()
    outcomes = _outcomes(tx, study_instance_uid)
    if study is None or not outcomes:
        raise NotFound(f"There is no study {study_instance_uid}.")
    row = study_row(study_instance_uid, study.accession_number, outcomes, study.received_at, study.flagged_at, now)
    _write(tx, row, now)
    if row.flagged_at is not None and study.flagged_at is None:
        _flag(tx, row, now, actor)
    return row


def rows(tx: Transaction) -> list[WorklistRow]:
    """Every study with the objects that were made for it, in no order; ``in_reading_order`` sorts them."""
    objects = _objects(tx)
    return [_row(found, objects[found.study_instance_uid]) for found in tx.connection.execute(select(worklist))]


def row(tx: Transaction, study_instance_uid: str) -> WorklistRow | None:
    """The row of one study with its objects; None when no instance of it has come in."""
    found = tx.connection.execute(
        select(worklist).where(worklist.c.study_instance_uid == study_instance_uid)
    ).one_or_none()
    if found is None:
        return None
    return _row(found, _objects(tx, series.c.study_instance_uid == study_instance_uid)[study_instance_uid])


def _outcomes(tx: Transaction, study_instance_uid: str) -> list[SeriesOutcome]:
    counted = tx.connection.execute(
        select(instances.c.series_id, func.count().label("instances"))
        .join_from(instances, series)
        .where(series.c.study_instance_uid == study_instance_uid)
        .group_by(instances.c.series_id)
    )
    counts: dict[int, int] = {found.series_id: found.instances for found in counted}
    outcomes = []
    for record in series_store.of_study(tx, study_instance_uid):
        latest = results.latest(tx, record.id)
        outcomes.append(
            SeriesOutcome(
                series_instance_uid=record.series_instance_uid,
                state=record.state,
                candidate=record.candidate,
                reason=record.reason,
                instance_count=counts.get(record.id, 0),
                result=latest.result if latest else None,
                result_is_current=latest is not None and latest.revision == record.revision,
                bundle=latest.bundle if latest else None,
            )
        )
    return outcomes


def _write(tx: Transaction, row: WorklistRow, now: datetime) -> None:
    values = {
        "series_instance_uid": row.series_instance_uid,
        "accession_number": row.accession_number,
        "status": row.status,
        "provisional": row.provisional,
        "reason": row.reason,
        "urgency": row.urgency,
        "score": row.score,
        "subtypes": subtypes_json(row.subtypes),
        "total_volume_ml": row.total_volume_ml,
        "key_slice": key_slice_json(row.key_slice),
        "received_at": row.received_at,
        "flagged_at": row.flagged_at,
        "bundle": row.bundle,
        "updated_at": now,
    }
    mine = worklist.c.study_instance_uid == row.study_instance_uid
    written = tx.connection.execute(
        update(worklist).where(mine).values(**values).returning(worklist.c.updated_at)
    ).first()
    if written is None:
        tx.insert_new(worklist, study_instance_uid=row.study_instance_uid, **values)


def _flag(tx: Transaction, row: WorklistRow, now: datetime, actor: str) -> None:
    tx.connection.execute(
        update(studies).where(studies.c.study_instance_uid == row.study_instance_uid).values(flagged_at=row.flagged_at)
    )
    tx.audit(
        AuditEvent(
            at=now,
            actor=actor,
            action=AuditAction.STUDY_FLAGGED,
            study_instance_uid=row.study_instance_uid,
            series_instance_uid=row.series_instance_uid,
            detail={
                "urgency": row.urgency.value,
                "score": row.score,
                "provisional": row.provisional,
                "bundle": row.bundle,
            },
        )
    )


def _objects(tx: Transaction, *where: ColumnElement[bool]) -> defaultdict[str, list[ObjectState]]:
    """By study, one entry for each object and destination; an object that goes nowhere has none."""
    sent = (
        select(
            series.c.study_instance_uid,
            result_objects.c.kind,
            result_objects.c.sop_instance_uid,
            deliveries.c.destination,
            deliveries.c.state,
        )
        .select_from(deliveries.join(result_objects).join(result_rows).join(series))
        .where(*where)
        .order_by(deliveries.c.id)
    )
    objects: defaultdict[str, list[ObjectState]] = defaultdict(list)
    for found in tx.connection.execute(sent):
        objects[found.study_instance_uid].append(
            ObjectState(found.kind, found.sop_instance_uid, found.destination, found.state.value)
        )
    return objects


def _row(found: Row[Any], objects: list[ObjectState]) -> WorklistRow:
    values = {name: getattr(found, name) for name in WorklistRow.__dataclass_fields__ if name != "objects"}
    values["subtypes"] = subtypes_of(found.subtypes)
    values["key_slice"] = key_slice_of(found.key_slice)
    return WorklistRow(**values, objects=tuple(objects))
