"""One figure with everything that is needed to read it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from trainer.measures.bootstrap import Clusters, bootstrapped
from trainer.measures.interval import Flags, Interval, exact_interval
from trainer.measures.weighted import Figure

Level = Literal["slice", "scan", "pooled"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of one class.

    Attributes
    ----------
    name : str
        ``AUC``, ``Dice``, ``sensitivity`` and so on; for a length, a volume or a time with its unit.
    of : str
        ``any`` or a subtype.
    level : str
        Whether entries are slices, scans, or all pixels pooled.
    value, low, high : float
        The figure and its 95 % interval.
    n, unit : int, str
        How many independent cases stand behind the interval, and what they are.
    method : str
        How the interval was made.
    rule : str
        What was left out or counted how; empty where nothing needs saying.
    """

    name: str
    of: str
    level: Level
    value: float
    low: float
    high: float
    n: int
    unit: str
    method: str
    rule: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Some entries of predictions: whom their intervals draw, of which class, and on which level."""

    of: str
    level: Level
    clusters: Clusters
    seed: int

    def only(self, chosen: Flags) -> Population:
        """The entries that a figure is about: who has none of them does not count as a case."""
        return replace(self, clusters=self.clusters.only(chosen))

    def drawn(self, name: str, figure: Figure, rule: str = "") -> list[Measure]:
        """A figure by bootstrap; nothing when these entries allow none."""
        try:
            interval = bootstrapped(figure, self.clusters, self.seed)
        except ValueError:
            return []
        return [self._measure(name, interval, self.clusters.unit, f"bootstrap over {self.clusters.unit}", rule)]

    def proportion(self, name: str, right: Flags, figure: Figure, rule: str = "") -> list[Measure]:
        """A share of entries: exact where entries are independent, by bootstrap where they share patients.

        A share of nothing or of everything is the same in every draw, so its interval is that of as many patients.

        Parameters
        ----------
        right : ndarray of bool
            Of these entries.
        figure : Figure
            The same share from weights.
        """
        if not right.size:
            return []
        if self.clusters.count < len(self.clusters.index):
            if right.any() and not right.all():
                return self.drawn(name, figure, rule)
            interval = exact_interval(self.clusters.count if right.all() else 0, self.clusters.count)
            return [self._measure(name, interval, self.clusters.unit, "Clopper-Pearson", rule)]
        interval = exact_interval(int(right.sum()), right.size)
        return [self._measure(name, interval, self.level + "s", "Clopper-Pearson", rule)]

    def _measure(self, name: str, interval: Interval, unit: str, method: str, rule: str) -> Measure:
        return Measure(
            name, self.of, self.level, interval.value, interval.low, interval.high, interval.n, unit, method, rule
        )
