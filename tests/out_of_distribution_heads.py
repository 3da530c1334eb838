"""SYNTHETIC conditions painted into heads: contrast, openings of the skull, atrophy, blood, oedema.

What is done is painted in mm with parameters drawn at random, so that another seed gives other heads. Sizes and HU come
from anatomy: see each painter.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from triage.domain.volume import Volume

Floats = NDArray[np.float32]


class Inside:
    """The inside of a skull: its mask, and places in it in mm (z down from its top, y to the back, x to the right)."""

    def __init__(self, volume: Volume) -> None:
        self.volume, self.mm = volume, volume.pixel_spacing_mm[0]
        self.mask = np.stack([_filled(image, self.mm) for image in volume.hu])
        areas = self.mask.sum(axis=(1, 2)) * self.mm**2
        shown = np.flatnonzero(areas > 400)
        self.top, self.scale = int(shown[-1]), float(np.sqrt(areas.max() / 15000))
        rows, columns = np.nonzero(self.mask[int(areas.argmax())])
        self.front, self.back = rows.min() * self.mm, rows.max() * self.mm
        self.middle, self.half_width = columns.mean() * self.mm, np.ptp(columns) * self.mm / 2

    def slice_at(self, depth_mm: float) -> int:
        """Index of the slice this far below the top, by the adult's measure."""
        heights = self.volume.stack.distances_mm
        return int(np.abs(heights - (heights[self.top] - depth_mm * self.scale)).argmin())

    def wall(self, index: int, angle: float, inset_mm: float) -> tuple[float, float, float] | None:
        """A point beside the inner table in a slice, at an angle from the right towards the back."""
        rows, columns = np.nonzero(self.mask[index])
        if len(rows) < 50:
            return None
        y, x = rows * self.mm - rows.mean() * self.mm, columns * self.mm - columns.mean() * self.mm
        along = np.where(
            np.abs(-y * np.cos(angle) + x * np.sin(angle)) < 2 * self.mm, x * np.cos(angle) + y * np.sin(angle), -1
        )
        reach = along.max() - inset_mm
        return index, rows.mean() * self.mm + reach * np.sin(angle), columns.mean() * self.mm + reach * np.cos(angle)


def _filled(image: Floats, mm: float) -> NDArray[np.bool_]:
    bone = (image > 300).astype(np.uint8)
    wall = cv2.morphologyEx(bone, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - wall, connectivity=4)
    kept = np.zeros(image.shape, bool)
    for label in range(1, count):
        at_border = label in labels[[0, -1]] or label in labels[:, [0, -1]]
        if not at_border and stats[label, cv2.CC_STAT_AREA] * mm**2 > 400:
            kept |= labels == label
    return kept


def _tube(amount: Floats, points: list[tuple[float, float, float] | None], radius_mm: float, mm: float) -> None:
    """Add a vessel through ``points`` (slice, y mm, x mm) to the share of each voxel that is vessel."""
    known = np.array([p for p in points if p is not None], float)
    if len(known) < 2:
        return
    pieces = []
    for start, end in pairwise(known):
        count = 1 + int(np.linalg.norm((end - start)[1:]) + 6 * abs(end[0] - start[0]))
        pieces.append(np.linspace(start, end, count))
    reach = int(radius_mm / mm) + 2
    for z, y, x in np.concatenate(pieces):
        row, column = round(y / mm), round(x / mm)
        window = np.s_[row - reach : row + reach + 1, column - reach : column + reach + 1]
        rows, columns = np.mgrid[window[0], window[1]]
        apart = np.hypot(rows * mm - y, columns * mm - x)
        share = np.clip((radius_mm - apart) / mm + 0.5, 0, 1)
        for index in (int(np.floor(z)), int(np.floor(z)) + 1):
            weight = 1 - abs(z - index)
            if 0 <= index < len(amount) and weight > 0:
                held = amount[index][window]
                np.maximum(held, (share * min(1.0, 2 * weight))[: held.shape[0], : held.shape[1]], out=held)


