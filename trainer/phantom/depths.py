"""Signed depths of simple solids, from which the procedural anatomy is built; mm, positive inside.

``x``, ``y`` and ``z`` are head coordinates in mm, arrays of one shape, which the depth has too.
"""

from __future__ import annotations

import numpy as np

from trainer.phantom.fields import Floats
from trainer.phantom.points import Point


def ellipsoid(x: Floats, y: Floats, z: Floats, centre: Point, axes: Point) -> Floats:
    """Signed depth in mm inside an ellipsoid, exact on its surface and close to it nearby."""
    u, v, w = ((part - c) / a for part, c, a in zip((x, y, z), centre, axes, strict=True))
    radius = np.sqrt(u * u + v * v + w * w) + np.float32(1e-3)
    slope = np.sqrt((u / axes[0]) ** 2 + (v / axes[1]) ** 2 + (w / axes[2]) ** 2) + np.float32(1e-4)
    return np.asarray((1 - radius) * radius / slope, np.float32)


def rod(x: Floats, y: Floats, z: Floats, start: Point, end: Point, radius_mm: float) -> Floats:
    """Signed depth inside a rod with round ends."""
    a, b = np.array(start, np.float32), np.array(end, np.float32)
    axis = b - a
    along = np.clip(((x - a[0]) * axis[0] + (y - a[1]) * axis[1] + (z - a[2]) * axis[2]) / (axis @ axis), 0, 1)
    gap = (x - a[0] - along * axis[0]) ** 2 + (y - a[1] - along * axis[1]) ** 2 + (z - a[2] - along * axis[2]) ** 2
    return np.asarray(radius_mm - np.sqrt(gap), np.float32)


def smooth_minimum(first: Floats, second: Floats, width_mm: float) -> Floats:
    """The smaller of two depths with the edge between them rounded."""
    overlap = np.clip(width_mm - np.abs(first - second), 0, None)
    return np.asarray(np.minimum(first, second) - overlap**2 / (4 * width_mm), np.float32)
