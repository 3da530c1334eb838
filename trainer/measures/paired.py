"""Whether nets differ: the test of the paper, and the one that fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from trainer.measures.bootstrap import Clusters, bootstrapped, difference
from trainer.measures.interval import Interval, Numbers
from trainer.measures.weighted import mean_of


@dataclass(frozen=True, slots=True)
class Anova:
    """One-way analysis of variance over the values of several nets.

    Paper 003 takes the test batches of 8 images as its values. The same cases seen by every net are paired, which
    this test takes for independent: it is kept beside `PairedTest` because the paper reports it.
    """

    f: float
    p: float
    groups: int
    n: int
    entry: str


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two nets on the same entries.

    Attributes
    ----------
    difference : Interval
        Mean over entries, with its interval by patients.
    p : float
        Of Wilcoxon's signed-rank test on the mean difference of each patient: their slices are no independent cases.
    n : int
        Patients, or whatever is independent, in which both nets have a value.
    unit : str
        What they are, see `trainer.measures.bootstrap.Clusters`.
    entries : int
        Slices in which both nets have a value.
    """

    first: str
    second: str
    difference: Interval
    p: float
    n: int
    unit: str
    entries: int


def anova(values: Mapping[str, Numbers], entry: str) -> Anova:
    """One-way ANOVA of the values of each net; nan is left out.

    Raises
    ------
    ValueError
        Fewer than two nets, or a net with fewer than two values.
    """
    groups = [v[~np.isnan(v)] for v in values.values()]
    if len(groups) < 2 or min(len(g) for g in groups) < 2:
        raise ValueError("an ANOVA needs two nets with two values each")
    if all(np.ptp(g) == 0 for g in groups):
        f, p = (0.0, 1.0) if len({float(g[0]) for g in groups}) == 1 else (float("inf"), 0.0)
        return Anova(f, p, len(groups), sum(len(g) for g in groups), entry)
    found = stats.f_oneway(*groups)
    return Anova(float(found.statistic), float(found.pvalue), len(groups), sum(len(g) for g in groups), entry)


def anova_from_moments(means: Numbers, deviations: Numbers, n: int) -> Anova:
    """The same from means and standard deviations of groups of ``n`` values, to recompute a paper's own test."""
    groups = len(means)
    between = n * float(((means - means.mean()) ** 2).sum()) / (groups - 1)
    within = float((deviations**2).mean())
    f = between / within
    return Anova(f, float(stats.f.sf(f, groups - 1, groups * (n - 1))), groups, groups * n, "values of the paper")


def per_batch(values: Numbers, batch: int) -> Numbers:
    """Means of consecutive values, the last batch perhaps smaller: the entries of paper 003. nan counts as 1.

    A batch Dice counts an image right where nothing is true and nothing is marked.
    """
    filled = np.where(np.isnan(values), 1.0, values)
    return np.array([filled[i : i + batch].mean() for i in range(0, len(filled), batch)])


def paired_tests(values: Mapping[str, Numbers], clusters: Clusters, seed: int) -> list[PairedTest]:
    """Every pair of nets on the entries where both have a value."""
    found: list[PairedTest] = []
    for first, second in combinations(values, 2):
        known = ~(np.isnan(values[first]) | np.isnan(values[second]))
        if known.sum() < 2:
            continue
        ours, theirs, people = values[first][known], values[second][known], clusters.only(known)
        interval = bootstrapped(difference(mean_of(ours), mean_of(theirs)), people, seed)
        apart = np.bincount(people.index, ours - theirs, people.count) / np.bincount(people.index)
        p = float(stats.wilcoxon(apart).pvalue) if apart.any() else 1.0
        found.append(PairedTest(first, second, interval, p, people.count, people.unit, int(known.sum())))
    return found
