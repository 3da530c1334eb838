"""A study that could not be analysed is reported as Undetermined, once, and only where it is asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.builders import ct_series, part10_damaged
from tests.fakes import FixedPredictor
from tests.integration.site import REPORT, Site, head
from tests.integration.test_services_told import oru
from triage.domain.encoded import ObjectKind
from triage.domain.errors import OutOfSpace, UnusableSeries
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.domain.lifecycle import JobState, SeriesState
from triage.domain.profile import Profile
from triage.domain.work import ClaimedBatch
from triage.services.notify import Notifier
from triage.services.recover import retry_study
from triage.services.undetermined import report_next
from triage.store import deliveries, result_objects
from triage.store.folder_area import FolderArea
from triage.store.result_objects import ResultObjectRecord

ASKED = replace(REPORT, undetermined=True)
TEXT = Profile((ObjectKind.SR_TEXT,), undetermined=True)
WAIT_SECONDS = 120


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs", profiles={"archive": ASKED, "old": TEXT, "list": REPORT})
    yield made
    made.db.dispose()


def too_few(**overrides: object) -> list[Dataset]:
    return ct_series(3, 64, 64, **overrides)


def refused(site: Site, series: list[Dataset], association: str = "a1") -> str:
    site.send(series, association)
    site.wait(10)
    site.assemble()
    return str(series[0].StudyInstanceUID)


def objects(site: Site, study: str) -> list[ResultObjectRecord]:
    with site.db.read() as tx:
        return result_objects.of_study(tx, study)


def claim(site: Site, destination: str) -> ClaimedBatch | None:
    with site.db.transaction() as tx:
        return deliveries.claim(tx, destination=destination, owner="s", now=site.now, lease_seconds=15)


def test_it_is_reported_in_each_kind_that_is_asked_for(site: Site) -> None:
    study = refused(site, too_few())
    assert not report_next(site.analyst), "a better series may still come"
    site.wait(WAIT_SECONDS)
    assert report_next(site.analyst)
    made = {o.kind: site.blobs.read(o.blob_key) for o in objects(site, study)}
    assert set(made) == {ObjectKind.SR, ObjectKind.SR_TEXT}
    for content in made.values():
        assert b"Undetermined" in content
        assert b"Absent" not in content
        assert ReasonCode.TOO_FEW_SLICES.value.encode() in content
    assert claim(site, "archive") is not None
    assert claim(site, "old") is not None
    assert claim(site, "list") is None


def test_it_is_reported_once(site: Site) -> None:
    study = refused(site, too_few())
    site.wait(WAIT_SECONDS)
    assert report_next(site.analyst)
    assert not report_next(site.analyst)
    site.wait(3600)
    assert not report_next(site.analyst)
    assert len(objects(site, study)) == 2


def test_the_worklist_still_says_why(site: Site) -> None:
    study = refused(site, too_few())
    site.wait(WAIT_SECONDS)
    report_next(site.analyst)
    row = site.row(study)
    assert (row.status, row.reason, row.score) == (WorklistStatus.NOT_ANALYSED, ReasonCode.TOO_FEW_SLICES, None)
    assert {o.destination for o in row.objects} == {"archive", "old"}


def test_nobody_asks(site: Site) -> None:
    site.profiles = {"list": REPORT}
    study = refused(site, too_few())
    site.wait(WAIT_SECONDS)
    assert report_next(site.analyst)
    assert objects(site, study) == []
    assert not report_next(site.analyst)


def test_the_localizer_of_an_analysed_head_is_no_news(site: Site) -> None:
    series = head()
    study = str(series[0].StudyInstanceUID)
    refused(site, too_few(StudyInstanceUID=study))
    site.send(series, "a2")
    site.settle()
    assert site.analyse()
    before = objects(site, study)
    site.wait(WAIT_SECONDS)
    while report_next(site.analyst):
        pass
    assert objects(site, study) == before


def drain(site: Site) -> int:
    """Report what is due; how many were looked at."""
    looked = 0
    while report_next(site.analyst):
        looked += 1
    return looked


def refuse() -> None:
    raise UnusableSeries(ReasonCode.OUT_OF_DISTRIBUTION, "SYNTHETIC: plastic.")


def in_work(site: Site) -> str:
    """A study of which one series was refused long ago, with a smaller one in the queue."""
    series = head(16)
    study = str(series[0].StudyInstanceUID)
    refused(site, ct_series(18, 64, 64, StudyInstanceUID=study, ImagePositionPatient=None))
    site.send(series, "a2")
    site.settle()
    site.wait(WAIT_SECONDS)
    return study


def test_a_refusal_waits_for_the_series_that_is_still_in_work_and_is_told_when_that_fails_too(site: Site) -> None:
    study = in_work(site)
    assert site.row(study).status is WorklistStatus.PENDING
    assert drain(site) == 1, "looked at once, and again later"
    assert objects(site, study) == []
    site.predictor = FixedPredictor(at_gate=refuse)
    assert site.analyse()
    row = site.row(study)
    assert (row.status, row.reason) == (WorklistStatus.NOT_ANALYSED, ReasonCode.NO_GEOMETRY)
    site.wait(WAIT_SECONDS)
    drain(site)
    assert {o.kind for o in objects(site, study)} == {ObjectKind.SR, ObjectKind.SR_TEXT}
    made = objects(site, study)
    site.wait(3600)
    assert drain(site) == 0
    assert objects(site, study) == made


def test_a_refusal_that_waited_is_no_news_once_the_other_series_is_analysed(site: Site) -> None:
    study = in_work(site)
    drain(site)
    assert site.analyse()
    made = objects(site, study)
    site.wait(WAIT_SECONDS)
    drain(site)
    site.wait(3600)
    assert drain(site) == 0
    assert objects(site, study) == made


def then_refused(site: Site, study: str) -> None:
    """A series of a study is analysed and negative; its late slice opens another revision, which no net takes."""
    series = head(17, StudyInstanceUID=study)
    site.send(series[:16], "a2")
    site.settle()
    site.predictor = FixedPredictor(score=0.02)
    assert site.analyse()
    assert site.row(study).status is WorklistStatus.NOT_SUSPECTED
    site.wait(WAIT_SECONDS)
    drain(site)
    site.send(series[16:], "a3")
    site.settle()
    site.predictor = FixedPredictor(at_gate=refuse)
    assert site.analyse()
    assert site.row(study).reason is ReasonCode.NO_GEOMETRY, "of the greater series"


def superseded_by(content: bytes) -> list[str]:
    """The reports that a report names as its predecessors."""
    ds = pydicom.dcmread(io.BytesIO(content))
    return [
        one.ReferencedSOPInstanceUID
        for document in ds.get("PredecessorDocumentsSequence", ())
        for series in document.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]


def test_a_refusal_that_was_no_news_is_told_when_the_series_that_was_analysed_fails_later(site: Site) -> None:
    study = refused(site, ct_series(18, 64, 64, ImagePositionPatient=None))
    then_refused(site, study)
    before = objects(site, study)
    site.wait(WAIT_SECONDS)
    drain(site)
    told = [site.blobs.read(o.blob_key) for o in objects(site, study)[len(before) :]]
    reasons = [ReasonCode.OUT_OF_DISTRIBUTION, ReasonCode.NO_GEOMETRY]
    assert [reason for content in told for reason in reasons if reason.value.encode() in content] == [
        *[ReasonCode.OUT_OF_DISTRIBUTION] * 2,
        *[ReasonCode.NO_GEOMETRY] * 2,
    ]
    assert [superseded_by(content) for content in told[2:]] == [[], []]


def test_what_a_series_said_before_is_taken_back_although_the_one_that_says_why_was_reported_long_ago(
    site: Site,
) -> None:
    site.notifiers = {"ris": Notifier(oru, only_suspected=False)}
    study = refused(site, ct_series(18, 64, 64, ImagePositionPatient=None))
    site.wait(WAIT_SECONDS)
    assert drain(site) == 1
    then_refused(site, study)
    before = objects(site, study)
    absent = {o.kind: o.sop_instance_uid for o in before if b"Absent" in site.blobs.read(o.blob_key)}
    assert set(absent) == {ObjectKind.SR, ObjectKind.SR_TEXT, ObjectKind.ORU}
    site.wait(WAIT_SECONDS)
    assert drain(site) == 1
    told = {o.kind: site.blobs.read(o.blob_key) for o in objects(site, study)[len(before) :]}
    assert set(told) == set(absent)
    assert all(b"Undetermined" in content for content in told.values())
    for kind in (ObjectKind.SR, ObjectKind.SR_TEXT):
        assert superseded_by(told[kind]) == [absent[kind]]
    site.wait(3600)
    assert drain(site) == 0


def test_a_late_slice_takes_the_report_back_before_it_is_made(site: Site) -> None:
    series = head()
    study = refused(site, series[:3])
    site.wait(WAIT_SECONDS - 1)
    site.send(series[3:], "a2")
    site.settle()
    site.wait(WAIT_SECONDS)
    assert not report_next(site.analyst)
    assert site.analyse()
    assert b"Undetermined" not in site.blobs.read(objects(site, study)[-1].blob_key)


def test_a_revision_that_can_be_analysed_supersedes_the_report(site: Site) -> None:
    series = head()
    study = refused(site, series[:3])
    site.wait(WAIT_SECONDS)
    assert report_next(site.analyst)
    undetermined = {o.sop_instance_uid for o in objects(site, study)}
    site.send(series[3:], "a2")
    site.settle()
    assert site.analyse()
    assert site.row(study).status is WorklistStatus.SUSPECTED
    newest = [o for o in objects(site, study) if o.kind is ObjectKind.SR][-1]
    ds = pydicom.dcmread(io.BytesIO(site.blobs.read(newest.blob_key)))
    (named,) = ds.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert named.ReferencedSOPInstanceUID in undetermined


def crash() -> None:
    raise RuntimeError("SYNTHETIC: no model today")


def test_a_retry_after_the_report_is_the_next_revision_and_goes_where_the_report_went(site: Site) -> None:
    site.profiles = {"archive": replace(ASKED, only_suspected=True), "list": replace(REPORT, only_suspected=True)}
    site.predictor = FixedPredictor(score=0.02, at_gate=crash)
    study = refused(site, head())
    for _ in range(3):
        assert site.analyse()
        site.wait(60)
    site.wait(WAIT_SECONDS)
    assert report_next(site.analyst)
    (undetermined,) = objects(site, study)
    assert retry_study(site.db, study, actor="person", now=site.now) == (1, 0)
    (record,) = site.series(study)
    assert (record.state, record.revision) == (SeriesState.STABLE, 2)
    assert [(job.state, job.revision, job.attempt) for job in site.jobs(study)] == [(JobState.QUEUED, 2, 0)]
    site.predictor = FixedPredictor(score=0.02)
    assert site.analyse()
    assert site.row(study).status is WorklistStatus.NOT_SUSPECTED
    (newest,) = objects(site, study)[1:]
    ds = pydicom.dcmread(io.BytesIO(site.blobs.read(newest.blob_key)))
    (named,) = ds.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert named.ReferencedSOPInstanceUID == undetermined.sop_instance_uid
    with site.db.read() as tx:
        assert [(d.destination, d.object_id) for d in deliveries.of_study(tx, study)] == [
            ("archive", undetermined.object_id),
            ("archive", newest.object_id),
        ]


def test_files_that_are_gone_end_in_no_report_and_no_loop(site: Site) -> None:
    study = refused(site, too_few())
    for file in site.root.rglob("*.dcm"):
        file.unlink()
    site.wait(WAIT_SECONDS)
    assert report_next(site.analyst)
    assert objects(site, study) == []
    assert not report_next(site.analyst)
    assert site.row(study).status is WorklistStatus.NOT_ANALYSED


@pytest.mark.parametrize("how", ["sequence", "deflated"])
def test_a_damaged_header_ends_in_no_report_and_no_loop(site: Site, how: str) -> None:
    series = too_few()
    for ds in series:
        site.keep(ds, content=part10_damaged(ds, how))
    site.wait(10)
    site.assemble()
    site.wait(WAIT_SECONDS)
    assert report_next(site.analyst)
    study = str(series[0].StudyInstanceUID)
    assert objects(site, study) == []
    assert not report_next(site.analyst)
    assert site.row(study).status is WorklistStatus.NOT_ANALYSED


class Full(FolderArea):
    """Writes nothing, and says why."""

    def __init__(self, root: Path, why: Exception) -> None:
        super().__init__(root)
        self.why = why

    def put(self, content: bytes) -> str:
        raise self.why


@pytest.mark.parametrize(("why", "waits"), [(OutOfSpace("SYNTHETIC"), True), (RuntimeError("SYNTHETIC"), False)])
def test_only_a_store_is_waited_for(site: Site, why: Exception, waits: bool) -> None:
    study = refused(site, too_few())
    site.wait(WAIT_SECONDS)
    full = Full(site.root, why)
    with pytest.raises(OutOfSpace) if waits else nullcontext():
        assert report_next(replace(site.analyst, blobs=full))
    assert report_next(site.analyst) is waits
    assert bool(objects(site, study)) is waits


def test_a_late_slice_while_the_report_is_written_wins(site: Site) -> None:
    series = head()
    study = refused(site, series[:3])
    site.wait(WAIT_SECONDS)
    arrived = iter([lambda: site.send(series[3:], "a2")])

    class Slow(FolderArea):
        def put(self, content: bytes) -> str:
            for arrive in arrived:
                arrive()
            return super().put(content)

    assert report_next(replace(site.analyst, blobs=Slow(site.root)))
    assert objects(site, study) == []
    site.settle()
    assert site.analyse()
    assert site.row(study).status is WorklistStatus.SUSPECTED


def test_two_workers_report_once(site: Site) -> None:
    study = refused(site, too_few())
    site.wait(WAIT_SECONDS)
    others = iter([lambda: report_next(site.analyst)])

    class Slow(FolderArea):
        def put(self, content: bytes) -> str:
            for other in others:
                assert other()
            return super().put(content)

    assert report_next(replace(site.analyst, blobs=Slow(site.root)))
    assert len(objects(site, study)) == 2
    with site.db.read() as tx:
        assert len(deliveries.of_study(tx, study)) == 2
