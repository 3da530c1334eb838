"""Everything known about the points of a slice: anatomy, noise and folds; each part of the head is painted from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.phantom.anatomy import BrainFields, SkullFields
from trainer.phantom.fields import Floats, Lattice, noise_lattice

FOLD_SLOPE = 0.33
"""Mean gradient of the fold noise per mm: turns a width in mm into one in units of the noise."""

_FOLD_CENTRE = np.array([0.0, -18.0, 2.0], np.float32)
_FOLD_AXES = np.array([66.0, 84.0, 72.0], np.float32)
"""An ellipsoid about as large as the brain; folds stand upright on it."""

Window = tuple[slice, slice]
"""Rows and columns of a slice."""


@dataclass(frozen=True, slots=True, eq=False)
class Texture:
    """Random fields of one head: coarse (correlation 14 mm), fine (3.5 mm), and the folds of its cortex."""

    broad: Lattice
    fine: Lattice
    folds: Lattice


def draw_texture(rng: np.random.Generator) -> Texture:
    """Draw the random fields."""
    return Texture(
        broad=noise_lattice(rng, 14.0),
        fine=noise_lattice(rng, 3.5),
        folds=noise_lattice(rng, rng.uniform(3.0, 4.3), channels=1, nodes_per_correlation=0.9),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Everything known about the points of one slice, each field float32 (slice, row, column).

    ``points`` (3, ...) are head coordinates; ``inside_points`` the same after mass effect, to be used for
    everything inside the skull but the inner table. ``broad`` and ``fine`` are four noise fields each.
    """

    points: Floats
    inside_points: Floats
    skull: SkullFields
    brain: BrainFields
    broad: tuple[Floats, ...]
    fine: tuple[Floats, ...]
    folds: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Fluid:
    """Fractions of cerebrospinal fluid 0..1, by where it lies, float32 (slice, row, column)."""

    ventricle: Floats
    sulci: Floats
    cistern: Floats
    ring: Floats
    fissure: Floats

    def total(self) -> Floats:
        """Fraction of fluid of any kind."""
        total = np.maximum(self.ventricle, self.sulci)
        for part in (self.cistern, self.ring, self.fissure):
            np.maximum(total, part, out=total)
        return total


Fields = tuple[Sample, Fluid, Floats]
"""Everything known about some points, the fluid among it, and the depth under the inner table in mm."""


def fold_points(points: Floats, fine: tuple[Floats, ...]) -> Floats:
    """Points drawn out to a shell around the brain, so that folds run inwards from its surface."""
    offset = [points[axis] - _FOLD_CENTRE[axis] for axis in range(3)]
    radius = np.sqrt(sum((offset[axis] / _FOLD_AXES[axis]) ** 2 for axis in range(3)) + np.float32(1e-3))
    stretch = (1.0 + 0.12 * (radius - 1.0)) / radius
    out = np.empty_like(points)
    for axis in range(3):
        out[axis] = _FOLD_CENTRE[axis] + offset[axis] * stretch + np.float32(2.2) * fine[axis]
    return out


def part_of(value: Any, window: Window) -> Any:
    """``value``, a dataclass or a tuple of arrays (..., row, column), in a window alone; the arrays are views."""
    return changed(value, lambda array: array[..., *window])


def changed(value: Any, change: Callable[[Floats], Floats]) -> Any:
    """``value``, a dataclass or a tuple of arrays, however deep, with ``change`` made to each array."""
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, tuple):
        return tuple(changed(one, change) for one in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: changed(getattr(value, field.name), change) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **parts)
    return value
