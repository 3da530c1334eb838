"""Made blood in real slices: own small shapes at the real inner table, apart from those that train.

Sizes and densities follow the medians per scan of BHSD (192 scans; EDH 5.1 ml and 58 HU, SDH 6.0 ml, IPH 9.3 ml), for
acute blood only: what has the density of brain is no test of an outline. No mass effect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.measures.interval import Flags, Numbers
from triage.domain.finding import Subtype

Sizes = Literal["published", "experiment"]
"""Volumes as published, or the larger extents of the first experiment with made heads, from which limits were set."""

PASTED = (Subtype.EDH, Subtype.IPH, Subtype.SDH)

_MEDIAN_ML = {Subtype.EDH: 5.1, Subtype.IPH: 9.3, Subtype.SDH: 6.0}
_SPREAD = 0.8
"""Of the logarithm of the volume: four fifths lie within a factor of 2.8 either way."""
_RANGE_ML = (2.0, 40.0)
_HU = {Subtype.EDH: (58.0, 7.0), Subtype.IPH: (55.0, 7.0), Subtype.SDH: (55.0, 7.0)}
_RANGE_HU = (44.0, 75.0)

_FILLED = {Subtype.EDH: math.pi / 2, Subtype.IPH: 4 / 3 * math.pi, Subtype.SDH: math.pi / 3}
"""Volume against thickness times squared half length: a cap, a ball, a crescent half as high as long."""
_SLENDER = {Subtype.EDH: 2.2, Subtype.IPH: 1.0, Subtype.SDH: 7.0}
"""Half length against thickness. The FDA's generator takes 1.3 and 4.3 (squared chord against area), the first
experiment with made heads about 2.2 and 10."""

_EDGE_MM = 0.6
"""Blur of the lesion's edge: the point spread of a soft kernel."""
_TISSUE_MM = 1.5
"""Brain is smoothed over this before blood replaces it; what is left is the noise of the slice."""
_NOISE_HU = 8.0
"""More than this is no noise but the edge of a fold that the blood has covered."""
_TISSUE_HU = (-20.0, 60.0)
_SOFT_HU, _HARD_HU = 110.0, 180.0
"""Blood fades out from soft tissue to bone: the partial volume of the inner table stays."""
_HULL_MM = 4.0
"""Skull-side blood starts at most this far from the hull of the brain: at the vault, not in a notch of the base."""
_OEDEMA_HU, _OEDEMA_MM = 6.0, 3.0


