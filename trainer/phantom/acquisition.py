"""What the scanner adds: halo and blooming of bone, shading, streaks, head rest, blur, noise, padding.

The noise is matched to a real head on a grid of 1 mm: weak (median 2.9 HU) and correlated, not white.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from trainer.phantom.fields import Floats, ramp, smooth_image
from trainer.phantom.scene import Cut


@dataclass(frozen=True, slots=True)
class Acquisition:
    """The random constants of one scan, HU and mm; chances are per slice."""

    cupping: float
    cupping_mm: float
    halo: float
    halo_mm: float
    bloom: float
    bloom_mm: float
    ragged: float
    ragged_mm: float
    shading: float
    streak_chance: float
    streak: float
    blur_mm: float
    sharpen: float
    noise: float
    noise_mm: float
    band_passed: bool
    rest_half_width_mm: float
    rest_depth_mm: float
    rest_shift_mm: float
    rest_wall_mm: float
    rest_hu: float
    pad: bool
    field_radius_mm: float
    padding: float


def draw_acquisition(rng: np.random.Generator) -> Acquisition:
    """Draw the constants of one scan."""
    return Acquisition(
        cupping=rng.uniform(0, 8),
        cupping_mm=rng.uniform(3, 9),
        halo=float(rng.random() < 0.5) * rng.uniform(0, 24),
        halo_mm=rng.uniform(1.5, 5),
        bloom=rng.uniform(0, 0.06),
        bloom_mm=rng.uniform(1.8, 4.5),
        ragged=float(rng.random() < 0.35) * rng.uniform(5, 400),
        ragged_mm=rng.uniform(0.8, 3.5),
        shading=rng.normal(0, 1.2),
        streak_chance=rng.uniform(0, 0.8),
        streak=rng.uniform(3, 18),
        blur_mm=rng.uniform(0.35, 1.2),
        sharpen=float(rng.random() < 0.25) * rng.uniform(0.2, 0.9),
        noise=float(np.exp(rng.normal(np.log(3.0), 0.4))),
        noise_mm=rng.uniform(0.4, 0.95),
        band_passed=bool(rng.random() < 0.4),
        rest_half_width_mm=float(rng.random() < 0.7) * rng.uniform(75, 110),
        rest_depth_mm=rng.uniform(62, 90),
        rest_shift_mm=rng.normal(6, 8),
        rest_wall_mm=rng.uniform(1.0, 3.0),
        rest_hu=rng.uniform(-200, 600),
        pad=bool(rng.random() < 0.3),
        field_radius_mm=rng.uniform(108, 125),
        padding=float(rng.choice([-1024.0, -1500.0, -2000.0])),
    )


def _blur(image: Floats, sigma_px: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma_px, 0.05)), np.float32)


def with_artefacts(ideal: Cut, scan: Acquisition, rng: np.random.Generator, spacing_mm: float) -> Floats:
    """HU (row, column) of a slice with what bone and the head rest do to their surroundings."""
    hu = ideal.hu.copy()
    depth = np.maximum(ideal.inner, 0)
    inside = ideal.inner > 0
    if inside.any():
        glow = scan.cupping * np.exp(-depth / np.float32(scan.cupping_mm))
        if scan.halo and rng.random() < 0.7:
            glow += scan.halo * np.exp(-depth / np.float32(scan.halo_mm))
        hu += glow * inside
        hu += scan.shading * smooth_image(rng, ideal.hu.shape, 35 / spacing_mm) * inside
        if scan.ragged:
            uneven = np.clip(1 + 0.7 * smooth_image(rng, ideal.hu.shape, 9 / spacing_mm), 0, 3)
            edge = inside & (ideal.inner < scan.ragged_mm * uneven) & (ideal.blood.max(axis=0) < 0.5)
            hu += scan.ragged * edge
    excess = np.clip(ideal.hu - 200, 0, 1500)
    hu += np.float32(scan.bloom) * _blur(excess, scan.bloom_mm / spacing_mm) * (ideal.hu < 250)
    if rng.random() < scan.streak_chance * _base_likeness(ideal):
        hu += _streaks(ideal, scan, rng, spacing_mm)
    if scan.rest_half_width_mm:
        _paint_head_rest(hu, scan, spacing_mm)
    return hu


def _base_likeness(ideal: Cut) -> float:
    """0.15 for a slice of the upper head to 1 for one of the skull base, where dense bone lies inside the head."""
    bone, brain = float(ideal.bone.sum()), float((ideal.inner > 0).sum())
    return float(np.clip(0.15 + (bone / (bone + brain + 1) - 0.25) * 2, 0.15, 1))


def _streaks(ideal: Cut, scan: Acquisition, rng: np.random.Generator, spacing_mm: float) -> Floats:
    """Dark and bright bands between dense bones, and fine fans from one of them."""
    total = np.zeros(ideal.hu.shape, np.float32)
    dense = np.argwhere(ideal.bone > 0.7)
    if len(dense) < 20:
        return total
    rows = np.arange(len(total), dtype=np.float32).reshape(-1, 1)
    columns = np.arange(total.size // len(total), dtype=np.float32).reshape(1, -1)
    for _ in range(int(rng.integers(1, 4))):
        row, column = (float(value) for value in dense[int(rng.integers(len(dense)))])
        end_row, end_column = (float(value) for value in dense[int(rng.integers(len(dense)))])
        down, right = end_row - row, end_column - column
        length = float(np.hypot(down, right)) + 1e-3
        across = ((rows - row) * right - (columns - column) * down) * np.float32(spacing_mm / length)
        sign = -1.0 if rng.random() < 0.65 else 1.0
        strength = np.float32(sign * scan.streak * rng.uniform(0.3, 1.2))
        total += strength * np.exp(-((across / np.float32(rng.uniform(2, 8))) ** 2))
    angle = np.arctan2(rows - row, columns - column)
    total += np.float32(0.3 * scan.streak * rng.random()) * np.cos(
        angle * int(rng.integers(12, 50)) + rng.uniform(0, 6)
    )
    return np.asarray(total * ramp(ideal.inner + 6, 4), np.float32)


def _paint_head_rest(hu: Floats, scan: Acquisition, spacing_mm: float) -> None:
    """A thin shell of plastic below the head with foam in it, where there is air."""
    rows, columns = np.ogrid[: hu.shape[0], : hu.shape[1]]
    y = ((rows - (hu.shape[0] - 1) / 2) * spacing_mm - scan.rest_shift_mm).astype(np.float32)
    x = ((columns - (hu.shape[1] - 1) / 2) * spacing_mm).astype(np.float32)
    radius = np.sqrt((y / scan.rest_depth_mm) ** 2 + (x / scan.rest_half_width_mm) ** 2) * scan.rest_depth_mm
    shell = ramp(scan.rest_wall_mm / 2 - np.abs(radius - np.float32(scan.rest_depth_mm))) * (y > -8) * (hu < -600)
    hu += (scan.rest_hu - hu) * shell


def detected(hu: Floats, scan: Acquisition, rng: np.random.Generator, spacing_mm: float) -> Floats:
    """HU (row, column) after blur, kernel, noise and the padding outside the scan field."""
    image = _blur(hu, scan.blur_mm / spacing_mm)
    if scan.sharpen:
        image = image + np.float32(scan.sharpen) * (image - _blur(image, 1.4 / spacing_mm)) * (image < 200)
    noise = smooth_image(rng, hu.shape, scan.noise_mm / spacing_mm)
    if scan.band_passed:
        noise -= _blur(noise, 3 / spacing_mm)
        noise /= noise.std()
    attenuating = _thickness(image, spacing_mm)
    image = image + np.float32(scan.noise) * noise * attenuating * (image > -700)
    if scan.pad:
        rows, columns = np.ogrid[: hu.shape[0], : hu.shape[1]]
        centre = [(side - 1) / 2 for side in hu.shape]
        radius = np.hypot(rows - centre[0], columns - centre[1]) * spacing_mm
        image = np.where(radius > scan.field_radius_mm, np.float32(scan.padding), image)
    return np.asarray(image, np.float32)


def _thickness(image: Floats, spacing_mm: float) -> Floats:
    """How strong noise is: 0.55 at the edge of the head, 1.25 in the middle of it."""
    shrink = max(1, round(8 / spacing_mm))
    small = cv2.resize(
        (image > -300).astype(np.float32), None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA
    )
    soft = _blur(np.asarray(small, np.float32), 2.0)
    return np.asarray(0.55 + 0.7 * cv2.resize(soft, image.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
