"""From a source image to a square of the cache, its mask by share of area.

``resize`` shrinks the whole image to the square, rows and columns each by their own factor, as the papers do: an image
that is not square changes its proportions. ``raster`` cuts a square of fixed mm about the centre of the image, as the
daemon does, and what lies outside the image is air. Both take the mean of what a pixel covers.

A pixel of a mask is blood where at least half of its area was outlined, and then of the type that covers most of it.
Taking the nearest source pixel instead would drop or widen a thin lesion by chance. A lesion thinner than half a pixel
is lost here as well; `ShrunkMask` says so and ``trainer prepare`` counts it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cache import CacheSpec
from triage.inference.preprocess import AIR_HU, METAL_HU, PreprocessSpec, to_raster

_HALF = 0.5 - 1e-5
"""Half of a pixel, as float32 sums of its parts reach it."""


@dataclass(frozen=True, slots=True, eq=False)
class Square:
    """How one source grid lands on the square.

    Attributes
    ----------
    pixel_mm : float
        Side of a pixel of the square; after ``resize`` of a grid whose sides differ, that of the square pixel of the
        same area. nan where the source does not say.
    """

    shape: tuple[int, int]
    steps: tuple[float, float]
    spec: PreprocessSpec
    pixel_mm: float
    fill: bool

    def shrunk(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean of the image over each pixel of the square, shape (size, size)."""
        sampled = to_raster(image, self.steps, self.spec)
        # Interpolation beyond the outermost centres of an enlarged image would fade towards 0.
        return sampled / _covered(self.shape, self.steps, self.spec) if self.fill else sampled


def square_for(shape: tuple[int, int], spacing_mm: tuple[float, float] | None, spec: CacheSpec) -> Square:
    """The square of a slice.

    Raises
    ------
    ValueError
        A raster of mm is wanted of an image that does not say how large its pixels are.
    """
    if spec.geometry == "raster":
        if spacing_mm is None:
            raise ValueError("it does not say how large its pixels are; prepare this data set with --geometry resize")
        grid = PreprocessSpec(size=spec.size, pixel_mm=spec.pixel_mm)
        return Square(shape, spacing_mm, grid, spec.pixel_mm, fill=False)
    steps = (spec.size / shape[0], spec.size / shape[1])
    side_mm = math.sqrt(spacing_mm[0] / steps[0] * spacing_mm[1] / steps[1]) if spacing_mm else math.nan
    return Square(shape, steps, PreprocessSpec(size=spec.size, pixel_mm=1.0), side_mm, fill=max(steps) > 1.0)


def shrink_image(image: NDArray[Any], square: Square) -> NDArray[Any]:
    """An int16 image in HU, clipped to what a scanner can mean, or a uint8 picture; same type, shape (size, size)."""
    if image.dtype == np.uint8:
        return np.clip(np.rint(square.shrunk(image.astype(np.float32))), 0, 255).astype(np.uint8)
    above_air = np.clip(image, AIR_HU, METAL_HU).astype(np.float32) - np.float32(AIR_HU)
    return np.rint(square.shrunk(above_air) + np.float32(AIR_HU)).astype(np.int16)


@dataclass(frozen=True, slots=True, eq=False)
class ShrunkMask:
    """A mask on the square, and whether somebody outlined blood of which nothing is left on it."""

    values: NDArray[np.uint8]
    lost: bool


def shrink_mask(mask: NDArray[np.uint8], square: Square) -> ShrunkMask:
    """Blood where it covers at least half of a pixel, of the type that covers most; see the module."""
    size = square.spec.size
    values = np.zeros((size, size), dtype=np.uint8)
    present = [int(value) for value in np.flatnonzero(np.bincount(mask.ravel(), minlength=1)) if value]
    if not present:
        return ShrunkMask(values, lost=False)
    shares = np.stack([square.shrunk((mask == value).astype(np.float32)) for value in present])
    blood = shares.sum(axis=0) >= _HALF
    values[blood] = np.array(present, dtype=np.uint8)[shares.argmax(axis=0)][blood]
    return ShrunkMask(values, lost=not blood.any())


@lru_cache(maxsize=16)
def _covered(shape: tuple[int, int], steps: tuple[float, float], spec: PreprocessSpec) -> NDArray[np.float32]:
    return to_raster(np.ones(shape, dtype=np.float32), steps, spec)