@dataclass(frozen=True, eq=False)
class Inside:
    """What the skull encloses in one slice.

    Attributes
    ----------
    mask : ndarray of bool, shape (row, column)
    spacing_mm : float
        Of rows and columns.
    """

    mask: Flags
    spacing_mm: float

    @cached_property
    def depth_mm(self) -> NDArray[np.float32]:
        """Distance from the inner table, 0 outside, shape (row, column)."""
        return np.asarray(cv2.distanceTransform(self.mask.astype(np.uint8), cv2.DIST_L2, 5)) * np.float32(
            self.spacing_mm
        )

    @cached_property
    def rim_mm(self) -> Numbers:
        """Points (row, column) in mm along the inner table of the vault, shape (point, 2)."""
        contours, _ = cv2.findContours(self.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        points = np.concatenate(contours)
        hull = cv2.convexHull(points)
        near = [cv2.pointPolygonTest(hull, (float(x), float(y)), True) * self.spacing_mm for x, y in points[:, 0]]
        vault = points[:, 0][np.array(near) <= _HULL_MM]
        return np.asarray(vault[:, ::-1], np.float64) * self.spacing_mm

    @cached_property
    def side(self) -> Flags:
        """One half of the head, beside the long axis of the brain, shape (row, column)."""
        rows, columns = np.nonzero(self.mask)
        centre = np.array([rows.mean(), columns.mean()])
        _, axes = np.linalg.eigh(np.cov(np.stack([rows, columns])))
        across = axes[:, 0]
        grid = np.indices(self.mask.shape)
        return np.asarray((grid[0] - centre[0]) * across[0] + (grid[1] - centre[1]) * across[1] >= 0)

    def from_mm(self, point: tuple[float, float]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Distance in mm and direction in radians of every pixel from a point (row, column) in mm."""
        rows, columns = (np.indices(self.mask.shape) * self.spacing_mm).astype(np.float32)
        return np.hypot(rows - point[0], columns - point[1]), np.arctan2(rows - point[0], columns - point[1])


@dataclass(frozen=True, slots=True)
class Lesion:
    """Blood of one subtype.

    Attributes
    ----------
    anchor_mm : tuple of float
        Row and column: on the inner table, or the middle of parenchymal blood.
    thickness_mm, reach_mm : float
        Largest depth from the table and half length along it; equal radii of parenchymal blood.
    wobble : tuple of float
        Phases of the uneven outline of parenchymal blood.
    """

    subtype: Subtype
    anchor_mm: tuple[float, float]
    volume_ml: float
    thickness_mm: float
    reach_mm: float
    hu: float
    wobble: tuple[float, float]

    def smaller(self, share: float) -> Lesion:
        """The same lesion further from its middle; its volume stays that of the whole."""
        return replace(self, thickness_mm=self.thickness_mm * share, reach_mm=self.reach_mm * share)


def draw_lesion(rng: np.random.Generator, subtype: Subtype, inside: Inside, sizes: Sizes = "published") -> Lesion:
    """A lesion for one slice, cut at a random height of the upper or lower half of it."""
    size, place, density, outline, height = rng.spawn(5)
    if sizes == "published":
        volume_ml = float(np.clip(_MEDIAN_ML[subtype] * math.exp(_SPREAD * size.normal()), *_RANGE_ML))
        thickness_mm, reach_mm = _extent(subtype, volume_ml * 1000.0)
    else:
        thickness_mm, reach_mm = _extent_of_experiment(size, subtype)
        volume_ml = _FILLED[subtype] * reach_mm**2 * thickness_mm / 1000.0
    share = math.sqrt(1.0 - float(height.uniform(0.0, 0.6)) ** 2)
    hu = float(np.clip(density.normal(*_HU[subtype]), *_RANGE_HU))
    wobble = (float(outline.uniform(0, 2 * math.pi)), float(outline.uniform(0, 2 * math.pi)))
    anchor = _anchor(place, subtype, inside, reach_mm)
    return Lesion(subtype, anchor, volume_ml, thickness_mm, reach_mm, hu, wobble).smaller(share)


def covered(lesion: Lesion, inside: Inside) -> Flags:
    """Pixels of one slice that the lesion takes, shape (row, column)."""
    distance, angle = inside.from_mm(lesion.anchor_mm)
    if lesion.subtype is Subtype.IPH:
        radius = lesion.reach_mm * (
            1 + 0.18 * np.sin(2 * angle + lesion.wobble[0]) + 0.1 * np.sin(3 * angle + lesion.wobble[1])
        )
        return np.asarray((distance < radius) & (inside.depth_mm > 2.0))
    along = np.clip(distance / lesion.reach_mm, 0.0, 1.0)
    power = 1.0 if lesion.subtype is Subtype.EDH else 0.5
    layer = inside.mask & (inside.depth_mm < lesion.thickness_mm * (1.0 - along**2) ** power)
    if lesion.subtype is Subtype.SDH:
        row, column = (round(value / inside.spacing_mm) for value in lesion.anchor_mm)
        layer &= inside.side == inside.side[row, column]
    return _largest(np.asarray(layer))


def pasted(
    rng: np.random.Generator, hu: NDArray[np.float32], inside: Inside, lesion: Lesion
) -> tuple[NDArray[np.float32], Flags]:
    """The slice with the lesion in it, and where that is; both of the shape of ``hu``."""
    mask = covered(lesion, inside) if inside.mask.any() else inside.mask
    if not mask.any():
        return hu, mask
    pixel = inside.spacing_mm
    share = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _EDGE_MM / pixel)
    share = share * np.clip((_HARD_HU - hu) / (_HARD_HU - _SOFT_HU), 0.0, 1.0)
    mottle = cv2.GaussianBlur(rng.normal(size=hu.shape).astype(np.float32), (0, 0), 3.0 / pixel)
    blood = np.float32(lesion.hu) + np.float32(1.5) * mottle / mottle.std()
    noise = np.clip(hu - _tissue(hu, pixel), -_NOISE_HU, _NOISE_HU)
    changed = hu + share * (blood + noise - hu)
    if lesion.subtype is Subtype.IPH:
        beyond_mm = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) * pixel
        rim = np.exp(-beyond_mm / _OEDEMA_MM) * (1 - share) * inside.mask
        changed = changed - np.float32(_OEDEMA_HU) * rim
    return np.asarray(changed, np.float32), mask


def _extent(subtype: Subtype, mm3: float) -> tuple[float, float]:
    """Thickness and half length of that volume."""
    slender = _SLENDER[subtype]
    thickness = (mm3 / (_FILLED[subtype] * slender**2)) ** (1 / 3)
    return float(thickness), float(slender * thickness)


def _extent_of_experiment(rng: np.random.Generator, subtype: Subtype) -> tuple[float, float]:
    """Thickness and half length as the first experiment drew them."""
    if subtype is Subtype.EDH:
        reach = float(rng.uniform(14.0, 40.0))
        return reach * float(rng.uniform(0.28, 0.62)), reach
    if subtype is Subtype.SDH:
        return float(np.clip(6.0 * math.exp(0.4 * rng.normal()), 2.5, 18.0)), float(rng.uniform(25.0, 95.0))
    radius = float(np.clip(9.0 * math.exp(0.4 * rng.normal()), 3.5, 25.0))
    return radius, radius


def _anchor(rng: np.random.Generator, subtype: Subtype, inside: Inside, reach_mm: float) -> tuple[float, float]:
    """Row and column in mm: on the inner table, or so deep in the brain that blood keeps 6 mm from it where it can."""
    if subtype is not Subtype.IPH:
        point = inside.rim_mm[int(rng.integers(len(inside.rim_mm)))]
        return float(point[0]), float(point[1])
    deepest = float(inside.depth_mm.max())
    rows, columns = np.nonzero(inside.depth_mm >= min(reach_mm + 6.0, 0.8 * deepest))
    index = int(rng.integers(len(rows)))
    return float(rows[index]) * inside.spacing_mm, float(columns[index]) * inside.spacing_mm


def _tissue(hu: NDArray[np.float32], spacing_mm: float) -> NDArray[np.float32]:
    """Mean of the soft tissue around each pixel, without bone and the bright rim beside it."""
    soft = ((hu > _TISSUE_HU[0]) & (hu < _TISSUE_HU[1])).astype(np.float32)
    width = _TISSUE_MM / spacing_mm
    total = cv2.GaussianBlur(hu * soft, (0, 0), width)
    weight = cv2.GaussianBlur(soft, (0, 0), width)
    return np.asarray(np.where(weight > 0.02, total / np.maximum(weight, 0.02), hu), np.float32)


def _largest(mask: Flags) -> Flags:
    """The largest connected piece: a lens or a crescent is one."""
    count, labelled, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return mask
    return np.asarray(labelled == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))
