"""Where the slices of a series lie: order along the normal, duplicates, mixed orientation, gaps.

Geometry cannot reveal a missing slice at either end, nor a series that was thinned evenly; that is why
completeness has its own rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode
from triage.domain.study import FrameGeometry

ORIENTATION_TOLERANCE = 1e-2
"""Largest difference between direction cosines of one stack; 0.01 is about half a degree."""

DUPLICATE_TOLERANCE_MM = 0.05
GAP_FACTOR = 1.5
"""A step this many times larger than the slices around it explain is a gap."""


@dataclass(frozen=True, slots=True, eq=False)
class SliceStack:
    """The frames of one series in order along their common normal.

    Attributes
    ----------
    normal : ndarray, shape (3,)
        Unit normal in LPS, row direction x column direction.
    order : tuple of int
        Index into the given frames for each sorted slice, distance along the normal increasing.
    distances_mm : ndarray, shape (slice,)
        Position of each sorted slice along the normal.
    thickness_mm : ndarray, shape (slice,)
        Thickness of each sorted slice; where the header has none, the distance to its nearest neighbour.
    """

    normal: NDArray[np.float64]
    order: tuple[int, ...]
    distances_mm: NDArray[np.float64]
    thickness_mm: NDArray[np.float64]

    @property
    def from_below(self) -> bool:
        """Whether the first slice is nearest to the feet; axial slices with rows or columns reversed run down."""
        return bool(self.normal[2] >= 0)

    @property
    def coverage_mm(self) -> float:
        """From the outer face of the first slice to the outer face of the last."""
        span = float(self.distances_mm[-1] - self.distances_mm[0])
        return span + float(self.thickness_mm[0] + self.thickness_mm[-1]) / 2

    def extents_mm(self) -> NDArray[np.float64]:
        """Length along the normal that each slice alone stands for, shape (slice,), in mm.

        Half the thickness to each side, or half-way to the neighbour where slices overlap, so that tissue
        seen twice is counted once; tissue between slices that do not touch is not counted.
        """
        half = self.thickness_mm / 2
        midway = np.diff(self.distances_mm) / 2
        below = np.minimum(half, np.concatenate([[np.inf], midway]))
        above = np.minimum(half, np.concatenate([midway, [np.inf]]))
        return np.asarray(below + above, dtype=np.float64)

    def largest_gap(self) -> tuple[int, float] | None:
        """The index of the sorted slice below the widest gap and the step in mm; None when gap-free.

        Sparse but even scanning (10 mm steps of 5 mm slices) is no gap, nor is a change of thickness.
        """
        steps = np.diff(self.distances_mm)
        if steps.size == 0:
            return None
        padded = np.concatenate([[np.inf], steps, [np.inf]])
        neighbour = np.minimum(padded[:-2], padded[2:])
        neighbour[~np.isfinite(neighbour)] = 0.0
        explained = np.maximum((self.thickness_mm[:-1] + self.thickness_mm[1:]) / 2, neighbour)
        excess = np.where(steps > GAP_FACTOR * explained, steps, 0.0)
        widest = int(np.argmax(excess))
        return (widest, float(steps[widest])) if excess[widest] > 0 else None


@dataclass(frozen=True, slots=True)
class Turn:
    """How a stored slice is turned upright: rows and columns exchanged first, then each reversed."""

    exchange: bool = False
    reverse_rows: bool = False
    reverse_columns: bool = False

    def apply(self, image: NDArray[Any]) -> NDArray[Any]:
        """The image, or a mask on it, upright; a view, shape (..., row, column)."""
        turned = image.swapaxes(-1, -2) if self.exchange else image
        return self._reversed(turned)

    def undo(self, image: NDArray[Any]) -> NDArray[Any]:
        """What `apply` made an upright image of, as it was stored."""
        stored = self._reversed(image)
        return stored.swapaxes(-1, -2) if self.exchange else stored

    def _reversed(self, image: NDArray[Any]) -> NDArray[Any]:
        turned = image[..., ::-1, :] if self.reverse_rows else image
        return turned[..., ::-1] if self.reverse_columns else turned

    def __bool__(self) -> bool:
        return self.exchange or self.reverse_rows or self.reverse_columns


def upright(orientation: NDArray[np.float64]) -> Turn:
    """What brings an axial slice to the patient's left at the right edge and the front at the upper edge.

    ``orientation`` is Image Orientation (Patient), PS3.3 C.7.6.2.1.1, shape (6,). Other planes are left as they are.
    """
    row, column = orientation[:3], orientation[3:]
    if int(np.argmax(np.abs(np.cross(row, column)))) != 2:
        return Turn()
    exchange = bool(abs(row[1]) > abs(row[0]))
    across, down = (column, row) if exchange else (row, column)
    return Turn(exchange, reverse_rows=bool(down[1] < 0), reverse_columns=bool(across[0] < 0))


def stack_frames(frames: Sequence[FrameGeometry]) -> SliceStack:
    """Order frames along their common normal.

    Raises
    ------
    UnusableSeries
        ``no_geometry`` without frames or with a degenerate orientation, ``mixed_orientation``,
        ``duplicate_positions``.
    """
    if not frames:
        raise UnusableSeries(ReasonCode.NO_GEOMETRY, "No image position or orientation in the headers.")
    orientations = np.array([f.orientation for f in frames], dtype=np.float64)
    positions = np.array([f.position_mm for f in frames], dtype=np.float64)
    if not (np.isfinite(orientations).all() and np.isfinite(positions).all()):
        raise UnusableSeries(ReasonCode.NO_GEOMETRY, "Image position or orientation is not a number.")
    row, column = orientations[0, :3], orientations[0, 3:]
    normal = np.cross(row, column)
    length = float(np.linalg.norm(normal))
    if abs(length - 1.0) > 0.05:
        raise UnusableSeries(ReasonCode.NO_GEOMETRY, "Row and column directions are not perpendicular unit vectors.")
    if float(np.abs(orientations - orientations[0]).max()) > ORIENTATION_TOLERANCE:
        raise UnusableSeries(ReasonCode.MIXED_ORIENTATION, "The slices do not share one orientation.")
    normal = normal / length
    distances = positions @ normal
    order = np.argsort(distances, kind="stable")
    distances = distances[order]
    steps = np.diff(distances)
    if steps.size and float(steps.min()) < DUPLICATE_TOLERANCE_MM:
        where = float(distances[int(np.argmin(steps))])
        raise UnusableSeries(
            ReasonCode.DUPLICATE_POSITIONS, f"More than one slice lies at {where:.1f} mm along the scan axis."
        )
    return SliceStack(normal, tuple(int(i) for i in order), distances, _thickness(frames, order, steps))


def _thickness(
    frames: Sequence[FrameGeometry], order: NDArray[np.intp], steps: NDArray[np.float64]
) -> NDArray[np.float64]:
    padded = np.concatenate([[np.inf], steps, [np.inf]])
    nearest = np.minimum(padded[:-1], padded[1:])
    nearest[~np.isfinite(nearest)] = 1.0  # a single slice without thickness; the extent is then nominal
    said = [frames[int(i)].thickness_mm for i in order]
    return np.array([t if t is not None and t > 0 else n for t, n in zip(said, nearest, strict=True)])
