"""Figures that a site is judged by: proportions with their interval, waiting times, how far a distribution moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054
"""Normal quantile of a two-sided 95 % interval."""

Z_99_ONE_SIDED = 2.3263478740408408

DRIFT_LIMIT = 0.2
"""Population stability index above which a change counts as large (a convention of credit scoring)."""

SMALLEST_SHARE = 1e-4
"""Stands for an empty bin, whose logarithm there is none of."""

SHIFT = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Proportion:
    """``count`` of ``n``, with the Wilson score interval at 95 %."""

    count: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.count <= self.n:
            raise ValueError(f"a proportion needs 0 <= count <= n, not {self.count} of {self.n}")

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.count / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper limit; everything is possible while n is 0."""
        return wilson_interval(self.count, self.n)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long something took, over ``n`` studies. Median and 90th percentile are None of nothing."""

    n: int
    median_seconds: float | None
    p90_seconds: float | None
    p95_seconds: float | None


def wilson_interval(count: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927), without continuity correction."""
    if n == 0:
        return 0.0, 1.0
    share, square = count / n, z * z
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return (0.0 if count == 0 else max(0.0, middle - half)), (1.0 if count == n else min(1.0, middle + half))


def waiting(seconds: NDArray[np.float64]) -> Waiting:
    """Summarise durations, of which those that are not known (``nan``) do not count."""
    known = seconds[~np.isnan(seconds)]
    if not known.size:
        return Waiting(0, None, None, None)
    median, p90, p95 = np.percentile(known, [50, 90, 95])
    return Waiting(int(known.size), float(median), float(p90), float(p95))


def population_stability_index(expected: Sequence[float], actual: Sequence[float]) -> float:
    """Sum over bins of (actual - expected) · ln(actual / expected); shares or counts, scaled to sum to 1.

    Raises
    ------
    ValueError
        Different numbers of bins, or nothing in one of the two.
    """
    if len(expected) != len(actual):
        raise ValueError("both distributions need the same bins")
    shares = [_shares(np.asarray(values, np.float64)) for values in (expected, actual)]
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


def index_by_chance(bins: int, n: int, m: int) -> float:
    """What the index stays below 99 times in 100 when nothing has changed, for samples of ``n`` and ``m``.

    The index is then distributed as (1/n + 1/m) times chi-squared with ``bins - 1`` degrees of freedom (Yurdakul
    2018); the quantile is by Wilson and Hilferty (1931).
    """
    freedom = bins - 1
    spread = 2 / (9 * freedom)
    quantile = freedom * (1 - spread + Z_99_ONE_SIDED * math.sqrt(spread)) ** 3
    return quantile * (1 / n + 1 / m)


def drift_limit(bins: int, n: int, m: int) -> float:
    """`DRIFT_LIMIT`, or what chance alone may bring in samples as small as these."""
    return max(DRIFT_LIMIT, index_by_chance(bins, n, m))


def histogram(values: NDArray[np.float64], edges: Sequence[float]) -> list[int]:
    """Count of values by bin; the last bin holds its upper edge, and unknown values (``nan``) fall in none."""
    counts, _ = np.histogram(values[~np.isnan(values)], bins=np.asarray(edges, np.float64))
    return [int(count) for count in counts]


def shifts(span: timedelta) -> float:
    """How many shifts of eight hours a span has."""
    return span / SHIFT


def _shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    total = values.sum()
    if not total > 0 or values.min() < 0:
        raise ValueError("a distribution needs something in it, and no bin below 0")
    floored: NDArray[np.float64] = np.maximum(values / total, SMALLEST_SHARE)
    shares: NDArray[np.float64] = floored / floored.sum()
    return shares
