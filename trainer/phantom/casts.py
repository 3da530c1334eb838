"""Bleeds into fluid: pools in the ventricles, and casts of sulci, fissures and cisterns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from trainer.phantom.fields import Floats
from trainer.phantom.points import Point, distance
from trainer.phantom.sample import FOLD_SLOPE, Fluid, Sample
from trainer.phantom.shapes import Box, Mask

_RISE_MM = 20.0
"""How far a pool rises above its lowest point at scale 1."""

_FULL = 4.5
"""At this scale the ventricles are full; beyond it they widen."""

_FLAT = (1.0, 1.0, 0.6)
"""Streaks reach further along a slice than through it."""


@dataclass(frozen=True, slots=True)
class Horn:
    """A lateral ventricle in which blood settles: its side and its rearmost place, y in mm; ``share`` of the rise."""

    side: float
    back_mm: float
    share: float


@dataclass(frozen=True, slots=True)
class Pools:
    """Intraventricular: blood settles to the back of the lateral ventricles with a level, clots fill the middle ones.

    A little blood is a small pool in a horn; much of it fills the ventricles, then widens them.
    """

    horns: tuple[Horn, ...]
    middle: tuple[tuple[Point, float], ...]
    scale: float = 1.0

    def covers(self, sample: Sample, fluid: Fluid, inner: Floats) -> Mask:
        """The filled part of the ventricles."""
        x, y, _ = sample.inside_points
        wet = fluid.ventricle > 0.5
        widened = self._widened()
        if widened:
            wet = wet | (sample.brain.ventricle > -widened)
        settled = np.zeros(inner.shape, bool)
        for horn in self.horns:
            level = horn.back_mm + _RISE_MM * self.scale * horn.share
            settled |= (horn.side * x > 0) & (y < level + 0.6 * sample.broad[0])
        for centre, radius in self.middle:
            settled |= distance(sample.inside_points, centre) < radius * self.scale**0.5
        return np.asarray(wet & settled & (inner > 4))

    def _widened(self) -> float:
        """How far in mm the blood presses the walls of full ventricles outwards."""
        return float(np.clip(2.5 * (self.scale - _FULL), 0, 10))

    def box(self) -> Box:
        """The ventricles up to the level."""
        widened = self._widened() + 2
        low, high = np.full(3, 1e3), np.full(3, -1e3)
        for horn in self.horns:
            ends = np.sort([0.0, horn.side * (38 + widened)])
            level = min(horn.back_mm + _RISE_MM * self.scale * horn.share + 3, 45 + widened)
            low = np.minimum(low, (ends[0], horn.back_mm - 4 - widened, -32 - widened))
            high = np.maximum(high, (ends[1], level, 42 + widened))
        for centre, radius in self.middle:
            reach = min(radius * self.scale**0.5, 32.0) + 3
            low, high = np.minimum(low, np.subtract(centre, reach)), np.maximum(high, np.add(centre, reach))
        return (float(low[0]), float(low[1]), float(low[2])), (float(high[0]), float(high[1]), float(high[2]))

    def scaled(self, scale: float) -> Pools:
        """With another level."""
        return replace(self, scale=scale)


@dataclass(frozen=True, slots=True)
class SulcalCast:
    """Subarachnoid: what fluid there is in folds, cisterns and fissures around some places, widened by the blood.

    A streak is at least 2.5 mm wide, else it would fall into crumbs.
    """

    centres: tuple[Point, ...]
    radius_mm: float
    half_width_mm: float
    depth_mm: float
    scale: float = 1.0

    def covers(self, sample: Sample, fluid: Fluid, inner: Floats) -> Mask:
        """Folds, cisterns and fissures near the centres."""
        near = np.full(inner.shape, 1e3, np.float32)
        for centre in self.centres:
            np.minimum(near, distance(sample.inside_points, centre, _FLAT), out=near)
        within = near < self._reach_mm() * (1 + 0.25 * sample.broad[3])
        half = max(1.25, self.half_width_mm * self.scale**0.4)
        width = half * np.clip(1 + 0.25 * sample.broad[1], 0.75, 1.6)
        folds = (np.abs(sample.folds) < width * FOLD_SLOPE) & (inner < self.depth_mm * (1 + 0.2 * sample.broad[2]))
        folds &= (sample.points[2] > -30) & (inner > 0.5)
        fissure = (fluid.fissure > 0.15) & (np.abs(sample.inside_points[0]) < half)
        spaces = folds | (fluid.cistern > 0.4) | fissure
        return np.asarray(within & spaces & (fluid.ventricle < 0.4))

    def _reach_mm(self) -> float:
        return self.radius_mm * self.scale

    def box(self) -> Box:
        """Around the centres."""
        reach = 1.5 * self._reach_mm()
        low, high = np.min(self.centres, axis=0) - reach, np.max(self.centres, axis=0) + reach
        return (float(low[0]), float(low[1]), float(low[2])), (float(high[0]), float(high[1]), float(high[2]))

    def scaled(self, scale: float) -> SulcalCast:
        """Around the same places, reaching further or less far."""
        return replace(self, scale=scale)


def rearmost(ventricular: Floats, side: float) -> float | None:
    """Lowest y in mm of the lateral ventricle of one side among ``ventricular`` (point, 3); None without any."""
    own = ventricular[(side * ventricular[:, 0] > 5) & (ventricular[:, 2] > -14)]
    return float(own[:, 1].min()) if len(own) else None
