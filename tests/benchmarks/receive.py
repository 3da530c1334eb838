"""How fast instances are received, beside dcmtk, pynetdicom's own storescp, and Orthanc."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.daemon import running_daemon
from tests.benchmarks.harness import Aim, Contender, Figures
from tests.benchmarks.load import NAGLE_OFF, cpu_seconds, peak_megabytes, send, write_series
from tests.services import OrthancServer, find_program, free_port, start_child, stop_child, wait_until
from triage.store.db import upgrade

OURS = "ich-triage, durable"
INSTANCES = 64


@dataclass(frozen=True)
class Running:
    """A receiver that is up."""

    ae_title: str
    port: int
    pid: int


Receiver = Callable[[Path], AbstractContextManager[Running]]


@contextmanager
def ours(folder: Path) -> Iterator[Running]:
    """Our listener with SQLite: file fsync and committed row before each success."""
    url = f"sqlite:///{folder / 'triage.db'}"
    upgrade(url)
    with running_daemon(folder / "daemon", url) as daemon:
        yield Running("ICHTRIAGE", daemon.remote.port, daemon.role_processes()["listen"].pid)


@contextmanager
def orthanc(_folder: Path) -> Iterator[Running]:
    """Orthanc as it is configured by default: SQLite index, fsync."""
    server = OrthancServer(sync_storage=True)
    try:
        server.start()
        yield Running(server.ae_title, server.dicom_port, server.pid)
    finally:
        server.remove()


@contextmanager
def dcmtk(folder: Path) -> Iterator[Running]:
    """dcmtk's storescp, a process for each association, no fsync."""
    port = free_port()
    arguments = [find_program("storescp", "dcmtk"), "--fork", "-pdu", "131072", "-od", str(folder), str(port)]
    yield from _child("STORESCP", port, arguments, folder)


@contextmanager
def pynetdicom(folder: Path) -> Iterator[Running]:
    """The storescp that comes with pynetdicom, no fsync."""
    port = free_port()
    arguments = [sys.executable, "-m", "pynetdicom", "storescp", str(port), "-od", str(folder), "-q"]
    yield from _child("STORESCP", port, arguments, folder)


def _child(ae_title: str, port: int, arguments: list[str], folder: Path) -> Iterator[Running]:
    log = folder / "receiver.log"
    process = start_child(arguments, log, environment=NAGLE_OFF)
    echo = [find_program("echoscu", "dcmtk"), "-aec", ae_title, "127.0.0.1", str(port)]
    try:
        wait_until(lambda: subprocess.run(echo, capture_output=True, check=False).returncode == 0, "it", process, log)
        yield Running(ae_title, port, process.pid)
    finally:
        stop_child(process)


RECEIVERS: dict[str, Receiver] = {
    OURS: ours,
    "Orthanc": orthanc,
    "dcmtk --fork": dcmtk,
    "pynetdicom storescp": pynetdicom,
}

AIMS = (
    Aim(OURS, "Orthanc", "inst/s, 1 association", 1.5),
    Aim(OURS, "Orthanc", "inst/s, 4 associations", 1.5),
)


def contenders() -> list[Contender]:
    """One contender for each receiver."""
    return [Contender(name, lambda receiver=receiver: _measure(receiver)) for name, receiver in RECEIVERS.items()]


def _measure(receiver: Receiver) -> Figures:
    """One series over one association, then four at once; a first small one warms the receiver up."""
    with tempfile.TemporaryDirectory(prefix="ich-bench-") as place:
        folder = Path(place)
        (folder / "out").mkdir()
        warm = write_series(folder / "warm", 4)
        alone = write_series(folder / "alone", INSTANCES)
        four = [write_series(folder / f"four-{n}", INSTANCES // 2) for n in range(4)]
        with receiver(folder / "out") as running:
            send([warm], running.ae_title, running.port)
            before = cpu_seconds(running.pid)
            seconds = send([alone], running.ae_title, running.port)
            cpu = cpu_seconds(running.pid) - before
            together = send(four, running.ae_title, running.port)
            peak = peak_megabytes(running.pid)
    return {
        "inst/s, 1 association": INSTANCES / seconds,
        "inst/s, 4 associations": 4 * (INSTANCES // 2) / together,
        "CPU ms/inst": max(cpu, 0.001) / INSTANCES * 1000,
        "peak MB": peak,
    }
