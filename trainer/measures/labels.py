"""How well slices and scans are told apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.measures.bootstrap import clusters_of
from trainer.measures.interval import Flags, Numbers
from trainer.measures.measure import Level, Measure, Population
from trainer.measures.weighted import (
    Sums,
    accuracy_of,
    auc_of,
    calibration_error_of,
    f1_of,
    log_loss_of,
    precision_of,
    sensitivity_of,
    specificity_of,
)

Share = Callable[[Flags, Flags], Sums]

SHARES: tuple[tuple[str, Share], ...] = (
    ("accuracy", accuracy_of),
    ("sensitivity", sensitivity_of),
    ("specificity", specificity_of),
    ("precision", precision_of),
    ("F1", f1_of),
)


def label_measures(
    of: str,
    level: Level,
    probability: Numbers,
    label: NDArray[np.int8],
    patients: NDArray[Any],
    studies: NDArray[Any],
    threshold: float,
    seed: int,
) -> list[Measure]:
    """Measures of one class from probabilities; entries whose label or probability is not known are left out.

    Parameters
    ----------
    probability, label : ndarray, shape (entry,)
    threshold : float
        At or above it an entry is called positive.
    """
    known = (label >= 0) & ~np.isnan(probability)
    people = Population(of, level, clusters_of(patients[known], studies[known]), seed)
    said, truth = probability[known], label[known] == 1
    found = [
        *people.drawn("AUC", auc_of(said, truth)),
        *people.drawn("log loss", log_loss_of(said, truth)),
        *people.drawn("calibration error", calibration_error_of(said, truth)),
    ]
    return [*found, *_decisions(people, said >= threshold, truth, f"threshold {threshold:g}")]


def marked_measures(
    of: str,
    level: Level,
    marked: Flags,
    label: NDArray[np.int8],
    patients: NDArray[Any],
    studies: NDArray[Any],
    seed: int,
) -> list[Measure]:
    """The same decisions from outlines alone, as paper 001 reports them: any marked pixel calls an entry positive."""
    known = label >= 0
    people = Population(of, level, clusters_of(patients[known], studies[known]), seed)
    found = _decisions(people, marked[known], label[known] == 1, "any marked pixel")
    return [replace(measure, name=f"{measure.name}, from masks") for measure in found]


def _decisions(people: Population, said: Flags, truth: Flags, rule: str) -> list[Measure]:
    everybody = np.ones(len(said), dtype=np.bool_)
    about = {"sensitivity": truth, "specificity": ~truth, "precision": said, "F1": truth | said}
    found: list[Measure] = []
    for name, share in SHARES:
        chosen = about.get(name, everybody)
        some, figure = people.only(chosen), share(said[chosen], truth[chosen])
        right = (said == truth)[chosen]
        found += some.drawn(name, figure, rule) if name == "F1" else some.proportion(name, right, figure, rule)
    return found
