"""The solid shapes of made blood: what all have in common, clots in the brain, and how the brain is pushed aside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from trainer.phantom.fields import Floats
from trainer.phantom.points import Point, distance
from trainer.phantom.sample import Fluid, Sample

Mask = NDArray[np.bool_]
Box = tuple[Point, Point]
"""Lowest and highest corner in mm, head coordinates."""


class Shape(Protocol):
    """Where a bleed lies. Its volume grows with ``scale``, which is searched for the wanted one."""

    def covers(self, sample: Sample, fluid: Fluid, inner: Floats) -> Mask:
        """Which points hold blood; ``inner`` is the depth under the inner table in mm. Any shape of points."""

    def box(self) -> Box:
        """Corners between which all of it lies."""

    def scaled(self, scale: float) -> Self:
        """The same bleed, larger or smaller; 1 is the first guess."""


def box_around(centres: tuple[Point, ...], reaches_mm: tuple[Point, ...]) -> Box:
    """The box that holds every centre with its reach along each axis."""
    low = np.min(np.subtract(centres, reaches_mm), axis=0)
    high = np.max(np.add(centres, reaches_mm), axis=0)
    return (float(low[0]), float(low[1]), float(low[2])), (float(high[0]), float(high[1]), float(high[2]))


@dataclass(frozen=True, slots=True)
class Clot:
    """Intraparenchymal: balls with an uneven edge, merged where they meet."""

    centres: tuple[Point, ...]
    radii_mm: tuple[float, ...]
    stretch: Point
    scale: float = 1.0

    def depth(self, sample: Sample) -> Floats:
        """Signed depth in mm inside the clot."""
        depth = np.full(sample.points.shape[1:], -1e3, np.float32)
        uneven = np.float32(self.scale) * (1 + 0.16 * sample.broad[1] + 0.07 * sample.fine[1])
        for centre, radius in zip(self.centres, self.radii_mm, strict=True):
            np.maximum(depth, np.float32(radius) * uneven - distance(sample.points, centre, self.stretch), out=depth)
        return depth

    def covers(self, sample: Sample, fluid: Fluid, inner: Floats) -> Mask:
        """The balls, under the surface of the brain and beside the ventricles."""
        return np.asarray((self.depth(sample) > 0) & (inner > 1) & (fluid.ventricle < 0.5))

    def box(self) -> Box:
        """Around every ball."""
        reaches = tuple(tuple(1.6 * self.scale * radius * part for part in self.stretch) for radius in self.radii_mm)
        return box_around(self.centres, reaches)  # type: ignore[arg-type]

    def scaled(self, scale: float) -> Clot:
        """With balls of other radii."""
        return replace(self, scale=scale)


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
        away = np.sqrt(sum(part**2 for part in offset) + np.float32(1.0))
        amount = np.float32(self.shift_mm) * np.exp(-((away / np.float32(self.reach_mm)) ** 2))
        if self.direction is not None:
            return np.stack([-amount * np.float32(part) for part in self.direction])
        return np.stack([-amount * part / away for part in offset])
