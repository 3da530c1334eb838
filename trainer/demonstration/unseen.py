"""Made stacks that no training has seen, by which nets are exported, made smaller, and begun from.

Apart from `trainer.demonstration.stream`, because the processes that make heads import that, and need no torch.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.bundles.export import PARITY_SLICES
from trainer.demonstration.protocol import Protocol
from trainer.demonstration.stream import blocks

Stack = NDArray[np.int16]
"""HU of a made scan on the raster of the nets, (slice, row, column)."""

_STACKS = 8
"""Of each kind of head; more where stacks are of few slices."""

_OTHER_SEED = 500
"""Added to the seed of the protocol for them."""


def other_stacks(plan: Protocol, anatomy: Path | None, *, procedural: bool = True) -> list[Stack]:
    """Stacks that no training has seen, of `PARITY_SLICES` slices or more together.

    Of the template where there is one, then procedural ones where they are wanted.
    """
    stacks = max(_STACKS, -(-PARITY_SLICES // plan.data.slices))
    few = replace(
        plan.data,
        blocks=1,
        template_first=0,
        template_stacks=stacks if anatomy is not None else 0,
        procedural_stacks=stacks if procedural else 0,
    )
    made = next(blocks(few, plan.seed + _OTHER_SEED, anatomy, plan.preprocessing, 0))
    return list(made.hu)
