"""Points to draw: ROC, precision and recall, reliability; those of scikit-learn, thinned to what a plot shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn import metrics

from trainer.measures.interval import Flags, Numbers

_POINTS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Points of one line, x ascending along the curve."""

    name: str
    x: Numbers
    y: Numbers


def roc_curve(probabilities: Numbers, positive: Flags) -> Curve:
    """False-positive rate against sensitivity."""
    _both(positive)
    false_alarms, found, _ = metrics.roc_curve(positive, probabilities)
    return _thinned(Curve("ROC", false_alarms, found))


def precision_recall_curve(probabilities: Numbers, positive: Flags) -> Curve:
    """Sensitivity against precision; what chance would give is the share of positive entries."""
    _both(positive)
    precision, recall, _ = metrics.precision_recall_curve(positive, probabilities)
    return _thinned(Curve("precision and recall", recall[::-1], precision[::-1]))


def reliability_curve(probabilities: Numbers, positive: Flags, bins: int = 15) -> Curve:
    """Mean probability against frequency, for each bin of equal width that holds entries."""
    which = np.minimum((probabilities * bins).astype(np.intp), bins - 1)
    size = np.bincount(which, minlength=bins)
    held = size > 0
    said = np.bincount(which, probabilities, bins)[held] / size[held]
    seen = np.bincount(which, positive.astype(np.float64), bins)[held] / size[held]
    return Curve("reliability", said, seen)


def _both(positive: Flags) -> None:
    if positive.all() or not positive.any():
        raise ValueError("a curve needs positive and negative cases")


def _thinned(curve: Curve) -> Curve:
    if len(curve.x) <= _POINTS:
        return curve
    kept = np.unique(np.linspace(0, len(curve.x) - 1, _POINTS).round().astype(np.intp))
    return Curve(curve.name, curve.x[kept], curve.y[kept])
