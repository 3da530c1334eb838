"""Randomness that depends on where training is and on nothing else, so that a resumed training draws the same."""

from __future__ import annotations

import numpy as np

START, ORDER, CHANGE, STEP = range(4)
"""What is drawn: first weights, the order of an epoch, changes of slices, and what nets draw within a step."""


def seed_of(*place: int) -> int:
    """A seed of 63 bits for a place such as (seed, fold, what, epoch, step)."""
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> np.uint64(1))
