"""What the benchmarks send, and how: SYNTHETIC CT instances of 0.5 MB, by dcmtk's storescu."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import psutil
from pydicom.uid import generate_uid

from tests.builders import ct_series, part10
from tests.services import find_program


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
    environment = {**os.environ, **({} if nagle else {"TCP_NODELAY": "1"})}
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
    ended = times.children_user + times.children_system
    return times.user + times.system + ended + sum(cpu_seconds(c.pid) for c in process.children())


def peak_megabytes(pid: int) -> float:
    """Highest resident memory of a process so far, its living children added."""
    status = Path(f"/proc/{pid}/status").read_text()
    own = int(status.split("VmHWM:")[1].split()[0]) / 1024
    return own + sum(peak_megabytes(c.pid) for c in psutil.Process(pid).children())
