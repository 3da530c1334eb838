"""Figures with their intervals. Arrays of numpy in, numbers out; no figure is given without its n."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

BOOTSTRAPS = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval and the number of cases behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}], n = {self.n}"


def auc(scores: Numbers, positive: Flags) -> float:
    """Area under the ROC curve; ties count half.

    Raises
    ------
    ValueError
        If one of the two classes is empty.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        raise ValueError("an AUC needs positive and negative cases")
    ranks = stats.rankdata(scores)
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def pooled_dice(overlap: Numbers, size: Numbers) -> float:
    """Dice over all pixels of all cases together.

    ``overlap`` counts pixels marked and true, ``size`` marked plus true, per case. 1 when nothing is marked
    and nothing is true anywhere.
    """
    return float(2.0 * overlap.sum() / size.sum()) if size.sum() else 1.0


def mean_dice(overlap: Numbers, size: Numbers, true: Numbers) -> float:
    """Mean Dice over the cases that truly hold blood; cases without blood are left out, not counted as 1.

    Raises
    ------
    ValueError
        If no case holds blood.
    """
    held = true > 0
    if not held.any():
        raise ValueError("no case holds blood, so there is no Dice per case")
    return float(np.mean(2.0 * overlap[held] / size[held]))


def exact_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Clopper-Pearson interval of a proportion."""
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} of {n} is no proportion")
    tail = (1.0 - confidence) / 2.0
    low = float(stats.beta.ppf(tail, successes, n - successes + 1)) if successes else 0.0
    high = float(stats.beta.ppf(1.0 - tail, successes + 1, n - successes)) if successes < n else 1.0
    return Interval(successes / n, low, high, n)


def bootstrap_interval(figure: Callable[[NDArray[np.intp]], float], n: int, seed: int) -> Interval:
    """Percentile bootstrap over ``n`` cases.

    Parameters
    ----------
    figure : callable
        The figure of the cases with these indices, with repetition. It raises ValueError where a draw allows none
        (a class is missing); such draws are left out.
    """
    rng = np.random.default_rng(seed)
    value = figure(np.arange(n))
    drawn: list[float] = []
    for _ in range(BOOTSTRAPS):
        try:
            drawn.append(figure(rng.integers(n, size=n)))
        except ValueError:
            continue
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn else (value, value)
    return Interval(value, min(float(low), value), max(float(high), value), n)


def fit_temperature(logits: Numbers, positive: Flags) -> float:
    """The temperature that makes ``sigmoid(logits / t)`` most likely, within 0.1..10.

    Kept in bounds because made heads can be told apart almost perfectly, which would push it to zero.
    """
    candidates = np.geomspace(0.1, 10.0, 121)
    signs = np.where(positive, 1.0, -1.0)
    costs = [float(np.mean(np.logaddexp(0.0, -signs * logits / t))) for t in candidates]
    return float(candidates[int(np.argmin(costs))])