def contrast(volume: Volume, rng: np.random.Generator) -> Volume:
    """Enhanced sinuses and arteries at 120 to 250 HU.

    Superior sagittal sinus 4 mm wide in front and 7 to 10 mm behind, transverse sinuses 6 to 9 mm, straight sinus and
    vein of Galen 4 to 6 mm, arteries and cortical veins 2 to 3.5 mm.
    """
    inside = Inside(volume)
    amount = np.zeros_like(volume.hu)
    mm, size = inside.mm, inside.scale
    torcula = inside.slice_at(95)
    length, middle = inside.back - inside.front, inside.middle

    def at(depth: float, along: float, aside: float = 0.0) -> tuple[float, float, float]:
        return inside.slice_at(depth), inside.front + along * length, middle + aside * size

    down = range(inside.top, torcula - 1, -1)
    behind = rng.uniform(7, 10) / 2 * size
    _tube(amount, [inside.wall(i, np.pi / 2, 0.8 * behind) for i in down], behind, mm)
    _tube(amount, [inside.wall(i, -np.pi / 2, 1.5) for i in down], 2.0 * size, mm)
    crest = [inside.wall(inside.top, side * np.pi / 2, 0) for side in (-1, 1)]
    _tube(amount, crest, 3.3 * size, mm)
    for side in (0.0, np.pi):
        turn = np.linspace(np.pi / 2, 0.15 * np.pi, 12)
        ring = [inside.wall(torcula, abs(side - angle), 3.0) for angle in turn]
        _tube(amount, ring, rng.uniform(3, 4.5) * size, mm)
    _tube(amount, [at(65, 0.58), at(78, 0.72), at(92, 0.95)], rng.uniform(2, 3) * size, mm)
    _tube(amount, [at(70, 0.35), at(64, 0.55)], 1.2 * size, mm)
    _tube(amount, [at(82, 0.38), at(62, 0.22), at(48, 0.35), at(44, 0.6)], 1.1 * size, mm)
    for aside in (-1, 1):
        for along in rng.uniform(0.35, 0.65, 4):
            bend = rng.uniform(35, 48)
            over = at(62, along, bend * aside), at(40, along, 0.95 * bend * aside)
            _tube(amount, [at(88, 0.4, 10 * aside), at(82, 0.42, 35 * aside), *over], 1.2 * size, mm)
    for _ in range(int(rng.integers(10, 18))):
        angle, low = rng.uniform(0, 2 * np.pi), inside.slice_at(rng.uniform(45, 75))
        _tube(amount, [inside.wall(i, angle, 3.0) for i in range(inside.top - 1, low, -1)], rng.uniform(1, 1.7), mm)
    amount *= volume.hu < 300
    agent = rng.uniform(120, 250)
    tissue = inside.mask & (volume.hu < 100)
    hu = volume.hu + tissue * np.float32(rng.uniform(2, 6))
    return replace(volume, hu=(hu * (1 - amount) + agent * amount).astype(np.float32))


def atrophy(volume: Volume, rng: np.random.Generator) -> Volume:
    """Fluid of 4 to 9 mm between brain and skull."""
    inside = Inside(volume)
    hu = volume.hu.copy()
    for image, mask in zip(hu, inside.mask, strict=True):
        depth_mm = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5) * inside.mm
        image[(depth_mm > 0) & (depth_mm < rng.uniform(4, 9)) & (image < 60)] = 8.0
    return replace(volume, hu=hu)


def large_bleed(volume: Volume, rng: np.random.Generator) -> Volume:
    """A ball of blood of 40 to 110 ml at 60 to 88 HU."""
    inside = Inside(volume)
    heights = volume.stack.distances_mm
    away = (heights - heights[inside.slice_at(60)])[:, None, None] ** 2
    y = np.arange(volume.hu.shape[1]) * inside.mm - (inside.front + inside.back) / 2
    x = np.arange(volume.hu.shape[2]) * inside.mm - inside.middle - rng.uniform(-30, 30) * inside.scale
    away = away + (y**2)[None, :, None] + (x**2)[None, None, :]
    ball = (away < (rng.uniform(21, 30) * inside.scale) ** 2) & inside.mask
    return replace(volume, hu=np.where(ball, np.float32(rng.uniform(60, 88)), volume.hu).astype(np.float32))


