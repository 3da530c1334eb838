"""What the nets see: a square of fixed mm per pixel about the image centre, in three windows.

Training and serving call the same functions. One pixel is the mean of the tissue that it covers, so shrinking
neither aliases nor moves an edge, and everything outside the source image is air.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, with_config

AIR_HU = -1024.0
METAL_HU = 3071.0
"""Values are clipped to AIR_HU..METAL_HU before any averaging: padding of -2000 must not bleed into the scalp."""

Reads = Literal["slice", "neighbours", "scan"]
"""What a net is shown: slices that have nothing to do with each other; slices that have those below and above them as
further channels, by which partial volume is told from blood; or all slices of one scan in their order."""

SUBDURAL_WINDOWS = ((40.0, 80.0), (80.0, 200.0), (600.0, 2800.0))


@with_config(ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True, slots=True)
class PreprocessSpec:
    """How slices become net input; part of the bundle, because the nets were trained with it.

    Attributes
    ----------
    size : int
        Rows and columns of the net input.
    pixel_mm : float
        Side of one input pixel. Fixed, not fitted to the head: a face slice must not fill the raster.
    windows : tuple of (center, width)
        In HU, one per input channel: brain, subdural, bone (PS3.3 C.11.2.1.2 names).
    slab_mm : float
        Length along the normal that the nets were trained on.
    thin_below_mm : float
        Slices nearer to each other than this are averaged to slabs of about ``slab_mm``.
    even_brain : bool
        Whether brain that much bone around it has brightened is brought back to usual, see `beam_hardening.evened`.
    """

    size: int = 256
    pixel_mm: float = 1.0
    windows: tuple[tuple[float, float], ...] = SUBDURAL_WINDOWS
    slab_mm: float = 5.0
    thin_below_mm: float = 3.0
    even_brain: bool = False

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 1024:
            raise ValueError(f"preprocessing size must lie in 16..1024 pixels, not {self.size}")
        if not 0.1 <= self.pixel_mm <= 10.0:
            raise ValueError(f"preprocessing pixel_mm must lie in 0.1..10 mm, not {self.pixel_mm}")
        if not self.windows or any(not width > 0 for _, width in self.windows):
            raise ValueError("preprocessing windows must be pairs (center, width) with a width above 0")
        if not 0 < self.thin_below_mm <= self.slab_mm <= 20.0:
            raise ValueError("preprocessing must satisfy 0 < thin_below_mm <= slab_mm <= 20")

    @property
    def field_mm(self) -> float:
        """Side of the square that the nets see."""
        return self.size * self.pixel_mm


def sample_slices(
    hu: NDArray[np.number], pixel_spacing_mm: tuple[float, float], spec: PreprocessSpec
) -> NDArray[np.float32]:
    """Resample slices to the net raster.

    Parameters
    ----------
    hu : ndarray, shape (slice, row, column)
        Hounsfield units.
    pixel_spacing_mm : tuple of float
        Between rows, between columns (PS3.3 10.7.1.3).

    Returns
    -------
    ndarray of float32, shape (slice, size, size)
        HU; the centre of the raster is the centre of the source image.
    """
    sampled = np.empty((len(hu), spec.size, spec.size), dtype=np.float32)
    for index, image in enumerate(hu):
        clipped = np.clip(image, AIR_HU, METAL_HU).astype(np.float32) - np.float32(AIR_HU)
        sampled[index] = to_raster(clipped, pixel_spacing_mm, spec)
    sampled += np.float32(AIR_HU)
    return sampled


def to_raster(
    image: NDArray[np.float32], pixel_spacing_mm: tuple[float, float], spec: PreprocessSpec
) -> NDArray[np.float32]:
    """Mean of an image (row, column) over each raster pixel, shape (size, size); outside the image counts as 0."""
    rows = _bands(image.shape[0], pixel_spacing_mm[0], spec.size, spec.pixel_mm)
    columns = _bands(image.shape[1], pixel_spacing_mm[1], spec.size, spec.pixel_mm)
    return _along_columns(_along_rows(image, rows), columns)


def from_raster(
    maps: NDArray[np.float32], shape: tuple[int, int], pixel_spacing_mm: tuple[float, float], spec: PreprocessSpec
) -> NDArray[np.float32]:
    """Put maps on the net raster back on the source grid.

    Parameters
    ----------
    maps : ndarray of float32, shape (channel, size, size)
        Probabilities; interpolated, not rounded, so that a threshold of one half keeps areas.
    shape : tuple of int
        Rows and columns of the source image.

    Returns
    -------
    ndarray of float32, shape (channel, row, column)
        0 outside the raster.
    """
    restored = np.zeros((len(maps), *shape), dtype=np.float32)
    touched = np.asarray(maps.any(axis=0), dtype=np.bool_)
    if not touched.any():
        return restored
    rows = _bands(spec.size, spec.pixel_mm, shape[0], pixel_spacing_mm[0])
    columns = _bands(spec.size, spec.pixel_mm, shape[1], pixel_spacing_mm[1])
    to_rows = rows.reached_by(np.asarray(touched.any(axis=1)))
    to_columns = columns.reached_by(np.asarray(touched.any(axis=0)))
    part = _along_rows(maps, rows.only(to_rows))
    restored[:, to_rows, to_columns] = _along_columns(part, columns.only(to_columns))
    return restored


def window_slices(hu: NDArray[np.float32], spec: PreprocessSpec) -> NDArray[np.float32]:
    """Net input of sampled slices: shape (slice, window, size, size), each window scaled to 0..1."""
    tensor = np.empty((hu.shape[0], len(spec.windows), *hu.shape[1:]), dtype=np.float32)
    for channel, (center, width) in enumerate(spec.windows):
        lowest = np.float32(center - width / 2)
        np.clip((hu - lowest) / np.float32(width), 0.0, 1.0, out=tensor[:, channel])
    return tensor


def shown_with(places_mm: NDArray[np.floating], apart_mm: float, reads: Reads) -> NDArray[np.intp]:
    """Which slices a net is shown for each: itself alone, or the one below, itself, the one above.

    A neighbour is the nearest slice that lies ``apart_mm`` or farther away, for one that overlaps is half the slice
    itself. Where there is none the last slice stands for it.

    Parameters
    ----------
    places_mm : ndarray, shape (slice,)
        Ascending.

    Returns
    -------
    ndarray of intp, shape (slice, 1 or 3)
    """
    every = np.arange(len(places_mm))
    if reads != "neighbours":
        return every[:, None]
    apart = apart_mm - 1e-3  # rounding in the positions must not pass over a slice
    below = np.searchsorted(places_mm, places_mm - apart, side="right") - 1
    above = np.searchsorted(places_mm, places_mm + apart, side="left")
    return np.stack([np.maximum(below, 0), every, np.minimum(above, every[-1:])], axis=1)


def net_input(runs: NDArray[np.number], spec: PreprocessSpec) -> NDArray[np.float32]:
    """What a net is given of slices on its raster, chosen by `shown_with`.

    HU (slice, 1 or 3, row, column) -> float32 between 0 and 1 (slice, 3 or 9, row, column): the windows of the slice
    below, of the slice itself, of the slice above.
    """
    windowed = window_slices(runs.reshape(-1, *runs.shape[2:]).astype(np.float32, copy=False), spec)
    return windowed.reshape(len(runs), -1, *runs.shape[2:])


def channels_of(reads: Reads) -> int:
    """Channels of `net_input`: three windows, and those of both neighbours where they are read."""
    return 9 if reads == "neighbours" else 3


def axis_weights(from_count: int, from_mm: float, to_count: int, to_mm: float) -> NDArray[np.float32]:
    """Weights that resample one axis, both grids centred on the same point; shape (to_count, from_count).

    Shrinking takes the mean over each target pixel, enlarging interpolates linearly between centres. Rows
    sum to 1 inside the source and to less where a target pixel reaches beyond it.
    """
    if to_mm >= from_mm:
        source = (np.arange(from_count + 1) - from_count / 2) * from_mm
        target = (np.arange(to_count + 1) - to_count / 2) * to_mm
        covered = np.minimum(target[1:, None], source[None, 1:]) - np.maximum(target[:-1, None], source[None, :-1])
        weights = np.maximum(covered, 0.0) / to_mm
    else:
        centres = (np.arange(to_count) + 0.5 - to_count / 2) * to_mm / from_mm + from_count / 2 - 0.5
        weights = np.maximum(0.0, 1.0 - np.abs(centres[:, None] - np.arange(from_count)[None, :]))
    return np.asarray(weights, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Bands:
    """The non-zero weights of one axis: target entry ``i`` is the sum over k of weights[k, i] * source[indices[k, i]].

    A target pixel covers a handful of source pixels. Sums over those need no matrix library, whose threads would
    spin against each other on cores that are shared.
    """

    indices: NDArray[np.intp]
    weights: NDArray[np.float32]

    def reached_by(self, touched: NDArray[np.bool_]) -> slice:
        """The shortest run of target entries that holds everything the touched source entries reach."""
        where = np.flatnonzero((touched[self.indices] & (self.weights > 0)).any(axis=0))
        return slice(int(where[0]), int(where[-1]) + 1) if where.size else slice(0, 0)

    def only(self, targets: slice) -> _Bands:
        """These target entries alone."""
        return _Bands(self.indices[:, targets], self.weights[:, targets])


@lru_cache(maxsize=64)
def _bands(from_count: int, from_mm: float, to_count: int, to_mm: float) -> _Bands:
    table = axis_weights(from_count, from_mm, to_count, to_mm)
    first = (table > 0).argmax(axis=1)
    width = max(1, int((table > 0).sum(axis=1).max()))
    indices = np.minimum(first + np.arange(width)[:, None], from_count - 1)
    weights = np.take_along_axis(table.T, indices, axis=0)
    weights[first + np.arange(width)[:, None] >= from_count] = 0.0
    return _Bands(indices, weights)


def _along_rows(maps: NDArray[np.float32], bands: _Bands) -> NDArray[np.float32]:
    """Resample the last axis but one."""
    total = maps[..., bands.indices[0], :] * bands.weights[0][:, None]
    for indices, weights in zip(bands.indices[1:], bands.weights[1:], strict=True):
        total += maps[..., indices, :] * weights[:, None]
    return np.asarray(total)


def _along_columns(maps: NDArray[np.float32], bands: _Bands) -> NDArray[np.float32]:
    """Resample the last axis; on the transposed array, because whole rows are gathered faster than columns."""
    turned = np.ascontiguousarray(maps.swapaxes(-1, -2))
    return np.ascontiguousarray(_along_rows(turned, bands).swapaxes(-1, -2))
