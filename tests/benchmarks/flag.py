"""From the last instance to the flag on the worklist, completeness wait included, on this machine's CPU."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.acceptance.daemon import Daemon, Destination, running_daemon
from tests.benchmarks.harness import Contender, Figures, Limit
from tests.benchmarks.load import peak_megabytes
from tests.services import OrthancServer
from triage.domain.finding import WorklistStatus
from triage.entrypoints.demo import SEED
from triage.entrypoints.operate import dicom_files
from triage.net.scu import send
from triage.store.db import upgrade

NAME = "one study of 30 slices"
TO_FLAG = "s to flag, positive"
LIMITS = (Limit(NAME, TO_FLAG, 8.0), Limit(NAME, "s to final row, negative", 8.0))


def contenders() -> list[Contender]:
    """One run: a positive and a negative SYNTHETIC study through a warm daemon into a real Orthanc."""
    return [Contender(NAME, _measure)]


def _measure() -> Figures:
    archive = OrthancServer()
    try:
        archive.start()
        with tempfile.TemporaryDirectory(prefix="ich-bench-") as place:
            folder = Path(place)
            # In the order of the demo, whose first two heads the shipped bundle is right about.
            positive, negative, warm = _make(folder / "studies", ("suspected", "not_suspected", "not_suspected"))
            url = f"sqlite:///{folder / 'triage.db'}"
            upgrade(url)
            destination = Destination(archive.ae_title, archive.dicom_port)
            with running_daemon(folder / "daemon", url, [destination]) as daemon:
                _through(daemon, warm)
                flag, flagged_final = _through(daemon, positive)
                _, negative_final = _through(daemon, negative)
                memory = peak_megabytes(daemon.role_processes()["work"].pid)
    finally:
        archive.remove()
    return {
        TO_FLAG: flag,
        "s to final row, positive": flagged_final,
        "s to final row, negative": negative_final,
        "worker peak MB": memory,
    }


def _make(folder: Path, statuses: tuple[str, ...]) -> list[Path]:
    chosen = [word for status in statuses for word in ("--status", status)]
    command = [sys.executable, "-m", "trainer", "phantom", str(folder), "--studies", str(len(statuses))]
    subprocess.run([*command, "--seed", str(SEED), *chosen], check=True, capture_output=True)
    return [folder / entry["folder"] for entry in json.loads((folder / "truth.json").read_text())]


def _through(daemon: Daemon, source: Path) -> tuple[float, float]:
    """Seconds from the last acknowledged instance to the flag (or first result), and to the last delivery."""
    found, _ = dicom_files((source,))
    study = found[0].study_instance_uid
    outcomes = send(daemon.remote, [f.outgoing for f in found])
    if any(outcome.error for outcome in outcomes):
        raise RuntimeError(f"the daemon refused an instance: {next(o.error for o in outcomes if o.error)}")
    sent = time.monotonic()
    daemon.wait_for(study, lambda row: row.status is not WorklistStatus.PENDING)
    first = time.monotonic() - sent
    daemon.wait_until_final(study)
    return first, time.monotonic() - sent
