"""Values on a regular lattice in head coordinates, read quickly at any points.

The slices of a lattice are laid side by side in one image (an atlas), so that OpenCV's bilinear ``remap`` does
the gathering; a second pass in the slice above makes it trilinear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_CHANNELS_PER_ATLAS = 4
"""``remap`` is fast for up to four channels and slow beyond."""

COARSE = 4
"""Smooth fields are read on every fourth pixel and enlarged; sides of planes and windows are multiples of it."""

_SMOOTH_STEP_MM = 12.0
"""A noise lattice with nodes at least this far apart is smooth."""

BOX_LOW_MM = (-104.0, -144.0, -130.0)
BOX_HIGH_MM = (104.0, 112.0, 112.0)
"""Corners of the space that noise lattices fill, head coordinates (right, anterior, superior)."""


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """Values at lattice nodes.

    Attributes
    ----------
    atlases : tuple of ndarray of float32, shape (row, column, 4)
        The node slices side by side, four channels per atlas.
    shape : tuple of int
        Nodes along (z, y, x).
    origin_mm : tuple of float
        Position (x, y, z) of the first node.
    step_mm : float
        Distance of neighbouring nodes, the same along every axis.
    channels : int
        How many values a node has.
    smooth : bool
        Whether it may be read on every fourth pixel of an image and enlarged.
    """

    atlases: tuple[Floats, ...]
    shape: tuple[int, int, int]
    origin_mm: tuple[float, float, float]
    step_mm: float
    channels: int
    smooth: bool = False

    @classmethod
    def from_values(
        cls, values: Floats, origin_mm: Sequence[float], step_mm: float, *, smooth: bool = False
    ) -> Lattice:
        """Build from ``values`` of shape (channel, z, y, x)."""
        channels, depth, height, width = values.shape
        across = int(np.ceil(np.sqrt(depth)))
        atlases = []
        for first in range(0, channels, _CHANNELS_PER_ATLAS):
            part = values[first : first + _CHANNELS_PER_ATLAS]
            padded = np.zeros((_CHANNELS_PER_ATLAS, across * across, height, width), np.float32)
            padded[: len(part), :depth] = part
            tiles = padded.reshape(_CHANNELS_PER_ATLAS, across, across, height, width).transpose(1, 3, 2, 4, 0)
            atlases.append(np.ascontiguousarray(tiles).reshape(across * height, across * width, _CHANNELS_PER_ATLAS))
        x, y, z = (float(value) for value in origin_mm)
        return cls(tuple(atlases), (depth, height, width), (x, y, z), step_mm, channels, smooth)

    def sample(self, points: Floats) -> tuple[Floats, ...]:
        """Trilinear values at ``points`` (3, ...) in mm, the border value outside; one array (...) per channel."""
        if self.smooth and self._can_skip(points):
            return self._enlarged(points)
        return self._read(points)

    def _can_skip(self, points: Floats) -> bool:
        """Whether every `COARSE`-th pixel of ``points`` (3, slice, row, column) tells the rest."""
        if points.ndim != 4 or any(side % COARSE or side < 4 * COARSE for side in points.shape[2:]):
            return False
        moved = points[:, :, COARSE::COARSE, COARSE::COARSE] - points[:, :, :-COARSE:COARSE, :-COARSE:COARSE]
        return float(np.abs(moved).max()) < self.step_mm / 2

    def _enlarged(self, points: Floats) -> tuple[Floats, ...]:
        """The values read at the centres of blocks of `COARSE` x `COARSE` pixels and enlarged."""
        first = COARSE // 2 - 1
        low, high = slice(first, None, COARSE), slice(first + 1, None, COARSE)
        centres = (points[:, :, low, low] + points[:, :, high, high]) * np.float32(0.5)
        size = (points.shape[3], points.shape[2])
        out = [np.empty(points.shape[1:], np.float32) for _ in range(self.channels)]
        for target, small in zip(out, self._read(np.ascontiguousarray(centres)), strict=True):
            for plane, image in zip(target, small, strict=True):
                cv2.resize(image, size, dst=plane, interpolation=cv2.INTER_LINEAR)
        return tuple(out)

    def _read(self, points: Floats) -> tuple[Floats, ...]:
        """The values by two bilinear reads, in the node slices below and above each point."""
        depth, height, width = self.shape
        across = self.atlases[0].shape[1] // width
        flat = points.reshape(3, -1, points.shape[-1])
        column, row, level = (
            np.clip((flat[axis] - np.float32(self.origin_mm[axis])) * np.float32(1 / self.step_mm), 0, nodes - 1)
            for axis, nodes in enumerate((width, height, depth))
        )
        below = np.minimum(level, depth - 2).astype(np.int32)
        weight = cv2.merge([level - below.astype(np.float32)] * _CHANNELS_PER_ATLAS)
        tile_rows, tile_columns = np.divmod(np.arange(depth), across)
        lefts, tops = (tile_columns * width).astype(np.float32), (tile_rows * height).astype(np.float32)
        low_maps = column + lefts[below], row + tops[below]
        high_maps = column + lefts[1:][below], row + tops[1:][below]
        channels: list[Floats] = []
        for atlas in self.atlases:
            mixed = np.asarray(cv2.remap(atlas, *high_maps, cv2.INTER_LINEAR), np.float32)
            low = np.asarray(cv2.remap(atlas, *low_maps, cv2.INTER_LINEAR), np.float32)
            mixed -= low
            mixed *= weight
            mixed += low
            channels.extend(np.asarray(part, np.float32).reshape(points.shape[1:]) for part in cv2.split(mixed))
        return tuple(channels[: self.channels])


def noise_lattice(
    rng: np.random.Generator, correlation_mm: float, channels: int = 4, nodes_per_correlation: float = 0.65
) -> Lattice:
    """Smooth random fields over the whole head, mean 0 and standard deviation 1.

    White noise blurred with a Gaussian of ``correlation_mm``; its zero surfaces lie about 4.4 times that apart.
    With few nodes it is quick, with more its zero surfaces have no corners.
    """
    step = correlation_mm / nodes_per_correlation
    counts = [int(np.ceil((high - low) / step)) + 1 for low, high in zip(BOX_LOW_MM, BOX_HIGH_MM, strict=True)]
    values = rng.standard_normal((channels, counts[2], counts[1], counts[0]), dtype=np.float32)
    for axis in (1, 2, 3):
        values = _blurred(values, axis, correlation_mm / step)
    values /= values.std(axis=(1, 2, 3), keepdims=True) + np.float32(1e-6)
    return Lattice.from_values(values, BOX_LOW_MM, step, smooth=step >= _SMOOTH_STEP_MM)


def _blurred(values: Floats, axis: int, sigma_nodes: float) -> Floats:
    """Gaussian blur along one axis."""
    moved = np.ascontiguousarray(np.moveaxis(values, axis, 0))
    size = 2 * int(np.ceil(2.5 * sigma_nodes)) + 1
    across, along = np.ones((1, 1), np.float32), cv2.getGaussianKernel(size, sigma_nodes, cv2.CV_32F)
    flat = cv2.sepFilter2D(moved.reshape(len(moved), -1), -1, across, along, borderType=cv2.BORDER_REFLECT)
    return np.moveaxis(np.asarray(flat, np.float32).reshape(moved.shape), 0, axis)


def ramp(signed: NDArray[np.floating[Any]], width: float = 1.0) -> Floats:
    """0 below ``-width / 2``, 1 above ``width / 2``, linear between: a soft edge that needs no exponential."""
    return np.asarray(np.clip(signed * np.float32(1.0 / width) + np.float32(0.5), 0.0, 1.0), np.float32)


def smooth_image(rng: np.random.Generator, shape: tuple[int, int], sigma_px: float) -> Floats:
    """A smooth random image (row, column), standard deviation 1; made coarsely and enlarged where it is smooth."""
    shrink = max(1, int(sigma_px / 1.5))
    small = (int(np.ceil(shape[0] / shrink)), int(np.ceil(shape[1] / shrink)))
    image = rng.standard_normal(small, dtype=np.float32)
    if sigma_px > 0:
        sigma = max(sigma_px / shrink, 0.01)
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)
    if shrink > 1:
        image = np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)
    return np.asarray(image / (image.std() + np.float32(1e-6)), np.float32)
