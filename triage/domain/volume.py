"""A CT volume in HU that remembers where each of its slices came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triage.domain.geometry import SliceStack


@dataclass(frozen=True, slots=True)
class SliceSource:
    """The frame a slice was read from; ``frame_number`` is 1-based, 1 for single-frame instances."""

    sop_instance_uid: str
    frame_number: int


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """CT slices sorted along their normal. Never resampled: a mask on it lies on the source frames.

    Attributes
    ----------
    hu : ndarray of float32, shape (slice, row, column)
        Hounsfield units; padding outside the scan field is -1024.
    stack : SliceStack
        Order, distances, thickness and extents of the slices.
    positions_mm : ndarray of float64, shape (slice, 3)
        LPS centre of the first pixel of each slice. With a tilted gantry the slices are sheared against
        each other, so there is no single affine.
    orientation : ndarray of float64, shape (6,)
        Row direction then column direction (PS3.3 C.7.6.2.1.1).
    pixel_spacing_mm : tuple of float
        Between rows, between columns (PS3.3 10.7.1.3).
    sources : tuple of SliceSource
        One per slice.
    """

    hu: NDArray[np.float32]
    stack: SliceStack
    positions_mm: NDArray[np.float64]
    orientation: NDArray[np.float64]
    pixel_spacing_mm: tuple[float, float]
    frame_of_reference_uid: str
    sources: tuple[SliceSource, ...]

    def __post_init__(self) -> None:
        if self.hu.ndim != 3 or self.hu.dtype != np.float32:
            raise ValueError(f"hu is float32 (slice, row, column), not {self.hu.dtype} {self.hu.shape}")
        slices = self.hu.shape[0]
        if not slices == len(self.sources) == len(self.stack.order) == self.positions_mm.shape[0]:
            raise ValueError("hu, stack, positions and sources must have one entry per slice")
        if not (self.pixel_spacing_mm[0] > 0 and self.pixel_spacing_mm[1] > 0):
            raise ValueError(f"pixel spacing must be positive, not {self.pixel_spacing_mm}")

    @property
    def voxel_ml(self) -> NDArray[np.float64]:
        """Volume of one voxel of each slice in ml, shape (slice,); overlaps between slices counted once."""
        area_mm2 = self.pixel_spacing_mm[0] * self.pixel_spacing_mm[1]
        return np.asarray(self.stack.extents_mm() * area_mm2 / 1000.0)

    def mask_ml(self, mask: NDArray[np.bool_]) -> float:
        """Volume of a mask of the shape of ``hu``, in ml."""
        if mask.shape != self.hu.shape:
            raise ValueError(f"mask {mask.shape} does not lie on the volume {self.hu.shape}")
        return float(np.count_nonzero(mask, axis=(1, 2)) @ self.voxel_ml)
