"""Which studies are old and at rest, the files that their rows name, and which study has lost them to its age."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, or_, select, union, update

from triage.domain.lifecycle import DeliveryState, JobState, SeriesState
from triage.store.schema import conflicts, deliveries, instances, jobs, result_objects, results, series, studies
from triage.store.transaction import Transaction

UNFINISHED = (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.FAILED)
"""Deliveries that may still need the file of their object; one that failed waits for a person."""


def at_rest(tx: Transaction, before: datetime, *, study_instance_uid: str | None = None) -> list[str]:
    """Studies whose files are here, in which nothing happened since ``before`` and nothing is waiting.

    Nothing came in, came again after it was lost, was analysed or was sent since; no series is arriving, to be
    analysed or to be reported; every object was delivered, and no archive is to be asked whether it keeps one. The
    longest held stand first.

    Parameters
    ----------
    study_instance_uid : str, optional
        Ask of this study alone.
    """
    of_study = series.c.study_instance_uid == studies.c.study_instance_uid
    came_in = select(instances.c.id).join_from(instances, series).where(of_study, instances.c.received_at >= before)
    unfinished = select(series.c.id).where(
        of_study,
        or_(series.c.state.in_((SeriesState.RECEIVING, SeriesState.STABLE)), series.c.report_at.is_not(None)),
    )
    at_work = (
        select(jobs.c.id)
        .join_from(jobs, series)
        .where(of_study, or_(jobs.c.state.in_((JobState.QUEUED, JobState.RUNNING)), jobs.c.finished_at >= before))
    )
    said = select(results.c.id).join_from(results, series).where(of_study, results.c.created_at >= before)
    sending = (
        select(deliveries.c.id)
        .select_from(deliveries.join(result_objects).join(results).join(series))
        .where(
            of_study,
            or_(
                deliveries.c.state.in_(UNFINISHED),
                deliveries.c.commit_at.is_not(None),
                deliveries.c.updated_at >= before,
            ),
        )
    )
    found = (
        select(studies.c.study_instance_uid)
        .where(
            ~is_gone(),
            studies.c.received_at < before,
            or_(studies.c.files_restored_at.is_(None), studies.c.files_restored_at < before),
            *(~reason.correlate(studies).exists() for reason in (came_in, unfinished, at_work, said, sending)),
        )
        .order_by(studies.c.received_at)
    )
    if study_instance_uid is not None:
        found = found.where(studies.c.study_instance_uid == study_instance_uid)
    return list(tx.connection.execute(found).scalars())


def files(tx: Transaction, study_instance_uid: str) -> list[str]:
    """Keys of every file that a row of this study names: instances, copies kept aside, and result objects."""
    mine = series.c.study_instance_uid == study_instance_uid
    aside = instances.c.sop_instance_uid == conflicts.c.sop_instance_uid
    named = union(
        select(instances.c.blob_key).join_from(instances, series).where(mine),
        select(conflicts.c.blob_key).join_from(conflicts, instances, aside).join(series).where(mine),
        select(result_objects.c.blob_key).select_from(result_objects.join(results).join(series)).where(mine),
    )
    return sorted(tx.connection.execute(named).scalars())


def is_gone() -> ColumnElement[bool]:
    """Of a row of studies: its files were removed for their age, and none has come in or come again since."""
    since = (
        select(instances.c.id)
        .join_from(instances, series)
        .where(
            series.c.study_instance_uid == studies.c.study_instance_uid,
            instances.c.received_at >= studies.c.files_removed_at,
        )
    )
    return and_(
        studies.c.files_removed_at.is_not(None),
        or_(studies.c.files_restored_at.is_(None), studies.c.files_restored_at < studies.c.files_removed_at),
        ~since.correlate(studies).exists(),
    )


def removed_at(tx: Transaction, study_instance_uid: str) -> datetime | None:
    """When the files of a study were removed for their age; None where any is here."""
    mine = studies.c.study_instance_uid == study_instance_uid
    return tx.connection.execute(select(studies.c.files_removed_at).where(mine, is_gone())).scalar_one_or_none()


def mark_removed(tx: Transaction, study_instance_uid: str, now: datetime) -> None:
    """The files are gone; the caller holds the study's lock.

    Copies that were kept aside are forgotten: another one of the same content is then kept, not taken for them.
    """
    mine = select(instances.c.sop_instance_uid).join(series).where(series.c.study_instance_uid == study_instance_uid)
    tx.connection.execute(delete(conflicts).where(conflicts.c.sop_instance_uid.in_(mine)))
    _mark(tx, study_instance_uid, files_removed_at=now)


def mark_restored(tx: Transaction, study_instance_uid: str, now: datetime) -> None:
    """A file that was gone came again, and the age of the study counts from now; the caller holds its lock."""
    _mark(tx, study_instance_uid, files_restored_at=now)


def _mark(tx: Transaction, study_instance_uid: str, **values: datetime) -> None:
    mine = update(studies).where(studies.c.study_instance_uid == study_instance_uid)
    tx.connection.execute(mine.values(**values))
