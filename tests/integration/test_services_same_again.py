"""What is analysed again and says the same is the same objects: nothing supersedes itself, and nothing is lost."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.fakes import DIGEST, FixedPredictor
from tests.integration.site import BOTH, Site, head
from triage.domain.encoded import ObjectKind
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.domain.lifecycle import SeriesState
from triage.domain.profile import Profile
from triage.services.reanalyse import reanalyse
from triage.services.undetermined import report_next
from triage.services.view import find, series_view
from triage.store import deliveries, jobs, result_objects, series, studies, worklist
from triage.store.result_objects import ResultObjectRecord

EVERYTHING = Profile((ObjectKind.SEG, ObjectKind.SR, ObjectKind.SC, ObjectKind.KOS), reject_superseded=True)


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs", profiles={"archive": EVERYTHING})
    yield made
    made.db.dispose()


def analysed_anew(site: Site, study: str) -> None:
    """The same slices by the same bundle as the next revision: so releases before did when a localizer came late."""
    with site.db.transaction() as tx:
        studies.lock(tx, study, now=site.now)
        (record,) = series.of_study(tx, study)
        begun = series.begin_again(tx, record, why="SYNTHETIC: begun anew", now=site.now, actor="person")
        jobs.add(tx, begun, priority=1, deadline_at=site.now, now=site.now)
        worklist.refresh(tx, study, site.now)
    assert site.analyse()


def objects(site: Site, study: str) -> list[ResultObjectRecord]:
    with site.db.read() as tx:
        return result_objects.of_study(tx, study)


def read(site: Site, one: ResultObjectRecord) -> Dataset:
    return pydicom.dcmread(io.BytesIO(site.blobs.read(one.blob_key)))


def sent(site: Site, study: str) -> list[str]:
    with site.db.read() as tx:
        return [one.sop_instance_uid for one in deliveries.of_study(tx, study)]


class Twice(NamedTuple):
    """A study that was analysed twice from the same slices; its objects and deliveries before the second time."""

    study: str
    last_slice: list[Dataset]
    objects: list[ResultObjectRecord]
    sent: list[str]


@pytest.fixture(params=[0.95, 0.02], ids=["suspected", "negative"])
def twice(request: pytest.FixtureRequest, site: Site) -> Twice:
    site.predictor = FixedPredictor(score=request.param)
    slices = head()
    study = str(slices[0].StudyInstanceUID)
    site.send(slices[:-1])
    site.settle()
    assert site.analyse()
    before = Twice(study, slices[-1:], objects(site, study), sent(site, study))
    site.wait(60)
    analysed_anew(site, study)
    return before


def test_what_says_the_same_changes_nothing(site: Site, twice: Twice) -> None:
    study, before, were_sent = twice.study, twice.objects, twice.sent
    (record,) = site.series(study)
    assert (record.state, record.revision) == (SeriesState.ANALYSED, 2)
    row = site.row(study)
    suspected = WorklistStatus.SUSPECTED if site.predictor.score > 0.5 else WorklistStatus.NOT_SUSPECTED
    assert (row.status, row.provisional) == (suspected, False)
    assert [(o.sop_instance_uid, o.blob_key) for o in objects(site, study)] == [
        (o.sop_instance_uid, o.blob_key) for o in before
    ]
    assert sent(site, study) == were_sent
    assert site.unnamed() == []
    (sr,) = [o for o in objects(site, study) if o.kind is ObjectKind.SR]
    assert "PredecessorDocumentsSequence" not in read(site, sr)


@pytest.mark.parametrize("twice", [0.95], indirect=True)
def test_the_objects_belong_to_the_result_that_is_shown(site: Site, twice: Twice) -> None:
    study, before = twice.study, twice.objects
    with site.db.read() as tx:
        view = series_view(tx, find(tx, study))
    assert view.segmentation in {o.blob_key for o in before if o.kind is ObjectKind.SEG}


@pytest.mark.parametrize("twice", [0.95], indirect=True)
def test_a_slice_after_that_supersedes_what_was_sent_first(site: Site, twice: Twice) -> None:
    study, before, were_sent = twice.study, twice.objects, twice.sent
    site.send(twice.last_slice, "later")
    site.wait(200)
    site.assemble()
    assert site.analyse()
    made = {o.kind: o for o in objects(site, study)[len(before) :]}
    (first,) = [o for o in before if o.kind is ObjectKind.SR]
    (named,) = read(site, made[ObjectKind.SR]).PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    assert named.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first.sop_instance_uid
    rejected = {e.value for e in read(site, made[ObjectKind.KOS_REJECTED]).iterall() if e.tag == 0x00081155}
    assert rejected == set(were_sent)


def crash() -> None:
    raise RuntimeError("SYNTHETIC: a segmentation that never ends well")


def fail(site: Site) -> None:
    """A job that is tried as often as it may be, and the report on it."""
    for _ in range(3):
        assert site.analyse()
        site.wait(60)
    site.wait(120)
    while report_next(site.analyst):
        pass


def test_a_segmentation_that_fails_again_is_reported_once_and_ends_no_worker(site: Site) -> None:
    site.profiles = {"archive": replace(BOTH, undetermined=True)}
    site.predictor = FixedPredictor(score=0.02, at_segment=crash)
    slices = head()
    study = str(slices[0].StudyInstanceUID)
    site.send(slices)
    site.settle()
    fail(site)
    before = objects(site, study)
    assert [o.kind for o in before] == [ObjectKind.SR]
    for _ in range(2):
        assert reanalyse(site.db, site.blobs, study, bundle_digest=DIGEST, actor="person", now=site.now) == 1
        fail(site)
        row = site.row(study)
        assert (row.status, row.reason) == (WorklistStatus.NOT_ANALYSED, ReasonCode.FAILED)
        assert [o.sop_instance_uid for o in objects(site, study)] == [before[0].sop_instance_uid]
        assert len(sent(site, study)) == 1


def suspected_then(site: Site, series: list[Dataset]) -> str:
    """A study that was suspected in full without its last slice; the gate denies it once that has come."""
    study = str(series[0].StudyInstanceUID)
    site.predictor = FixedPredictor()
    site.send(series[:-1], "early")
    site.settle()
    assert site.analyse()
    site.send(series[-1:], "late")
    site.settle()
    site.predictor = FixedPredictor(score=0.02, at_segment=crash)
    return study


@pytest.mark.parametrize("undetermined", [True, False])
def test_an_earlier_suspicion_stands_when_the_gate_alone_denied_it(site: Site, undetermined: bool) -> None:
    """No report says Undetermined of a study that the worklist shows as suspected."""
    site.profiles = {"archive": replace(BOTH, undetermined=undetermined)}
    study = suspected_then(site, head())
    before, seen = objects(site, study), []
    site.predictor.at_gate = lambda: seen.append(site.row(study).status)
    fail(site)
    assert seen == [WorklistStatus.SUSPECTED] * 3, "what the gate said the first time is on record the second"
    row = site.row(study)
    assert (row.status, row.provisional) == (WorklistStatus.SUSPECTED, True)
    assert objects(site, study) == before


def test_no_negative_series_speaks_for_one_that_the_gate_alone_denied(site: Site) -> None:
    site.predictor = FixedPredictor(score=0.02)
    other = head(StudyInstanceUID="2.25.7", ConvolutionKernel="H60s")
    site.send(other, "other")
    site.settle()
    assert site.analyse()
    study = suspected_then(site, head(StudyInstanceUID="2.25.7"))
    fail(site)
    row = site.row(study)
    assert (row.status, row.provisional) == (WorklistStatus.SUSPECTED, True)
    with site.db.read() as tx:
        view = find(tx, study)
    assert view.shown is not None
    assert (view.shown.revision, view.shown.result.provisional) == (1, False)


def test_an_earlier_suspicion_stands_when_a_revision_ends_between_the_gate_and_its_full_result(site: Site) -> None:
    """One more slice comes, at a position that is taken, and the third revision is refused."""
    slices = head()
    study = suspected_then(site, slices)
    twin = copy.deepcopy(slices[5])
    twin.SOPInstanceUID = twin.file_meta.MediaStorageSOPInstanceUID = "2.25.77"
    site.predictor.at_segment = lambda: site.send([twin], "later")
    assert site.analyse()
    assert site.row(study).status is WorklistStatus.SUSPECTED
    site.wait(200)
    site.assemble()
    (record,) = site.series(study)
    assert (record.revision, record.reason) == (3, ReasonCode.DUPLICATE_POSITIONS)
    row = site.row(study)
    assert (row.status, row.provisional) == (WorklistStatus.SUSPECTED, True)
