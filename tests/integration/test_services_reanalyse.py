"""A person's hand: a study analysed anew by another bundle, asked without keeping anything, or called off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pydicom
import pytest

from tests.fakes import DIGEST, FixedPredictor
from tests.integration.site import BOTH, Site, head
from triage.dicom.source import Source
from triage.domain.audit import AuditAction
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.errors import NotFound, StaleState, UnusableSeries
from triage.domain.finding import ReasonCode, TriageResult, WorklistStatus
from triage.domain.lifecycle import JobState, SeriesState
from triage.domain.notice import Notice
from triage.net.webhook import encode_webhook
from triage.services.analyse import analyse_next
from triage.services.notify import Notifier
from triage.services.reanalyse import cancel, reanalyse, replay, running
from triage.services.undetermined import report_next
from triage.store import deliveries, jobs, result_objects

OTHER = "ef" * 32


def tell(notice: Notice, _source: Source, identifier: str) -> EncodedObject:
    return encode_webhook(notice, identifier)


def bundle(digest: str = OTHER, name: str = "other") -> SimpleNamespace:
    return SimpleNamespace(
        name=name,
        version="1",
        digest=digest,
        demonstration=True,
        measured=(),
        preprocessing=SimpleNamespace(field_mm=256.0),
    )


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs", profiles={"archive": BOTH})
    yield made
    made.db.dispose()


def analyse(site: Site) -> bool:
    """As a worker that also tells a list."""
    return analyse_next(replace(site.analyst, notifiers={"list": Notifier(tell)}))


@pytest.fixture
def study(site: Site) -> str:
    """A study whose job is queued."""
    slices = head()
    site.send(slices)
    site.settle()
    return str(slices[0].StudyInstanceUID)


def anew(site: Site, study: str, digest: str = OTHER) -> int:
    site.wait(10)
    return reanalyse(site.db, site.blobs, study, bundle_digest=digest, actor="person", now=site.now)


def made(site: Site, study: str) -> list[tuple[str, int]]:
    with site.db.read() as tx:
        return [(o.kind.value, o.revision) for o in result_objects.of_study(tx, study)]


def test_another_bundle_makes_the_next_revision_which_supersedes_the_first(site: Site, study: str) -> None:
    assert analyse(site)
    flagged_at = site.row(study).flagged_at
    assert anew(site, study) == 1
    waiting = site.row(study)
    assert (waiting.status, waiting.provisional) == (WorklistStatus.SUSPECTED, True)  # not taken back by waiting
    site.predictor = FixedPredictor(score=0.02, bundle=bundle())
    assert analyse(site)
    row = site.row(study)
    assert (row.status, row.provisional, row.bundle) == (WorklistStatus.NOT_SUSPECTED, False, "other 1")
    assert row.flagged_at == flagged_at
    assert made(site, study) == [("SEG", 1), ("SR", 1), ("WEBHOOK", 1), ("SR", 2), ("WEBHOOK", 2)]
    with site.db.read() as tx:
        sr = [o for o in result_objects.of_study(tx, study) if o.kind is ObjectKind.SR]
        told = [d for d in deliveries.of_study(tx, study) if d.destination == "list"]
    named = pydicom.dcmread(site.blobs.path(sr[1].blob_key)).PredecessorDocumentsSequence[0]
    assert named.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == sr[0].sop_instance_uid
    assert len(told) == 2  # the list that heard of a suspicion hears that it is none
    moved = [r.event for r in site.audit() if r.event.action is AuditAction.SERIES_MOVED and r.event.actor == "person"]
    assert [(e.detail["from"], e.detail["to"], e.detail["revision"]) for e in moved] == [("analysed", "stable", 2)]


def test_a_negative_is_pending_while_it_is_analysed_anew(site: Site, study: str) -> None:
    site.predictor = FixedPredictor(score=0.02)
    analyse(site)
    anew(site, study)
    assert site.row(study).status is WorklistStatus.PENDING


def test_new_studies_go_first(site: Site, study: str) -> None:
    analyse(site)
    anew(site, study)
    site.wait(30)
    late = head()
    site.send(late, "late")
    site.settle()
    analyse(site)
    assert site.row(str(late[0].StudyInstanceUID)).status is WorklistStatus.SUSPECTED
    assert [job.state for job in site.jobs(study)] == [JobState.SUCCEEDED, JobState.QUEUED]


def test_the_same_bundle_keeps_what_it_said(site: Site, study: str) -> None:
    analyse(site)
    with pytest.raises(StaleState, match="has analysed this study already"):
        anew(site, study, DIGEST)
    anew(site, study)
    site.predictor = FixedPredictor(bundle=bundle())
    analyse(site)
    for digest in (OTHER, DIGEST):  # also when the other one has spoken meanwhile
        with pytest.raises(StaleState, match="has analysed this study already"):
            anew(site, study, digest)
    assert len(site.jobs(study)) == 2


def test_a_late_slice_is_another_study_for_the_same_bundle(site: Site) -> None:
    slices = head()
    study = str(slices[0].StudyInstanceUID)
    site.send(slices[:-1])
    site.settle()
    analyse(site)
    anew(site, study)
    site.predictor = FixedPredictor(bundle=bundle())
    analyse(site)
    site.send(slices[-1:], "late")
    site.settle()
    analyse(site)
    site.predictor = FixedPredictor()
    assert anew(site, study, DIGEST) == 1
    assert analyse(site)
    assert site.row(study).bundle == "fixed 1"


def refuse() -> None:
    raise UnusableSeries(ReasonCode.OUT_OF_DISTRIBUTION, "SYNTHETIC: plastic.")


def test_what_could_not_be_analysed_can_be_tried_again_by_the_same_bundle(site: Site, study: str) -> None:
    site.predictor = FixedPredictor(at_gate=refuse)
    analyse(site)
    assert site.row(study).status is WorklistStatus.NOT_ANALYSED
    assert anew(site, study, DIGEST) == 1
    assert site.row(study).status is WorklistStatus.PENDING
    site.predictor = FixedPredictor()
    analyse(site)
    assert site.row(study).status is WorklistStatus.SUSPECTED


def test_a_refusal_that_comes_again_is_reported_once(site: Site, study: str) -> None:
    """The same images, the same bundle, the same reason: the report would name itself as the one before."""
    site.profiles = {"archive": replace(BOTH, undetermined=True)}
    site.predictor = FixedPredictor(at_gate=refuse)
    for _ in range(3):
        analyse(site)
        site.wait(timedelta(hours=1).total_seconds())
        while report_next(site.analyst):
            pass
        assert made(site, study) == [("SR", 1)]
        anew(site, study, DIGEST)


def test_what_a_header_forbids_is_not_tried_again(site: Site) -> None:
    slices = head(24)
    site.send(slices[:10] + slices[14:])
    site.wait(200)
    site.assemble()
    study = str(slices[0].StudyInstanceUID)
    assert site.row(study).reason is ReasonCode.GAP
    with pytest.raises(NotFound, match="No series of study"):
        anew(site, study)


def test_what_is_in_work_is_left_alone(site: Site, study: str) -> None:
    with pytest.raises(StaleState, match="being analysed"):
        anew(site, study)
    slices = head()
    site.send(slices, "arriving", released=False)
    with pytest.raises(StaleState, match="arriving"):
        anew(site, str(slices[0].StudyInstanceUID))


@pytest.mark.parametrize("act", ["reanalyse", "replay", "cancel"])
def test_a_study_that_is_not_there(site: Site, act: str) -> None:
    with pytest.raises(NotFound, match=r"no study 2\.25\.9"):
        {
            "reanalyse": lambda: anew(site, "2.25.9"),
            "replay": lambda: replay(site.db, site.blobs, FixedPredictor(), "2.25.9"),  # type: ignore[arg-type]
            "cancel": lambda: cancel(site.db, "2.25.9", actor="person", now=site.now),
        }[act]()


def test_asking_changes_nothing(site: Site, study: str) -> None:
    analyse(site)
    row, before = site.row(study), len(site.audit())
    asked = FixedPredictor(score=0.02, bundle=bundle())
    (found,) = replay(site.db, site.blobs, asked, study)  # type: ignore[arg-type]
    assert found.recorded is not None
    assert (found.recorded.bundle, found.recorded.result.score) == ("fixed 1", 0.95)
    assert isinstance(found.said, TriageResult)
    assert found.said.score == 0.02
    assert (site.row(study), len(site.audit())) == (row, before)
    assert made(site, study) == [("SEG", 1), ("SR", 1), ("WEBHOOK", 1)]
    (refused,) = replay(site.db, site.blobs, FixedPredictor(at_gate=refuse), study)  # type: ignore[arg-type]
    assert refused.said == "SYNTHETIC: plastic."


def called_off(site: Site, study: str) -> int:
    return cancel(site.db, study, actor="person", now=site.now)


def test_what_is_called_off_is_not_analysed_and_says_by_whom(site: Site, study: str) -> None:
    assert called_off(site, study) == 1
    row = site.row(study)
    assert (row.status, row.reason) == (WorklistStatus.NOT_ANALYSED, ReasonCode.FAILED)
    (record,) = site.series(study)
    assert record.state is SeriesState.UNUSABLE
    assert record.detail == "The analysis was called off by person before it began."
    assert [job.state for job in site.jobs(study)] == [JobState.CANCELLED]
    assert not analyse(site)
    assert called_off(site, study) == 0
    acts = {(r.event.action, r.event.detail.get("to")) for r in site.audit() if r.event.actor == "person"}
    assert acts == {(AuditAction.JOB_MOVED, "cancelled"), (AuditAction.SERIES_MOVED, "unusable")}


def test_what_was_called_off_can_be_queued_again(site: Site, study: str) -> None:
    called_off(site, study)
    assert anew(site, study, DIGEST) == 1
    assert analyse(site)
    assert site.row(study).status is WorklistStatus.SUSPECTED


def test_a_suspicion_outlives_the_calling_off_of_its_second_analysis(site: Site, study: str) -> None:
    analyse(site)
    anew(site, study)
    assert called_off(site, study) == 1
    row = site.row(study)
    assert (row.status, row.provisional) == (WorklistStatus.SUSPECTED, True)
    with site.db.read() as tx:
        assert {d.state.value for d in deliveries.of_study(tx, study)} == {"pending"}  # what was found is still sent


def test_a_negative_does_not_outlive_it(site: Site, study: str) -> None:
    site.predictor = FixedPredictor(score=0.02)
    analyse(site)
    anew(site, study)
    called_off(site, study)
    assert site.row(study).status is WorklistStatus.NOT_ANALYSED


def test_what_a_worker_has_is_left_to_finish(site: Site, study: str) -> None:
    with site.db.transaction() as tx:
        assert jobs.claim(tx, owner="worker", now=site.now, lease_seconds=15) is not None
    assert called_off(site, study) == 0
    assert running(site.db, study) == 1
