"""``trainer prepare`` on SYNTHETIC slices of 512 x 512 laid out as RSNA 2019, two workers, memory of all processes."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tests.benchmarks.harness import Contender, Figures, Limit
from tests.benchmarks.load import peak_megabytes
from tests.builders import set_pixels
from tests.trees import MM, RsnaSlice, head, rsna_bytes, rsna_label_rows, rsna_pattern, write_rows
from trainer.datasets.cache import open_cache

SLICES, PER_STUDY, SIDE = 2000, 40, 512
FEW, MANY = "400 slices", f"{SLICES} slices"
PEAK, RATE = "peak MB", "slices/s"
LIMITS = (Limit(FEW, PEAK, 300.0), Limit(MANY, PEAK, 300.0))


def contenders() -> list[Contender]:
    """Few slices and many: their peaks say whether memory grows with the data set."""
    return [Contender(FEW, lambda: _measure(400)), Contender(MANY, lambda: _measure(SLICES))]


def fabricate(root: Path, count: int, side: int = SIDE) -> Path:
    """Write ``count`` slices quickly: one header with names of fixed length, one of 16 images behind it."""
    (root / "stage_2_train").mkdir(parents=True)
    slices = [_slice(number) for number in range(count)]
    write_rows(root / "stage_2_train.csv", "ID,Label", rsna_label_rows(slices), mark=False)
    template = _slice(99_999_999)
    contents = []
    for index in range(16):
        pattern = rsna_pattern(side)
        set_pixels(pattern, head(16, index, side, MM * 64 / side) + 1024.0)
        contents.append(rsna_bytes(pattern, template))
    start = len(contents[0]) - 2 * side * side
    for number, one in enumerate(slices):
        content = contents[number % len(contents)]
        said = content[:start]
        for old, new in zip(_names(template), _names(one), strict=True):
            said = said.replace(old, new)
        with (root / "stage_2_train" / f"{one.image}.dcm").open("wb") as file:
            file.write(said)
            file.write(memoryview(content)[start:])
    return root


def _slice(number: int) -> RsnaSlice:
    study = number // PER_STUDY
    types = ["subdural"] if number % 7 == 0 else []
    return RsnaSlice(f"ID_{number:09d}", f"ID_p{study:08d}", f"ID_s{study:08d}", 1000.25 + number % PER_STUDY, types)


def _names(one: RsnaSlice) -> list[bytes]:
    names = (one.image, one.patient, one.study, one.study.replace("ID_", "ID_5"), f"\\{one.height_mm}")
    return [name.encode() for name in names]


def watched(command: list[str]) -> tuple[int, float, float]:
    """Run a command: exit status, seconds, and the highest memory of it and its children in MB."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _peak(process.pid))
            time.sleep(0.05)
        if process.returncode > 0:
            said.seek(0)
            raise RuntimeError(said.read().decode(errors="replace")[-1000:])
    return process.returncode, time.perf_counter() - begun, peak


def _peak(pid: int) -> float:
    try:
        return peak_megabytes(pid)
    except ProcessLookupError:
        return 0.0


def prepare_command(root: Path, out: Path, *, workers: int = 2, size: int = 256) -> list[str]:
    """The command as a user gives it."""
    options = ["--size", str(size), "--workers", str(workers)]
    return [sys.executable, "-m", "trainer", "prepare", "rsna_2019", str(root), str(out), *options]


def _measure(count: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="ich-bench-") as place:
        root = fabricate(Path(place) / "rsna", count)
        _, seconds, peak = watched(prepare_command(root, Path(place) / "cache"))
        assert int(open_cache(Path(place) / "cache").table["usable"].sum()) == count
    return {"s in all": seconds, RATE: count / seconds, PEAK: peak}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One run with as many slices as wanted.")
    parser.add_argument("--slices", type=int, default=20_000)
    Console().print_json(json.dumps(_measure(parser.parse_args().slices)))
