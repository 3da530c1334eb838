"""Exam figures of held-out made heads: what counts, by subtype, by volume, by anatomy source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from trainer.demonstration.evaluate import mean_dice, of_source, operating_point, overlap_figures
from trainer.demonstration.exams import ExamOrder, ExamRecord, exam_orders
from trainer.judge.findings import SEED, Row, Section, at_least
from trainer.judge.insilico import VISIBLE_HU
from trainer.measures.figures import drawn, proportion
from trainer.measures.interval import Flags
from trainer.measures.weighted import auc_of, median_of
from triage.inference.manifest import OUTPUTS, Figure

SEEDS = 7_000_000
"""Of the first exam: none of any protocol's training, calibration, test or ablation (`demonstration.protocol`)."""

AUC_AT_LEAST = 0.95
OTHER_SOURCE_AUC_AT_LEAST = 0.85
VOLUME_ERROR_AT_MOST = 0.2
LARGE_ML = 5.0
BANDS_ML = (0.0, 1.0, 5.0, 30.0, np.inf)
_BAND_NAMES = ("under 1 ml", "1 to 5 ml", "5 to 30 ml", "over 30 ml")


def judged_orders(count: int, anatomy: Path | None, only: str | None, bundle: Path) -> list[ExamOrder]:
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
    limit = OTHER_SOURCE_AUC_AT_LEAST if only else AUC_AT_LEAST
    rows += [at_least(one, limit) for one in _exam_auc("exam AUC", records)]
    for source in ("template", "procedural"):
        of = of_source(records, template=source == "template")
        if of and len(of) < len(records):
            rows += [Row(one) for one in _exam_auc(f"exam AUC, {source}", of)]
    rows += _by_density(records)
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
                rows += [Row(one) for one in mean_dice(f"{name}, {band}: Dice, mean", of, column, SEED)]
    remark = "A band of a subtype counts the blood of this subtype; the exam may hold more. Empty bands are left out."
    return Section("By subtype and volume", tuple(rows), (remark,))


def _by_density(records: Sequence[ExamRecord]) -> list[Row]:
    """Blood that is brighter than brain, then blood that is hardly so, each against all exams without."""
    without = [r for r in records if not r.bleeding]
    rows: list[Row] = []
    for name, of in (
        (f"blood of {VISIBLE_HU:g} HU and more", [r for r in records if r.blood_hu >= VISIBLE_HU]),
        ("fainter blood", [r for r in records if r.blood_hu < VISIBLE_HU]),
    ):
        named = f"exam AUC, {len(of)} with {name} against {len(without)} without"
        rows += [Row(one) for one in _exam_auc(named, [*of, *without])]
        if of:
            rows.append(Row(proportion(f"{name}: exams suspected", sum(r.suspected for r in of), len(of), "exams")))
    return rows


def volume_rows(records: Sequence[ExamRecord]) -> list[Row]:
    """Median of marked against true volume, minus 1, of any blood in exams with 5 ml or more of it."""
    large = [r for r in records if r.true_ml[0] >= LARGE_ML]
    error = np.array([r.marked_ml[0] / r.true_ml[0] - 1.0 for r in large])
    wanted = f"within {VOLUME_ERROR_AT_MOST:g} of 0"
    name = "volume error above 5 ml, median"
    return [
        *(
            Row(one, wanted, abs(one.value) <= VOLUME_ERROR_AT_MOST)
            for one in drawn(name, median_of(error), "exams", SEED)
        ),
        *(Row(one) for one in drawn(f"{name} size", median_of(np.abs(error)), "exams", SEED)),
    ]


def _overlap_rows(records: Sequence[ExamRecord]) -> list[Row]:
    rows: list[Row] = []
    for column, name in enumerate(OUTPUTS):
        rows += [Row(one) for one in overlap_figures(records, column, SEED)]
        of = [r for r in records if r.true_ml[column] > 0]
        if column and of:
            suspected = sum(r.suspected for r in of)
            rows.append(Row(proportion(f"exams with {name}: suspected", suspected, len(of), "exams")))
    return rows


def _exam_auc(name: str, records: Sequence[ExamRecord]) -> list[Figure]:
    scores, truth = np.array([r.score for r in records]), np.array([r.bleeding for r in records])
    return drawn(name, auc_of(scores, truth), "exams", SEED)


def _in_bands(records: Sequence[ExamRecord], column: int) -> list[Flags]:
    """Which records belong to each band; one that holds none of it belongs to none."""
    true = np.array([r.true_ml[column] for r in records])
    return [np.asarray((true > 0.0) & (true >= low) & (true < high)) for low, high in pairwise(BANDS_ML)]


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
        "blood_hu": None if math.isnan(record.blood_hu) else record.blood_hu,
        "true_ml": [round(float(v), 3) for v in record.true_ml],
        "marked_ml": [round(float(v), 3) for v in record.marked_ml],
        "overlap_ml": [round(float(v), 3) for v in record.overlap_ml],
    }
