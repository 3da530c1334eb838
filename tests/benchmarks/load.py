"""What the benchmarks send, and how: SYNTHETIC CT instances of 0.5 MB, by dcmtk's storescu."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from pathlib import Path

import psutil
from pydicom.uid import generate_uid

from tests.builders import ct_series, part10
from tests.services import find_program

NAGLE_OFF = {"TCP_NODELAY": "1"}
"""Read by dcmtk. As shipped it holds small packets back, and then every peer looks slow."""


def write_series(folder: Path, instances: int) -> list[Path]:
    """A CT series of new UIDs, 512 x 512 x 16 bit, one file an instance."""
    folder.mkdir(parents=True)
    (pattern,) = ct_series(1, 512, 512, spacing_mm=0.5)
    pattern.SeriesInstanceUID, pattern.StudyInstanceUID = generate_uid(None), generate_uid(None)
    files = []
    for number in range(instances):
        uid = generate_uid(None)
        pattern.SOPInstanceUID = pattern.file_meta.MediaStorageSOPInstanceUID = uid
        pattern.InstanceNumber = number + 1
        pattern.ImagePositionPatient = [-128.0, -128.0, 5.0 * number]
        file = folder / f"{number:04d}.dcm"
        file.write_bytes(part10(pattern))
        files.append(file)
    return files


def send(groups: list[list[Path]], ae_title: str, port: int, *, nagle: bool = False) -> float:
    """Send each group over an association of its own, all at once; seconds until the last one ended.

    ``nagle`` leaves dcmtk as it is shipped, with small packets held back.
    """
    program = find_program("storescu", "dcmtk")
    environment = {**os.environ, **({} if nagle else NAGLE_OFF)}
    target = [program, "-aet", "BENCH", "-aec", ae_title, "-pdu", "131072", "127.0.0.1", str(port)]
    started = time.perf_counter()
    senders = [
        subprocess.Popen([*target, *map(str, group)], env=environment, stderr=subprocess.PIPE) for group in groups
    ]
    for sender in senders:
        _, errors = sender.communicate(timeout=300)
        if sender.returncode != 0:
            raise RuntimeError(f"storescu failed: {errors.decode(errors='replace')[-500:]}")
    return time.perf_counter() - started


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of its children, ended ones included."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # ended just now: the parent's sum has it next time
            times = child.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def peak_megabytes(pid: int) -> float:
    """Highest resident memory of a process so far, its living children added."""
    total = 0
    for process in [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
            total += int(found.group(1)) if found else 0  # a process that has ended holds nothing
    return total / 1024
