"""Figures of arrays in which every entry counts ``weight`` times, so that one bootstrap serves them all.

A draw of patients with repetition is the same as weights of 0, 1, 2 ... on their slices. Most figures are made of
sums, which need only the sums of each patient; the others need the entries in order, and are sorted once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.measures.interval import Flags, Numbers

_SURE = 1e-7
"""Probabilities are kept this far from 0 and 1 before their logarithm."""


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """A figure that is made of sums.

    Attributes
    ----------
    columns : ndarray of float64, shape (entry, k)
        What is summed, each entry times its weight.
    combine : callable
        From sums, shape (..., k), to figures, shape (...); nan where the entries that count allow none.
    needs : str
        What was missing when the figure is nan.
    """

    columns: Numbers
    combine: Callable[[Numbers], Numbers]
    needs: str

    @property
    def entries(self) -> int:
        """How many entries there are."""
        return len(self.columns)

    def of(self, weights: Numbers) -> Numbers:
        """Figures of weights, shape (..., entry)."""
        return self.combine(weights @ self.columns)


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """A figure that needs the entries in order; ``of`` takes weights of shape (draw, entry)."""

    of: Callable[[Numbers], Numbers]
    entries: int
    needs: str


Figure = Sums | Ranks


@dataclass(frozen=True, slots=True)
class Counts:
    """A confusion matrix of one class."""

    tp: float
    fp: float
    tn: float
    fn: float

    @property
    def n(self) -> float:
        """All entries."""
        return self.tp + self.fp + self.tn + self.fn


def value_of(figure: Figure, weight: Numbers | None = None) -> float:
    """The figure of the entries as they are, or of one set of weights.

    Raises
    ------
    ValueError
        They allow none: the sentence says what is missing.
    """
    found = figure.of((np.ones(figure.entries) if weight is None else weight)[None])[0]
    if np.isnan(found):
        raise ValueError(figure.needs)
    return float(found)


def counts(said: Flags, truth: Flags) -> Counts:
    """Count answers against truth."""
    return Counts(*(float(where.sum()) for where in (said & truth, said & ~truth, ~said & ~truth, ~said & truth)))


def accuracy_of(said: Flags, truth: Flags) -> Sums:
    """Share that is right."""
    return _share(said == truth, np.ones(len(said)), "accuracy needs cases")


def sensitivity_of(said: Flags, truth: Flags) -> Sums:
    """Recall: share of the positive ones that are found."""
    return _share(said & truth, truth, "sensitivity needs positive cases")


def specificity_of(said: Flags, truth: Flags) -> Sums:
    """Share of the negative ones that are left alone."""
    return _share(~said & ~truth, ~truth, "specificity needs negative cases")


def precision_of(said: Flags, truth: Flags) -> Sums:
    """Positive predictive value: share of the alarms that are right."""
    return _share(said & truth, said, "precision needs alarms")


def f1_of(said: Flags, truth: Flags) -> Sums:
    """Harmonic mean of precision and sensitivity; defined as soon as one of the two is."""
    return _share(2.0 * (said & truth), 1.0 * said + truth, "F1 needs positive cases or alarms")


def log_loss_of(probabilities: Numbers, positive: Flags) -> Sums:
    """Mean negative log-likelihood, natural logarithm."""
    kept = np.clip(probabilities, _SURE, 1.0 - _SURE)
    return mean_of(-np.where(positive, np.log(kept), np.log1p(-kept)))


def mean_of(values: Numbers) -> Sums:
    """Mean of the entries that are not nan."""
    known = ~np.isnan(values)
    return _share(np.where(known, values, 0.0), known, "a mean needs values")


def ratio_of(above: Numbers, below: Numbers) -> Sums:
    """Sum over sum: pooled Dice (twice the overlap above), IoU, shares."""
    return _share(above, below, "nothing to divide by")


def calibration_error_of(probabilities: Numbers, positive: Flags, bins: int = 15) -> Sums:
    """Expected calibration error: mean distance of probability and frequency over bins of equal width.

    Bins are weighted with their entries (Guo et al. 2017, arXiv 1706.04599).
    """
    which = np.minimum((probabilities * bins).astype(np.intp), bins - 1)
    gaps = np.zeros((len(which), bins + 1))
    gaps[np.arange(len(which)), which] = probabilities - positive
    gaps[:, bins] = 1.0
    return Sums(gaps, lambda sums: _divided(np.abs(sums[..., :-1]).sum(axis=-1), sums[..., -1]), "no cases")


def agreement_of(first: Numbers, second: Numbers) -> Sums:
    """ICC(2,1): two-way random effects, absolute agreement, single rater (Shrout and Fleiss 1979).

    Net and truth are the two raters, entries are the subjects. Entries where either is nan are left out.
    """
    known = ~(np.isnan(first) | np.isnan(second))
    centre = float(np.concatenate([first[known], second[known]]).mean()) if known.any() else 0.0
    x, y = (np.where(known, v - centre, 0.0) for v in (first, second))
    return Sums(np.stack([known, x, y, x * x, y * y, x * y], axis=1), _icc, "an ICC needs two cases that differ")


def _icc(sums: Numbers) -> Numbers:
    """From n, sums, sums of squares and of products of both raters."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = (x + y) / (2 * n)
        between = ((xx + yy + 2 * xy) / 2 - 2 * n * whole**2) / (n - 1)
        raters = n * ((x / n - whole) ** 2 + (y / n - whole) ** 2)
        total = xx + yy - 2 * n * whole**2
        error = (total - between * (n - 1) - raters) / (n - 1)
        below = between + error + 2 * (raters - error) / n
    possible = (n >= 2) & (total > 1e-12 * np.maximum(1.0, xx + yy))
    return np.where(possible, _divided(between - error, np.where(possible, below, 0.0)), np.nan)


