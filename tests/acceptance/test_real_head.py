"""Acceptance 2: a real head CT with gantry tilt and uneven spacing, from dcmtk to a real Orthanc."""

from __future__ import annotations

import random
import subprocess
import threading
from pathlib import Path

import pydicom
import pytest

from tests.acceptance.daemon import Daemon, Destination, running_daemon
from tests.services import OrthancServer, Programs
from triage.domain.finding import WorklistStatus
from triage.domain.worklist import WorklistRow
from triage.store import result_objects

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ge_files(shared_data: Path) -> list[Path]:
    return sorted((shared_data / "ge_head_tilt").glob("*.dcm"))


def _storescu(dcmtk: Programs, daemon: Daemon, files: list[Path]) -> None:
    target = ["-aec", "ICHTRIAGE", "-aet", "SCANNER", "127.0.0.1", str(daemon.remote.port)]
    ran = dcmtk.run("storescu", *target, *map(str, files))
    assert ran.returncode == 0, ran.stderr


def _send_over_two_associations(dcmtk: Programs, daemon: Daemon, files: list[Path], seed: int) -> None:
    shuffled = files.copy()
    random.Random(seed).shuffle(shuffled)
    halves = shuffled[::2], shuffled[1::2]
    threads = [threading.Thread(target=_storescu, args=(dcmtk, daemon, half)) for half in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _analyse(
    tmp_path: Path, url: str, orthanc: OrthancServer, dcmtk: Programs, files: list[Path], seed: int
) -> WorklistRow:
    study = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    # Another site would write the same UIDs at another time, and the archive keeps what came first.
    orthanc.empty()
    destination = Destination(orthanc.ae_title, orthanc.dicom_port)
    with running_daemon(tmp_path, url, [destination]) as daemon:
        _send_over_two_associations(dcmtk, daemon, files, seed)
        row = daemon.wait_until_final(study)
        with daemon.app.db.read() as tx:
            objects = result_objects.of_study(tx, study)
        assert "SR" in {o.kind for o in objects}
        for made in objects:
            retrieved = orthanc.retrieve(study, made.series_instance_uid, made.sop_instance_uid)
            assert _dataset_bytes(retrieved) == _dataset_bytes(daemon.app.blobs.read(made.blob_key))
        assert {o.state for o in row.objects} == {"delivered"}
    return row


def _dataset_bytes(part10: bytes) -> bytes:
    """Everything behind the file meta information, whose group belongs to whoever writes the file."""
    length = int.from_bytes(part10[140:144], "little")
    return part10[144 + length :]


def test_the_real_head_is_analysed_whatever_the_order(
    tmp_path: Path, database_url: str, orthanc: OrthancServer, dcmtk: Programs, ge_files: list[Path]
) -> None:
    row = _analyse(tmp_path, database_url, orthanc, dcmtk, ge_files, seed=1)
    assert row.status in (WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED)
    assert row.score is not None


def test_the_outcome_does_not_depend_on_the_order(
    tmp_path: Path,
    sqlite_copies: list[str],
    orthanc: OrthancServer,
    dcmtk: Programs,
    ge_files: list[Path],
) -> None:
    first, second = (
        _analyse(tmp_path / str(seed), url, orthanc, dcmtk, ge_files, seed) for seed, url in enumerate(sqlite_copies)
    )
    assert (first.status, first.score, first.subtypes) == (second.status, second.score, second.subtypes)
    assert {o.sop_instance_uid for o in first.objects} == {o.sop_instance_uid for o in second.objects}


def test_dsrdump_reads_the_report(
    tmp_path: Path, sqlite_copies: list[str], dcmtk: Programs, dicom3tools: Programs, ge_files: list[Path]
) -> None:
    study = str(pydicom.dcmread(ge_files[0], stop_before_pixels=True).StudyInstanceUID)
    with running_daemon(tmp_path, sqlite_copies[0]) as daemon:
        _storescu(dcmtk, daemon, ge_files)
        daemon.wait_until_final(study)
        with daemon.app.db.read() as tx:
            objects = result_objects.of_study(tx, study)
        files = {o.kind: daemon.app.blobs.path(o.blob_key) for o in objects}
    for file in files.values():
        assert dicom3tools.conformance_errors(file) == []
    ran = subprocess.run([dcmtk.path("dsrdump"), str(files["SR"])], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert "demonstration" in ran.stdout.lower()
