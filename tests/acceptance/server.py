"""A plain Debian server with systemd as its first process, booted in a container of this machine for one script."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy import ROOT, clean_debian, program

BOOT_SECONDS = 120
SOURCES = ("triage", "trainer", "migrations", "deploy", ".ci", "Makefile", "pyproject.toml", "constraints.txt")
SOURCES += ("README.md", "LICENSE")

# Runs what it is told once the server is up, and switches the server off.
TASK = """[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /task
StandardOutput=file:/task.log
StandardError=inherit
ExecStopPost=/usr/bin/systemctl poweroff --no-block
TimeoutStartSec=infinity
[Install]
WantedBy=default.target
"""

# Notes one fact as a line of JSON: fact NAME COMMAND... keeps its output and its exit status.
FACT = r"""#!/bin/sh
name=$1; shift
output=$("$@" 2>&1); code=$?
python3 -c 'import json, sys; print(json.dumps([sys.argv[1], int(sys.argv[2]), sys.argv[3]]))' \
    "$name" "$code" "$output" >>/facts
"""


@dataclass(frozen=True)
class DebianServer:
    """The file system of the server, before and after it ran."""

    root: Path

    def write(self, place: str, text: str, mode: int = 0o644) -> None:
        """Put a file onto the server."""
        file = self.root / place.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def run(self, script: str, seconds: float) -> dict[str, tuple[int, str]]:
        """Boot, run a script that notes facts, and switch off; exit status and output of each fact.

        There is no fact where this machine lets no systemd boot in a container.
        """
        self.write("/task", script)
        self.write("/usr/local/bin/fact", FACT, 0o755)
        self.write("/etc/systemd/system/task.service", TASK)
        wants = self.root / "etc/systemd/system/multi-user.target.wants/task.service"
        wants.parent.mkdir(exist_ok=True)
        wants.unlink(missing_ok=True)
        wants.symlink_to("../task.service")
        for left in ("facts", "task.log"):
            (self.root / left).unlink(missing_ok=True)
        # In namespaces of its own, so that nothing of the container is seen from outside, nor outlives this call.
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        nspawn = [program("systemd-nspawn", "systemd-container"), "--quiet", "--register=no", "--keep-unit"]
        console = self.root.parent / "console"
        with console.open("wb") as output:
            subprocess.run(
                [*apart, *nspawn, f"--directory={self.root}", "--boot"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=seconds,
                check=False,
            )
        facts = self.root / "facts"
        noted: list[list[Any]] = [json.loads(line) for line in facts.read_text().splitlines()] if facts.exists() else []
        return {name: (code, text) for name, code, text in noted}

    def log(self) -> str:
        """What the script itself printed."""
        file = self.root / "task.log"
        return file.read_text(errors="replace")[-4000:] if file.exists() else ""


@contextmanager
def debian_server(*packages: str) -> Iterator[DebianServer]:
    """A server that has these packages and our sources in ``/src``."""
    # Not below the folder of the tests, which only root may enter.
    folder = Path(tempfile.mkdtemp(prefix="ich-server-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        server = DebianServer(folder / "root")
        server.root.mkdir()
        subprocess.run(["tar", "-x", "-p", "-f", clean_debian(), "-C", server.root], check=True)
        server.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
        no_questions = {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(
            ["chroot", server.root, "apt-get", "install", "-y", "-q", "--no-install-recommends", *packages],
            env={**os.environ, **no_questions},
            check=True,
            capture_output=True,
            timeout=280,
        )
        (server.root / "usr/sbin/policy-rc.d").unlink()
        for name in SOURCES:
            source, place = ROOT / name, server.root / "src" / name
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.parent.mkdir(exist_ok=True)
                shutil.copy(source, place)
        yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)
