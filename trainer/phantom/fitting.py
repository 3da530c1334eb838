"""Sizes a bleed so that its volume in this very head is the wanted one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.phantom.fields import Floats
from trainer.phantom.sample import Fields, changed
from trainer.phantom.shapes import Box, Shape

S = TypeVar("S", bound=Shape)

_LIMITS: Box = ((-78.0, -112.0, -76.0), (78.0, 76.0, 88.0))
"""The inside of the skull lies between these corners."""

_POINTS = 9_000
_FINEST_MM, _COARSEST_MM = 1.0, 4.5
"""About how many points a bleed is looked at on, and how far apart they lie at the least and at the most."""

_STEPS = 7
"""Bisections: they leave a 128th of the logarithm of the range, less than the lattice can tell."""


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Looks into the head at draw time.

    ``fields`` answers for ``points`` (3, slice, row, column) in head coordinates; ``millilitres`` is the volume
    that one ml in head coordinates has in the scanner.
    """

    fields: Callable[[Floats], Fields]
    millilitres: float


def _picked(array: Floats, points: NDArray[np.intp]) -> Floats:
    """Some points of an array (..., slice, row, column), in one row (..., point)."""
    return array.reshape(*array.shape[:-3], -1).take(points, axis=-1)


def fitted(shape: S, wanted_ml: float, probe: Probe, scales: tuple[float, ...]) -> S:
    """``shape`` scaled until it holds ``wanted_ml``; ``scales`` are the upper ends of the search, tried in turn."""
    low = scales[0] / 8
    for high in scales:
        fields, cell_ml = _look(shape.scaled(high), probe)
        most = _volume(shape.scaled(high), fields) * cell_ml
        if most >= wanted_ml:
            return _searched(shape, wanted_ml / cell_ml, fields, low, high)
        low = high
    return shape.scaled(scales[-1])


def places_of(shape: Shape, probe: Probe) -> Floats:
    """Points (3, point) in mm, a few mm apart, that lie in ``shape``; none where it lies outside the skull."""
    (sample, fluid, inner), _ = _look(shape, probe)
    return np.asarray(sample.points[:, shape.covers(sample, fluid, inner)])


def _searched(shape: S, wanted: float, fields: Fields, low: float, high: float) -> S:
    """Bisection of the logarithm of the scale, then one step along a straight line."""
    few, many = _volume(shape.scaled(low), fields), _volume(shape.scaled(high), fields)
    for _ in range(_STEPS):
        middle = float(np.sqrt(low * high))
        found = _volume(shape.scaled(middle), fields)
        if found < wanted:
            low, few = middle, found
        else:
            high, many = middle, found
    share = np.clip((wanted - few) / max(many - few, 1e-6), 0, 1)
    return shape.scaled(float(low + share * (high - low)))


def _volume(shape: Shape, fields: Fields) -> float:
    return float(np.count_nonzero(shape.covers(*fields)))


def _look(shape: Shape, probe: Probe) -> tuple[Fields, float]:
    """The fields inside the skull on a lattice over the box of ``shape``, and the ml of one node in the scanner."""
    low, high = (np.clip(corner, *_LIMITS) for corner in shape.box())
    sides = np.maximum(high - low, 4.0)
    step = float(np.clip((sides.prod() / _POINTS) ** (1 / 3), _FINEST_MM, _COARSEST_MM))
    axes = [
        np.arange(step / 2, float(side), step).astype(np.float32) + np.float32(start)
        for start, side in zip(low, sides, strict=True)
    ]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    sample, fluid, inner = probe.fields(np.stack([x, y, z]))
    inside = np.flatnonzero(inner > 0)
    fields = changed((sample, fluid, inner), lambda array: _picked(array, inside))
    return fields, step**3 / 1000 * probe.millilitres
