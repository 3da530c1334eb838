"""Results of one series revision under one bundle, and the objects that were encoded from them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, func, select, update

from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.encoded import MESSAGE_KINDS, SR_KINDS, EncodedObject, ObjectKind, ObjectReference
from triage.domain.errors import StaleState
from triage.domain.finding import ReasonCode, TriageResult, WorklistStatus
from triage.domain.lifecycle import JobState
from triage.domain.work import ClaimedJob
from triage.store.codec import result_columns, result_of
from triage.store.schema import bundles, deliveries, instances, jobs, result_objects, results, series
from triage.store.series import SeriesRecord
from triage.store.transaction import Transaction


class LatestResult(NamedTuple):
    """The result of the latest revision that has one. ``bundle`` is the name that a person reads."""

    result: TriageResult
    revision: int
    bundle: str
    provisional: bool


@dataclass(frozen=True, slots=True)
class ShownResult:
    """A result as the page of its study shows it.

    ``slice_scores`` is the gate's probability of each slice, in the order of the volume; None for a result that
    an earlier release recorded. ``demonstration``: the bundle was trained on synthetic heads only.
    """

    result_id: int
    revision: int
    result: TriageResult
    bundle: str
    bundle_digest: str
    demonstration: bool
    slice_scores: tuple[float, ...] | None


class StepRecord(NamedTuple):
    """One procedure step and where its file lies."""

    study_instance_uid: str
    sop_instance_uid: str
    blob_key: str


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


def put_provisional(
    tx: Transaction,
    job: ClaimedJob,
    result: TriageResult,
    *,
    bundle_digest: str,
    bundle: str,
    now: datetime,
    slice_scores: Sequence[float] | None = None,
) -> int:
    """Keep what the gate said, until `record` replaces it; a result that is recorded already stays as it is.

    ``slice_scores`` is the probability of each slice, in the order of the volume.

    Raises
    ------
    StaleState
        The lease is lost, or a later revision has begun.
    """
    _require_lease(tx, job)
    known = _known(tx, job, bundle_digest)
    if known is None:
        return _insert(tx, job, result, bundle_digest, bundle, now, slice_scores, finished_at=None)
    if known[1]:
        _replace(tx, known[0], result, slice_scores, finished_at=None)
    return known[0]


def record(
    tx: Transaction,
    job: ClaimedJob,
    result: TriageResult,
    *,
    bundle_digest: str,
    bundle: str,
    now: datetime,
    slice_scores: Sequence[float] | None = None,
) -> int:
    """Keep the full result, in the transaction that also finishes the job; return its number.

    A revision analysed again under the same bundle keeps its first result: the archive may have its objects.

    Raises
    ------
    StaleState
        The lease is lost, or a later revision has begun.
    """
    _require_lease(tx, job)
    known = _known(tx, job, bundle_digest)
    if known is not None and not known[1]:
        return known[0]
    if known is None:
        result_id = _insert(tx, job, result, bundle_digest, bundle, now, slice_scores, finished_at=now)
    else:
        result_id = known[0]
        _replace(tx, result_id, result, slice_scores, finished_at=now)
    tx.audit(
        AuditEvent(
            at=now,
            actor="worker",
            action=AuditAction.RESULT_RECORDED,
            study_instance_uid=job.study_instance_uid,
            series_instance_uid=job.series_instance_uid,
            detail={
                "revision": job.revision,
                "status": result.status.value,
                "score": result.score,
                "suspected_at": result.rule.suspected_at,
                "emergent_at": result.rule.emergent_at,
                "total_volume_ml": result.total_volume_ml,
                "bundle": bundle,
                "bundle_digest": bundle_digest,
            },
        )
    )
    return result_id


def record_undetermined(
    tx: Transaction, record: SeriesRecord, reason: ReasonCode, *, bundle_digest: str, bundle: str, now: datetime
) -> int:
    """Keep that a revision was reported as not analysed, and why; return the number of that result.

    The caller holds the study's lock. A result that this revision has already under the same bundle stays.
    """
    mine = (
        results.c.series_id == record.id,
        results.c.revision == record.revision,
        results.c.bundle_digest == bundle_digest,
    )
    known = tx.connection.execute(select(results.c.id).where(*mine)).scalar_one_or_none()
    if known is None:
        known = tx.insert_new(
            results,
            series_id=record.id,
            revision=record.revision,
            bundle_digest=bundle_digest,
            bundle=bundle,
            provisional=False,
            status=WorklistStatus.NOT_ANALYSED,
            reason=reason,
            score=0.0,
            rule={},
            subtypes={},
            total_volume_ml=0.0,
            created_at=now,
            finished_at=now,
        )
    if known is None:
        raise StaleState("The same result appeared meanwhile: the study must be locked before a result is kept.")
    tx.audit(
        AuditEvent(
            at=now,
            actor="worker",
            action=AuditAction.RESULT_RECORDED,
            study_instance_uid=record.study_instance_uid,
            series_instance_uid=record.series_instance_uid,
            detail={
                "revision": record.revision,
                "status": WorklistStatus.NOT_ANALYSED.value,
                "reason": reason.value,
                "bundle": bundle,
                "bundle_digest": bundle_digest,
            },
        )
    )
    return int(known)


def add_object(tx: Transaction, result_id: int, encoded: EncodedObject, blob_key: str, now: datetime) -> int:
    """Put an encoded object on record and return its number.

    An object with this SOP Instance UID that is on record already stays, with the file it had: a retry sends
    the same bytes. The new file is then nobody's, and the sweep removes it.
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
        known = select(result_objects.c.id).where(result_objects.c.sop_instance_uid == encoded.sop_instance_uid)
        object_id = tx.connection.execute(known).scalar_one()
    return int(object_id)


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
    """What a destination was sent of the newest earlier revision that it was sent, in the order of making.

    A revision may be overtaken before anything of it is sent.
    """
    there = (
        results.c.series_id == series_id,
        results.c.revision < before_revision,
        deliveries.c.destination == destination,
        result_objects.c.kind.not_in([*MESSAGE_KINDS, ObjectKind.KOS_REJECTED]),
    )
    sent = select(func.max(results.c.revision)).select_from(deliveries.join(result_objects).join(results))
    last = tx.connection.execute(sent.where(*there)).scalar_one()
    mine = _references().join(deliveries, deliveries.c.object_id == result_objects.c.id)
    of_last = mine.where(*there, results.c.revision == last).order_by(result_objects.c.id)
    return [_reference(row) for row in tx.connection.execute(of_last)]


