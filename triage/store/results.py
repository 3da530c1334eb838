"""Results of one series revision under one bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.errors import StaleState
from triage.domain.finding import ReasonCode, TriageResult, WorklistStatus
from triage.domain.lifecycle import JobState
from triage.domain.work import ClaimedJob
from triage.store.bundles import is_demonstration
from triage.store.codec import result_columns, result_of
from triage.store.schema import bundles, instances, jobs, results, series
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
    an earlier release recorded. ``demonstration``: the bundle is not for use in care.
    """

    result_id: int
    revision: int
    result: TriageResult
    bundle: str
    bundle_digest: str
    demonstration: bool
    slice_scores: tuple[float, ...] | None


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
    known = _known(tx, job.series_id, job.revision, bundle_digest)
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
    known = _known(tx, job.series_id, job.revision, bundle_digest)
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

    The caller holds the study's lock, and refreshes the worklist. It replaces what the gate alone said, and an earlier
    reason; a full result that this revision has already under the same bundle stays.
    """
    said = {
        "provisional": False,
        "status": WorklistStatus.NOT_ANALYSED,
        "reason": reason,
        "score": 0.0,
        "rule": {},
        "subtypes": {},
        "total_volume_ml": 0.0,
        "finished_at": now,
    }
    known = _known(tx, record.id, record.revision, bundle_digest)
    if known is None:
        result_id = tx.insert_new(
            results,
            series_id=record.id,
            revision=record.revision,
            bundle_digest=bundle_digest,
            bundle=bundle,
            created_at=now,
            **said,
        )
        if result_id is None:
            raise StaleState("The same result appeared meanwhile: the study must be locked before a result is kept.")
    else:
        result_id, replaceable = known
        if replaceable:
            forgotten = {"key_slice": None, "slice_scores": None, "shadow": False}
            tx.connection.execute(update(results).where(results.c.id == result_id).values(**said, **forgotten))
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
    return int(result_id)


def latest(tx: Transaction, series_id: int) -> LatestResult | None:
    """The newest result of the latest revision that has one; None when nothing has been analysed yet.

    What a shadow bundle said never counts, nor that a gate alone finds nothing.
    """
    newest = select(results).where(results.c.series_id == series_id, spoken())
    row = tx.connection.execute(newest.order_by(results.c.revision.desc(), results.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else LatestResult(result_of(row), row.revision, row.bundle, row.provisional)


def spoken() -> ColumnElement[bool]:
    """Of results: those that say something of their series.

    A gate alone may raise a suspicion, but takes none back: the full result may never come.
    """
    more_than_a_gate = or_(~results.c.provisional, results.c.status == WorklistStatus.SUSPECTED)
    return and_(results.c.reason.is_(None), ~results.c.shadow, more_than_a_gate)


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
        .where(results.c.series_id == series_id, spoken())
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
        demonstration=is_demonstration(row.manifest or {}),
        slice_scores=None if row.slice_scores is None else tuple(row.slice_scores),
    )


def _same_instances(series_id: int, bundle_digest: str) -> tuple[ColumnElement[bool], ...]:
    """Of results: by this bundle, and of a revision that has every instance; a person may begin one without any."""
    last = select(func.max(instances.c.revision)).where(instances.c.series_id == series_id).scalar_subquery()
    return results.c.series_id == series_id, results.c.bundle_digest == bundle_digest, results.c.revision >= last


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


def _known(tx: Transaction, series_id: int, revision: int, bundle_digest: str) -> tuple[int, bool] | None:
    """Number of the result that is there already, and whether a full one may replace it."""
    row = tx.connection.execute(
        select(results.c.id, results.c.provisional, results.c.reason, results.c.shadow).where(
            results.c.series_id == series_id,
            results.c.revision == revision,
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
