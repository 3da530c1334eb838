"""The objects that were encoded from results: what lies where, and what refers to what."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, func, or_, select, update

from triage.domain.encoded import MESSAGE_KINDS, SR_KINDS, EncodedObject, ObjectKind, ObjectReference
from triage.store.schema import deliveries, result_objects, results, series, studies
from triage.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class ResultObjectRecord:
    """One encoded object of a result."""

    object_id: int
    result_id: int
    revision: int
    kind: ObjectKind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    blob_key: str
    digest: str
    created_at: datetime


class StepRecord(NamedTuple):
    """One procedure step and where its file lies."""

    study_instance_uid: str
    sop_instance_uid: str
    blob_key: str


def add(tx: Transaction, result_id: int, encoded: EncodedObject, blob_key: str, now: datetime) -> int:
    """Put an encoded object on record and return its number.

    An object with this SOP Instance UID that is on record already stays, with the file it had: a retry sends
    the same bytes. The new file is then nobody's, and who placed it removes it. When a later revision says the same,
    the object is from then on that revision's.
    """
    object_id = tx.insert_new(
        result_objects,
        result_id=result_id,
        kind=encoded.kind,
        sop_class_uid=encoded.sop_class_uid,
        sop_instance_uid=encoded.sop_instance_uid,
        series_instance_uid=encoded.series_instance_uid,
        transfer_syntax_uid=encoded.transfer_syntax_uid,
        blob_key=blob_key,
        digest=hashlib.sha256(encoded.content).hexdigest(),
        created_at=now,
    )
    if object_id is None:
        known = update(result_objects).where(result_objects.c.sop_instance_uid == encoded.sop_instance_uid)
        object_id = tx.connection.execute(known.values(result_id=result_id).returning(result_objects.c.id)).scalar_one()
    return int(object_id)


def any_of(tx: Transaction, series_id: int, revision: int) -> bool:
    """Whether anything was made of this revision, to be sent or told."""
    made = select(result_objects.c.id).select_from(result_objects.join(results))
    mine = made.where(results.c.series_id == series_id, results.c.revision == revision)
    return tx.connection.execute(mine.limit(1)).first() is not None


def any_before(tx: Transaction, series_id: int, revision: int) -> bool:
    """Whether anything was made of an earlier revision than this one, to be sent or told."""
    made = select(result_objects.c.id).select_from(result_objects.join(results))
    mine = made.where(results.c.series_id == series_id, results.c.revision < revision)
    return tx.connection.execute(mine.limit(1)).first() is not None


def predecessors(tx: Transaction, series_id: int, before_revision: int) -> dict[ObjectKind, ObjectReference]:
    """The structured reports, by kind, that reports on this revision supersede: the newest before it of each."""
    earlier = results.c.series_id == series_id, results.c.revision < before_revision
    reports = (
        _references(result_objects.c.kind)
        .where(*earlier, result_objects.c.kind.in_(SR_KINDS))
        .order_by(results.c.revision, results.c.id, result_objects.c.id)
    )
    return {row.kind: _reference(row) for row in tx.connection.execute(reports)}


def sent_before(tx: Transaction, series_id: int, before_revision: int, destination: str) -> list[ObjectReference]:
    """What a destination was sent of earlier revisions and has no rejection note about, the newest revision last.

    A note names all that was sent before its revision.
    """
    to_it = (
        results.c.series_id == series_id,
        results.c.revision < before_revision,
        deliveries.c.destination == destination,
    )
    noted = select(func.max(results.c.revision)).select_from(deliveries.join(result_objects).join(results))
    last = tx.connection.execute(noted.where(*to_it, result_objects.c.kind == ObjectKind.KOS_REJECTED)).scalar_one()
    sent = _references().join(deliveries, deliveries.c.object_id == result_objects.c.id)
    there = result_objects.c.kind.not_in([*MESSAGE_KINDS, ObjectKind.KOS_REJECTED])
    unnamed = sent.where(*to_it, there, results.c.revision >= (last or 0))
    in_order = unnamed.order_by(results.c.revision, result_objects.c.id)
    return [_reference(row) for row in tx.connection.execute(in_order)]


def told_before(tx: Transaction, series_id: int, before_revision: int, pulling: Collection[str] = ()) -> set[str]:
    """The reading lists that have a message about an earlier revision or another series, sent or on its way.

    A list is told of studies: what one series made it believe another may have to take back. ``pulling`` are the lists
    that ask for procedure steps themselves: whatever steps there are, they see.
    """
    told_of = series.alias()
    of_study = select(told_of.c.study_instance_uid).where(told_of.c.id == series_id).scalar_subquery()
    others = or_(results.c.series_id != series_id, results.c.revision < before_revision)
    heard = series.c.study_instance_uid == of_study, others
    made = result_objects.join(results).join(series)
    messages = select(deliveries.c.destination).select_from(deliveries.join(made))
    told = messages.where(*heard, result_objects.c.kind.in_(MESSAGE_KINDS)).distinct()
    steps = select(result_objects.c.id).select_from(made).where(*heard, result_objects.c.kind == ObjectKind.UPS)
    pulled = pulling if tx.connection.execute(steps.limit(1)).first() is not None else ()
    return {*tx.connection.execute(told).scalars(), *pulled}


def steps(tx: Transaction, study_instance_uids: Collection[str]) -> list[StepRecord]:
    """The newest procedure step of each series of some studies whose file was not removed for its age, newest last."""
    of_studies = series.c.study_instance_uid.in_(study_instance_uids)
    newest = (
        select(func.max(result_objects.c.id))
        .select_from(result_objects.join(results).join(series).join(studies))
        .where(
            result_objects.c.kind == ObjectKind.UPS,
            of_studies,
            or_(studies.c.files_removed_at.is_(None), result_objects.c.created_at > studies.c.files_removed_at),
        )
        .group_by(results.c.series_id)
    )
    found = _steps().where(result_objects.c.id.in_(newest)).order_by(result_objects.c.id)
    return [StepRecord(*row) for row in tx.connection.execute(found)]


def step(tx: Transaction, sop_instance_uid: str) -> StepRecord | None:
    """One procedure step by its UID; None when there is none."""
    row = tx.connection.execute(_steps().where(result_objects.c.sop_instance_uid == sop_instance_uid)).one_or_none()
    return None if row is None else StepRecord(*row)


def owns(tx: Transaction, sop_instance_uid: str) -> bool:
    """Whether this is one of our own objects, come back from the archive."""
    known = select(result_objects.c.id).where(result_objects.c.sop_instance_uid == sop_instance_uid)
    return tx.connection.execute(known).first() is not None


def of_study(tx: Transaction, study_instance_uid: str) -> list[ResultObjectRecord]:
    """Every object that was encoded for a study, oldest first."""
    mine: Select[Any] = (
        select(*result_objects.columns, results.c.revision)
        .select_from(result_objects.join(results).join(series))
        .where(series.c.study_instance_uid == study_instance_uid)
        .order_by(result_objects.c.id)
    )
    return [_object_record(row) for row in tx.connection.execute(mine)]


def _object_record(row: Row[Any]) -> ResultObjectRecord:
    values = row._asdict()
    return ResultObjectRecord(object_id=values.pop("id"), **values)


def _steps() -> Select[Any]:
    return (
        select(series.c.study_instance_uid, result_objects.c.sop_instance_uid, result_objects.c.blob_key)
        .select_from(result_objects.join(results).join(series))
        .where(result_objects.c.kind == ObjectKind.UPS)
    )


def _references(*columns: ColumnElement[Any]) -> Select[Any]:
    described = ("series_instance_uid", "sop_class_uid", "sop_instance_uid")
    return select(
        series.c.study_instance_uid, *(result_objects.columns[name] for name in described), *columns
    ).select_from(result_objects.join(results).join(series))


def _reference(row: Row[Any]) -> ObjectReference:
    return ObjectReference(**{name: getattr(row, name) for name in ObjectReference.__dataclass_fields__})
