"""Figures of arrays in which every entry counts ``weight`` times, so that one bootstrap serves them all.

A draw of patients with repetition is the same as weights of 0, 1, 2 ... on their slices. Nothing is sorted or copied
anew for a draw; `trainer.measures.bootstrap` makes the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.metrics import Flags, Numbers

Figure = Callable[[Numbers], float]
"""From weights, one per entry, to the figure. Raises ValueError where the entries that count allow none."""

_SURE = 1e-7
"""Probabilities are kept this far from 0 and 1 before their logarithm, as scikit-learn does for float32."""


@dataclass(frozen=True, slots=True)
class Counts:
    """A confusion matrix of one class; numbers of entries, which weights may make fractions."""

    tp: float
    fp: float
    tn: float
    fn: float

    @property
    def n(self) -> float:
        """All entries."""
        return self.tp + self.fp + self.tn + self.fn

    @property
    def accuracy(self) -> float:
        """Share that is right."""
        return _share(self.tp + self.tn, self.n, "accuracy needs cases")

    @property
    def sensitivity(self) -> float:
        """Recall: share of the positive ones that are found."""
        return _share(self.tp, self.tp + self.fn, "sensitivity needs positive cases")

    @property
    def specificity(self) -> float:
        """Share of the negative ones that are left alone."""
        return _share(self.tn, self.tn + self.fp, "specificity needs negative cases")

    @property
    def precision(self) -> float:
        """Positive predictive value: share of the alarms that are right."""
        return _share(self.tp, self.tp + self.fp, "precision needs alarms")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and sensitivity; defined as soon as one of the two is."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn, "F1 needs positive cases or alarms")


def counts(said: Flags, truth: Flags, weight: Numbers | None = None) -> Counts:
    """Count answers against truth."""
    each = np.ones(len(truth)) if weight is None else weight
    return Counts(*(float(each[where].sum()) for where in (said & truth, said & ~truth, ~said & ~truth, ~said & truth)))


def auc_of(scores: Numbers, positive: Flags) -> Figure:
    """Area under the ROC curve; ties count half. Sorted once, then linear in the entries for every draw."""
    levels, level = np.unique(scores, return_inverse=True)

    def figure(weight: Numbers) -> float:
        with_blood = np.bincount(level, weight * positive, len(levels))
        without = np.bincount(level, weight * ~positive, len(levels))
        pairs = with_blood.sum() * without.sum()
        below = np.concatenate([[0.0], np.cumsum(without)[:-1]])
        return _share(float((with_blood * (below + without / 2)).sum()), float(pairs), "an AUC needs both classes")

    return figure


def log_loss_of(probabilities: Numbers, positive: Flags) -> Figure:
    """Mean negative log-likelihood, natural logarithm."""
    kept = np.clip(probabilities, _SURE, 1.0 - _SURE)
    costs = -np.where(positive, np.log(kept), np.log1p(-kept))
    return mean_of(costs)


def calibration_error_of(probabilities: Numbers, positive: Flags, bins: int = 15) -> Figure:
    """Expected calibration error: mean distance of probability and frequency over bins of equal width.

    Bins are weighted with their entries (Guo et al. 2017, arXiv 1706.04599).
    """
    which = np.minimum((probabilities * bins).astype(np.intp), bins - 1)

    def figure(weight: Numbers) -> float:
        said = np.bincount(which, weight * probabilities, bins)
        seen = np.bincount(which, weight * positive, bins)
        return _share(float(np.abs(said - seen).sum()), float(weight.sum()), "a calibration error needs cases")

    return figure


def mean_of(values: Numbers) -> Figure:
    """Mean of the entries that are not nan."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)

    def figure(weight: Numbers) -> float:
        return _share(float((weight * filled).sum()), float((weight * known).sum()), "a mean needs values")

    return figure


def ratio_of(above: Numbers, below: Numbers, factor: float = 1.0) -> Figure:
    """Sum over sum: pooled Dice, IoU and shares."""

    def figure(weight: Numbers) -> float:
        return _share(factor * float((weight * above).sum()), float((weight * below).sum()), "nothing to divide by")

    return figure


def median_of(values: Numbers) -> Figure:
    """The middle of the entries that are not nan; of an even number, the lower of the two in the middle."""
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]

    def figure(weight: Numbers) -> float:
        reached = np.cumsum(weight[order])
        if not len(order) or reached[-1] <= 0:
            raise ValueError("a median needs values")
        return float(values[order[int(np.searchsorted(reached, reached[-1] / 2))]])

    return figure


def agreement_of(first: Numbers, second: Numbers) -> Figure:
    """ICC(2,1): two-way random effects, absolute agreement, single rater (Shrout and Fleiss 1979).

    Net and truth are the two raters, entries are the subjects. Entries where either is nan are left out.
    """
    known = ~(np.isnan(first) | np.isnan(second))
    rated = np.stack([np.where(known, first, 0.0), np.where(known, second, 0.0)])

    def figure(weight: Numbers) -> float:
        each = weight * known
        n = float(each.sum())
        if n < 2:
            raise ValueError("an ICC needs two cases")
        whole = float((each * rated).sum()) / (2 * n)
        raters = (each * rated).sum(axis=1) / n
        subjects = rated.mean(axis=0)
        between = 2 * float((each * (subjects - whole) ** 2).sum()) / (n - 1)
        columns = n * float(((raters - whole) ** 2).sum())
        left = rated - subjects[None] - raters[:, None] + whole
        error = float((each * left**2).sum()) / (n - 1)
        below = between + error + 2 * (columns - error) / n
        return _share(between - error, below, "an ICC needs cases that differ")

    return figure


def dice_per_entry(overlap: NDArray[np.int64], true: NDArray[np.int64], marked: NDArray[np.int64]) -> Numbers:
    """Dice of each entry; nan where nothing is true and nothing is marked, for the caller to decide."""
    return _divided(2.0 * overlap, true + marked)


def iou_per_entry(overlap: NDArray[np.int64], true: NDArray[np.int64], marked: NDArray[np.int64]) -> Numbers:
    """Intersection over union of each entry; nan where both are empty."""
    return _divided(1.0 * overlap, true + marked - overlap)


def _divided(above: NDArray[np.floating], below: NDArray[np.int64]) -> Numbers:
    out = np.full(above.shape, np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def _share(part: float, whole: float, sentence: str) -> float:
    if whole == 0:
        raise ValueError(sentence)
    return part / whole
