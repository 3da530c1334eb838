"""Receiving: what is acknowledged is durable, what is wrong leaves a row, what comes twice changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from tests.builders import localizer, part10, rgb_screen
from tests.fakes import FixedPredictor
from tests.integration.site import TIMINGS, Site, head
from triage.domain.audit import AuditAction
from triage.domain.errors import OutOfSpace, UnreadableInstance
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.domain.lifecycle import SeriesState
from triage.services.receive import Receipt
from triage.services.recover import retry_study
from triage.store import instances, result_objects
from triage.store.folder_area import FolderArea


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs")
    yield made
    made.db.dispose()


def found(site: Site, ds: Dataset) -> instances.StoredInstance:
    with site.db.read() as tx:
        stored = instances.find(tx, ds.SOPInstanceUID)
    assert stored is not None
    return stored


def actions(site: Site) -> list[AuditAction]:
    return [record.event.action for record in site.audit()]


def test_the_bytes_are_kept_as_sent(site: Site) -> None:
    ds = head()[0]
    assert site.keep(ds) is Receipt.STORED
    with site.db.read() as tx:
        stored = instances.find(tx, ds.SOPInstanceUID)
    assert stored is not None
    assert site.blobs.read(stored.blob_key) == part10(ds)


def test_the_first_instance_shows_a_pending_study(site: Site) -> None:
    ds = head()[0]
    site.keep(ds)
    row = site.row(ds.StudyInstanceUID)
    assert (row.status, row.received_at) == (WorklistStatus.PENDING, site.now)


def test_the_same_again_is_a_success_and_changes_nothing(site: Site) -> None:
    ds = head()[0]
    site.keep(ds)
    site.wait(5)
    assert site.keep(ds, "a2") is Receipt.DUPLICATE
    (record,) = site.series(ds.StudyInstanceUID)
    assert record.last_received_at == record.first_received_at
    assert len(list(site.root.rglob("*.dcm"))) == 1


def test_a_file_that_was_lost_is_kept_again_when_it_comes_again(site: Site) -> None:
    ds = head()[0]
    site.keep(ds)
    lost = found(site, ds)
    site.blobs.path(lost.blob_key).unlink()
    assert site.keep(ds, "a2") is Receipt.RESTORED
    again = found(site, ds)
    assert again.blob_key != lost.blob_key
    assert replace(again, blob_key=lost.blob_key) == lost
    assert site.blobs.read(again.blob_key) == part10(ds)
    (row,) = [r.event for r in site.audit() if r.event.action is AuditAction.INSTANCE_RESTORED]
    assert (row.actor, row.sop_instance_uid) == ("SCANNER", ds.SOPInstanceUID)
    assert row.detail == {"lost_blob": lost.blob_key, "blob": again.blob_key}
    assert site.keep(ds, "a3") is Receipt.DUPLICATE


def corrected(ds: Dataset, **changes: object) -> Dataset:
    """The same instance as a PACS sends it once something in it was put right."""
    other = copy.deepcopy(ds)
    for keyword, value in {"PatientName": "CORRECTED^NAME", "AccessionNumber": "SYN0002", **changes}.items():
        setattr(other, keyword, value)
    return other


def test_a_corrected_copy_takes_the_place_of_a_file_that_was_lost(site: Site) -> None:
    ds = head()[0]
    site.keep(ds)
    lost = found(site, ds)
    site.blobs.path(lost.blob_key).unlink()
    other = corrected(ds)
    assert site.keep(other, "a2") is Receipt.RESTORED
    again = found(site, ds)
    assert site.blobs.read(again.blob_key) == part10(other)
    assert (again.size_bytes, again.header.accession_number) == (len(part10(other)), "SYN0002")
    assert again.digest != lost.digest
    (row,) = [r.event for r in site.audit() if r.event.action is AuditAction.INSTANCE_RESTORED]
    assert row.detail == {
        "lost_blob": lost.blob_key,
        "blob": again.blob_key,
        "first_digest": lost.digest,
        "other_digest": again.digest,
    }
    assert site.keep(other, "a3") is Receipt.DUPLICATE
    assert site.keep(ds, "a4") is Receipt.CONFLICT
    assert found(site, ds) == again


def test_a_copy_that_was_kept_aside_before_the_loss_takes_its_place_too(site: Site) -> None:
    ds = head()[0]
    other = corrected(ds)
    site.keep(ds)
    assert site.keep(other, "a2") is Receipt.CONFLICT
    site.blobs.path(found(site, ds).blob_key).unlink()
    assert site.keep(other, "a3") is Receipt.RESTORED
    assert site.blobs.read(found(site, ds).blob_key) == part10(other)
    assert site.unnamed() == []


@pytest.mark.parametrize("uid", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_copy_of_another_study_or_series_does_not_take_the_place_of_a_lost_file(site: Site, uid: str) -> None:
    ds = head()[0]
    site.keep(ds)
    lost = found(site, ds)
    site.blobs.path(lost.blob_key).unlink()
    assert site.keep(corrected(ds, **{uid: "2.25.4711"}), "a2") is Receipt.CONFLICT
    assert found(site, ds) == lost


def failed_for_lost_files(site: Site) -> list[Dataset]:
    """A head whose files were all lost before it could be analysed."""
    series = head()
    site.send(series)
    site.settle()
    for ds in series:
        site.blobs.path(found(site, ds).blob_key).unlink()
    for _ in range(3):
        assert site.analyse()
        site.wait(60)
    row = site.row(str(series[0].StudyInstanceUID))
    assert (row.status, row.reason) == (WorklistStatus.NOT_ANALYSED, ReasonCode.FAILED)
    return series


def test_a_study_that_failed_for_lost_files_is_analysed_once_a_corrected_one_came(site: Site) -> None:
    series = failed_for_lost_files(site)
    study = str(series[0].StudyInstanceUID)
    for ds in series:
        assert site.keep(corrected(ds), "a2") is Receipt.RESTORED
    assert retry_study(site.db, study, actor="person", now=site.now) == (1, 0)
    assert site.analyse()
    assert site.row(study).status is WorklistStatus.SUSPECTED


def test_copies_that_lie_elsewhere_are_analysed_anew_in_their_own_order(site: Site) -> None:
    """What was said of each slice was said in the order of the lost ones."""
    series = head()
    study = str(series[0].StudyInstanceUID)
    site.send(series)
    site.settle()
    site.analyse()
    for ds in series:
        site.blobs.path(found(site, ds).blob_key).unlink()
        x, y, z = ds.ImagePositionPatient
        assert site.keep(corrected(ds, ImagePositionPatient=[x, y, -z]), "a2") is Receipt.RESTORED
    (record,) = site.series(study)
    assert (record.state, record.revision) == (SeriesState.RECEIVING, 2)
    site.wait(TIMINGS.max_wait_seconds)
    assert site.assemble() == 1
    assert site.analyse()
    (record,) = site.series(study)
    assert (record.state, record.revision) == (SeriesState.ANALYSED, 2)


class Meanwhile(FolderArea):
    """A file area in which something else happens before a file is written."""

    def __init__(self, root: Path, happens: Callable[[], object]) -> None:
        super().__init__(root)
        self.happens = happens

    def put(self, content: bytes) -> str:
        happens, self.happens = self.happens, lambda: None
        happens()
        return super().put(content)


def test_of_two_that_bring_a_lost_file_one_is_kept(site: Site) -> None:
    ds = head()[0]
    site.keep(ds)
    site.blobs.path(found(site, ds).blob_key).unlink()
    receipts: list[Receipt] = []
    site.blobs = Meanwhile(site.root, lambda: receipts.append(site.keep(ds, "a2")))
    receipts.append(site.keep(ds, "a3"))
    assert receipts == [Receipt.RESTORED, Receipt.DUPLICATE]
    assert [path.name for path in site.root.rglob("*.dcm")] == [site.blobs.path(found(site, ds).blob_key).name]


def test_other_bytes_under_the_same_uid_are_kept_aside(site: Site) -> None:
    ds = head()[0]
    site.keep(ds)
    other = copy.deepcopy(ds)
    other.ImageComments = "SYNTHETIC: another copy"
    assert site.keep(other) is Receipt.CONFLICT
    with site.db.read() as tx:
        stored = instances.find(tx, ds.SOPInstanceUID)
    assert stored is not None
    assert site.blobs.read(stored.blob_key) == part10(ds)
    (row,) = [r for r in site.audit() if r.event.action is AuditAction.INSTANCE_CONFLICT]
    assert site.blobs.read(str(row.event.detail["other_blob"])) == part10(other)
    assert site.keep(other) is Receipt.DUPLICATE
    assert actions(site).count(AuditAction.INSTANCE_CONFLICT) == 1


def test_a_full_disk_is_said_before_anything_is_written(site: Site) -> None:
    site.min_free_bytes = 1 << 62
    with pytest.raises(OutOfSpace, match=r"storage\.min_free_gb"):
        site.keep(head()[0])
    assert not list(site.root.rglob("*.dcm"))
    assert actions(site) == [AuditAction.INSTANCE_REFUSED]


def test_what_cannot_be_filed_is_refused_with_a_row(site: Site) -> None:
    ds = head()[0]
    broken = copy.deepcopy(ds)
    del broken.SeriesInstanceUID
    with pytest.raises(UnreadableInstance):
        site.keep(ds, content=part10(broken))
    (row,) = site.audit()
    assert (row.event.action, row.event.detail["code"]) == (AuditAction.INSTANCE_REFUSED, "unreadable_instance")


def test_no_audit_row_names_the_patient(site: Site) -> None:
    ds = head(PatientName="SECRET^NAME", PatientID="SECRET-ID")[0]
    broken = copy.deepcopy(ds)
    broken.SeriesInstanceUID = ""
    with pytest.raises(UnreadableInstance) as caught:
        site.keep(ds, content=part10(broken))
    site.keep(ds)
    assert "SECRET" not in str(caught.value)
    assert not any("SECRET" in str(record) for record in site.audit())


def test_one_audit_row_an_association_counts_what_came(site: Site) -> None:
    series = head()
    site.send(series)
    (row,) = [r for r in site.audit() if r.event.action is AuditAction.INSTANCES_RECEIVED]
    assert row.event.actor == "SCANNER"
    assert len(series) in row.event.detail.values()


def test_a_late_instance_opens_the_next_revision(site: Site) -> None:
    series = head()
    site.send(series[:-1])
    site.settle()
    (before,) = site.series(series[0].StudyInstanceUID)
    site.keep(series[-1], "a2")
    (after,) = site.series(series[0].StudyInstanceUID)
    assert (before.state, before.revision) == (SeriesState.STABLE, 1)
    assert (after.state, after.revision) == (SeriesState.RECEIVING, 2)
    assert [j.state.value for j in site.jobs(series[0].StudyInstanceUID)] == ["cancelled"]


def beside(series: list[Dataset]) -> list[Dataset]:
    """What a scanner files late in the series of its slices: a localizer, a dose screen, a derived image."""
    study, uid = str(series[0].StudyInstanceUID), str(series[0].SeriesInstanceUID)
    screen = rgb_screen(study)
    screen.SeriesInstanceUID = uid
    (derived,) = head(1, StudyInstanceUID=study, SeriesInstanceUID=uid, ImageType=["DERIVED", "SECONDARY", "MPR"])
    return [localizer(study, SeriesInstanceUID=uid), screen, derived]


@pytest.mark.parametrize("which", range(3))
def test_what_is_set_aside_leaves_an_analysed_head_as_it_is(site: Site, which: int) -> None:
    series = head()
    study = str(series[0].StudyInstanceUID)
    site.send(series)
    site.settle()
    site.analyse()
    before, row, work = site.series(study), site.row(study), site.jobs(study)
    site.wait(60)
    assert site.keep(beside(series)[which], "a2") is Receipt.STORED
    assert site.settle() == 0
    assert (site.series(study), site.row(study), site.jobs(study)) == (before, row, work)
    assert before[0].state is SeriesState.ANALYSED
    with site.db.read() as tx:
        filed = instances.of_series(tx, before[0].id, up_to_revision=1)
    assert len(filed) == len(series) + 1


def test_what_is_set_aside_disturbs_neither_what_waits_nor_what_is_being_analysed(site: Site) -> None:
    series = head()
    study = str(series[0].StudyInstanceUID)
    site.send(series)
    site.settle()
    late = beside(series)
    site.keep(late[0], "a2")
    site.predictor = FixedPredictor(at_gate=lambda: site.keep(late[1], "a2"))
    assert site.analyse()
    (record,) = site.series(study)
    assert (record.state, record.revision) == (SeriesState.ANALYSED, 1)
    assert [job.state.value for job in site.jobs(study)] == ["succeeded"]


def test_a_slice_reopens_a_series_that_held_nothing_but_a_localizer(site: Site) -> None:
    series = head()
    study = str(series[0].StudyInstanceUID)
    site.send(beside(series)[:1])
    site.settle()
    (before,) = site.series(study)
    assert (before.state, before.candidate) == (SeriesState.UNUSABLE, False)
    site.send(series, "a2")
    site.settle()
    (after,) = site.series(study)
    assert (after.state, after.revision, after.candidate) == (SeriesState.STABLE, 2, True)


def test_a_study_is_pending_as_soon_as_a_series_of_it_could_be_a_head(site: Site) -> None:
    """Also when the series began with a localizer: a negative must not stand while a head is coming in."""
    series = head()
    study = str(series[0].StudyInstanceUID)
    site.predictor = FixedPredictor(score=0.1)
    site.send(series)
    site.settle()
    site.analyse()
    assert site.row(study).status is WorklistStatus.NOT_SUSPECTED
    other = head(StudyInstanceUID=study)
    site.keep(beside(other)[0], "a2")
    assert site.row(study).status is WorklistStatus.NOT_SUSPECTED
    site.wait(0.1)
    site.keep(other[0], "a2")
    assert site.row(study).status is WorklistStatus.PENDING


def test_an_echo_of_our_own_report_is_ignored(site: Site) -> None:
    series = head()
    site.send(series)
    site.settle()
    site.analyse()
    study = series[0].StudyInstanceUID
    before = site.row(study)
    with site.db.read() as tx:
        made = result_objects.of_study(tx, study)
    import io

    import pydicom

    for one in made:
        echoed = pydicom.dcmread(io.BytesIO(site.blobs.read(one.blob_key)))
        assert site.keep(echoed, "a9") is Receipt.IGNORED
    assert site.row(study) == before
    assert len(site.series(study)) == 1
    assert actions(site).count(AuditAction.INSTANCE_IGNORED) == len(made)
