"""Kernel and noise of a reconstruction.

A real head on a grid of 1.5 mm has noise of 3.4 HU (2.9 to 3.8, its high-pass part) whose neighbours correlate
by 0.55; the first made heads had 5.8 HU and 0.33.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from trainer.phantom.fields import Floats, smooth_image

_UNDERSHOOT_HU, _OVERSHOOT_HU = 10.0, 40.0
"""A scanner corrects its sharp kernels beside bone: no dark ring may lie under every skull."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """The random constants of one scan, HU and mm.

    ``blur_mm`` is the standard deviation of its point spread, ``sharpen`` the share of the lost edges that it puts
    back. ``noise`` is the standard deviation in HU, ``noise_mm`` the width of the finest grain (0: white),
    ``grain_mm`` that of the coarsest, beyond which the share ``band`` of the noise is missing, as a ramp filter
    leaves it out.
    """

    blur_mm: float
    sharpen: float
    noise: float
    noise_mm: float
    grain_mm: float
    band: float


def draw_kernel(rng: np.random.Generator) -> Kernel:
    """Draw a kernel from smooth to sharp; sharp ones show stronger and finer noise."""
    sharp = rng.random()
    return Kernel(
        blur_mm=float(np.clip(1.15 - 0.8 * sharp + rng.normal(0, 0.08), 0.3, 1.25)),
        sharpen=max(0.0, sharp - 0.65) * rng.uniform(0, 2.4),
        noise=float(np.exp(rng.normal(np.log(3.4), 0.28))) * (0.8 + 0.4 * sharp),
        noise_mm=float(np.clip(0.95 - 0.4 * sharp + rng.normal(0, 0.1), 0.4, 1.1)),
        grain_mm=rng.uniform(2.2, 4.5),
        band=rng.uniform(0.2, 1.0),
    )


def white(kernel: Kernel) -> Kernel:
    """The same kernel with the noise of a bad generator: white, and far too strong."""
    return Kernel(kernel.blur_mm, kernel.sharpen, noise=6.0, noise_mm=0.0, grain_mm=3.0, band=0.0)


def _blurred(image: Floats, sigma_px: float) -> Floats:
    """Gaussian blur."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma_px, 0.05)), np.float32)


def resolved(hu: Floats, kernel: Kernel, spacing_mm: float) -> Floats:
    """HU (row, column) as sharp as the kernel makes them."""
    image = _blurred(hu, kernel.blur_mm / spacing_mm)
    if kernel.sharpen:
        crisp = np.float32(kernel.sharpen) * (image - _blurred(image, 1.4 / spacing_mm))
        image = image + np.clip(crisp, -_UNDERSHOOT_HU, _OVERSHOOT_HU) * (image < 200)
    return np.asarray(image, np.float32)


def noise_of(image: Floats, kernel: Kernel, rng: np.random.Generator, spacing_mm: float) -> Floats:
    """Noise in HU (row, column), stronger in the middle of the head than at its edge, none in air."""
    shape = (image.shape[0], image.shape[1])
    noise = smooth_image(rng, shape, kernel.noise_mm / spacing_mm)
    if kernel.band:
        shrink = max(1, int(kernel.grain_mm / spacing_mm / 2))
        small = cv2.resize(noise, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
        coarse = _blurred(np.asarray(small, np.float32), kernel.grain_mm / spacing_mm / shrink)
        noise -= np.float32(kernel.band) * cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_LINEAR)
        noise /= noise.std()
    return np.asarray(np.float32(kernel.noise) * noise * _attenuation(image, spacing_mm) * (image > -700), np.float32)


def _attenuation(image: Floats, spacing_mm: float) -> Floats:
    """How strong noise is: 0.55 at the edge of the head, 1.25 in the middle of it."""
    shrink = max(1, round(8 / spacing_mm))
    small = cv2.resize(
        (image > -300).astype(np.float32), None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA
    )
    soft = 0.55 + 0.7 * _blurred(np.asarray(small, np.float32), 2.0)
    return np.asarray(cv2.resize(soft, image.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
