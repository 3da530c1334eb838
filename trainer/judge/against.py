"""Two bundles on the same exams: int8 beside fp32, what it loses and what it saves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from trainer.demonstration.exams import ExamRecord, volume_of
from trainer.judge.findings import SEED, Row, Section, at_most
from trainer.measures.bootstrap import difference
from trainer.measures.figures import drawn
from trainer.measures.interval import Numbers
from trainer.measures.weighted import Ranks, Sums, auc_of, ratio_of
from trainer.phantom.exam import ScanGeometry, study
from triage.domain.volume import Volume
from triage.inference.manifest import Figure
from triage.inference.predict import Predictor

AUC_LOSS_AT_MOST = 0.005
DICE_LOSS_AT_MOST = 0.01
SECONDS_AT_MOST = 1.2
"""Like all limits of a judgement those of the project's own plan, of no standard; see docs/model-card.md."""

_SEED = 73_000
_SLICES = 30
_REPEATS = 5
_THREADS = 2


def against_section(records: Sequence[ExamRecord], others: Sequence[ExamRecord], other_name: str) -> Section:
    """What the other bundle does better on the same exams.

    Raises
    ------
    ValueError
        They are not the same exams in the same order.
    """
    if [r.seed for r in records] != [r.seed for r in others]:
        raise ValueError("two bundles can only be compared on the same exams")
    truth = np.array([r.bleeding for r in records])
    first, second = (auc_of(np.array([r.score for r in some]), truth) for some in (others, records))
    apart = Ranks(lambda weights: first.of(weights) - second.of(weights), first.entries, first.needs)
    overlap = difference(_pooled(others), _pooled(records))
    rows: list[Row] = []
    for name, of, limit in (
        ("exam AUC: loss", apart, AUC_LOSS_AT_MOST),
        ("Dice any, pooled: loss", overlap, DICE_LOSS_AT_MOST),
    ):
        rows += [at_most(one, limit) for one in drawn(f"{name} against {other_name}", of, "exams", SEED)]
    pairs = list(zip(records, others, strict=True))
    changed = sum(one.suspected != other.suspected for one, other in pairs)
    furthest = max(abs(one.score - other.score) for one, other in pairs)
    remark = f"{changed} of {len(records)} exams get another status; scores differ by at most {furthest:.3f}."
    return Section(f"Against {other_name}", tuple(rows), (remark,))


def time_section(bundles: Sequence[Path]) -> Section:
    """Seconds per head of 30 slices on 2 threads; the limit holds for the first bundle."""
    made = study(_SEED, geometry=ScanGeometry(slice_count=_SLICES))
    volume = volume_of(made)
    rows: list[Row] = []
    for place, bundle in enumerate(bundles):
        for what, every_slice in (("as served", False), ("every slice segmented", True)):
            figure = _timed(f"{bundle.name}: seconds per {_SLICES} slices, {what}", bundle, volume, every_slice)
            rows.append(at_most(figure, SECONDS_AT_MOST) if place == 0 and not every_slice else Row(figure))
    remark = (
        f"Wall time from volume to result on the CPU, {_THREADS} threads, median of {_REPEATS}; the interval is the "
        "fastest and the slowest. Other work on the same cores lengthens it."
    )
    return Section("Time", tuple(rows), (remark,))


def _timed(name: str, bundle: Path, volume: Volume, every_slice: bool) -> Figure:
    predictor = Predictor.load(bundle, "cpu", threads=_THREADS)
    predictor.segment(volume, predictor.gate(volume, whatever=True), every_slice=every_slice)  # the first is slower
    seconds: list[float] = []
    for _ in range(_REPEATS):
        started = perf_counter()
        predictor.segment(volume, predictor.gate(volume, whatever=True), every_slice=every_slice)
        seconds.append(perf_counter() - started)
    return Figure(name, median(seconds), min(seconds), max(seconds), len(seconds), "runs", "fastest and slowest")


def _pooled(records: Sequence[ExamRecord]) -> Sums:
    columns: list[Numbers] = [
        np.array([getattr(r, name)[0] for r in records]) for name in ("overlap_ml", "true_ml", "marked_ml")
    ]
    return ratio_of(2.0 * columns[0], columns[1] + columns[2])
