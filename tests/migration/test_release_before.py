"""Upgrade and roll back by the commands of ``docs/operator.md``, on a database with data in it.

The release before is taken from the history: the last commit before the newest migration came. It runs as it is, with
its own code, on the schema that this release made.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import unavailable
from tests.integration.killed import head_series
from tests.onnx_models import tiny_bundle
from tests.services import free_port
from triage.domain.errors import TriageError
from triage.net.scu import OutgoingInstance, RemoteAe, echo, send
from triage.store.db import migrations_path

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "operator.md"
READY_SECONDS = 180.0
DONE_SECONDS = 180.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# What stands in for systemd: the target is the daemon with all its roles, as the release that is current runs it.
SYSTEMCTL = """#!/bin/sh
[ "$2" = ich-triage.target ] || exit 64
case $1 in
stop)
    [ -e {folder}/pid ] || exit 0
    pid=$(cat {folder}/pid)
    kill -TERM "$pid" && while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    rm {folder}/pid
    ;;
start)
    {folder}/current/bin/triage --config {folder}/triage.toml run 2>>{folder}/log </dev/null >/dev/null &
    echo $! >{folder}/pid
    ;;
*) exit 64 ;;
esac
"""


def documented(heading: str) -> list[str]:
    """The commands below a heading of the operator's guide."""
    section = GUIDE.read_text().split(f"# {heading}\n")[1].split("\n#")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return [line for line in block.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="session")
def release_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the last commit before the newest migration."""
    newest = max(migrations_path().glob("versions/[0-9]*.py")).relative_to(ROOT)
    found = subprocess.run(
        ["git", "log", "--diff-filter=A", "--format=%H", "--", str(newest)], cwd=ROOT, capture_output=True, text=True
    )
    # A migration that nobody has committed yet comes after everything that is.
    before = f"{found.stdout.split()[-1]}^" if found.stdout.split() else "HEAD"
    archive = subprocess.run(["git", "archive", before], cwd=ROOT, capture_output=True, check=False)
    if found.returncode != 0 or archive.returncode != 0:
        unavailable("the release before is in the history of the repository: clone it with git, and not shallow")
    folder = tmp_path_factory.mktemp("before")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


@dataclass
class Server:
    """A server whose releases lie side by side, as ``make install`` puts them."""

    folder: Path
    port: int

    def do(self, commands: list[str]) -> None:
        """Run commands of the guide as they stand there, with the places of this server."""
        for command in commands:
            ran = subprocess.run(
                ["/bin/sh", "-c", command.replace("/opt/ich-triage", str(self.folder))],
                env=self.environment,
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"

    def triage(self, *words: str, release: str = "current", **more: Any) -> str:
        """What a ``triage`` command of a release prints."""
        command = [self.folder / release / "bin" / "triage", "--config", self.folder / "triage.toml", *words]
        ran = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=90, **more
        )
        assert ran.returncode == 0, f"{words}: {ran.stdout}{ran.stderr}"
        return ran.stdout

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRIAGE_", "PYTHONPATH"))}
        return {**kept, "PATH": f"{self.folder / 'bin'}:{kept['PATH']}"}

    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["study_instance_uid"]: row for row in json.loads(self.triage("worklist", "--json"))}

    def goes_through(self, batch: list[OutgoingInstance]) -> str:
        """Send a study; it is received, analysed and delivered. Its UID."""
        me = RemoteAe("ICHTRIAGE", "127.0.0.1", self.port)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                echo(me)
                break
            except TriageError:
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.2)
        known = set(self.rows())
        assert all(outcome.error is None for outcome in send(me, batch))
        deadline = time.monotonic() + DONE_SECONDS
        while time.monotonic() < deadline:
            for study, row in self.rows().items():
                states = {o["state"] for o in row["objects"]}
                if (
                    study not in known
                    and row["status"] != "pending"
                    and not row["provisional"]
                    and states == {"delivered"}
                ):
                    return study
            time.sleep(0.3)
        raise AssertionError(f"the study did not get through: {self.rows()}\n{self.log()}")

    def log(self) -> str:
        return (self.folder / "log").read_text()[-3000:]


@pytest.fixture
def server(tmp_path: Path, empty_database_url: str, release_before: Path) -> Iterator[Server]:
    """A server with both releases; the one before is current, and the database is empty."""
    folder = tmp_path / "server"
    for name, source in (("old", release_before), ("new", ROOT)):
        program = folder / "releases" / name / "bin" / "triage"
        _write(program, f'#!/bin/sh\nPYTHONPATH={source} exec {sys.executable} -P -m triage "$@"\n')
    (folder / "current").symlink_to("releases/old")
    (folder / "archive").mkdir()
    server = Server(folder, free_port())
    _write(folder / "bin" / "sudo", '#!/bin/sh\nexec "$@"\n')
    _write(
        folder / "bin" / "triage", f'#!/bin/sh\nexec {folder}/current/bin/triage --config {folder}/triage.toml "$@"\n'
    )
    _write(folder / "bin" / "systemctl", SYSTEMCTL.format(folder=folder))
    settings = {
        "listener": {"port": server.port},
        "database": {"url": empty_database_url},
        "storage": {"root": str(folder / "blobs"), "min_free_gb": 0.1},
        "inference": {"bundle": str(tiny_bundle(folder / "bundle").path), "device": "cpu", "threads": 1},
    }
    lines = [
        f"[{group}]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in keys.items())
        for group, keys in settings.items()
    ]
    lines.append(f'[[destinations]]\nname = "archive"\nkind = "folder"\nfolder = "{folder / "archive"}"')
    (folder / "triage.toml").write_text("\n".join(lines))
    yield server
    server.do(["systemctl stop ich-triage.target"])


def _write(program: Path, text: str) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(text)
    program.chmod(0o755)


def test_the_release_before_has_the_schema_before(release_before: Path) -> None:
    here = {file.name for file in migrations_path().glob("versions/[0-9]*.py")}
    before = {file.name for file in release_before.glob("migrations/versions/[0-9]*.py")}
    assert before < here
    assert len(here - before) == 1


def test_there_and_back_and_there_again(server: Server) -> None:
    upgrade = [command.replace("RELEASE", "new") for command in documented("Upgrade by hand")]
    roll_back = documented("Roll back")
    old_schema = server.triage("db", "upgrade")
    server.do(["systemctl start ich-triage.target"])
    first = server.goes_through(head_series(0))
    before = server.rows()[first]

    server.do(upgrade)
    assert server.triage("db", "upgrade") != old_schema
    second = server.goes_through(head_series(1))
    after = server.rows()
    assert set(after) == {first, second}
    assert {key: after[first][key] for key in before} == before
    server.triage(
        "user", "add", "a.smith", "--role", "radiologist", "--password-stdin", input="correct horse battery\n"
    )
    assert "whole" in server.triage("audit", "verify")

    server.do(roll_back)
    assert (server.folder / "current").resolve().name == "old"
    third = server.goes_through(head_series(2))
    assert {first, second, third} == set(server.rows())
    assert "whole" in server.triage("audit", "verify", release="releases/new")

    server.do(upgrade)
    fourth = server.goes_through(head_series(3))
    assert {first, second, third, fourth} == set(server.rows())
    assert "a.smith" in server.triage("user", "list")
    assert "whole" in server.triage("audit", "verify")
    delivered = [row["objects"] for row in server.rows().values()]
    assert all(delivered)
    assert len(list((server.folder / "archive").rglob("*.dcm"))) == sum(map(len, delivered))
