"""The commands of the operator's guide that back up and restore, executed as they stand there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import copy_sqlite
from tests.migration.test_release_before import documented
from tests.stores import SERIES, STUDY, analysed, finish, running
from triage.store import audit, worklist
from triage.store.blobs import BlobStore
from triage.store.db import Database

OTHER = {"study": "2.25.2000", "series_uid": "2.25.2000.1"}


@pytest.fixture
def server(sqlite_template: Path, tmp_path: Path) -> Path:
    """The folder of a server with one analysed study and a file; its commands are in ``bin``."""
    folder = tmp_path / "server"
    (folder / "bin").mkdir(parents=True)
    (folder / "backup").mkdir()
    copy_sqlite(sqlite_template, folder / "triage.db")
    programs = {
        "sudo": 'if [ "$1" = -u ]; then shift 2; fi\nexec "$@"',
        "systemctl": f'echo "$@" >>{folder}/systemctl.log',
        "triage": f'TRIAGE_DATABASE__URL=sqlite:///{folder}/triage.db exec {sys.executable} -m triage "$@"',
    }
    for name, text in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    return folder


def do(server: Path, heading: str) -> str:
    """Run the commands below a heading on the server, one after the other, and return what they print."""
    script = "\n".join(["set -e", *documented(heading)])
    script = script.replace("/var/lib/ich-triage", str(server)).replace("/srv/backup", str(server / "backup"))
    ran = subprocess.run(
        ["sh", "-c", script],
        env={"PATH": f"{server / 'bin'}:/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        cwd=server,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_what_was_there_at_the_backup_is_there_after_the_loss_of_everything(server: Path) -> None:
    db, blobs = Database(f"sqlite:///{server}/triage.db"), BlobStore(server / "blobs")
    analysed(db)
    kept = blobs.put(b"the bytes of an instance")
    do(server, "Back up")  # while the database is open, its last rows in the write-ahead log

    finish(db, running(db, **OTHER))
    db.dispose()
    (server / "triage.db").write_bytes(b"a disk that failed")
    told = do(server, "Restore")

    assert "whole" in told
    assert blobs.path(kept).read_bytes() == b"the bytes of an instance"
    restored = Database(f"sqlite:///{server}/triage.db")
    with restored.read() as tx:
        assert worklist.row(tx, STUDY) is not None
        assert worklist.row(tx, OTHER["study"]) is None
        assert {record.event.series_instance_uid for record in audit.records(tx)} - {None} == {SERIES}
    restored.dispose()
    assert (server / "systemctl.log").read_text().split() == ["stop", "ich-triage.target", "start", "ich-triage.target"]
