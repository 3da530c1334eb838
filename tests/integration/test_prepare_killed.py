"""``trainer prepare`` killed at every step: the same command goes on, and the cache is the same as without the kill."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from tests.benchmarks.prepare import fabricate, prepare_command
from tests.fakes import die
from tests.integration.killed import CHILDREN
from tests.trees import rsna_tree
from trainer.datasets.cache import MASKS, PIXELS, RECORDS, UNUSABLE, open_cache, recomputed_digest
from trainer.datasets.case import Case, Dataset, SlicePixels, Unusable
from trainer.datasets.prepare import cache_spec, prepare
from trainer.datasets.rsna import RSNA_2019
from trainer.tell import Tell

FILES = (PIXELS, MASKS, RECORDS, UNUSABLE, "cache.json")


@dataclass(frozen=True)
class DyingListener:
    """Hears of the progress, and dies at a line that begins so."""

    start: str

    def __call__(self, line: str) -> None:
        if line.startswith(self.start):
            die()


@dataclass(frozen=True)
class DyingReader:
    """Reads slices, and dies before the one of this name."""

    image: str

    def __call__(self, case: Case) -> Iterator[SlicePixels | Unusable]:
        for one, found in zip(case.slices, RSNA_2019.read(case), strict=True):
            if one.image.stem == self.image:
                die()
            yield found


def quiet(line: str) -> None:
    """Lines that nobody reads."""


def make(dataset: Dataset, root: Path, out: Path, tell: Tell) -> None:
    prepare(dataset, root, out, cache_spec(dataset, 32, "resize", 1.0), 0, tell)


def contents(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in FILES]


def killed(target: Callable[..., None], *arguments: object) -> None:
    child = CHILDREN.Process(target=target, args=arguments)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    "step",
    [
        *(DyingListener(line) for line in ("looking", "labels:", "names:", "headers:", "studies:", "4 studies of 6")),
        *(DyingReader(f"ID_0000000{image}") for image in ("a1", "c3", "e5", "f6")),
        DyingListener("6 of 6 slices"),
    ],
    ids=str,
)
def test_the_same_bytes_whenever_it_is_killed(step: DyingListener | DyingReader, tmp_path: Path) -> None:
    root = rsna_tree(tmp_path / "rsna")
    (root / "stage_2_train" / "ID_0000000b2.dcm").write_bytes(b"torn")
    make(RSNA_2019, root, tmp_path / "never", quiet)
    out = tmp_path / "out"
    if isinstance(step, DyingReader):
        killed(make, replace(RSNA_2019, read=step), root, out, quiet)
    else:
        killed(make, RSNA_2019, root, out, step)
    assert not (out / "cache.json").exists()
    make(RSNA_2019, root, out, quiet)
    assert contents(out) == contents(tmp_path / "never")
    cache = open_cache(out)
    assert recomputed_digest(cache) == cache.description.digest
    assert cache.description.unusable == 1


@pytest.mark.slow
def test_a_killed_command_takes_its_workers_along_and_goes_on(tmp_path: Path) -> None:
    root = fabricate(tmp_path / "rsna", 400, side=128)
    command = prepare_command(root, tmp_path / "out", size=64)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while not (tmp_path / "out" / MASKS).exists() or not psutil.Process(process.pid).children():
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    for out in ("out", "never"):
        subprocess.run(prepare_command(root, tmp_path / out, size=64), check=True, capture_output=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "never")
    assert int(open_cache(tmp_path / "out").table["usable"].sum()) == 400