def told_before(tx: Transaction, series_id: int, before_revision: int) -> set[str]:
    """The reading lists that have a message about an earlier revision, sent or on its way."""
    mine = (
        select(deliveries.c.destination)
        .select_from(deliveries.join(result_objects).join(results))
        .where(
            results.c.series_id == series_id,
            results.c.revision < before_revision,
            result_objects.c.kind.in_(MESSAGE_KINDS),
        )
    )
    return set(tx.connection.execute(mine.distinct()).scalars())


def steps(tx: Transaction, study_instance_uids: Collection[str]) -> list[StepRecord]:
    """The newest procedure step of each series of some studies, in no order."""
    of_studies = series.c.study_instance_uid.in_(study_instance_uids)
    newest = (
        select(func.max(result_objects.c.id))
        .select_from(result_objects.join(results).join(series))
        .where(result_objects.c.kind == ObjectKind.UPS, of_studies)
        .group_by(results.c.series_id)
    )
    return [StepRecord(*row) for row in tx.connection.execute(_steps().where(result_objects.c.id.in_(newest)))]


def step(tx: Transaction, sop_instance_uid: str) -> StepRecord | None:
    """One procedure step by its UID; None when there is none."""
    row = tx.connection.execute(_steps().where(result_objects.c.sop_instance_uid == sop_instance_uid)).one_or_none()
    return None if row is None else StepRecord(*row)


def owns(tx: Transaction, sop_instance_uid: str) -> bool:
    """Whether this is one of our own objects, come back from the archive."""
    known = select(result_objects.c.id).where(result_objects.c.sop_instance_uid == sop_instance_uid)
    return tx.connection.execute(known).first() is not None