def auc_of(scores: Numbers, positive: Flags) -> Ranks:
    """Area under the ROC curve; ties count half."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(scores[order]) > 0])) if len(scores) else order

    def of(weights: Numbers) -> Numbers:
        if not len(order):
            return np.full(len(weights), np.nan)
        with_blood = np.add.reduceat((weights * positive)[:, order], starts, axis=1)
        without = np.add.reduceat((weights * ~positive)[:, order], starts, axis=1)
        below = np.cumsum(without, axis=1) - without
        pairs = with_blood.sum(axis=1) * without.sum(axis=1)
        return _divided((with_blood * (below + without / 2)).sum(axis=1), pairs)

    return Ranks(of, len(scores), "an AUC needs both classes")


def median_of(values: Numbers) -> Ranks:
    """The middle of the entries that are not nan; of an even number, the lower of the two in the middle."""
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]

    def of(weights: Numbers) -> Numbers:
        if not len(order):
            return np.full(len(weights), np.nan)
        reached = np.cumsum(weights[:, order], axis=1)
        middle = (reached < reached[:, -1:] / 2).sum(axis=1)
        found = values[order][np.minimum(middle, len(order) - 1)]
        return np.where(reached[:, -1] > 0, found, np.nan)

    return Ranks(of, len(values), "a median needs values")


def dice_per_entry(overlap: NDArray[Any], true: NDArray[Any], marked: NDArray[Any]) -> Numbers:
    """Dice of each entry; nan where nothing is true and nothing is marked, for the caller to decide."""
    return _divided(2.0 * overlap, true + marked)


def iou_per_entry(overlap: NDArray[np.int64], true: NDArray[np.int64], marked: NDArray[np.int64]) -> Numbers:
    """Intersection over union of each entry; nan where both are empty."""
    return _divided(1.0 * overlap, true + marked - overlap)


def _share(part: NDArray[np.generic], whole: NDArray[np.generic], needs: str) -> Sums:
    columns = np.stack([part, whole], axis=1).astype(np.float64)
    return Sums(columns, lambda sums: _divided(sums[..., 0], sums[..., 1]), needs)


def _divided(above: NDArray[np.floating], below: NDArray[np.generic]) -> Numbers:
    """Quotient; nan where there is nothing to divide by."""
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    out = np.full(above.shape, np.nan)
    np.divide(above, below, out=out, where=below != 0)
    return out
