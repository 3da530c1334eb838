"""Analysing: one commit ends a job; whatever goes wrong is shown, kept and can be repeated."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pydicom
import pytest
from sqlalchemy import select

from tests.fakes import FixedPredictor
from tests.integration.site import BOTH, REPORT, Site, head
from triage.domain.audit import AuditAction
from triage.domain.errors import (
    BundleError,
    NotFound,
    OutOfSpace,
    ProviderUnavailable,
    StoreUnavailable,
    TriageError,
    UnusableSeries,
)
from triage.domain.finding import ReasonCode, Urgency, WorklistStatus
from triage.domain.lifecycle import JobState, SeriesState
from triage.services.recover import ORPHAN_AGE, requeue_lapsed, retry_study, set_orphans_aside
from triage.store import deliveries, instances, jobs, result_objects, results, schema
from triage.store.db import Database, upgrade
from triage.store.folder_area import FolderArea


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs", profiles={"archive": BOTH, "list": REPORT})
    yield made
    made.db.dispose()


@pytest.fixture
def study(site: Site) -> str:
    """A study whose job is queued."""
    series = head()
    site.send(series)
    site.settle()
    return str(series[0].StudyInstanceUID)


def objects(site: Site, study: str) -> dict[str, pydicom.Dataset]:
    with site.db.read() as tx:
        made = result_objects.of_study(tx, study)
    return {o.kind: pydicom.dcmread(io.BytesIO(site.blobs.read(o.blob_key))) for o in made}


def test_a_positive_study(site: Site, study: str) -> None:
    assert site.analyse()
    row = site.row(study)
    assert (row.status, row.provisional, row.urgency) == (WorklistStatus.SUSPECTED, False, Urgency.EMERGENT)
    assert row.flagged_at == site.now
    assert row.total_volume_ml is not None
    assert row.total_volume_ml > 0
    assert set(objects(site, study)) == {"SEG", "SR"}
    assert sorted((o.kind, o.destination, o.state) for o in row.objects) == [
        ("SEG", "archive", "pending"),
        ("SR", "archive", "pending"),
        ("SR", "list", "pending"),
    ]
    assert AuditAction.STUDY_FLAGGED in [r.event.action for r in site.audit()]


def test_a_negative_study_gets_a_report_and_no_segmentation(site: Site, study: str) -> None:
    site.predictor = FixedPredictor(score=0.02)
    assert site.analyse()
    row = site.row(study)
    assert (row.status, row.flagged_at, row.urgency) == (WorklistStatus.NOT_SUSPECTED, None, Urgency.NONE)
    assert set(objects(site, study)) == {"SR"}


def test_the_gate_flags_at_once(site: Site, study: str) -> None:
    seen = []
    site.predictor = FixedPredictor(at_segment=lambda: seen.append(site.row(study)))
    site.analyse()
    (early,) = seen
    assert (early.status, early.provisional) == (WorklistStatus.SUSPECTED, True)


def test_the_probability_of_each_slice_is_there_with_the_flag_and_stays(site: Site, study: str) -> None:
    def kept() -> results.ShownResult:
        (record,) = site.series(study)
        with site.db.read() as tx:
            found = results.shown(tx, record.id)
        assert found is not None
        return found

    seen = []
    site.predictor = FixedPredictor(at_segment=lambda: seen.append(kept()))
    site.analyse()
    early, final = seen[0], kept()
    assert early.result.provisional
    assert early.slice_scores == final.slice_scores == (0.02,) * 8 + (0.95,) * 2 + (0.02,) * 8


def test_a_series_that_is_no_head_ends_with_its_reason_and_no_report(site: Site, study: str) -> None:
    def refuse() -> None:
        raise UnusableSeries(ReasonCode.OUT_OF_DISTRIBUTION, "SYNTHETIC: plastic.")

    site.predictor = FixedPredictor(at_gate=refuse)
    assert site.analyse()
    row = site.row(study)
    assert (row.status, row.reason) == (WorklistStatus.NOT_ANALYSED, ReasonCode.OUT_OF_DISTRIBUTION)
    assert objects(site, study) == {}


def crash() -> None:
    raise RuntimeError("SYNTHETIC: SECRET^NAME in a library's message")


def test_a_crash_is_tried_again_then_shown_then_retried_by_a_person(site: Site, study: str) -> None:
    site.predictor = FixedPredictor(at_gate=crash)
    for _ in range(3):
        assert site.analyse()
        assert not site.analyse()  # not before the pause is over
        site.wait(60)
    row = site.row(study)
    assert (row.status, row.reason) == (WorklistStatus.NOT_ANALYSED, ReasonCode.FAILED)
    assert "SECRET" not in str(site.audit())
    assert "SECRET" not in str(site.jobs(study))
    assert not site.analyse()

    assert retry_study(site.db, study, actor="person", now=site.now) == (1, 0)
    assert site.row(study).status is WorklistStatus.PENDING
    site.predictor = FixedPredictor()
    assert site.analyse()
    assert site.row(study).status is WorklistStatus.SUSPECTED


def test_a_retry_of_a_study_that_never_came_leaves_nothing(site: Site) -> None:
    assert retry_study(site.db, "2.25.404", actor="person", now=site.now) == (0, 0)
    with site.db.read() as tx:
        assert tx.connection.execute(select(schema.studies)).all() == []


def test_a_job_whose_gpu_is_lost_is_queued_again(site: Site, study: str) -> None:
    def lose() -> None:
        raise ProviderUnavailable("SYNTHETIC: the GPU is gone.")

    site.predictor = FixedPredictor(at_segment=lose)
    with pytest.raises(ProviderUnavailable):
        site.analyse()
    site.wait(5)
    site.predictor = FixedPredictor()
    assert site.analyse()
    assert site.row(study).status is WorklistStatus.SUSPECTED


class Ailing(FolderArea):
    """A file area that cannot be read, or not be written, for the reasons in ``ails``."""

    def __init__(self, root: Path, **ails: TriageError) -> None:
        super().__init__(root)
        self.ails = ails

    def read(self, key: str) -> bytes:
        if "read" in self.ails:
            raise self.ails["read"]
        return super().read(key)

    def put(self, content: bytes) -> str:
        if "put" in self.ails:
            raise self.ails["put"]
        return super().put(content)


def test_a_file_that_cannot_be_read_ends_its_study_with_its_name_and_no_other(site: Site, study: str) -> None:
    with site.db.read() as tx:
        unreadable = instances.of_series(tx, site.series(study)[0].id)[3].blob_key
    site.blobs.remove(unreadable)
    site.blobs.path(unreadable).mkdir()
    for _ in range(3):
        assert site.analyse()
        site.wait(60)
    row = site.row(study)
    assert (row.status, row.reason) == (WorklistStatus.NOT_ANALYSED, ReasonCode.FAILED)
    assert f"{unreadable} cannot be read" in str(site.series(study)[0].detail)


@pytest.mark.parametrize(("act", "why"), [("read", StoreUnavailable("SYNTHETIC: mount")), ("put", OutOfSpace("full"))])
def test_a_job_stays_queued_while_the_file_area_does_not_answer(
    site: Site, study: str, act: str, why: TriageError
) -> None:
    site.blobs = Ailing(site.root, **{act: why})
    for _ in range(5):
        with pytest.raises(type(why)):
            site.analyse()
        (job,) = site.jobs(study)
        assert (job.state, job.attempt, job.error) == (JobState.QUEUED, 0, str(why))
        assert not site.analyse(), "the other jobs have their turn first"
        site.wait(60)
    assert site.row(study).status is not WorklistStatus.NOT_ANALYSED
    site.blobs = FolderArea(site.root)
    assert site.analyse()
    assert site.row(study).status is WorklistStatus.SUSPECTED


def test_a_file_that_is_gone_is_not_waited_for(site: Site, study: str) -> None:
    for file in site.root.rglob("*.dcm"):
        file.unlink()
    for _ in range(3):
        assert site.analyse()
        site.wait(60)
    assert site.row(study).reason is ReasonCode.FAILED


@pytest.mark.parametrize("lost", [BundleError, ProviderUnavailable])
def test_a_net_that_never_runs_leaves_the_study_not_analysed_for_want_of_a_model(
    site: Site, study: str, lost: type[TriageError]
) -> None:
    def fail() -> None:
        raise lost("munet.onnx failed while running: SYNTHETIC.")

    site.predictor = FixedPredictor(at_gate=fail)
    for _ in range(3):
        with suppress(ProviderUnavailable):
            site.analyse()
        site.wait(60)
    row = site.row(study)
    assert (row.status, row.reason) == (WorklistStatus.NOT_ANALYSED, ReasonCode.MODEL_UNAVAILABLE)
    assert retry_study(site.db, study, actor="person", now=site.now) == (1, 0)
    site.predictor = FixedPredictor()
    assert site.analyse()
    assert site.row(study).status is WorklistStatus.SUSPECTED


def test_a_worker_that_vanishes_loses_its_job(site: Site, study: str) -> None:
    with site.db.transaction() as tx:
        assert jobs.claim(tx, owner="gone", now=site.now, lease_seconds=15) is not None
    assert not site.analyse()
    assert requeue_lapsed(site.db, site.now) == 0
    site.wait(16)
    assert requeue_lapsed(site.db, site.now) == 1
    assert site.analyse()
    assert site.row(study).status is WorklistStatus.SUSPECTED


def test_a_job_that_kills_every_worker_times_out(site: Site, study: str) -> None:
    for _ in range(3):
        with site.db.transaction() as tx:
            assert jobs.claim(tx, owner="gone", now=site.now, lease_seconds=15) is not None
        site.wait(16)
        requeue_lapsed(site.db, site.now)
    row = site.row(study)
    assert (row.status, row.reason) == (WorklistStatus.NOT_ANALYSED, ReasonCode.TIMED_OUT)
    assert [j.state for j in site.jobs(study)] == [JobState.FAILED]


def interrupted_by(site: Site, slices: list[pydicom.Dataset]) -> Callable[[], None]:
    return lambda: site.send(slices, "late")


def test_a_late_slice_during_the_analysis_discards_it(site: Site) -> None:
    series = head()
    study = str(series[0].StudyInstanceUID)
    site.send(series[:-1])
    site.settle()
    site.predictor = FixedPredictor(at_segment=interrupted_by(site, series[-1:]))
    assert site.analyse()
    (record,) = site.series(study)
    assert (record.state, record.revision) == (SeriesState.RECEIVING, 2)
    assert objects(site, study) == {}
    row = site.row(study)
    assert (row.status, row.provisional) == (WorklistStatus.SUSPECTED, True)  # a flag is not taken back by waiting
    site.predictor = FixedPredictor()
    site.settle()
    assert site.analyse()
    assert len(objects(site, study)["SR"].CurrentRequestedProcedureEvidenceSequence) >= 1
    assert not site.row(study).provisional


def test_the_second_report_names_the_first(site: Site) -> None:
    series = head()
    study = str(series[0].StudyInstanceUID)
    site.send(series[:-1])
    site.settle()
    site.analyse()
    first = objects(site, study)["SR"]
    site.send(series[-1:], "late")
    site.settle()
    site.analyse()
    with site.db.read() as tx:
        reports = [o for o in result_objects.of_study(tx, study) if o.kind == "SR"]
    assert len(reports) == 2
    second = next(
        pydicom.dcmread(io.BytesIO(site.blobs.read(o.blob_key)))
        for o in reports
        if o.sop_instance_uid != first.SOPInstanceUID
    )
    named = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == first.SOPInstanceUID


def test_orphans_are_set_aside_and_everything_else_stays(site: Site, study: str) -> None:
    site.analyse()
    orphan = site.blobs.put(b"written, never committed")
    unfinished = site.blobs.path(orphan.replace(".dcm", ".part"))
    unfinished.write_bytes(b"half")
    before = {o.SOPInstanceUID for o in objects(site, study).values()}
    import time

    real = site.now.fromtimestamp(time.time(), tz=site.now.tzinfo)
    assert set_orphans_aside(site.db, site.blobs, real) == 0
    assert set_orphans_aside(site.db, site.blobs, real + 2 * ORPHAN_AGE) == 2
    with pytest.raises(NotFound):
        site.blobs.read(orphan)
    assert (site.blobs.root / "orphans" / orphan).read_bytes() == b"written, never committed"
    assert [path.name for path in (site.blobs.root / "orphans").rglob("*.*")] == [Path(orphan).name]
    assert not unfinished.exists()
    assert set_orphans_aside(site.db, site.blobs, real + 4 * ORPHAN_AGE) == 0
    assert {o.SOPInstanceUID for o in objects(site, study).values()} == before
    assert AuditAction.ORPHAN_REMOVED in [r.event.action for r in site.audit()]


def test_a_database_in_the_place_of_another_costs_no_file(site: Site, study: str, tmp_path: Path) -> None:
    """Who goes back to the database that belongs to the file area finds everything, once it is moved back."""
    before = {key: site.blobs.read(key) for key in site.blobs.keys_older_than(site.now.replace(year=2999))}
    other = f"sqlite:///{tmp_path / 'other.db'}"
    upgrade(other)
    assert set_orphans_aside(Database(other), site.blobs, site.now.replace(year=2999)) == len(before) > 0
    for folder in (site.blobs.root / "orphans").iterdir():
        shutil.copytree(folder, site.blobs.root / folder.name, dirs_exist_ok=True)
    assert {key: site.blobs.read(key) for key in before} == before
    site.analyse()
    assert objects(site, study)


def test_the_same_study_at_another_site_makes_the_same_objects(site: Site, study: str, tmp_path: Path) -> None:
    """Same source, same bundle: the same UIDs, so that sending again never makes a twin."""
    site.analyse()
    first = {o.SOPInstanceUID for o in objects(site, study).values()}
    with site.db.transaction() as tx:
        claimed = deliveries.claim(tx, destination="archive", owner="x", now=site.now, lease_seconds=15)
    assert claimed is not None
    assert {o.sop_instance_uid for o in claimed.objects} == first
