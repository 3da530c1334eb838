"""Which slices to show a reader first: the key slice of the result, then those with the most blood, spread out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from triage.domain.finding import TriageResult
from triage.domain.volume import Volume

KEY_SLICES = 5
_NEAR_MM = 5.0
"""Thin slices nearer than this count as one: five of 0.6 mm would show the same 3 mm."""


def key_slices(
    labels: NDArray[np.uint8], volume: Volume, result: TriageResult, count: int = KEY_SLICES
) -> tuple[int, ...]:
    """Indices of up to ``count`` slices, the most important first.

    The result's own key slice leads. Next come slices with a subtype that none taken before shows, then the
    others, each time the one with the most blood. Of those others none is taken that lies beside one taken
    before: its neighbour, or nearer to it than either is thick. Places may stay empty, for five pictures of one
    clot say no more than one.

    Parameters
    ----------
    labels : ndarray of uint8, shape (slice, row, column)
        0 for none, ``i + 1`` for ``KINDS[i]``, on the grid of ``volume``.
    volume : Volume
        Its distances along the normal and its thickness decide what is beside what.
    result : TriageResult
        Without a key slice, for nothing is suspected, there are none. Suspected without a mask has one.

    Raises
    ------
    ValueError
        When the mask does not lie on the volume, or the key slice is not in it.
    """
    if labels.shape != volume.hu.shape:
        raise ValueError(f"labels {labels.shape} do not lie on the volume {volume.hu.shape}")
    if result.key_slice is None or count < 1:
        return ()
    if result.key_slice.index >= len(labels):
        raise ValueError(f"the key slice {result.key_slice.index} is not one of the {len(labels)} slices")
    classes = int(labels.max(initial=0)) + 1
    areas = np.array([np.bincount(one.ravel(), minlength=classes)[1:] for one in labels])
    chosen = [result.key_slice.index]
    while len(chosen) < count and (best := _next(areas, volume, chosen)) is not None:
        chosen.append(best)
    return tuple(chosen)


def _next(areas: NDArray[np.int64], volume: Volume, chosen: list[int]) -> int | None:
    """The best slice to add; ``areas`` counts the pixels of each class, shape (slice, class)."""
    blood_ml = areas.sum(axis=1) * volume.voxel_ml
    shown = np.any(areas[chosen] > 0, axis=0)
    news: NDArray[np.bool_] = np.any(areas[:, ~shown] > 0, axis=1)
    far = np.array([not any(_beside(volume, index, taken) for taken in chosen) for index in range(len(areas))])
    free = map(int, np.flatnonzero(news | (far & (blood_ml > 0))))
    return max(free, key=lambda index: (bool(news[index]), blood_ml[index], -index), default=None)


def _beside(volume: Volume, one: int, other: int) -> bool:
    """Whether two slices show nearly the same: the same, neighbours, or nearer than one of them is thick."""
    apart = abs(float(volume.stack.distances_mm[one] - volume.stack.distances_mm[other]))
    thick = float(max(volume.stack.thickness_mm[one], volume.stack.thickness_mm[other], _NEAR_MM))
    return abs(one - other) <= 1 or apart < thick
