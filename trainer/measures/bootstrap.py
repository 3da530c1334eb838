"""Intervals from drawing patients with repetition."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.measures.interval import BOOTSTRAPS, Interval, Numbers
from trainer.measures.weighted import Figure, Sums, value_of

_AT_ONCE = 4_000_000
"""Weights of entries in memory at once, for figures that need them all."""


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Who belongs together: slices of one patient are no independent cases.

    Attributes
    ----------
    index : ndarray of intp, shape (entry,)
        Cluster of each entry.
    count : int
        Clusters.
    unit : str
        What a cluster is, in the plural: ``patients``, ``studies`` or ``slices``.
    """

    index: NDArray[np.intp]
    count: int
    unit: str

    def only(self, chosen: NDArray[Any]) -> Clusters:
        """Clusters of some entries, numbered anew."""
        kept, index = np.unique(self.index[chosen], return_inverse=True)
        return Clusters(index, len(kept), self.unit)


def clusters_of(patients: NDArray[Any], studies: NDArray[Any]) -> Clusters:
    """Patients where the data set names them all, else studies: the interval is then too narrow, and its unit says so.

    Parameters
    ----------
    patients, studies : ndarray of str
        One per entry; an empty name is an unknown one.
    """
    for names, unit in ((patients, "patients"), (studies, "studies")):
        if len(names) and bool(np.all(names != "")):
            kept, index = np.unique(names, return_inverse=True)
            return Clusters(index, len(kept), unit)
    return Clusters(np.arange(len(patients)), len(patients), "slices")


def bootstrapped(figure: Figure, clusters: Clusters, seed: int, draws: int = BOOTSTRAPS) -> Interval:
    """Percentile bootstrap of 95 % over clusters; ``n`` counts clusters.

    Draws that allow no figure (a class is missing) are left out. Of one cluster nothing can be drawn: low and high
    are then the value itself.

    Raises
    ------
    ValueError
        The entries as they are allow no figure.
    """
    value = value_of(figure)
    times = _draws(clusters.count, seed, draws)
    if isinstance(figure, Sums):
        per_cluster = np.stack([np.bincount(clusters.index, c, clusters.count) for c in figure.columns.T], axis=1)
        drawn = figure.combine(times @ per_cluster)
    else:
        step = max(1, _AT_ONCE // max(1, figure.entries))
        parts = [figure.of(times[i : i + step][:, clusters.index]) for i in range(0, draws, step)]
        drawn = np.concatenate(parts)
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn.size else (value, value)
    return Interval(value, min(float(low), value), max(float(high), value), clusters.count)


def difference(first: Sums, second: Sums) -> Sums:
    """``first`` minus ``second`` of the same draw: what two nets differ by on the same patients."""
    k = first.columns.shape[1]
    return Sums(
        np.concatenate([first.columns, second.columns], axis=1),
        lambda sums: first.combine(sums[..., :k]) - second.combine(sums[..., k:]),
        f"{first.needs}; {second.needs}",
    )


@lru_cache(maxsize=4)
def _draws(count: int, seed: int, draws: int) -> Numbers:
    """How often each of ``count`` clusters is drawn, shape (draw, cluster); shared, and not to be changed."""
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1.0 / count), size=draws)
    found = times.astype(np.float64)
    found.setflags(write=False)
    return found
