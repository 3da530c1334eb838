"""Bleeds along the inner table: epidural lenses, subdural crescents, layers along falx and tentorium."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from trainer.phantom.fields import Floats
from trainer.phantom.landmarks import above_tentorium_mm, from_callosum_mm
from trainer.phantom.points import Point, distance
from trainer.phantom.sample import Fluid, Sample
from trainer.phantom.shapes import Box, Mask, box_around

OFF_BONE_MM = 0.5
"""Blood starts this far under the inner table, where no bone is left in a point."""

_THINNEST_LENS_MM, _THINNEST_LAYER_MM = 2.5, 2.6
"""Blood that is thinner falls into crumbs on the pixels of a slice."""

_TAPER_MM = 9.0
"""A lens thins out over this distance from a suture."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A piece of a layer: thickest at ``centre``, ending at ``half_mm`` from it along each axis."""

    centre: Point
    half_mm: Point
    thickness_mm: float

    def scaled(self, scale: float, thinnest_mm: float) -> Patch:
        """A similar patch, never thinner than ``thinnest_mm``."""
        x, y, z = (scale * part for part in self.half_mm)
        return Patch(self.centre, (x, y, z), max(thinnest_mm, scale * self.thickness_mm))


def past_sutures(points: Floats) -> tuple[Floats, Floats, Floats]:
    """Signed distance in mm to the coronal (front positive), lambdoid (behind positive) and sagittal suture."""
    x, y, z = points
    coronal = y - 12 + np.float32(0.1) * z
    lambdoid = -92 + np.float32(0.35) * np.abs(x) - y
    return np.asarray(coronal), np.asarray(lambdoid), np.asarray(x)


def _box(patches: tuple[Patch, ...], scale: float, thinnest_mm: float) -> Box:
    """Around every patch, with room for its uneven edge."""
    large = [patch.scaled(scale, thinnest_mm) for patch in patches]
    reaches = tuple(tuple(1.25 * part + 2 for part in patch.half_mm) for patch in large)
    return box_around(tuple(patch.centre for patch in large), reaches)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Lens:
    """Epidural: biconvex, and it ends at the sutures, where the dura is fast to the bone."""

    patches: tuple[Patch, ...]
    scale: float = 1.0

    def covers(self, sample: Sample, fluid: Fluid, inner: Floats) -> Mask:
        """The lenses, each between the sutures around its centre."""
        mask = np.zeros(inner.shape, bool)
        sutures = past_sutures(sample.points)
        for patch in self.patches:
            large = patch.scaled(self.scale, _THINNEST_LENS_MM)
            away = distance(sample.points, large.centre, large.half_mm) * (1 + 0.06 * sample.broad[0])
            thickness = large.thickness_mm * (1 - away**2)
            home = past_sutures(np.array(large.centre, np.float32))
            for here, there in zip(sutures, home, strict=True):
                gap = here if there > 0 else -here
                thickness = thickness * np.sqrt(np.clip((gap - 0.5) / np.float32(_TAPER_MM), 0, 1))
            lens = (inner - OFF_BONE_MM < thickness) & (thickness > 0)
            mask |= lens
        return np.asarray(mask & (inner > OFF_BONE_MM))

    def box(self) -> Box:
        """Around every lens."""
        return _box(self.patches, self.scale, _THINNEST_LENS_MM)

    def scaled(self, scale: float) -> Lens:
        """With lenses of another size."""
        return replace(self, scale=scale)


@dataclass(frozen=True, slots=True)
class Crescent:
    """Subdural: layers along the inner table of one side, across sutures, and along falx and tentorium.

    ``side`` is the sign of x; nothing crosses the falx.
    """

    patches: tuple[Patch, ...]
    falx: tuple[Patch, ...]
    tentorium: tuple[Patch, ...]
    side: float
    scale: float = 1.0

    def covers(self, sample: Sample, fluid: Fluid, inner: Floats) -> Mask:
        """The layers, thinning out from their centres."""
        x, y, z = sample.points
        lateral = np.float32(self.side) * x
        mask = np.zeros(inner.shape, bool)
        for patch in self.patches:
            mask |= inner - OFF_BONE_MM < self._thickness(patch, sample)
        for patch in self.falx:
            mask |= (lateral < self._thickness(patch, sample)) & (from_callosum_mm(y, z) > 42) & (z > -5)
        for patch in self.tentorium:
            above = above_tentorium_mm(z, lateral)
            area = (lateral < 44) & (y < -36) & (above > 0)
            mask |= (above < self._thickness(patch, sample)) & area
        return np.asarray(mask & (lateral > 0.5) & (inner > OFF_BONE_MM))

    def _thickness(self, patch: Patch, sample: Sample) -> Floats:
        """Thickness in mm of the layer at every point: an arch over the patch, uneven."""
        large = patch.scaled(self.scale, _THINNEST_LAYER_MM)
        away = distance(sample.points, large.centre, large.half_mm) * (1 + 0.1 * sample.broad[1])
        arch = np.sqrt(np.clip(1 - away**2, 0, 1))
        return np.asarray(large.thickness_mm * arch * (1 + 0.1 * sample.broad[2]), np.float32)

    def box(self) -> Box:
        """Around every layer."""
        return _box((*self.patches, *self.falx, *self.tentorium), self.scale, _THINNEST_LAYER_MM)

    def scaled(self, scale: float) -> Crescent:
        """With layers of another size."""
        return replace(self, scale=scale)
