"""What bone and metal do to their surroundings: halo, blooming, beam hardening, starved rays, streaks.

Beam hardening and starved rays are computed as they arise: the dense parts of a slice are projected, the
projections are falsified, and the error alone is reconstructed, on a coarse grid because it is smooth. The dark
bar between the petrous bones and the stars around metal follow without being drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from trainer.phantom.fields import Floats, ramp, smooth_image
from trainer.phantom.scene import Cut

_GRID = 80
_ANGLES = 60
"""Cells to a side of the coarse image, and views of it."""

_METAL_FROM_HU = 2500.0
"""No bone is as dense as this."""

_LIFTED_FROM = 0.15
"""Share of bone in a slice of the upper head."""

_METAL = 10.0
"""How much more metal attenuates than its HU can tell."""


@dataclass(frozen=True, slots=True)
class Beam:
    """The random constants of one scan.

    Attributes
    ----------
    cupping, halo
        HU added to the brain right under the inner table; they fall to 1/e within ``cupping_mm`` and ``halo_mm``.
        Every slice has the cupping, most have the halo.
    bloom
        Share of what bone has beyond 200 HU that spills over within ``bloom_mm`` (standard deviation).
    ragged
        HU added to an uneven layer of about ``ragged_mm`` under the inner table.
    shading
        Standard deviation in HU of a smooth unevenness over the whole brain.
    hardening
        How many cm of water a ray seems to lack, for the square of the cm of bone in its way.
    starvation
        Strength of the noise of single rays, which grows exponentially with the bone in their way; no unit.
    streak_chance, streak
        Chance of bands between dense bones in a slice of the base, and their HU.
    lift
        HU added to the inside of a slice for each share of it that is bone beyond `_LIFTED_FROM`: a scanner that takes
        the beam for softer than it is makes the brain between much bone denser. A real one was seen to add 46.
    """

    cupping: float
    cupping_mm: float
    halo: float
    halo_mm: float
    bloom: float
    bloom_mm: float
    ragged: float
    ragged_mm: float
    shading: float
    hardening: float
    starvation: float
    streak_chance: float
    streak: float
    lift: float


def draw_beam(rng: np.random.Generator) -> Beam:
    """Draw the constants of one scan."""
    (for_lift,) = rng.spawn(1)
    return Beam(
        cupping=rng.uniform(0, 8),
        cupping_mm=rng.uniform(3, 9),
        halo=float(rng.random() < 0.5) * rng.uniform(0, 24),
        halo_mm=rng.uniform(1.5, 5),
        bloom=rng.uniform(0, 0.06),
        bloom_mm=rng.uniform(1.8, 4.5),
        ragged=float(rng.random() < 0.35) * rng.uniform(5, 400),
        ragged_mm=rng.uniform(0.8, 3.5),
        shading=rng.normal(0, 1.2),
        hardening=float(rng.random() < 0.75) * rng.uniform(0.004, 0.045),
        starvation=float(rng.random() < 0.5) * rng.uniform(0.3, 1.5),
        streak_chance=float(rng.random() < 0.2) * rng.uniform(0.2, 0.9),
        streak=rng.uniform(3, 14),
        lift=float(for_lift.random() < 0.6) * for_lift.uniform(5, 60),
    )


def with_beam(ideal: Cut, beam: Beam, rng: np.random.Generator, spacing_mm: float) -> Floats:
    """HU (row, column) of a slice with what bone and metal do to it."""
    for_halo, for_shading, for_edge, for_rays, for_streaks = rng.spawn(5)
    hu = ideal.hu.copy()
    inside = ideal.inner > 0
    if inside.any():
        depth = np.maximum(ideal.inner, 0)
        glow = beam.cupping * np.exp(-depth / np.float32(beam.cupping_mm))
        if beam.halo and for_halo.random() < 0.7:
            glow += beam.halo * np.exp(-depth / np.float32(beam.halo_mm))
        glow += np.float32(beam.shading) * smooth_image(for_shading, ideal.hu.shape, 35 / spacing_mm)
        hu += glow * inside
        if beam.ragged:
            uneven = np.clip(1 + 0.7 * smooth_image(for_edge, ideal.hu.shape, 9 / spacing_mm), 0, 3)
            edge = inside & (ideal.inner < beam.ragged_mm * uneven) & (ideal.blood.max(axis=0) < 0.5)
            hu += np.float32(beam.ragged) * edge
        hu += np.float32(beam.lift * max(_bone_share(ideal) - _LIFTED_FROM, 0.0)) * ramp(ideal.inner)
    if beam.bloom:
        excess = np.clip(ideal.hu - 200, 0, 1500)
        blurred = cv2.GaussianBlur(excess, (0, 0), max(beam.bloom_mm / spacing_mm, 0.05))
        hu += np.float32(beam.bloom) * np.asarray(blurred, np.float32) * (ideal.hu < 250)
    if beam.hardening or beam.starvation:
        hu += _falsified(ideal, beam, for_rays, spacing_mm)
    if for_streaks.random() < beam.streak_chance * _base_likeness(ideal):
        hu += _streaks(ideal, beam, for_streaks, spacing_mm)
    return np.asarray(hu, np.float32)


def _falsified(ideal: Cut, beam: Beam, rng: np.random.Generator, spacing_mm: float) -> Floats:
    """Error in HU (row, column) of a reconstruction from hardened and starved rays."""
    cell_cm = ideal.hu.shape[0] * spacing_mm / _GRID / 10
    dense = np.clip((ideal.hu - 120) / 1000, 0, 2.5)
    if float(ideal.hu.max()) > _METAL_FROM_HU:
        dense = dense + np.float32(_METAL) * (ideal.hu > _METAL_FROM_HU)
    small = cv2.resize(dense.astype(np.float32), (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    rays = _projected(np.asarray(small, np.float32)) * np.float32(cell_cm)
    error = np.float32(-1000 * beam.hardening) * rays * rays
    if beam.starvation:
        grain = rng.standard_normal(rays.shape, dtype=np.float32)
        error += np.float32(4 * beam.starvation) * grain * np.exp(np.minimum(0.4 * rays, 4))
    image = _reconstructed(error) / np.float32(cell_cm)
    inside = cv2.resize(ideal.inner, (_GRID, _GRID), interpolation=cv2.INTER_NEAREST) > 4
    if inside.any():
        image -= np.float32(np.median(image[inside]))
    large = cv2.resize(image, ideal.hu.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(large, -250, 250) * ramp(ideal.inner + 8, 6), np.float32)


@lru_cache(maxsize=1)
def _ray_maps() -> tuple[Floats, Floats, Floats, Floats]:
    """Where `_projected` reads the image (column, row), and where `_reconstructed` reads the rays (bin, angle)."""
    middle = (_GRID - 1) / 2
    angles = np.pi * np.arange(_ANGLES) / _ANGLES
    cosine, sine = np.cos(angles).reshape(-1, 1, 1), np.sin(angles).reshape(-1, 1, 1)
    across = (np.arange(_GRID) - middle).reshape(1, -1, 1)
    along = (np.arange(_GRID) - middle).reshape(1, 1, -1)
    x = (across * cosine - along * sine + middle).reshape(-1, _GRID)
    y = (across * sine + along * cosine + middle).reshape(-1, _GRID)
    rows, columns = np.divmod(np.arange(_GRID * _GRID), _GRID)
    bins = np.outer(columns - middle, np.cos(angles)) + np.outer(rows - middle, np.sin(angles)) + middle
    numbers = np.broadcast_to(np.arange(_ANGLES), bins.shape)
    x32, y32, bins32, numbers32 = (np.ascontiguousarray(part, np.float32) for part in (x, y, bins, numbers))
    return x32, y32, bins32, numbers32


def _projected(image: Floats) -> Floats:
    """Sums (angle, bin) along parallel rays through ``image``, in cells."""
    x, y, _, _ = _ray_maps()
    read = np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), np.float32)
    return read.sum(axis=1, dtype=np.float32).reshape(_ANGLES, _GRID)


def _reconstructed(rays: Floats) -> Floats:
    """Filtered back-projection of ``rays`` (angle, bin), per cell."""
    padded = 2 * _GRID
    frequency = np.fft.rfftfreq(padded).astype(np.float32)
    filtered = np.fft.irfft(np.fft.rfft(rays, padded, axis=1) * (2 * frequency), padded, axis=1)[:, :_GRID]
    _, _, bins, numbers = _ray_maps()
    read = cv2.remap(filtered.astype(np.float32), bins, numbers, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    total = np.asarray(read, np.float32).sum(axis=1, dtype=np.float32).reshape(_GRID, _GRID)
    return np.asarray(total * np.float32(np.pi / 2 / _ANGLES), np.float32)


def _base_likeness(ideal: Cut) -> float:
    """0.15 for a slice of the upper head to 1 for one of the skull base, where dense bone lies inside the head."""
    return float(np.clip(0.15 + (_bone_share(ideal) - 0.25) * 2, 0.15, 1))


def _bone_share(ideal: Cut) -> float:
    """Bone over bone and brain, 0 to 1."""
    bone, brain = float(ideal.bone.sum()), float((ideal.inner > 0).sum())
    return bone / (bone + brain + 1)


def _streaks(ideal: Cut, beam: Beam, rng: np.random.Generator, spacing_mm: float) -> Floats:
    """Dark and bright bands between dense bones, and fine fans from one of them."""
    total = np.zeros(ideal.hu.shape, np.float32)
    dense = np.argwhere(ideal.bone > 0.7)
    if len(dense) < 20:
        return total
    rows = np.arange(len(total), dtype=np.float32).reshape(-1, 1)
    columns = np.arange(total.size // len(total), dtype=np.float32).reshape(1, -1)
    row = column = 0.0
    for _ in range(int(rng.integers(1, 4))):
        row, column = (float(value) for value in dense[int(rng.integers(len(dense)))])
        end_row, end_column = (float(value) for value in dense[int(rng.integers(len(dense)))])
        down, right = end_row - row, end_column - column
        length = float(np.hypot(down, right)) + 1e-3
        across = ((rows - row) * right - (columns - column) * down) * np.float32(spacing_mm / length)
        sign = -1.0 if rng.random() < 0.65 else 1.0
        strength = np.float32(sign * beam.streak * rng.uniform(0.3, 1.2))
        total += strength * np.exp(-((across / np.float32(rng.uniform(2, 8))) ** 2))
    fan = rng.standard_normal(int(rng.integers(60, 200)))
    angle = np.arctan2(rows - row, columns - column) * np.float32(len(fan) / (2 * np.pi)) + len(fan) / 2
    fading = np.exp(-np.hypot(rows - row, columns - column) * np.float32(spacing_mm / 70))
    uneven = np.interp(angle, np.arange(len(fan)), fan).astype(np.float32)
    total += np.float32(0.5 * beam.streak * rng.random()) * uneven * fading
    return np.asarray(total * ramp(ideal.inner + 6, 4), np.float32)
