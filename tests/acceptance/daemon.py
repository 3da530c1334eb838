"""The real daemon, started as a user starts it, and watched through its own worklist."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.services import free_port
from triage.domain.errors import TriageError
from triage.domain.finding import WorklistStatus
from triage.domain.worklist import WorklistRow
from triage.entrypoints.app import App, build
from triage.entrypoints.look import reading_list
from triage.inference.bundle import Bundle
from triage.net.scu import RemoteAe, echo
from triage.net.tls import TlsFiles
from triage.settings import read_settings

START_SECONDS = 180.0
DONE_SECONDS = 120.0


@dataclass(frozen=True)
class Destination:
    """An archive of the test."""

    ae_title: str
    port: int
    name: str = "archive"


@dataclass
class Daemon:
    """A running ``triage run`` and what it did so far."""

    process: subprocess.Popen[bytes]
    config: Path
    log: Path
    app: App
    remote: RemoteAe
    web_port: int

    @property
    def web_url(self) -> str:
        """Root of the pages, without a slash at the end."""
        return f"http://127.0.0.1:{self.web_port}"

    def rows(self) -> dict[str, WorklistRow]:
        """Worklist rows by Study Instance UID."""
        return {row.study_instance_uid: row for row in reading_list(self.app)}

    def wait_for(self, study: str, ready: Callable[[WorklistRow], bool], seconds: float = DONE_SECONDS) -> WorklistRow:
        """The row of a study as soon as it is as wanted."""
        deadline = time.monotonic() + seconds
        row = None
        while time.monotonic() < deadline:
            row = self.rows().get(study)
            if row is not None and ready(row):
                return row
            assert self.process.poll() is None, f"the daemon stopped: {self.log.read_text()[-3000:]}"
            time.sleep(0.05)
        raise AssertionError(f"the study never got there; its row: {row}; log: {self.log.read_text()[-3000:]}")

    def wait_until_final(self, study: str, seconds: float = DONE_SECONDS) -> WorklistRow:
        """The row of a study once nothing more will happen to it."""
        return self.wait_for(study, is_final, seconds)

    def cli(self, *arguments: str) -> str:
        """What a ``triage`` command prints to standard output."""
        command = [sys.executable, "-m", "triage", "--config", str(self.config), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    def role_processes(self) -> dict[str, psutil.Process]:
        """The process of each role."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                words = child.cmdline()
            except psutil.NoSuchProcess:  # dead already, also while its parent has not noticed
                continue
            if "--role" in words:
                found[words[words.index("--role") + 1]] = child
        return found

    def events(self, name: str) -> list[dict]:
        """Log events of one name."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event.get("event") == name]


def running_on(bundle: Bundle) -> str:
    """Settings of a daemon that analyses with a bundle of the test, on one thread.

    What the shipped one makes of a head, and whether it analyses it at all, is for the tests of that bundle.
    """
    return f'[inference]\nbundle = {json.dumps(str(bundle.path))}\ndevice = "cpu"\nthreads = 1\n'


def is_final(row: WorklistRow) -> bool:
    """Whether neither the analysis nor a delivery is still under way."""
    if row.status is WorklistStatus.PENDING or row.provisional:
        return False
    return all(o.state in ("delivered", "committed", "failed") for o in row.objects)


@contextmanager
def running_daemon(
    folder: Path,
    database_url: str,
    destinations: Sequence[Destination] = (),
    *,
    roles: Sequence[str] = (),
    extra: str = "",
    environment: dict[str, str] | None = None,
    tls: TlsFiles | None = None,
    ends_with: int = 0,
    root: str = "",
) -> Iterator[Daemon]:
    """Run the daemon on a migrated database until the block ends; it must then stop cleanly on SIGTERM.

    It has all its roles, or only those of ``roles``.
    ``environment`` holds settings of groups that the file has already; ``tls`` is how the test calls a listener that
    speaks TLS. ``ends_with`` is the exit status to expect where the block itself kills it. ``root`` is the file area,
    where it is not a folder beside the rest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, web_port = free_port(), free_port()
    config = folder / "triage.toml"
    config.write_text(_toml(root or str(folder / "blobs"), port, web_port, database_url, destinations) + extra)
    log = folder / "daemon.log"
    chosen = [word for role in roles for word in ("--role", role)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "triage", "--config", str(config), "run", *chosen],
            stderr=stream,
            env={**os.environ, **(environment or {})},
        )
    remote = RemoteAe("ICHTRIAGE", "127.0.0.1", port, "TESTSENDER", tls)
    app = build(read_settings(config))
    try:
        _wait_ready(process, remote, log)
        yield Daemon(process, config, log, app, remote, web_port)
    finally:
        app.db.dispose()
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    assert code == ends_with, f"the daemon ended with {code}: {log.read_text()[-3000:]}"


def _wait_ready(process: subprocess.Popen[bytes], remote: RemoteAe, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the daemon did not start: {log.read_text()[-3000:]}"
        try:
            echo(remote)
        except TriageError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the daemon never answered: {log.read_text()[-3000:]}")


def _toml(root: str, port: int, web_port: int, database_url: str, destinations: Sequence[Destination]) -> str:
    lines = [
        "[listener]",
        f"port = {port}",
        "[web]",
        f"port = {web_port}",
        "[database]",
        f"url = {json.dumps(database_url)}",
        "[storage]",
        f"root = {json.dumps(root)}",
        "min_free_gb = 0.1",
    ]
    for destination in destinations:
        lines += [
            "[[destinations]]",
            f'name = "{destination.name}"',
            f'ae_title = "{destination.ae_title}"',
            'host = "127.0.0.1"',
            f"port = {destination.port}",
        ]
    return "\n".join(lines) + "\n"
