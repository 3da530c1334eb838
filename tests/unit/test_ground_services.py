"""The servers that tests lean on do what the tests believe they do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy

from tests.services import (
    APT_PACKAGES,
    MissingProgramError,
    OrthancServer,
    Programs,
    find_program,
    start_child,
    stop_child,
    wait_until,
)


def test_each_test_gets_a_database_of_its_own(database_url: str) -> None:
    engine = sqlalchemy.create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE only_here (id INTEGER)"))
    engine.dispose()


def test_no_table_of_another_test_is_seen(database_url: str) -> None:
    engine = sqlalchemy.create_engine(database_url)
    assert "only_here" not in sqlalchemy.inspect(engine).get_table_names()
    engine.dispose()


def test_the_empty_database_has_no_table(empty_database_url: str) -> None:
    engine = sqlalchemy.create_engine(empty_database_url)
    assert sqlalchemy.inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_missing_program_names_the_one_command() -> None:
    with pytest.raises(MissingProgramError, match="sudo apt-get install -y nothing-of-the-kind"):
        find_program("no-such-program-at-all", "nothing-of-the-kind")


def test_the_makefile_installs_what_the_tests_need() -> None:
    makefile = Path(__file__).parents[2] / "Makefile"
    assert f"APT_PACKAGES := {' '.join(APT_PACKAGES)}" in makefile.read_text()


def test_a_server_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = start_child(["/bin/sh", "-c", "echo no such port; exit 3"], log)
    with pytest.raises(RuntimeError, match=r"(?s)SERVER ended.*no such port"):
        wait_until(lambda: False, "SERVER", child, log)


def test_a_child_that_runs_is_stopped(tmp_path: Path) -> None:
    child = start_child(["/bin/sleep", "60"], tmp_path / "log")
    stop_child(child)
    assert child.returncode is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a server under another account")
def test_root_starts_a_child_under_another_account(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = start_child(["/usr/bin/id", "-un"], log, account="daemon")
    assert child.wait(10) == 0, log.read_text()
    assert log.read_text().strip() == "daemon"


def test_orthanc_keeps_an_instance_as_it_was_sent(orthanc: OrthancServer, shared_data: Path) -> None:
    from pydicom import dcmread

    file = sorted((shared_data / "ge_head_tilt").glob("*.dcm"))[0]
    content = file.read_bytes()
    header = dcmread(file, stop_before_pixels=True)
    orthanc.store(content)
    assert orthanc.sop_instance_uids() == [header.SOPInstanceUID]
    assert orthanc.sop_instance_uids("CT") == [header.SOPInstanceUID]
    assert orthanc.sop_instance_uids("SEG") == []
    assert orthanc.file(header.SOPInstanceUID) == content
    uids = header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID
    assert orthanc.retrieve(*uids) == content


def test_orthanc_is_empty_again_for_the_next_test(orthanc: OrthancServer) -> None:
    assert orthanc.sop_instance_uids() == []


def test_orthanc_keeps_its_ports_and_its_store_over_a_restart(orthanc: OrthancServer, shared_data: Path) -> None:
    orthanc.store(sorted((shared_data / "ge_head_tilt").glob("*.dcm"))[0].read_bytes())
    before = orthanc.http_url, orthanc.dicom_port, orthanc.sop_instance_uids()
    orthanc.stop()
    orthanc.start()
    assert (orthanc.http_url, orthanc.dicom_port, orthanc.sop_instance_uids()) == before


def test_orthanc_answers_an_echo(orthanc: OrthancServer, dcmtk: Programs) -> None:
    ran = dcmtk.run("echoscu", "-aec", orthanc.ae_title, orthanc.host, str(orthanc.dicom_port))
    assert ran.returncode == 0, ran.stderr


def test_dciodvfy_finds_errors_in_an_instance_without_its_modules(dicom3tools: Programs, tmp_path: Path) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    bare = Dataset()
    bare.SOPClassUID, bare.SOPInstanceUID = CTImageStorage, generate_uid()
    bare.Modality = "CT"
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    bare.save_as(tmp_path / "bare.dcm", enforce_file_format=True)
    assert dicom3tools.conformance_errors(tmp_path / "bare.dcm")


def test_no_server_outlives_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from tests.services import start_child\n"
        "pid = start_child(['/bin/sleep', '60'], Path(sys.argv[1])).pid\n"
        "while Path(f'/proc/{pid}/comm').read_text().strip() != 'sleep':\n"  # setpriv has asked for the signal
        "    time.sleep(0.01)\n"
        "print(pid, flush=True)\n"
        "os._exit(0)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "log")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    pid = int(ran.stdout)
    for _ in range(100):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the child still runs")
