"""Exam figures of held-out made heads: what counts, by subtype, by volume, by anatomy source."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from trainer.evaluate import operating_point
from trainer.exams import ExamOrder, ExamRecord, exam_orders
from trainer.judge.findings import Row, Section, at_least, drawn, proportion
from trainer.measures.interval import Flags, Numbers
from trainer.measures.weighted import auc_of, dice_per_entry, mean_of, median_of, ratio_of
from triage.inference.manifest import OUTPUTS, Figure

SEEDS = 7_000_000
"""Of the first exam: none of any protocol's training, calibration, test or ablation (`trainer.protocol`)."""

AUC_AT_LEAST = 0.95
OTHER_SOURCE_AUC_AT_LEAST = 0.85
VOLUME_ERROR_AT_MOST = 0.2
LARGE_ML = 5.0
BANDS_ML = (0.0, 1.0, 5.0, 30.0, np.inf)
_BAND_NAMES = ("under 1 ml", "1 to 5 ml", "5 to 30 ml", "over 30 ml")


def orders(count: int, anatomy: Path | None, only: str | None, bundle: Path) -> list[ExamOrder]:
    """``count`` exams, every second with blood, half from each anatomy source unless only one is wanted or there.

    Raises
    ------
    ValueError
        Template heads are wanted without a template.
    """
    if only == "template" and anatomy is None:
        raise ValueError("--only template needs --anatomy")
    template = (count + 1) // 2
    if only == "template":
        template = count
    elif only == "procedural" or anatomy is None:
        template = 0
    return exam_orders(template, count - template, SEEDS, anatomy, bundle, every_slice=False)


def held_out_section(records: Sequence[ExamRecord], only: str | None = None) -> Section:
    """Figures of the exams as the daemon decides on them."""
    rows: list[Row] = []
    auc = auc_row("exam AUC", records, OTHER_SOURCE_AUC_AT_LEAST if only else AUC_AT_LEAST)
    rows += [auc] if auc else []
    for source, template in (("template", True), ("procedural", False)):
        of = [r for r in records if r.template is template]
        if of and len(of) < len(records):
            row = auc_row(f"exam AUC, {source}", of, None)
            rows += [row] if row else []
    rows += [Row(one) for one in operating_point(records)]
    rows += volume_rows(records)
    rows += _overlap_rows(records)
    refused = [r.refused for r in records if r.refused]
    why = f": {refused[0]}" if refused else "."
    remarks = [_whose(records), f"{len(refused)} did not pass the input check, and count here all the same{why}"]
    if only:
        remarks.append(f"{only} heads alone: the limit is that of a bundle that learned from the other source.")
    return Section("Held-out made exams", tuple(rows), tuple(remarks), tuple(_case(r) for r in records))


def band_section(records: Sequence[ExamRecord]) -> Section:
    """Sensitivity and Dice by volume band, of any blood and of each subtype."""
    rows: list[Row] = []
    for column, name in enumerate(OUTPUTS):
        for band, held in zip(_BAND_NAMES, _in_bands(records, column), strict=True):
            of = [r for r, inside in zip(records, held, strict=True) if inside]
            if of:
                found = sum(r.suspected for r in of)
                rows.append(Row(proportion(f"{name}, {band}: exams suspected", found, len(of), "exams")))
                dice = _mean_dice(f"{name}, {band}: Dice, mean", of, column)
                rows += [Row(dice)] if dice else []
    remark = "A band of a subtype counts the blood of this subtype; the exam may hold more. Empty bands are left out."
    return Section("By subtype and volume", tuple(rows), (remark,))


def auc_row(name: str, records: Sequence[ExamRecord], limit: float | None) -> Row | None:
    """Exam AUC; None of one class."""
    scores, truth = np.array([r.score for r in records]), np.array([r.bleeding for r in records])
    figure = drawn(name, auc_of(scores, truth), "exams", entries=len(records))
    if figure is None:
        return None
    return Row(figure) if limit is None else at_least(figure, limit)


def volume_rows(records: Sequence[ExamRecord]) -> list[Row]:
    """Median of marked against true volume, minus 1, of any blood in exams with 5 ml or more of it."""
    true, marked = _of(records, "true_ml")[:, 0], _of(records, "marked_ml")[:, 0]
    large = true >= LARGE_ML
    if not large.any():
        return []
    error = marked[large] / true[large] - 1.0
    figure = drawn("volume error above 5 ml, median", median_of(error), "exams", entries=len(error))
    if figure is None:
        return []
    met = abs(figure.value) <= VOLUME_ERROR_AT_MOST
    spread = drawn("volume error above 5 ml, median size", median_of(np.abs(error)), "exams", entries=len(error))
    return [Row(figure, f"within {VOLUME_ERROR_AT_MOST:g} of 0", met), *([Row(spread)] if spread else [])]


def _overlap_rows(records: Sequence[ExamRecord]) -> list[Row]:
    true, marked, overlap = (_of(records, name) for name in ("true_ml", "marked_ml", "overlap_ml"))
    rows: list[Row] = []
    for column, name in enumerate(OUTPUTS):
        of = [r for r in records if r.true_ml[column] > 0]
        if not of:
            continue
        pooled = ratio_of(2.0 * overlap[:, column], true[:, column] + marked[:, column])
        figures: list[Figure | None] = [drawn(f"Dice {name}, pooled", pooled, "exams", entries=len(records))]
        figures.append(_mean_dice(f"Dice {name}, mean over exams that hold it", of, column))
        if column:
            suspected = sum(r.suspected for r in of)
            figures.append(proportion(f"exams with {name}: suspected", suspected, len(of), "exams"))
        rows += [Row(one) for one in figures if one]
    return rows


def _mean_dice(name: str, records: Sequence[ExamRecord], column: int) -> Figure | None:
    overlap, true, marked = (_of(records, part)[:, column] for part in ("overlap_ml", "true_ml", "marked_ml"))
    return drawn(name, mean_of(dice_per_entry(overlap, true, marked)), "exams", entries=len(records))


def _in_bands(records: Sequence[ExamRecord], column: int) -> list[Flags]:
    """Which records belong to each band; one that holds none of it belongs to none."""
    true = _of(records, "true_ml")[:, column]
    return [np.asarray((true > 0.0) & (true >= low) & (true < high)) for low, high in pairwise(BANDS_ML)]


def _of(records: Sequence[ExamRecord], name: str) -> Numbers:
    """One field of all records, shape (exam, 6)."""
    return np.array([getattr(r, name) for r in records])


def _whose(records: Sequence[ExamRecord]) -> str:
    return (
        f"{len(records)} SYNTHETIC exams of seeds {records[0].seed} to {records[-1].seed}, "
        f"{sum(r.bleeding for r in records)} with blood, {sum(r.template for r in records)} on the template."
    )


def _case(record: ExamRecord) -> dict[str, object]:
    return {
        "seed": record.seed,
        "bleeding": record.bleeding,
        "template": record.template,
        "score": record.score,
        "suspected": record.suspected,
        "refused": record.refused,
        "true_ml": [round(float(v), 3) for v in record.true_ml],
        "marked_ml": [round(float(v), 3) for v in record.marked_ml],
        "overlap_ml": [round(float(v), 3) for v in record.overlap_ml],
    }
