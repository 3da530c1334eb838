"""The worklist: one row per study, made anew from its series by the rule in ``triage.domain.worklist``."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, case, func, null, select, true, update

from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.errors import NotFound
from triage.domain.finding import WorklistStatus
from triage.domain.worklist import ListedStudy, ObjectState, SeriesOutcome, WorklistRow, study_row
from triage.store import results
from triage.store import series as series_store
from triage.store.codec import header_of, key_slice_json, key_slice_of, subtypes_json, subtypes_of
from triage.store.demonstration import only_demonstrated
from triage.store.schema import deliveries, instances, result_objects, series, studies, worklist
from triage.store.schema import results as result_rows
from triage.store.transaction import Transaction


def refresh(tx: Transaction, study_instance_uid: str, now: datetime, *, actor: str = "worker") -> WorklistRow:
    """Make the row of a study anew; that it becomes suspected is stamped ``now`` and audited, each time that it does.

    The caller holds the study's lock. Who opened it and whether it was escalated stays until it becomes suspected, and
    the judgement of it while the status is the one that was judged.

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
    before = tx.connection.execute(
        select(worklist.c.status).where(worklist.c.study_instance_uid == study_instance_uid)
    ).scalar_one_or_none()
    row = study_row(study_instance_uid, study.accession_number, outcomes, study.received_at, study.flagged_at, now)
    raised = row.status is WorklistStatus.SUSPECTED and before is not WorklistStatus.SUSPECTED
    if raised:
        row = replace(row, flagged_at=now)
    _write(tx, row, now)
    if raised:
        _flag(tx, row, now, actor)
    return row


def row(tx: Transaction, study_instance_uid: str) -> WorklistRow | None:
    """The row of one study with its objects; None when no instance of it has come in."""
    found = listed(tx, study_instance_uid)
    return None if found is None else found.row


def listed(tx: Transaction, study_instance_uid: str) -> ListedStudy | None:
    """The row of one study with what the page shows beside it; None when no instance of it has come in."""
    mine = select(worklist).where(worklist.c.study_instance_uid == study_instance_uid)
    found = tx.connection.execute(mine).all()
    return next(iter(listed_studies(tx, found)), None)


def listed_studies(tx: Transaction, found: Collection[Row[Any]]) -> list[ListedStudy]:
    """Rows of the table as values, each with the objects that were made for its study, and by which sort of bundle."""
    shown = [one.study_instance_uid for one in found]
    objects, demonstrated = _objects(tx, shown), only_demonstrated(tx, shown)
    return [
        _listed(one, objects[one.study_instance_uid], demonstration=one.study_instance_uid in demonstrated)
        for one in found
    ]


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
    same_series = worklist.c.series_instance_uid == row.series_instance_uid
    same_status = worklist.c.status == row.status
    # Whoever opened a study before it was suspected has not seen why it should be read first.
    seen = same_status if row.status is WorklistStatus.SUSPECTED else true()
    kept = {
        "scanner": case((same_series, worklist.c.scanner), else_=null()),
        "opened_at": case((seen, worklist.c.opened_at), else_=null()),
        "opened_by": case((seen, worklist.c.opened_by), else_=null()),
        "escalated_at": case((seen, worklist.c.escalated_at), else_=null()),
        # To agree with a suspicion is not to agree that there is none.
        "verdict": case((same_status, worklist.c.verdict), else_=null()),
    }
    written = tx.connection.execute(
        update(worklist).where(mine).values(**values, **kept).returning(worklist.c.scanner)
    ).one_or_none()
    if written is None:
        tx.insert_new(worklist, study_instance_uid=row.study_instance_uid, **values)
    if written is None or written.scanner is None:
        tx.connection.execute(update(worklist).where(mine).values(**_origin(tx, row)))


def _origin(tx: Transaction, row: WorklistRow) -> dict[str, Any]:
    """Scanner and slice thickness by the first instance of the series that the row speaks of."""
    first = (
        select(instances.c.header)
        .join_from(instances, series)
        .where(
            series.c.study_instance_uid == row.study_instance_uid,
            series.c.series_instance_uid == row.series_instance_uid,
        )
        .order_by(instances.c.id)
        .limit(1)
    )
    found = tx.connection.execute(first).scalar_one_or_none()
    if found is None:
        return {"scanner": None, "slice_thickness_mm": None}
    header = header_of(found)
    thickness = header.frames[0].thickness_mm if header.frames else None
    return {
        "scanner": " ".join(f"{header.manufacturer} {header.model_name}".split()),
        "slice_thickness_mm": thickness if thickness is not None and math.isfinite(thickness) else None,
    }


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


def _objects(tx: Transaction, study_instance_uids: Collection[str]) -> defaultdict[str, list[ObjectState]]:
    """By study, one entry for each object and destination; an object that goes nowhere has none."""
    sent = (
        select(
            deliveries.c.id,
            series.c.study_instance_uid,
            result_objects.c.kind,
            result_objects.c.sop_instance_uid,
            deliveries.c.destination,
            deliveries.c.state,
        )
        .select_from(deliveries.join(result_objects).join(result_rows).join(series))
        .where(series.c.study_instance_uid.in_(study_instance_uids))
    )
    objects: defaultdict[str, list[ObjectState]] = defaultdict(list)
    # Sorted here: asked for the order, SQLite goes through all deliveries in it, rather than through a few studies.
    for found in sorted(tx.connection.execute(sent), key=lambda row: row.id):
        objects[found.study_instance_uid].append(
            ObjectState(found.kind, found.sop_instance_uid, found.destination, found.state.value)
        )
    return objects


_BESIDE = [name for name in ListedStudy.__dataclass_fields__ if name != "row"]
_OF_ROW = [name for name in WorklistRow.__dataclass_fields__ if name not in ("demonstration", "objects")]


def _listed(found: Row[Any], objects: list[ObjectState], *, demonstration: bool) -> ListedStudy:
    values = {name: getattr(found, name) for name in _OF_ROW}
    values["subtypes"] = subtypes_of(found.subtypes)
    values["key_slice"] = key_slice_of(found.key_slice)
    row = WorklistRow(**values, demonstration=demonstration, objects=tuple(objects))
    return ListedStudy(row=row, **{name: getattr(found, name) for name in _BESIDE})
