"""Points in head coordinates, mm (see `trainer.phantom.anatomy`): one of them as three numbers, many as an array."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from trainer.phantom.fields import Floats

Point = tuple[float, float, float]
"""x to the right, y to the front, z up."""


def as_point(place: Iterable[float] | np.ndarray) -> Point:
    """The three numbers of ``place``."""
    x, y, z = (float(value) for value in place)
    return x, y, z


def distance(points: Floats, centre: Point, half_mm: Point = (1.0, 1.0, 1.0)) -> Floats:
    """Distance of ``points`` (3, ...) from ``centre``, each axis in units of ``half_mm``; shape (...)."""
    squared = sum(((points[axis] - np.float32(centre[axis])) / np.float32(half_mm[axis])) ** 2 for axis in range(3))
    return np.sqrt(np.asarray(squared, np.float32))