def oedema(volume: Volume, rng: np.random.Generator) -> Volume:
    """One half of the brain 6 to 14 HU darker."""
    inside = Inside(volume)
    half = np.arange(volume.hu.shape[2]) * inside.mm > inside.middle
    return replace(volume, hu=volume.hu - np.float32(rng.uniform(6, 14)) * (inside.mask & half).astype(np.float32))


def _window_in_skull(
    volume: Volume, rng: np.random.Generator, along_mm: float, high_mm: float
) -> tuple[Floats, Floats]:
    """Distance in mm (negative within) from an ellipse on one side of the vault, and 1 on that side; both per voxel.

    Measured along the skull, so that an edge stands upright on it as a saw does.
    """
    inside = Inside(volume)
    heights = volume.stack.distances_mm - volume.stack.distances_mm[inside.top]
    z = heights[:, None, None] + 65 * inside.scale
    y = (np.arange(volume.hu.shape[1]) * inside.mm - (inside.front + inside.back) / 2)[None, :, None]
    x = (np.arange(volume.hu.shape[2]) * inside.mm - inside.middle)[None, None, :]
    outwards = 70 / np.sqrt(z**2 + y**2 + x**2 + 1)
    up = z * outwards - (65 - rng.uniform(0.5, 0.6) * high_mm - 8)
    back = y * outwards - rng.uniform(-15, 15)
    radius = np.sqrt((up / (high_mm / 2)) ** 2 + (back / (along_mm / 2)) ** 2) + 1e-6
    distance = (radius - 1) * np.hypot(up, back) / radius * inside.scale
    side = np.broadcast_to(rng.choice([-1, 1]) * x > 4, distance.shape)
    return distance.astype(np.float32), side.astype(np.float32)


def craniectomy(volume: Volume, rng: np.random.Generator) -> Volume:
    """Bone missing over 90 to 140 by 75 to 110 mm on one side (12 cm and more are advised), the brain bulging."""
    distance, side = _window_in_skull(volume, rng, rng.uniform(90, 140), rng.uniform(75, 110))
    hole = (distance < 0) & (side > 0)
    hu = volume.hu.copy()
    cut = hole & (hu > 100)
    soft = rng.normal(rng.uniform(20, 38), 3, hu.shape).astype(np.float32)
    hu[cut] = soft[cut]
    bulge = max(1, round(rng.uniform(0, 12) / volume.pixel_spacing_mm[0]))
    for index in range(len(hu)):
        body = (hu[index] > -200).astype(np.uint8)
        wider = cv2.dilate(body, np.ones((2 * bulge + 1, 2 * bulge + 1), np.uint8)) > 0
        grown = wider & (hu[index] < -200) & hole[index]
        hu[index][grown] = soft[index][grown]
    return replace(volume, hu=hu)


def flap(volume: Volume, rng: np.random.Generator, kerf_mm: float | None = None) -> Volume:
    """A bone flap put back: saw cuts of 1.8 to 3 mm around 60 to 100 by 55 to 85 mm, with four burr holes of 12 mm."""
    distance, side = _window_in_skull(volume, rng, rng.uniform(60, 100), rng.uniform(55, 85))
    kerf = rng.uniform(1.8, 3.0) if kerf_mm is None else kerf_mm
    mm = volume.pixel_spacing_mm[0]
    cut = np.clip((kerf / 2 - np.abs(distance)) / mm + 0.5, 0, min(1.0, kerf / mm)) * side
    hu = np.where(volume.hu > 60, volume.hu * (1 - cut) + 35 * cut, volume.hu).astype(np.float32)
    edge = np.argwhere((np.abs(distance) < 2) & (side > 0) & (volume.hu > 300))
    heights, rows, columns = volume.stack.distances_mm, np.arange(hu.shape[1]) * mm, np.arange(hu.shape[2]) * mm
    for index, row, column in edge[rng.integers(len(edge), size=4)]:
        apart = (heights - heights[index])[:, None, None] ** 2 + ((rows - row * mm) ** 2)[None, :, None]
        hole = np.sqrt(apart + ((columns - column * mm) ** 2)[None, None, :]) < 7
        hu[hole & (hu > 60)] = 35.0
    return replace(volume, hu=hu)
