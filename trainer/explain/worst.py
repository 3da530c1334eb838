"""Which slices a net was most wrong about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cache import Cache
from trainer.experiment.predictions import Predictions


@dataclass(frozen=True, slots=True)
class Mistake:
    """One slice, by its place in the predictions, and what is wrong with it in words."""

    entry: int
    what: str


def worst_mistakes(predictions: Predictions, cache: Cache, threshold: float, count: int) -> list[Mistake]:
    """The ``count`` slices with most blood missed, then the ``count`` worst false alarms among the others.

    A net that outlines is judged by its outlines: blood that no outline covers, and outlined area that is not blood.
    One that only labels is judged by its labels: slices with blood below the threshold, those with the
    largest drawn area first, and slices without blood at or above it, the surest first.
    """
    label = predictions.label[:, 0]
    outlines = bool(predictions.drawn.any() or predictions.marked_px.any())
    if outlines:
        missed = np.where(predictions.drawn, predictions.true_px[:, 0] - predictions.overlap_px[:, 0], 0)
        known = predictions.drawn | (label == 0)
        alarms = np.where(known, predictions.marked_px[:, 0] - predictions.overlap_px[:, 0], 0)
        shown = _highest(missed, count)
        alarms[shown] = 0
        return [
            *(Mistake(entry, "missed blood") for entry in shown),
            *(Mistake(entry, "false outline") for entry in _highest(alarms, count)),
        ]
    said = np.nan_to_num(predictions.probability[:, 0].astype(np.float64), nan=-1.0)
    # A missed slice without a mask still counts; the bit that probability adds never outweighs a pixel.
    silent = np.where((label == 1) & (said >= 0) & (said < threshold), 1.0 - said / 2, 0.0)
    silent[silent > 0] += _drawn_px(predictions, cache, np.flatnonzero(silent > 0))
    loud = np.where((label == 0) & (said >= threshold), said, 0.0)
    return [
        *(Mistake(entry, "missed slice") for entry in _highest(silent, count)),
        *(Mistake(entry, "false alarm") for entry in _highest(loud, count)),
    ]


def _drawn_px(predictions: Predictions, cache: Cache, entries: NDArray[np.intp]) -> NDArray[np.float64]:
    rows = predictions.row[entries]
    return np.array([np.count_nonzero(cache.masks[row]) if cache.table["drawn"][row] else 0 for row in rows], float)


def _highest(values: NDArray[np.number], count: int) -> list[int]:
    """Entries of the highest values above 0, highest first; equal ones in their order."""
    order = np.argsort(-values, kind="stable")[:count]
    return [int(entry) for entry in order if values[entry] > 0]
