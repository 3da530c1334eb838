"""How well outlines lie on blood: overlap, surface, volume."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.experiment.predictions import Predictions
from trainer.measures.bootstrap import clusters_of
from trainer.measures.interval import Numbers
from trainer.measures.measure import Level, Measure, Population
from trainer.measures.scans import Scans
from trainer.measures.weighted import (
    agreement_of,
    dice_per_entry,
    iou_per_entry,
    mean_of,
    median_of,
    ratio_of,
)

TRUE_ONLY = "entries without true blood are left out"
EMPTY_COUNTS_ONE = "entries where nothing is true and nothing is marked count 1"
_LARGE_ML = 5.0


def mask_measures(predictions: Predictions, scans: Scans, column: int, seed: int) -> list[Measure]:
    """Overlap of one class per slice, per scan and pooled, with the rule about empty masks said; volumes in ml.

    Only slices that somebody drew count, and only scans of which every slice was drawn.
    """
    of, drawn = str(predictions.classes[column]), predictions.drawn
    pixels = [getattr(predictions, name)[drawn, column] for name in ("overlap_px", "true_px", "marked_px")]
    slices = _people(of, "slice", predictions.patient[drawn], predictions.study[drawn], seed)
    found = _overlap(slices, *pixels)
    found += _mean(slices, "surface distance mm", *_surface(predictions, column))
    held = pixels[1] > 0
    areas = agreement_of(pixels[1][held].astype(np.float64), pixels[2][held].astype(np.float64))
    found += slices.only(held).drawn("ICC(2,1) of area", areas, TRUE_ONLY)
    pooled = _people(of, "pooled", predictions.patient[drawn], predictions.study[drawn], seed)
    overlap, true, marked = (p.astype(np.float64) for p in pixels)
    found += pooled.drawn("Dice", ratio_of(2.0 * overlap, true + marked))
    found += pooled.drawn("IoU", ratio_of(overlap, true + marked - overlap))
    return [*found, *_scan_measures(scans, column, of, seed)]


def _scan_measures(scans: Scans, column: int, of: str, seed: int) -> list[Measure]:
    whole = scans.drawn
    people = _people(of, "scan", scans.patient[whole], scans.study[whole], seed)
    pixels = [getattr(scans, name)[whole, column] for name in ("overlap_px", "true_px", "marked_px")]
    true, marked = scans.true_ml[whole, column], scans.marked_ml[whole, column]
    known = ~np.isnan(true) & ~np.isnan(marked)
    large = known & (true >= _LARGE_ML)
    share = np.abs(marked - true)[large] / true[large]
    return [
        *_overlap(people, *pixels),
        *people.only(known).drawn("ICC(2,1) of volume", agreement_of(true[known], marked[known])),
        *_mean(people, "volume error ml, absolute", np.abs(marked - true)),
        *_mean(people, "volume error ml, signed", marked - true),
        *people.only(large).drawn(
            "volume error, share, median", median_of(share), f"scans with {_LARGE_ML:g} ml or more"
        ),
    ]


def _overlap(
    people: Population, overlap: NDArray[np.int64], true: NDArray[np.int64], marked: NDArray[np.int64]
) -> list[Measure]:
    found: list[Measure] = []
    for name, per_entry in (("Dice", dice_per_entry), ("IoU", iou_per_entry)):
        values = per_entry(overlap, true, marked)
        found += _mean(people, name, np.where(true > 0, values, np.nan), TRUE_ONLY)
        found += people.drawn(
            f"{name}, empty counted", mean_of(np.where(np.isnan(values), 1.0, values)), EMPTY_COUNTS_ONE
        )
    return found


def _surface(predictions: Predictions, column: int) -> tuple[Numbers, str]:
    drawn = predictions.drawn
    values = predictions.surface_mm[drawn, column].astype(np.float64)
    known = ~np.isnan(predictions.pixel_mm[drawn]).any() if drawn.any() else True
    return values, "slices with blood in truth and answer" + ("" if known else "; pixels counted as 1 mm")


def _mean(people: Population, name: str, values: Numbers, rule: str = "") -> list[Measure]:
    """Mean of the entries that have a value."""
    known = ~np.isnan(values)
    return people.only(known).drawn(name, mean_of(values[known]), rule)


def _people(of: str, level: Level, patients: NDArray[Any], studies: NDArray[Any], seed: int) -> Population:
    return Population(of, level, clusters_of(patients, studies), seed)
