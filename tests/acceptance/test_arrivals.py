"""Acceptance 6 and 7: late, double, conflicting and overlapping arrivals; an archive that is down."""

from __future__ import annotations

import copy
import io
import threading
import time
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.acceptance.daemon import Destination, is_final, running_daemon
from tests.fakes import counting_archive
from tests.integration.killed import archived_once
from tests.peers import outgoing
from tests.services import free_port
from triage.domain.audit import AuditAction
from triage.domain.finding import WorklistStatus
from triage.net.scu import send
from triage.store import audit, instances, result_objects, series

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def head(shared_data: Path) -> list[Dataset]:
    """The real head CT, caudal to cranial."""
    return [pydicom.dcmread(f) for f in sorted((shared_data / "ge_head_tilt").glob("*.dcm"))]


def test_a_late_slice_makes_a_second_revision(tmp_path: Path, database_url: str, head: list[Dataset]) -> None:
    study = str(head[0].StudyInstanceUID)
    with counting_archive() as archive:
        with running_daemon(tmp_path, database_url, [Destination("ARCHIVE", archive.remote.port)]) as daemon:
            send(daemon.remote, outgoing(head[:-1]))
            daemon.wait_until_final(study)
            send(daemon.remote, outgoing(head[-1:]))
            daemon.wait_for(study, lambda r: r.provisional or not is_final(r), 10)
            daemon.wait_until_final(study)
            with daemon.app.db.read() as tx:
                (record,) = series.of_study(tx, study)
                reports = [o for o in result_objects.of_study(tx, study) if o.kind == "SR"]
            assert record.revision == 2
            assert len(reports) == 2
            contents = [pydicom.dcmread(io.BytesIO(daemon.app.blobs.read(o.blob_key))) for o in reports]
        first, second = sorted(contents, key=lambda ds: "PredecessorDocumentsSequence" in ds)
        named = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
        assert named.ReferencedSOPInstanceUID == first.SOPInstanceUID
        assert {first.SOPInstanceUID, second.SOPInstanceUID} <= set(archive.contents)


def test_four_senders_at_once_one_of_them_with_other_bytes(
    tmp_path: Path, database_url: str, head: list[Dataset]
) -> None:
    """All send all 28 slices; one sender's copies of three slices differ."""
    study = str(head[0].StudyInstanceUID)
    altered = [copy.deepcopy(ds) for ds in head]
    for ds in altered[:3]:
        ds.ImageComments = "SYNTHETIC: another copy"
    batches = [head, head[::-1], head, altered]
    failures: list[object] = []

    def deliver(batch: list[Dataset]) -> None:
        failures.extend(o for o in send(daemon.remote, outgoing(batch)) if o.error is not None)

    with running_daemon(tmp_path, database_url) as daemon:
        senders = [threading.Thread(target=deliver, args=(batch,)) for batch in batches]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert failures == []
        daemon.wait_until_final(study)
        with daemon.app.db.read() as tx:
            (record,) = series.of_study(tx, study)
            stored = instances.of_series(tx, record.id)
            conflicts = [
                r
                for r in audit.records(tx, study_instance_uid=study)
                if r.event.action is AuditAction.INSTANCE_CONFLICT
            ]
            assert audit.verify(tx) > 0
        assert len(stored) == len(head)
        assert record.revision == 1
        assert len(conflicts) == 3


def test_sending_again_changes_nothing(tmp_path: Path, sqlite_copies: list[str], head: list[Dataset]) -> None:
    study = str(head[0].StudyInstanceUID)
    with running_daemon(tmp_path, sqlite_copies[0]) as daemon:
        send(daemon.remote, outgoing(head))
        before = daemon.wait_until_final(study)
        send(daemon.remote, outgoing(head))
        time.sleep(3)
        after = daemon.wait_until_final(study)
        with daemon.app.db.read() as tx:
            (record,) = series.of_study(tx, study)
        assert record.revision == 1
        assert before == after


def test_our_own_objects_are_ignored(tmp_path: Path, sqlite_copies: list[str], head: list[Dataset]) -> None:
    study = str(head[0].StudyInstanceUID)
    with running_daemon(tmp_path, sqlite_copies[0]) as daemon:
        send(daemon.remote, outgoing(head))
        before = daemon.wait_until_final(study)
        with daemon.app.db.read() as tx:
            echoes = result_objects.of_study(tx, study)
        made = [pydicom.dcmread(io.BytesIO(daemon.app.blobs.read(o.blob_key))) for o in echoes]
        assert made
        outcomes = send(daemon.remote, outgoing(made))
        assert [o for o in outcomes if o.error is not None] == []
        time.sleep(2)
        with daemon.app.db.read() as tx:
            assert len(series.of_study(tx, study)) == 1
            ignored = [
                r for r in audit.records(tx, study_instance_uid=study) if r.event.action is AuditAction.INSTANCE_IGNORED
            ]
        assert len(ignored) == len(made)
        assert daemon.rows()[study] == before


def test_an_archive_that_is_down_gets_everything_once_it_is_up(
    tmp_path: Path, sqlite_copies: list[str], head: list[Dataset]
) -> None:
    """Acceptance 7, with the minute shortened by nothing: the archive really stays away for sixty seconds."""
    study = str(head[0].StudyInstanceUID)
    port = free_port()
    with running_daemon(tmp_path, sqlite_copies[0], [Destination("ARCHIVE", port)]) as daemon:
        started = time.monotonic()
        send(daemon.remote, outgoing(head))
        row = daemon.wait_for(study, lambda r: r.status is not WorklistStatus.PENDING and not r.provisional)
        assert {o.state for o in row.objects} <= {"pending", "sending"}
        time.sleep(max(0.0, 60 - (time.monotonic() - started)))
        with counting_archive(port) as archive:
            row = daemon.wait_until_final(study)
            assert {o.state for o in row.objects} == {"delivered"}
            assert set(archive.contents) == {o.sop_instance_uid for o in row.objects}
            assert all(len(copies) == 1 and archived_once(archive, uid) for uid, copies in archive.contents.items())
