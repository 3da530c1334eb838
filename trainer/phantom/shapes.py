"""The solid shapes that made blood takes, and how it pushes the brain aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.phantom.fields import Floats
from trainer.phantom.tissue import FOLD_SLOPE, Fluid, Sample

Mask = NDArray[np.bool_]
Point = tuple[float, float, float]


class Shape(Protocol):
    """Where a bleed lies."""

    def covers(self, sample: Sample, fluid: Fluid, inner: Floats) -> Mask:
        """Which points (slice, row, column) hold blood; ``inner`` is the depth under the inner table in mm."""


def _distance(points: Floats, centre: Point, stretch: Point = (1.0, 1.0, 1.0)) -> Floats:
    """Distance in mm of ``points`` (3, ...) from ``centre``, each axis divided by ``stretch``."""
    squared = sum(((points[axis] - centre[axis]) / np.float32(stretch[axis])) ** 2 for axis in range(3))
    return np.sqrt(np.asarray(squared, np.float32))


@dataclass(frozen=True, slots=True)
class Lens:
    """Epidural: biconvex, thickest at ``centre``, ending ``radius_mm`` from it."""

    centre: Point
    radius_mm: float
    thickness_mm: float

    def covers(self, sample: Sample, fluid: Fluid, inner: Floats) -> Mask:
        """The lens."""
        distance = _distance(sample.points, self.centre) + 2 * sample.broad[0]
        return np.asarray(inner < self.thickness_mm * (1 - (distance / self.radius_mm) ** 2))


@dataclass(frozen=True, slots=True)
class Crescent:
    """Subdural: a layer along the inner table of one side, and perhaps along the falx."""

    centre: Point
    radius_mm: float
    thickness_mm: float
    falx_mm: float

    def covers(self, sample: Sample, fluid: Fluid, inner: Floats) -> Mask:
        """The layer, thinning out from its centre, and its part along the falx."""
        side = 1.0 if self.centre[0] >= 0 else -1.0
        lateral = side * sample.inside_points[0]
        distance = _distance(sample.points, self.centre) + 3 * sample.broad[1]
        arch = np.sqrt(np.clip(1 - (distance / self.radius_mm) ** 2, 0, 1))
        layer = (inner < self.thickness_mm * arch * (1 + 0.2 * sample.broad[2])) & (lateral > 0)
        if self.falx_mm:
            y, z = sample.inside_points[1], sample.inside_points[2]
            along = (np.hypot(y + 20, z - 10) > 42) & (z > -5) & (distance < 70)
            layer |= (lateral > 0) & (lateral < self.falx_mm) & along
        return np.asarray(layer)


@dataclass(frozen=True, slots=True)
class Clot:
    """Intraparenchymal: one to three merged balls with an uneven edge."""

    centres: tuple[Point, ...]
    radii_mm: tuple[float, ...]
    stretch: Point

    def depth(self, sample: Sample) -> Floats:
        """Signed depth in mm inside the clot."""
        depth = np.full(sample.points.shape[1:], -1e3, np.float32)
        for centre, radius in zip(self.centres, self.radii_mm, strict=True):
            uneven = radius * (1 + 0.2 * sample.broad[1] + 0.1 * sample.fine[1])
            np.maximum(depth, uneven - _distance(sample.inside_points, centre, self.stretch), out=depth)
        return depth

    def covers(self, sample: Sample, fluid: Fluid, inner: Floats) -> Mask:
        """The merged balls, under the surface of the brain."""
        return np.asarray((self.depth(sample) > 0) & (inner > 1))


@dataclass(frozen=True, slots=True)
class VentricleFill:
    """Intraventricular: blood that has settled to the back, up to ``level_y``; ``side`` 0 for both."""

    level_y: float
    side: float

    def covers(self, sample: Sample, fluid: Fluid, inner: Floats) -> Mask:
        """The filled part of the ventricles."""
        settled = sample.inside_points[1] < self.level_y + 2 * sample.broad[0]
        filled = (fluid.ventricle > 0.5) & settled
        return np.asarray(filled & (self.side * sample.inside_points[0] > -1) if self.side else filled)


@dataclass(frozen=True, slots=True)
class SulcalCast:
    """Subarachnoid: what fluid there is in folds, cisterns and fissures within a ball, widened by the blood."""

    centre: Point
    radius_mm: float
    half_width_mm: float
    depth_mm: float

    def covers(self, sample: Sample, fluid: Fluid, inner: Floats) -> Mask:
        """Folds, cisterns and fissures within the ball."""
        within = _distance(sample.inside_points, self.centre) < self.radius_mm * (1 + 0.25 * sample.broad[3])
        width = self.half_width_mm * np.clip(1 + 0.5 * sample.broad[1], 0.2, 2)
        folds = (np.abs(sample.folds) < width * FOLD_SLOPE) & (inner < self.depth_mm * (1 + 0.3 * sample.broad[2]))
        folds &= sample.points[2] > -30
        fissure = (fluid.fissure > 0.15) & (np.abs(sample.inside_points[0]) < self.half_width_mm)
        spaces = folds | (fluid.cistern > 0.4) | fissure | (fluid.sulci > 0.6)
        return np.asarray(within & spaces & (fluid.ventricle < 0.4))


@dataclass(frozen=True, slots=True)
class Push:
    """Mass effect: tissue near ``centre`` is moved by up to ``shift_mm`` along ``direction``, or outwards."""

    centre: Point
    shift_mm: float
    reach_mm: float
    direction: Point | None

    def undo(self, points: Floats) -> Floats:
        """The displacement (3, ...) that leads from where tissue is now to where it was."""
        offset = [points[axis] - np.float32(self.centre[axis]) for axis in range(3)]
        distance = np.sqrt(sum(part**2 for part in offset) + np.float32(1.0))
        amount = np.float32(self.shift_mm) * np.exp(-((distance / np.float32(self.reach_mm)) ** 2))
        if self.direction is not None:
            return np.stack([-amount * np.float32(part) for part in self.direction])
        return np.stack([-amount * part / distance for part in offset])
