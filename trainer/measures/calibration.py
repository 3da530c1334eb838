"""From logits to probabilities that mean what they say, and to a limit that finds the wanted share."""

from __future__ import annotations

import numpy as np
from scipy import optimize

from trainer.measures.interval import Flags, Numbers

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.1, 10.0


def temperature_of(logits: Numbers, positive: Flags) -> float:
    """The temperature that makes ``sigmoid(logits / t)`` most likely (Guo et al. 2017, arXiv 1706.04599).

    Kept within 0.1..10: cases that are told apart without error would push it to 0.

    Raises
    ------
    ValueError
        One of the classes is empty.
    """
    if positive.all() or not positive.any():
        raise ValueError("a temperature needs positive and negative cases")
    signs = np.where(positive, 1.0, -1.0)

    def cost(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, -signs * logits / np.exp(log_temperature)).mean())

    bounds = (np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE))
    found = optimize.minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def threshold_for(probabilities: Numbers, positive: Flags, wanted: float) -> float:
    """The highest limit at or above which at least ``wanted`` of the positive cases lie.

    Raises
    ------
    ValueError
        One of the classes is empty, or ``wanted`` is no share above 0.
    """
    if not 0.0 < wanted <= 1.0:
        raise ValueError(f"a wanted sensitivity lies above 0 and at most at 1, not at {wanted}")
    if positive.all() or not positive.any():
        raise ValueError("a threshold needs positive and negative cases")
    found = np.sort(probabilities[positive])[::-1]
    return float(found[int(np.ceil(wanted * len(found))) - 1])
