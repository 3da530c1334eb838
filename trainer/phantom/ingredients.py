"""What can be left out of made heads, to learn which part of them carries over to real ones."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum


class Ingredient(StrEnum):
    """A part of the generator with a random stream of its own: without it, all else stays as it was.

    Attributes
    ----------
    INNER_TABLE
        Cortex that touches bone, its glow, and the halo, blooming and unevenness of bone beside it. Without it
        every head has a dark ring of fluid under a sharp skull.
    NOISE
        Noise as strong and as correlated as a scanner's. Without it: white noise of 6 HU.
    MIMICS
        Everything that looks like blood and is none.
    PARTIAL_VOLUME
        Several planes averaged into a slice. Without it each slice is one infinitely thin plane.
    """

    INNER_TABLE = "inner_table"
    NOISE = "noise"
    MIMICS = "mimics"
    PARTIAL_VOLUME = "partial_volume"


def left_out(without: Collection[str]) -> frozenset[Ingredient]:
    """The ingredients of these names.

    Raises
    ------
    ValueError
        If a name is none of an `Ingredient`: a silent nothing would make an ablation of nothing.
    """
    return frozenset(Ingredient(name) for name in without)
