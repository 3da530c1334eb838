"""The skull as a ring on slabs of 2 mm pixels: what it encloses, and where it is open.

Two ways of looking. A flood from the border finds what a closed ring of bone cuts off, in every slab. Rays from the
middle of the head find how far the ring is open, but only in the vault, the part of the head below its vertex: there a
skull is closed all round, while the face, the orbits and the skull base have natural openings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

PIXEL_MM = 2.0
BONE_HU = 150.0
"""Above all soft tissue and fresh blood, below an infant's skull averaged over 2 mm."""
_SEAM_PIXELS = 5
"""Side of the square that closes seams of up to 8 mm in the skull: sutures, thin bone, burr holes."""
_COMPARTMENT_MM2 = 400.0
_BODY_HU = -200.0
"""Between fat and air: everything above is body, table or clothes."""
_SLICE_OF_HEAD_MM2 = 2000.0
_VAULT = 0.4
"""Height of the vault against the root of the largest section: 58 to 68 mm below an adult's vertex, 40 mm below a
newborn's, which stays above orbits and petrous bones, and above the calcified choroid and pineal."""

_RAYS = 240
_REACH_PIXELS = 64
"""Rays of 128 mm: half of a very long head, and no table."""
_CLOSED_SHARE = 1 / 3
"""A slab where fewer rays meet bone is scalp or hair above the vertex, not an open skull."""
_GAP_SHARE = 0.5
"""A narrow gap has less than this share of the bone beside it: a saw cut of 2 mm and more at 2 mm pixels."""
_NEIGHBOUR_RAYS = 20
_FLAP_MM = (30.0, 160.0)
"""How far two saw cuts of one bone flap lie apart."""
_MATURE_HU = 600.0
"""Bone of a ring whose sutures are closed; an infant's open sutures look like saw cuts."""


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """The largest connected body in a slab.

    Attributes
    ----------
    mask : ndarray of bool, shape (row, column)
    area_mm2 : float
    centre : tuple of float
        Column and row of its middle.
    """

    mask: NDArray[np.bool_]
    area_mm2: float
    centre: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Ring:
    """What the rays of one slab meet.

    Attributes
    ----------
    closed_share : float
        Share of the rays that meet bone.
    opening_mm : float
        Widest opening without bone, as a chord between its ends.
    sawn : bool
        Whether the ring has two narrow gaps as far apart as those around a bone flap.
    """

    closed_share: float
    opening_mm: float
    sawn: bool


def section(hu: NDArray[np.float32]) -> Section | None:
    """The largest body in a slab (row, column) of HU, or None where there is only air."""
    body = (hu > _BODY_HU).astype(np.uint8)
    count, labelled, stats, centres = cv2.connectedComponentsWithStats(body, connectivity=4)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    area_mm2 = float(stats[largest, cv2.CC_STAT_AREA]) * PIXEL_MM**2
    return Section(labelled == largest, area_mm2, (float(centres[largest][0]), float(centres[largest][1])))


def enclosed(hu: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels that a closed ring of bone cuts off from the image border, shape (row, column)."""
    bone = (hu > BONE_HU).astype(np.uint8)
    wall = cv2.morphologyEx(bone, cv2.MORPH_CLOSE, np.ones((_SEAM_PIXELS, _SEAM_PIXELS), np.uint8))
    _, labelled, stats, _ = cv2.connectedComponentsWithStats(1 - wall, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] * PIXEL_MM**2 >= _COMPARTMENT_MM2
    large[0] = False
    large[labelled[[0, -1], :].ravel()] = False
    large[labelled[:, [0, -1]].ravel()] = False
    return np.asarray(large[labelled])


def vault(sections: Sequence[Section | None], extents_mm: Sequence[float], *, top_last: bool) -> tuple[int, ...]:
    """Indices of the slabs of the vault, from the vertex down; ``top_last`` when the last slab is nearest to it."""
    seen = [i for i, one in enumerate(sections) if one is not None and one.area_mm2 >= _SLICE_OF_HEAD_MM2]
    if not seen:
        return ()
    height_mm = _VAULT * math.sqrt(max(one.area_mm2 for one in sections if one is not None))
    chosen, depth_mm = [], 0.0
    for index in reversed(seen) if top_last else seen:
        if depth_mm + extents_mm[index] > height_mm:
            break
        chosen.append(index)
        depth_mm += extents_mm[index]
    return tuple(chosen)


def ring(hu: NDArray[np.float32], of: Section) -> Ring:
    """Follow the skull of one slab around its middle."""
    body = np.where(of.mask, hu, np.float32(-1000.0))
    shape = (_REACH_PIXELS, _RAYS)
    flags = cv2.WARP_POLAR_LINEAR | cv2.WARP_FILL_OUTLIERS  # without it, memory is shown beyond the image
    polar = cv2.warpPolar(body, shape, of.centre, float(_REACH_PIXELS), flags)
    densest, radius_mm = polar.max(axis=1), polar.argmax(axis=1) * PIXEL_MM
    closed = densest > BONE_HU
    share = float(closed.mean())
    if share < _CLOSED_SHARE:
        return Ring(share, 0.0, sawn=False)
    points = _on_circle(radius_mm)
    return Ring(share, _widest(closed, points), _sawn(densest, points))


def opening_mm2(rings: Sequence[Ring], extents_mm: Sequence[float], at_least_mm: float) -> float:
    """Area of the openings of at least this width."""
    return sum(one.opening_mm * mm for one, mm in zip(rings, extents_mm, strict=True) if one.opening_mm >= at_least_mm)


def _on_circle(radius_mm: NDArray[np.floating]) -> NDArray[np.float64]:
    """Where each ray meets its densest bone, shape (ray, 2), in mm from the middle."""
    angle = np.arange(_RAYS) * (2 * np.pi / _RAYS)
    return np.stack([radius_mm * np.cos(angle), radius_mm * np.sin(angle)], axis=1)


def _widest(closed: NDArray[np.bool_], points: NDArray[np.float64]) -> float:
    """Longest chord over neighbouring rays that meet no bone."""
    met = np.flatnonzero(closed)
    if len(met) in (0, _RAYS):
        return 0.0
    following = np.roll(met, -1)
    open_after = (following - met) % _RAYS > 1
    if len(met) == 1 or not open_after.any():
        return 0.0
    chords = np.linalg.norm(points[following[open_after]] - points[met[open_after]], axis=1)
    return float(chords.max())


def _sawn(densest: NDArray[np.float32], points: NDArray[np.float64]) -> bool:
    """Whether two narrow gaps lie as far apart as the cuts around a bone flap."""
    around = np.concatenate([densest[-_NEIGHBOUR_RAYS:], densest, densest[:_NEIGHBOUR_RAYS]])
    windows = np.lib.stride_tricks.sliding_window_view(around, 2 * _NEIGHBOUR_RAYS + 1)
    beside = np.median(windows[:, ::4], axis=1)
    low = (densest < _GAP_SHARE * beside) & (beside >= _MATURE_HU)
    if low.sum() < 2:
        return False
    found = points[low]
    apart = np.linalg.norm(found[:, None] - found[None, :], axis=2)
    return bool(((apart >= _FLAP_MM[0]) & (apart <= _FLAP_MM[1])).any())
