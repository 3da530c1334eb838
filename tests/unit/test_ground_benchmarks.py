"""The benchmark harness: fair turns, honest ratios, and verdicts that say what was missed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydicom import dcmread
from rich.console import Console

from tests.benchmarks.harness import Aim, Comparison, Contender, Limit, side_by_side, table
from tests.benchmarks.load import cpu_seconds, peak_megabytes, write_series

ROUNDS = Comparison(
    [
        {"ours": {"inst/s": 100.0}, "peer": {"inst/s": 50.0}},
        {"ours": {"inst/s": 40.0}, "peer": {"inst/s": 10.0}},
        {"ours": {"inst/s": 90.0}, "peer": {"inst/s": 90.0}},
    ]
)


def test_every_contender_runs_once_a_round_and_begins_in_turn() -> None:
    order: list[str] = []
    contenders = [Contender(name, lambda name=name: order.append(name) or {"x": 1.0}) for name in "abc"]
    told: list[str] = []
    comparison = side_by_side(contenders, 4, told.append)
    assert "".join(order) == "abcbcacababc"
    assert len(comparison.rounds) == 4
    assert told[0] == "round 1/4: a"


def test_ratios_are_taken_within_a_round() -> None:
    assert ROUNDS.ratio("ours", "peer", "inst/s") == (2.0, 1.0, 4.0)
    assert ROUNDS.median("ours", "inst/s") == 90.0


@pytest.mark.parametrize(("at_least", "mark"), [(2.0, "reached"), (2.01, "MISSED")])
def test_an_aim_says_whether_it_was_reached(at_least: float, mark: str) -> None:
    verdict = Aim("ours", "peer", "inst/s", at_least).verdict(ROUNDS)
    assert verdict.startswith(mark)
    assert "2.00 x peer (1.00 to 4.00)" in verdict


@pytest.mark.parametrize(("at_most", "mark"), [(90.0, "reached"), (89.9, "MISSED")])
def test_a_limit_says_whether_it_was_kept(at_most: float, mark: str) -> None:
    assert Limit("ours", "inst/s", at_most).verdict(ROUNDS).startswith(mark)


def test_the_table_shows_each_figure_beside_its_ratio() -> None:
    assert table(ROUNDS, "peer") == [
        ["", "inst/s", "x peer"],
        ["ours", "90.00", "2.00"],
        ["peer", "50.00", "1.00"],
    ]


def test_the_load_is_half_a_megabyte_an_instance_with_uids_of_its_own(tmp_path: Path) -> None:
    files = write_series(tmp_path / "one", 3) + write_series(tmp_path / "two", 2)
    headers = [dcmread(f, stop_before_pixels=True) for f in files]
    assert len({h.SOPInstanceUID for h in headers}) == 5
    assert [len({h.SeriesInstanceUID for h in part}) for part in (headers[:3], headers[3:])] == [1, 1]
    assert headers[0].StudyInstanceUID != headers[4].StudyInstanceUID
    assert all(520_000 < f.stat().st_size < 560_000 for f in files)


def test_the_time_of_children_counts() -> None:
    burn = "sum(i * i for i in range(3_000_000))"
    code = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', '{burn}']); print(1, flush=True)"
    parent = subprocess.Popen([sys.executable, "-c", code + "; time.sleep(30)"], stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert cpu_seconds(parent.pid) > 0.1
    finally:
        parent.kill()
        parent.communicate()


def test_memory_is_that_of_this_process() -> None:
    assert 10 < peak_megabytes(os.getpid()) < 100_000


def test_a_benchmark_prints_its_verdicts() -> None:
    from tests.benchmarks.__main__ import Benchmark, show

    def run() -> dict[str, float]:
        started = time.perf_counter()
        return {"s": 1.0 + time.perf_counter() - started}

    text = io.StringIO()
    benchmark = Benchmark("About.", lambda: [Contender("one", run)], "one", [Limit("one", "s", 0.5)])
    show("name", benchmark, 2, Console(file=text, width=120))
    assert "MISSED: s of one is 1.00" in text.getvalue()
    assert "Medians of 2 rounds" in text.getvalue()