def latest(tx: Transaction, series_id: int) -> LatestResult | None:
    """The newest result of the latest revision that has one; None when nothing has been analysed yet.

    What a shadow bundle said never counts.
    """
    counts = results.c.series_id == series_id, results.c.reason.is_(None), results.c.shadow.is_(False)
    newest = select(results).where(*counts)
    row = tx.connection.execute(newest.order_by(results.c.revision.desc(), results.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else LatestResult(result_of(row), row.revision, row.bundle, row.provisional)


def counts(tx: Transaction, series_id: int, bundle_digest: str) -> bool:
    """Whether this bundle has a full result of these very instances that counts, of whichever revision."""
    mine = select(results.c.id).where(
        *_same_instances(series_id, bundle_digest),
        results.c.reason.is_(None),
        ~results.c.provisional,
        ~results.c.shadow,
    )
    return tx.connection.execute(mine).first() is not None


def refused_before(tx: Transaction, record: SeriesRecord, reason: ReasonCode, bundle_digest: str) -> bool:
    """Whether it is on record that this bundle could not analyse these very instances for the same reason."""
    mine = select(results.c.id).where(
        *_same_instances(record.id, bundle_digest),
        results.c.revision < record.revision,
        results.c.reason == reason,
        ~results.c.shadow,
    )
    return tx.connection.execute(mine).first() is not None


def shown(tx: Transaction, series_id: int) -> ShownResult | None:
    """What a page shows of a series: the result that `latest` gives, with its slices and who made it."""
    newest = (
        select(results, bundles.c.manifest)
        .outerjoin(bundles, bundles.c.digest == results.c.bundle_digest)
        .where(results.c.series_id == series_id, results.c.reason.is_(None), ~results.c.shadow)
        .order_by(results.c.revision.desc(), results.c.id.desc())
    )
    row = tx.connection.execute(newest.limit(1)).one_or_none()
    if row is None:
        return None
    return ShownResult(
        result_id=row.id,
        revision=row.revision,
        result=result_of(row),
        bundle=row.bundle,
        bundle_digest=row.bundle_digest,
        demonstration=bool((row.manifest or {}).get("provenance", {}).get("demonstration")),
        slice_scores=None if row.slice_scores is None else tuple(row.slice_scores),
    )


def objects_of_study(tx: Transaction, study_instance_uid: str) -> list[ResultObjectRecord]:
    """Every object that was encoded for a study, oldest first."""
    mine: Select[Any] = (
        select(*result_objects.columns, results.c.revision)
        .select_from(result_objects.join(results).join(series))
        .where(series.c.study_instance_uid == study_instance_uid)
        .order_by(result_objects.c.id)
    )
    return [_object_record(row) for row in tx.connection.execute(mine)]


def _same_instances(series_id: int, bundle_digest: str) -> tuple[ColumnElement[bool], ...]:
    """Of results: by this bundle, and of a revision that has every instance; a person may begin one without any."""
    last = select(func.max(instances.c.revision)).where(instances.c.series_id == series_id).scalar_subquery()
    return results.c.series_id == series_id, results.c.bundle_digest == bundle_digest, results.c.revision >= last


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


def _require_lease(tx: Transaction, job: ClaimedJob) -> None:
    """The job is in this worker's hands, or was finished by it in this transaction."""
    held = (
        select(jobs.c.id)
        .join_from(jobs, series)
        .where(
            jobs.c.id == job.job_id,
            jobs.c.lease == job.lease,
            jobs.c.state.in_((JobState.RUNNING, JobState.SUCCEEDED)),
            series.c.revision == job.revision,
        )
        .with_for_update(of=jobs)
    )
    if tx.connection.execute(held).one_or_none() is None:
        raise StaleState(f"The lease of job {job.job_id} is lost; its result is not kept.")


def _known(tx: Transaction, job: ClaimedJob, bundle_digest: str) -> tuple[int, bool] | None:
    """Number of the result that is there already, and whether a full one may replace it."""
    row = tx.connection.execute(
        select(results.c.id, results.c.provisional, results.c.reason, results.c.shadow).where(
            results.c.series_id == job.series_id,
            results.c.revision == job.revision,
            results.c.bundle_digest == bundle_digest,
        )
    ).one_or_none()
    return None if row is None else (row.id, row.provisional or row.reason is not None or row.shadow)


def _insert(
    tx: Transaction,
    job: ClaimedJob,
    result: TriageResult,
    bundle_digest: str,
    bundle: str,
    now: datetime,
    slice_scores: Sequence[float] | None,
    *,
    finished_at: datetime | None,
) -> int:
    result_id = tx.insert_new(
        results,
        series_id=job.series_id,
        revision=job.revision,
        bundle_digest=bundle_digest,
        bundle=bundle,
        created_at=now,
        finished_at=finished_at,
        slice_scores=_rounded(slice_scores),
        **result_columns(result),
    )
    if result_id is None:
        raise StaleState("The same result appeared meanwhile: the study must be locked before a result is kept.")
    return int(result_id)


def _replace(
    tx: Transaction,
    result_id: int,
    result: TriageResult,
    slice_scores: Sequence[float] | None,
    *,
    finished_at: datetime | None,
) -> None:
    values = {"finished_at": finished_at, "reason": None, "slice_scores": _rounded(slice_scores), "shadow": False}
    tx.connection.execute(update(results).where(results.c.id == result_id).values(**values, **result_columns(result)))


def _rounded(slice_scores: Sequence[float] | None) -> list[float] | None:
    return None if slice_scores is None else [round(float(score), 4) for score in slice_scores]
