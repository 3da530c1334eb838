"""Analyse one series: volume, gate, provisional flag, segmentation, objects; one commit ends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from triage import __version__
from triage.dicom.demographics import read_demographics
from triage.dicom.select import usable
from triage.dicom.source import read_source
from triage.dicom.volume import read_volume
from triage.domain.encoded import Addressed, ObjectKind
from triage.domain.errors import (
    BundleError,
    OutOfSpace,
    ProviderUnavailable,
    StaleState,
    StoreUnavailable,
    TriageError,
    UnusableSeries,
)
from triage.domain.finding import ReasonCode, TriageResult, WorklistStatus
from triage.domain.lifecycle import JobState, SeriesState
from triage.domain.notice import Notice
from triage.domain.profile import Profile
from triage.domain.provenance import Provenance
from triage.domain.told import FINDING_KINDS
from triage.domain.work import ClaimedJob
from triage.domain.worklist import WorklistRow
from triage.inference.plausible import check_living_head
from triage.inference.predict import Analysis, Gate, Predictor
from triage.services.lease import kept_alive
from triage.services.notify import Notifier, messages
from triage.services.place import placed
from triage.services.refuse import RETRY, end_unusable
from triage.services.result_set import Case, result_set
from triage.store import deliveries, instances, jobs, result_objects, results, series, studies, worklist
from triage.store.db import Database, Transaction
from triage.store.file_area import FileArea

log = structlog.get_logger()

ACTOR = "worker"
LEASE_SECONDS = 15.0
JOB_LIMIT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Analyst:
    """What analysing needs.

    ``profiles`` says what each destination is sent, ``notifiers`` what each reading list is told.
    """

    db: Database
    blobs: FileArea
    predictor: Predictor
    profiles: Mapping[str, Profile]
    clock: Callable[[], datetime]
    owner: str
    notifiers: Mapping[str, Notifier] = field(default_factory=dict)
    every_slice: bool = False
    lease_seconds: float = LEASE_SECONDS

    @property
    def bundle_label(self) -> str:
        """Name and version of the bundle, as the worklist shows it."""
        return f"{self.predictor.bundle.name} {self.predictor.bundle.version}"

    @property
    def wants_probabilities(self) -> bool:
        """Whether some destination takes a segmentation that shows them."""
        return any(ObjectKind.SEG_FRACTIONAL in profile.objects for profile in self.profiles.values())

    @property
    def pulling(self) -> list[str]:
        """The reading lists that ask for their messages themselves."""
        return [name for name, notifier in self.notifiers.items() if notifier.pulled]

    def provenance(self, content_at: datetime) -> Provenance:
        """Who makes a result whose content was fixed at this instant."""
        bundle = self.predictor.bundle
        return Provenance(
            bundle_name=bundle.name,
            bundle_version=bundle.version,
            bundle_digest=bundle.digest,
            software_version=__version__,
            demonstration=bundle.demonstration,
            content_at=content_at,
            measured=bundle.measured,
        )


def analyse_next(analyst: Analyst) -> bool:
    """Claim the most urgent job and bring it to an end; False when there is none.

    Raises
    ------
    ProviderUnavailable
        The GPU was lost; the job is queued again, and this process cannot do another one.
    StoreUnavailable, OutOfSpace
        The database or the file area did not answer; the job is queued again, and this was no attempt at it.
    """
    job = _claim(analyst)
    if job is None:
        return False
    with structlog.contextvars.bound_contextvars(
        series_instance_uid=job.series_instance_uid, revision=job.revision, attempt=job.attempt
    ):
        log.info("job_started")
        with kept_alive(lambda: _renew(analyst, job), analyst.lease_seconds / 3, JOB_LIMIT_SECONDS):
            try:
                _analyse(analyst, job)
            except UnusableSeries as exc:
                _refuse(analyst, job, exc.reason, str(exc))
            except StaleState:
                # A late slice or a lapsed lease: another job has this series now.
                log.info("job_superseded")
            except (StoreUnavailable, OutOfSpace) as exc:
                _put_back(analyst, job, exc)
                raise
            except ProviderUnavailable as exc:
                _give_back(analyst, job, exc)
                raise
            except Exception as exc:  # noqa: BLE001 - the worker loop: whatever a model or a file does, go on
                _give_back(analyst, job, exc)
    return True


def _claim(analyst: Analyst) -> ClaimedJob | None:
    now = analyst.clock()
    with analyst.db.read() as tx:
        if not jobs.any_due(tx, now):
            return None
    with analyst.db.transaction() as tx:
        return jobs.claim(tx, owner=analyst.owner, now=now, lease_seconds=analyst.lease_seconds)


def _renew(analyst: Analyst, job: ClaimedJob) -> None:
    with analyst.db.transaction() as tx:
        jobs.renew(tx, job, analyst.clock() + timedelta(seconds=analyst.lease_seconds))


def _analyse(analyst: Analyst, job: ClaimedJob) -> None:
    started_at = analyst.clock()
    with analyst.db.read() as tx:
        record = series.get(tx, job.series_id)
        stored = instances.of_series(tx, job.series_id)
        predecessors = result_objects.predecessors(tx, job.series_id, job.revision)
        told_before = result_objects.told_before(tx, job.series_id, job.revision, analyst.pulling)
        superseded = {
            name: result_objects.sent_before(tx, job.series_id, job.revision, name) for name in analyst.profiles
        }
    wanted = {header.sop_instance_uid for header in usable([s.header for s in stored])}
    contents = [analyst.blobs.read(s.blob_key) for s in stored if s.sop_instance_uid in wanted]
    volume = read_volume(contents)
    check_living_head(volume, analyst.predictor.bundle.preprocessing.field_mm)
    gate = analyst.predictor.gate(volume)
    _show_provisional(analyst, job, gate)
    analysis = analyst.predictor.segment(
        volume, gate, every_slice=analyst.every_slice, probabilities=analyst.wants_probabilities
    )
    provenance = analyst.provenance(record.last_received_at)
    case = Case(contents, volume, analysis, provenance, predecessors, superseded)
    made = result_set(case, analyst.profiles)
    if analyst.notifiers:
        notice = Notice(
            study_instance_uid=job.study_instance_uid,
            series_instance_uid=job.series_instance_uid,
            demographics=read_demographics(contents[0]),
            provenance=provenance,
            result=analysis.result,
            revision=job.revision - 1,
        )
        made += messages(analyst.notifiers, notice, read_source(contents, volume), made, told_before)
    with (
        placed(analyst.db, analyst.blobs, [item.encoded.content for item in made]) as keys,
        analyst.db.transaction() as tx,
    ):
        _record(tx, analyst, job, gate, analysis, list(zip(made, keys, strict=True)))
    log.info(
        "job_succeeded",
        status=analysis.result.status.value,
        score=round(analysis.result.score, 4),
        volume_ml=round(analysis.result.total_volume_ml, 2),
        slices=len(volume.sources),
        seconds=round((analyst.clock() - started_at).total_seconds(), 3),
    )


def _show_provisional(analyst: Analyst, job: ClaimedJob, gate: Gate) -> None:
    """Put what the gate says on the worklist at once."""
    now, result, scores = analyst.clock(), gate.result, _slice_scores(gate)
    digest, label = analyst.predictor.bundle.digest, analyst.bundle_label
    with analyst.db.transaction() as tx:
        studies.lock(tx, job.study_instance_uid, now=now)
        results.put_provisional(tx, job, result, bundle_digest=digest, bundle=label, now=now, slice_scores=scores)
        worklist.refresh(tx, job.study_instance_uid, now)
    log.info("gate_passed", score=round(result.score, 4), status=result.status.value)


def _slice_scores(gate: Gate) -> list[float]:
    """The probability of any haemorrhage on each slice, in the order of the volume."""
    scores: list[float] = gate.slice_probabilities[:, 0].tolist()
    return scores


def _record(
    tx: Transaction,
    analyst: Analyst,
    job: ClaimedJob,
    gate: Gate,
    analysis: Analysis,
    files: Sequence[tuple[Addressed, str]],
) -> None:
    """Result, objects, deliveries, states and worklist row in one transaction."""
    now = analyst.clock()
    bundle = analyst.predictor.bundle
    studies.lock(tx, job.study_instance_uid, now=now)
    jobs.succeed(tx, job, now)
    record = series.get(tx, job.series_id)
    series.move(tx, record, SeriesState.ANALYSED, now=now, actor=ACTOR)
    result_id = results.record(
        tx,
        job,
        analysis.result,
        bundle_digest=bundle.digest,
        bundle=analyst.bundle_label,
        now=now,
        slice_scores=_slice_scores(gate),
    )
    untold = _untold(job, analysis.result, worklist.refresh(tx, job.study_instance_uid, now))
    for item, blob_key in files:
        if item.encoded.kind not in untold:
            object_id = result_objects.add(tx, result_id, item.encoded, blob_key, now)
            deliveries.add(tx, object_id, item.destinations, now)


def _untold(job: ClaimedJob, result: TriageResult, row: WorklistRow) -> frozenset[ObjectKind]:
    """Kinds of messages that are not sent: no list is told "absent" of a study that is suspected for another series.

    A suspicion is always told, for it may outlive the greater one; an availability notification says nothing of it.
    """
    of_another = row.status is WorklistStatus.SUSPECTED and row.series_instance_uid != job.series_instance_uid
    return FINDING_KINDS if of_another and result.status is not WorklistStatus.SUSPECTED else frozenset()


def _refuse(analyst: Analyst, job: ClaimedJob, reason: ReasonCode, sentence: str) -> None:
    """The analysis came to the conclusion that there is nothing it can say: a final state, with its reason."""
    now = analyst.clock()
    try:
        with analyst.db.transaction() as tx:
            studies.lock(tx, job.study_instance_uid, now=now)
            jobs.succeed(tx, job, now)
            end_unusable(tx, job.series_id, reason, sentence, actor=ACTOR, now=now)
    except StaleState:
        log.info("job_superseded")
        return
    log.info("series_refused", reason=reason.value, why=sentence)


def _give_back(analyst: Analyst, job: ClaimedJob, exc: Exception) -> None:
    now = analyst.clock()
    log.error("job_failed", exc_info=exc)
    # A foreign exception's text may quote a header; only our own sentences are kept.
    error = str(exc) if isinstance(exc, TriageError) else f"{type(exc).__name__} in the worker; its log tells more."
    try:
        with analyst.db.transaction() as tx:
            studies.lock(tx, job.study_instance_uid, now=now)
            state = jobs.give_back(
                tx,
                job,
                error=error,
                now=now,
                not_before=now + timedelta(seconds=RETRY.delay_seconds(job.attempt, 1.0)),
                max_attempts=RETRY.max_attempts,
            )
            if state is JobState.FAILED:
                end_unusable(tx, job.series_id, _why(exc), error, actor=ACTOR, now=now)
    except StaleState:
        log.info("job_superseded")


def _put_back(analyst: Analyst, job: ClaimedJob, exc: TriageError) -> None:
    log.warning("job_put_back", code=exc.code, why=str(exc))
    try:
        with analyst.db.transaction() as tx:
            jobs.put_back(tx, job, why=str(exc), now=analyst.clock())
    except StaleState:
        log.info("job_superseded")


def _why(exc: Exception) -> ReasonCode:
    """What is to be said of a series that was tried too often: a net did not run, or anything else went wrong."""
    no_model = isinstance(exc, (BundleError, ProviderUnavailable))
    return ReasonCode.MODEL_UNAVAILABLE if no_model else ReasonCode.FAILED
