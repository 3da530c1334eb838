"""Intervals from drawing patients with repetition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.measures.weighted import Figure
from trainer.metrics import BOOTSTRAPS, Interval, Numbers


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

    Draws that allow no figure (a class is missing) are left out. With one cluster the interval is the whole range
    of nothing: low and high equal the value.

    Raises
    ------
    ValueError
        The entries as they are allow no figure.
    """
    value = figure(np.ones(len(clusters.index)))
    rng = np.random.default_rng(seed)
    drawn: list[float] = []
    for _ in range(draws):
        times = np.bincount(rng.integers(clusters.count, size=clusters.count), minlength=clusters.count)
        try:
            drawn.append(figure(times[clusters.index].astype(np.float64)))
        except ValueError:
            continue
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn else (value, value)
    return Interval(value, min(float(low), value), max(float(high), value), clusters.count)


def difference(first: Figure, second: Figure) -> Figure:
    """``first`` minus ``second`` of the same draw: what two nets differ by on the same patients."""

    def figure(weight: Numbers) -> float:
        return first(weight) - second(weight)

    return figure
