"""``trainer prepare`` on few slices and on many: memory does not grow with the data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.prepare import fabricate, prepare_command, watched
from trainer.datasets.cache import open_cache

FEW, MANY = 400, 2000


@pytest.mark.slow
def test_memory_is_flat_and_below_its_limit(tmp_path: Path) -> None:
    peaks = {}
    for count in (FEW, MANY):
        root = fabricate(tmp_path / f"rsna-{count}", count, side=128)
        status, _, peaks[count] = watched(prepare_command(root, tmp_path / f"cache-{count}", size=64))
        assert status == 0
        assert int(open_cache(tmp_path / f"cache-{count}").table["usable"].sum()) == count
    assert peaks[MANY] < 300
    assert peaks[MANY] - peaks[FEW] < 30
