"""A person's hand on the analysis of one study: have it done anew, ask what a bundle would say, or call it off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from triage.dicom.select import exclusion, preference
from triage.domain.errors import NotFound, StaleState, UnusableSeries
from triage.domain.finding import ReasonCode, TriageResult
from triage.domain.lifecycle import JobState, SeriesState
from triage.inference.predict import Predictor
from triage.services.shadow import examine
from triage.store import instances, jobs, results, series, studies, worklist
from triage.store.db import Database, Transaction
from triage.store.file_area import FileArea
from triage.store.results import LatestResult
from triage.store.series import SeriesRecord

BEHIND_ROUTINE = 2
"""Priority of a job that a person asked for: new studies go first."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What is on record of a series, and what a bundle says of it now: a result, or the sentence why there is none."""

    series_instance_uid: str
    recorded: LatestResult | None
    said: TriageResult | str


def reanalyse(
    db: Database, blobs: FileArea, study_instance_uid: str, *, bundle_digest: str, actor: str, now: datetime
) -> int:
    """Queue the analysed series of a study again, or the best one that could not be; return how many.

    Each becomes a new revision, so that its new result supersedes the old one in archives and reading lists.

    Parameters
    ----------
    bundle_digest : str
        The bundle in use. It keeps what it said once: the same images and the same bundle give the same result.

    Raises
    ------
    NotFound
        There is no such study, or nothing in it that could be analysed.
    StaleState
        It is being analysed, this bundle has said already what it has to say, or images are gone from the file area:
        an analysis that cannot read them would take back what was found.
    """
    with db.transaction() as tx:
        chosen = _chosen(tx, study_instance_uid)
        studies.lock(tx, study_instance_uid, now=now)
        if _chosen(tx, study_instance_uid) != chosen:
            raise StaleState(f"Study {study_instance_uid} has changed in this moment; try again.")
        anew = [record for record in chosen if not results.counts(tx, record.id, bundle_digest)]
        if not anew:
            raise StaleState(
                "The bundle in use has analysed this study already, and would say the same again: choose another one "
                "with triage bundle use, or see what it would say with triage reanalyse --dry-run --bundle PATH."
            )
        for record in anew:
            _require_images(tx, blobs, record)
        for record in anew:
            begun = series.begin_again(tx, record, why=f"Analysed anew for {actor}.", now=now, actor=actor)
            jobs.add(tx, begun, priority=BEHIND_ROUTINE, deadline_at=now, now=now)
        worklist.refresh(tx, study_instance_uid, now, actor=actor)
    return len(anew)


def replay(
    db: Database,
    blobs: FileArea,
    predictor: Predictor,
    study_instance_uid: str,
    *,
    every_slice: bool = False,
    on_series: Callable[[str], None] = lambda uid: None,
) -> list[Replayed]:
    """What a bundle says of a study now, beside what is on record. Nothing is kept, sent or told.

    Raises
    ------
    NotFound, StaleState
        As for `reanalyse`.
    """
    with db.read() as tx:
        chosen = [(record, results.latest(tx, record.id)) for record in _chosen(tx, study_instance_uid)]
    replayed = []
    for record, recorded in chosen:
        on_series(record.series_instance_uid)
        said: TriageResult | str
        try:
            said = examine(db, blobs, record.id, predictor, every_slice=every_slice)
        except UnusableSeries as exc:
            said = str(exc)
        replayed.append(Replayed(record.series_instance_uid, recorded, said))
    return replayed


def cancel(db: Database, study_instance_uid: str, *, actor: str, now: datetime) -> int:
    """Call off the analyses of a study that are queued; return how many. One that a worker has is left to finish.

    The series ends as not analysed, with this as the reason, so that the missing flag is never read as a negative.
    No other series of the study takes its place: a person wants none. Deliveries of what was found before go on.

    Raises
    ------
    NotFound
        There is no such study.
    """
    with db.transaction() as tx:
        studies.lock_known(tx, [study_instance_uid])
        called_off = 0
        for record in _of_study(tx, study_instance_uid):
            if record.state is SeriesState.STABLE and jobs.cancel_queued(
                tx, record.id, why=f"called off by {actor}", now=now, actor=actor
            ):
                sentence = f"The analysis was called off by {actor} before it began."
                series.move(
                    tx,
                    record,
                    SeriesState.UNUSABLE,
                    now=now,
                    actor=actor,
                    reason=ReasonCode.FAILED,
                    detail=sentence,
                )
                called_off += 1
        if called_off:
            worklist.refresh(tx, study_instance_uid, now, actor=actor)
    return called_off


def running(db: Database, study_instance_uid: str) -> int:
    """How many analyses of a study a worker is at."""
    with db.read() as tx:
        return sum(job.state is JobState.RUNNING for job in jobs.of_study(tx, study_instance_uid))


def _require_images(tx: Transaction, blobs: FileArea, record: SeriesRecord) -> None:
    stored = instances.of_series(tx, record.id)
    gone = sum(not blobs.holds(one.blob_key) for one in stored)
    if gone:
        raise StaleState(
            f"{gone} of {len(stored)} files of series {record.series_instance_uid} are gone from the file area, for "
            "their age (storage.retain_days) or by accident: have the PACS send the study again first."
        )


def _of_study(tx: Transaction, study_instance_uid: str) -> list[SeriesRecord]:
    records = series.of_study(tx, study_instance_uid)
    if not records:
        raise NotFound(f"There is no study {study_instance_uid}; triage worklist lists those that came in.")
    return records


def _chosen(tx: Transaction, study_instance_uid: str) -> list[SeriesRecord]:
    """The series that were analysed; where none was, the best that a worker could still try."""
    records = _of_study(tx, study_instance_uid)
    if any(r.state is SeriesState.STABLE or (r.state is SeriesState.RECEIVING and r.candidate) for r in records):
        raise StaleState(f"Study {study_instance_uid} is arriving or being analysed: wait until that has ended.")
    analysed = [record for record in records if record.state is SeriesState.ANALYSED]
    if analysed:
        return analysed
    ended = []
    for record in records:
        headers = [stored.header for stored in instances.of_series(tx, record.id)]
        if record.state is SeriesState.UNUSABLE and record.candidate and exclusion(headers) is None:
            ended.append((preference(headers), record))
    if not ended:
        raise NotFound(f"No series of study {study_instance_uid} could be analysed; triage show tells why.")
    return [max(ended, key=lambda one: one[0])[1]]
