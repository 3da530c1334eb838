"""The commands of the operator's guide that back up and restore, executed as they stand there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.conftest import copy_sqlite
from tests.migration.test_release_before import documented
from tests.services import SEARCH_PATH, PostgresCluster
from tests.stores import SERIES, STUDY, analysed, finish, receive, running
from triage.store import audit, worklist
from triage.store.db import Database
from triage.store.folder_area import FolderArea

OTHER = {"study": "2.25.2000", "series_uid": "2.25.2000.1"}


@dataclass(frozen=True)
class Server:
    """A server; its commands are in ``bin``, and ``postgres`` is how its tools reach PostgreSQL."""

    folder: Path
    database_url: str
    postgres: dict[str, str]

    def __post_init__(self) -> None:
        for name in ("bin", "postgresql"):
            (self.folder / name).mkdir(parents=True)
        programs = {
            "sudo": 'if [ "$1" = -u ]; then shift 2; fi\nexec "$@"',
            "systemctl": f'echo "$@" >>{self.folder}/systemctl.log',
            "triage": f"TRIAGE_DATABASE__URL='{self.database_url}' exec {sys.executable} -m triage \"$@\"",
        }
        for name, text in programs.items():
            (self.folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.folder / "bin" / name).chmod(0o755)

    def do(self, heading: str, typed: str = "") -> str:
        """Run the commands below a heading of the guide, one after the other, and return what they print.

        ``typed`` is what they ask a person for.
        """
        script = "\n".join(["set -e", *documented(heading)])
        for theirs, ours in (
            ("/var/lib/ich-triage", self.folder),
            ("/var/lib/postgresql", self.folder / "postgresql"),
            ("/srv/backup", self.folder / "backup"),
        ):
            script = script.replace(theirs, str(ours))
        ran = subprocess.run(
            ["sh", "-c", script],
            env={
                "PATH": f"{self.folder / 'bin'}:{SEARCH_PATH}",
                "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
                **self.postgres,
            },
            cwd=self.folder,
            input=typed,
            start_new_session=True,  # without a terminal, which a password would be asked at
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def systemctl(self) -> list[str]:
        """What systemd was told."""
        return (self.folder / "systemctl.log").read_text().split()


@pytest.fixture
def sqlite_server(sqlite_template: Path, tmp_path: Path) -> Server:
    """A server with SQLite and an empty database."""
    server = Server(tmp_path / "server", f"sqlite:///{tmp_path}/server/triage.db", {})
    copy_sqlite(sqlite_template, server.folder / "triage.db")
    return server


@pytest.fixture
def postgres_server(postgres: PostgresCluster, tmp_path: Path) -> Iterator[Server]:
    """A server with PostgreSQL, whose account and database are made as the guide says."""
    url = make_url(postgres.url("triage"))
    host = str(url.query["host"])
    account = {"PGHOST": host, "PGUSER": str(url.username)}
    server = Server(tmp_path / "server", f"postgresql://triage@/triage?host={host}", account)
    server.do("PostgreSQL and several machines", typed="a secret\na secret\n")
    yield server
    postgres.drop("triage")
    subprocess.run(["dropuser", "triage"], env={"PATH": SEARCH_PATH, **account}, check=True)


def test_what_was_there_at_the_backup_is_there_after_the_loss_of_everything(sqlite_server: Server) -> None:
    server, file = sqlite_server, sqlite_server.folder / "triage.db"
    db, blobs = Database(server.database_url), FolderArea(server.folder / "blobs")
    analysed(db)
    kept = blobs.put(b"the bytes of an instance")
    server.do("Back up")  # while the database is open, its last rows in the write-ahead log

    nobody_else_may_read(server.folder / "backup", server.folder / "backup" / "ich-triage.tar")

    finish(db, running(db, **OTHER))
    db.dispose()
    file.write_bytes(b"a disk that failed")
    assert "whole" in server.do("Restore")
    assert blobs.path(kept).read_bytes() == b"the bytes of an instance"
    only_the_first_study_is_there(server)


def test_the_same_with_postgresql(postgres_server: Server) -> None:
    server = postgres_server
    subprocess.run([server.folder / "bin" / "triage", "db", "upgrade"], cwd=server.folder, check=True)
    db, blobs = Database(server.database_url), FolderArea(server.folder / "blobs")
    analysed(db)
    kept = blobs.put(b"the bytes of an instance")
    server.do("Back up with PostgreSQL")
    made = [server.folder / name for name in ("backup", "backup/ich-triage.tar", "postgresql/ich-triage.dump")]
    nobody_else_may_read(*made)

    finish(db, running(db, **OTHER))
    lost = blobs.put(b"what came later")
    db.dispose()
    blobs.path(kept).unlink()
    assert "whole" in server.do("Restore with PostgreSQL")
    assert blobs.path(kept).read_bytes() == b"the bytes of an instance"
    assert not blobs.path(lost).exists()
    only_the_first_study_is_there(server)


def nobody_else_may_read(*paths: Path) -> None:
    """A backup holds the images and names of patients."""
    assert [str(path) for path in paths if path.stat().st_mode & 0o077] == []


def only_the_first_study_is_there(server: Server) -> None:
    restored = Database(server.database_url)
    with restored.read() as tx:
        assert worklist.row(tx, STUDY) is not None
        assert worklist.row(tx, OTHER["study"]) is None
        assert {record.event.series_instance_uid for record in audit.records(tx)} - {None} == {SERIES}
    with restored.transaction() as tx:
        receive(tx, **OTHER)  # its owner may go on writing
    restored.dispose()
    assert server.systemctl() == ["stop", "ich-triage.target", "start", "ich-triage.target"]
