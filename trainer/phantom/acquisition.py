"""What the scanner adds: the beam, the head rest, motion, the kernel, noise, and how numbers are stored."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import cv2
import numpy as np

from trainer.phantom.beam import Beam, draw_beam, with_beam
from trainer.phantom.fields import Floats, ramp
from trainer.phantom.ingredients import Ingredient, left_out
from trainer.phantom.motion import Motion, draw_motion, shaken
from trainer.phantom.noise import Kernel, draw_kernel, noise_of, resolved, white
from trainer.phantom.scene import Cut

LOWEST_HU, HIGHEST_HU = -1024.0, 3071.0
"""What 12 bits hold with an intercept of -1024."""

_SHARP_MM = 0.35
"""Blur of a skull that nothing softens: the sharpest kernel."""


@dataclass(frozen=True, slots=True)
class HeadRest:
    """The head rest: a shell of an ellipse, open to the front; no width, no rest.

    ``half_width_mm`` and ``depth_mm`` are its half axes, ``shift_mm`` how far its centre lies behind that of the
    field of view, ``wall_mm`` how thick the shell is.
    """

    half_width_mm: float
    depth_mm: float
    shift_mm: float
    wall_mm: float
    hu: float


@dataclass(frozen=True, slots=True)
class Storage:
    """How numbers are stored: padding outside the scan field, the largest HU, and pixels that overflow.

    ``padding`` is the HU beyond ``field_radius_mm`` where ``pad`` is set, ``ceiling_hu`` where dense bone is cut
    off, ``wrapped`` the share of the air beside the skin that comes out as the largest number.
    """

    pad: bool
    field_radius_mm: float
    padding: float
    ceiling_hu: float
    wrapped: float


@dataclass(frozen=True, slots=True)
class Acquisition:
    """The random constants of one scan; ``profile`` as in `trainer.phantom.scene.cut`."""

    beam: Beam
    kernel: Kernel
    motion: Motion
    rest: HeadRest
    storage: Storage
    profile: float


def draw_acquisition(rng: np.random.Generator, *, without: Collection[str] = ()) -> Acquisition:
    """Draw the constants of one scan; each part has its own random stream.

    Parameters
    ----------
    without : collection of str
        Ingredients that are switched off, see `trainer.phantom.ingredients.Ingredient`.
    """
    for_beam, for_kernel, for_motion, for_rest, for_storage, for_profile = rng.spawn(6)
    missing = left_out(without)
    beam, kernel = draw_beam(for_beam), draw_kernel(for_kernel)
    if Ingredient.INNER_TABLE in missing:
        beam = replace(beam, cupping=0.0, halo=0.0, bloom=0.0, ragged=0.0)
        kernel = replace(kernel, blur_mm=_SHARP_MM)
    if Ingredient.NOISE in missing:
        beam, kernel = replace(beam, starvation=0.0), white(kernel)
    return Acquisition(
        beam=beam,
        kernel=kernel,
        motion=draw_motion(for_motion),
        rest=HeadRest(
            half_width_mm=float(for_rest.random() < 0.7) * for_rest.uniform(75, 110),
            depth_mm=for_rest.uniform(62, 90),
            shift_mm=for_rest.normal(6, 8),
            wall_mm=for_rest.uniform(1.0, 3.0),
            hu=for_rest.uniform(-200, 600),
        ),
        storage=Storage(
            pad=bool(for_storage.random() < 0.3),
            field_radius_mm=for_storage.uniform(108, 125),
            padding=float(for_storage.choice([-1024.0, -1500.0, -2000.0])),
            ceiling_hu=for_storage.uniform(1200, 2200) if for_storage.random() < 0.06 else HIGHEST_HU,
            wrapped=float(for_storage.random() < 0.03) * for_storage.uniform(0.002, 0.03),
        ),
        profile=float(for_profile.random() < 0.5) * for_profile.uniform(0, 0.5),
    )


def with_artefacts(ideal: Cut, scan: Acquisition, rng: np.random.Generator, spacing_mm: float) -> Floats:
    """HU (row, column) of a slice with what bone, metal, motion and the head rest do to it; `detected` comes after."""
    for_beam, for_motion = rng.spawn(2)
    hu = shaken(with_beam(ideal, scan.beam, for_beam, spacing_mm), scan.motion, for_motion, spacing_mm)
    if scan.rest.half_width_mm:
        _paint_head_rest(hu, scan.rest, spacing_mm)
    return hu


def _paint_head_rest(hu: Floats, rest: HeadRest, spacing_mm: float) -> None:
    """A thin shell of plastic below the head with foam in it, where there is air."""
    first = max(0, int((hu.shape[0] - 1) / 2 + (rest.shift_mm - 8) / spacing_mm))
    part = hu[first:]
    rows, columns = np.ogrid[first : hu.shape[0], : hu.shape[1]]
    y = ((rows - (hu.shape[0] - 1) / 2) * spacing_mm - rest.shift_mm).astype(np.float32)
    x = ((columns - (hu.shape[1] - 1) / 2) * spacing_mm).astype(np.float32)
    flat = np.float32(rest.depth_mm / rest.half_width_mm)
    radius = np.sqrt(y * y + (x * flat) ** 2)
    shell = ramp(rest.wall_mm / 2 - np.abs(radius - np.float32(rest.depth_mm))) * (y > -8) * (part < -600)
    part += (rest.hu - part) * shell


def detected(hu: Floats, scan: Acquisition, rng: np.random.Generator, spacing_mm: float) -> Floats:
    """HU (row, column) after kernel, noise, overflow, and the padding outside the scan field."""
    for_noise, for_wrap = rng.spawn(2)
    image = resolved(hu, scan.kernel, spacing_mm)
    if scan.kernel.noise:
        image += noise_of(image, scan.kernel, for_noise, spacing_mm)
    storage = scan.storage
    if storage.ceiling_hu < HIGHEST_HU:
        np.minimum(image, np.float32(storage.ceiling_hu), out=image)
    if storage.wrapped:
        _wrap(image, storage.wrapped, for_wrap, spacing_mm)
    if storage.pad:
        down, right = (((np.arange(side) - (side - 1) / 2) * spacing_mm) ** 2 for side in hu.shape)
        image[down[:, None] + right > storage.field_radius_mm**2] = np.float32(storage.padding)
    return image


def _wrap(image: Floats, share: float, rng: np.random.Generator, spacing_mm: float) -> None:
    """Let some pixels of the air beside the skin fall below the smallest number and come out as the largest."""
    body = (image > -300).astype(np.uint8)
    reach = 2 * max(1, round(4 / spacing_mm)) + 1
    beside = np.asarray(cv2.dilate(body, np.ones((reach, reach), np.uint8)), bool) & (image < -900)
    rows, columns = np.nonzero(beside)
    chosen = rng.random(len(rows)) < share
    image[rows[chosen], columns[chosen]] = HIGHEST_HU
