"""Figures of a model card: a value with its 95 % interval, and what was counted."""

from __future__ import annotations

import numpy as np

from trainer.measures.bootstrap import Clusters, bootstrapped
from trainer.measures.interval import Interval, exact_interval
from trainer.measures.weighted import Figure as Weighted
from triage.inference.manifest import Figure


def proportion(name: str, successes: int, n: int, unit: str) -> Figure:
    """A share with its exact interval."""
    return _figure(name, exact_interval(successes, n), unit, "Clopper-Pearson")


def drawn(name: str, of: Weighted, unit: str, seed: int, clusters: Clusters | None = None) -> list[Figure]:
    """A figure with its bootstrap interval; nothing where the entries allow none, as an AUC of one class.

    Entries are drawn one by one, or by ``clusters``; ``n`` counts ``unit``, the things that are drawn.
    """
    who = clusters or Clusters(np.arange(of.entries), of.entries, unit)
    try:
        interval = bootstrapped(of, who, seed)
    except ValueError:
        return []
    return [_figure(name, interval, unit, f"percentile bootstrap over {who.unit}")]


def _figure(name: str, interval: Interval, unit: str, method: str) -> Figure:
    return Figure(name, interval.value, interval.low, interval.high, interval.n, unit, method)
