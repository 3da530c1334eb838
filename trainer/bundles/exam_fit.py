"""From evidence to a probability of an exam, and a gate that hides no suspicion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from trainer.measures.interval import Flags, Numbers
from triage.inference.manifest import GateCalibration
from triage.inference.postprocess import logit, sigmoid

_PULL = 1.0
"""How strongly exam weights are drawn to 1, in units of one exam: made exams are nearly separable."""

_BELOW = 0.05
"""In logits: how far the score of a study that stays below the gate lies below the suspected limit at least."""


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
