"""The skull as a ring on slabs of 2 mm pixels: what it encloses, and where it is open.

Two ways of looking. A flood from the border finds what a closed ring of bone cuts off, in every slab. Rays from the
middle of the head find how far the ring is open, but only below the vertex: there a skull is closed all round, while
the orbits in front, and everything further down, have natural openings.
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

_RAYS = 240
_REACH_PIXELS = 64
"""Rays of 128 mm: half of a very long head, and no table."""
_CLOSED_SHARE = 1 / 3
"""A slab where fewer rays meet bone is scalp or hair above the vertex, not an open skull."""
_GAP_SHARE = 0.5
"""A narrow gap has less than this share of the bone beside it: a saw cut of 2 mm and more at 2 mm pixels."""
_NEIGHBOUR_RAYS = 20
_FLAP_MM = (30.0, 100.0)
"""How far two saw cuts of one bone flap lie apart."""
_CUT_MM = 14.0
"""Widest gap, from bone to bone on 2 mm pixels, that may be a saw cut; thin bone fades over more."""
_MATURE_HU = 600.0
"""Bone of a ring whose sutures are closed; an infant's open sutures look like saw cuts."""
_MIRRORED_DEGREES = 25.0
"""Two gaps that mirror each other this well are the two sides of a suture; a flap is sawn on one side."""
_FRONT_DEGREES = 45.0
"""On either side of the front: where orbits and frontal sinuses begin, below the vault."""


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
    opening_mm, opening_beside_mm : float
        Widest opening without bone, as a chord between its ends: of all, and of those that do not look forward.
    sawn : bool
        Whether the ring has two narrow gaps as far apart as those around a bone flap, on one side.
    """

    opening_mm: float
    opening_beside_mm: float
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


def from_vertex(
    sections: Sequence[Section | None], extents_mm: Sequence[float], *, top_last: bool
) -> tuple[tuple[int, float], ...]:
    """Slabs from the vertex down: index, and depth of the lower edge against the root of the largest section.

    That root is 145 to 170 mm in an adult. Where the scan begins below the vertex, it has lost as much of the height as
    would be missing of a sphere. ``top_last`` when the last slab is nearest to the vertex.
    """
    areas_mm2 = [0.0 if one is None else one.area_mm2 for one in sections]
    seen = [index for index, area_mm2 in enumerate(areas_mm2) if area_mm2 >= _SLICE_OF_HEAD_MM2]
    if not seen:
        return ()
    order = seen[::-1] if top_last else seen
    largest_mm2 = max(areas_mm2)
    radius_mm = math.sqrt(largest_mm2 / math.pi)
    lost_mm = radius_mm * (1 - math.sqrt(1 - areas_mm2[order[0]] / largest_mm2)) - extents_mm[order[0]] / 2
    depths_mm = max(lost_mm, 0.0) + np.cumsum([extents_mm[index] for index in order])
    return tuple(zip(order, (depths_mm / math.sqrt(largest_mm2)).tolist(), strict=True))


def rays(hu: NDArray[np.float32], of: Section) -> NDArray[np.float32]:
    """HU of the body from its middle outwards, shape (ray, sample): all round from the right of the image down."""
    body = np.where(of.mask, hu, np.float32(-1000.0))
    shape = (_REACH_PIXELS, _RAYS)
    flags = cv2.WARP_POLAR_LINEAR | cv2.WARP_FILL_OUTLIERS  # without it, memory is shown beyond the image
    return np.asarray(cv2.warpPolar(body, shape, of.centre, float(_REACH_PIXELS), flags), np.float32)


def ring(polar: NDArray[np.float32], back_degrees: float) -> Ring:
    """Follow the skull of one slab along its `rays`; ``back_degrees`` is the direction of the patient's back."""
    densest, radius_mm = polar.max(axis=1), polar.argmax(axis=1) * PIXEL_MM
    closed = densest > BONE_HU
    if closed.mean() < _CLOSED_SHARE:
        return Ring(0.0, 0.0, sawn=False)
    points = _on_circle(radius_mm)
    return Ring(*_widest(closed, points, back_degrees), _sawn(densest, points, back_degrees))


def _on_circle(radius_mm: NDArray[np.floating]) -> NDArray[np.float64]:
    """Where each ray meets its densest bone, shape (ray, 2), in mm from the middle."""
    angle = np.arange(_RAYS) * (2 * np.pi / _RAYS)
    return np.stack([radius_mm * np.cos(angle), radius_mm * np.sin(angle)], axis=1)


def _degrees(ray: NDArray[np.number]) -> NDArray[np.float64]:
    return np.asarray(ray, np.float64) * (360.0 / _RAYS)


def _apart(one: NDArray[np.float64], other: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """How far two directions lie apart, 0 to 180 degrees."""
    return np.asarray(np.abs((one - other + 180.0) % 360.0 - 180.0))


def _widest(closed: NDArray[np.bool_], points: NDArray[np.float64], back_degrees: float) -> tuple[float, float]:
    """Longest chord over neighbouring rays that meet no bone: of all, and of those beside and behind."""
    met = np.flatnonzero(closed)
    following = np.roll(met, -1)
    missing = (following - met - 1) % _RAYS
    ends = missing > 0
    if not ends.any():
        return 0.0, 0.0
    chords = np.linalg.norm(points[following[ends]] - points[met[ends]], axis=1)
    middle = _degrees(met[ends] + (missing[ends] + 1) / 2)
    beside = chords[_apart(middle, back_degrees) <= 180.0 - _FRONT_DEGREES]
    return float(chords.max()), float(beside.max(initial=0.0))


def _sawn(densest: NDArray[np.float32], points: NDArray[np.float64], back_degrees: float) -> bool:
    """Whether two narrow gaps lie as far apart as the cuts around a bone flap, and do not mirror each other."""
    low = np.flatnonzero(densest < _GAP_SHARE * densest.max())
    if len(low) < 2:
        return False
    neighbours = np.arange(-_NEIGHBOUR_RAYS, _NEIGHBOUR_RAYS + 1, 4)
    beside = np.median(densest[(low[:, None] + neighbours) % _RAYS], axis=1)
    gap = np.zeros(_RAYS, np.bool_)
    gap[low[(densest[low] < _GAP_SHARE * beside) & (beside >= _MATURE_HU)]] = True
    cuts = _narrow(gap, points)
    apart_mm = np.linalg.norm(points[cuts][:, None] - points[cuts][None, :], axis=2)
    flap = (apart_mm >= _FLAP_MM[0]) & (apart_mm <= _FLAP_MM[1])
    direction = _degrees(cuts)
    mirrored = _apart(direction[:, None], 2 * back_degrees - direction[None, :]) < _MIRRORED_DEGREES
    return bool((flap & ~mirrored).any())


def _narrow(gap: NDArray[np.bool_], points: NDArray[np.float64]) -> NDArray[np.intp]:
    """The middle ray of every run of ``gap`` that is narrow enough."""
    first = np.flatnonzero(gap & ~np.roll(gap, 1))
    last = np.flatnonzero(gap & ~np.roll(gap, -1))
    if len(first) and last[0] < first[0]:
        last = np.append(last[1:], last[0] + _RAYS)
    wide_mm = np.linalg.norm(points[(last + 1) % _RAYS] - points[first - 1], axis=1)
    return np.asarray(((first + last) // 2 % _RAYS)[wide_mm <= _CUT_MM], np.intp)
