"""From what uncalibrated nets said of scans to probabilities of exams, and a gate that hides no suspicion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from trainer.datasets.case import UNKNOWN, YES
from trainer.measures.calibration import temperature_of
from trainer.measures.interval import Flags, Numbers
from triage.inference.manifest import OUTPUTS, GateCalibration, Scoring
from triage.inference.postprocess import exam_evidence, lit_slices, logit, sigmoid

_PULL = 1.0
"""How strongly exam weights are drawn to 1, in units of one exam: made exams are nearly separable."""

_BELOW = 0.05
"""In logits: how far the score of a study that stays below the gate lies below the suspected limit at least."""


class Said(Protocol):
    """What nets said of one scan, every slice segmented."""

    @property
    def logits(self) -> NDArray[np.float32]:
        """Of the classifier, before any temperature, shape (slice, 6)."""

    @property
    def evidence(self) -> Numbers:
        """Of the mask, shape (slice, 6)."""


def temperatures_of(
    said: Sequence[Said], truth: Sequence[NDArray[np.int8]], taught: int = len(OUTPUTS)
) -> tuple[float, ...]:
    """One per output; 1 beyond those taught, and where labels do not show both that it is there and that it is not.

    Parameters
    ----------
    truth : sequence of ndarray of int8, shape (slice, 6)
        Of each scan: 1, 0 or -1 unknown.
    """
    logits = np.concatenate([one.logits for one in said]).astype(np.float64)
    labels = np.concatenate(truth)
    found: list[float] = []
    for column in range(len(OUTPUTS)):
        known = labels[:, column] != UNKNOWN
        positive = labels[known, column] == YES
        told = column < taught and bool(positive.any()) and not bool(positive.all())
        found.append(temperature_of(logits[known, column], positive) if told else 1.0)
    return tuple(found)


def gated_by(said: Sequence[Said], temperatures: Sequence[float]) -> list[Numbers]:
    """Probabilities of each scan, shape (slice, 6), as a bundle with these temperatures serves them."""
    return [sigmoid(one.logits / np.array(temperatures)) for one in said]


def slice_limit(
    gated: Sequence[Numbers], shown: Sequence[Flags], sensitivity: float, within: tuple[float, float]
) -> float:
    """The limit that lights up the wanted share of the slices ``shown``; the lowest allowed where none is."""
    values = np.concatenate([g[:, 0] for g in gated])[np.concatenate(shown)]
    wanted = float(np.quantile(values, 1.0 - sensitivity)) if values.size else within[0]
    return float(np.clip(wanted, *within))


def gate_evidence(gated: Sequence[Numbers], scoring: Scoring) -> Numbers:
    """Classifier evidence of any blood in each scan, shape (scan,)."""
    return np.array([exam_evidence(g, scoring)[0] for g in gated])


def mask_evidence(said: Sequence[Said], gated: Sequence[Numbers], scoring: Scoring, gate: float) -> Numbers:
    """Mask evidence of each scan, shape (scan,), as it is where dark slices are not segmented."""
    return np.array(
        [
            exam_evidence(one.evidence * lit_slices(g[:, 0], gate)[:, None], scoring)[0]
            for one, g in zip(said, gated, strict=True)
        ]
    )


def fit_exam(evidence: Numbers, bleeding: Flags) -> tuple[float, float]:
    """Weight above 0 and bias of a logistic curve, the weight drawn towards 1."""
    signs = np.where(bleeding, 1.0, -1.0)

    def cost(x: NDArray[np.float64]) -> float:
        margin = signs * (x[0] * evidence + x[1])
        return float(np.logaddexp(0.0, -margin).sum() + 0.5 * _PULL * (x[0] - 1.0) ** 2)

    found = optimize.minimize(cost, np.array([1.0, 0.0]), bounds=[(0.01, None), (None, None)], method="L-BFGS-B")
    return float(found.x[0]), float(found.x[1])


def harmless_gate(gate: float, provisional: GateCalibration, suspected: float) -> float:
    """Lower the gate until a study that stays below it cannot score as suspected without being segmented."""
    highest = (float(logit(np.array(suspected))) - _BELOW - provisional.bias) / provisional.gate_weight
    return min(gate, float(sigmoid(highest)))
