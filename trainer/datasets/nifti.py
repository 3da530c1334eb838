"""Volumes in NIfTI files, slice by slice.

Images are turned to how radiologists read an axial slice, as DICOM stores it: rows from front to back, columns from
the patient's right to left.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.reading import LOWEST_HU, whole_hu


@dataclass(frozen=True, slots=True, eq=False)
class NiftiGrid:
    """Where the slices of a volume lie, told from its header.

    Attributes
    ----------
    shape : tuple of int
        Slices, rows, columns; slices in the order of the file.
    spacing_mm : tuple of float
        Between rows, between columns.
    positions_mm : ndarray, shape (slice,)
        Along the axis from feet to head; ascending where the file stores the lowest slice first.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float]
    positions_mm: NDArray[np.float64]
    _axes: tuple[int, int, int]
    _reversed: tuple[bool, bool]

    @property
    def feet_first(self) -> list[int]:
        """Indices of the slices from the feet up."""
        return [int(index) for index in np.argsort(self.positions_mm, kind="stable")]

    def slice_of(self, stored: NDArray[Any], index: int) -> NDArray[Any]:
        """One slice of the stored voxels, turned; a view, shape (row, column)."""
        image = stored.transpose(self._axes)[index]
        image = image[::-1] if self._reversed[0] else image
        return image[:, ::-1] if self._reversed[1] else image


def nifti_grid(path: Path) -> NiftiGrid:
    """Read the header alone. The slice axis is the one nearest to the body axis.

    A file that says no orientation is taken to store columns, rows, slices, as nearly every writer does.

    Raises
    ------
    ValueError
        The file is damaged, or holds no volume of three axes; one sentence.
    """
    return _grid(_load(path))


@dataclass(frozen=True, slots=True, eq=False)
class NiftiVolume:
    """An opened NIfTI file: memory-mapped where it is not compressed, otherwise in memory as it is stored."""

    grid: NiftiGrid
    _stored: NDArray[Any]
    _slope: float
    _intercept: float

    @classmethod
    def open(cls, path: Path) -> NiftiVolume:
        """Read header and voxels.

        Raises
        ------
        ValueError
            As `nifti_grid`, or the voxels are damaged or no plain numbers.
        """
        image = _load(path)
        grid = _grid(image)
        try:
            stored = np.asanyarray(image.dataobj.get_unscaled())
        except (OSError, EOFError, ValueError, zlib.error) as exc:
            raise ValueError(f"its voxels cannot be read: {_line(exc)}") from exc
        if stored.dtype.kind not in "iuf":
            raise ValueError(f"its voxels are {stored.dtype}, not plain numbers")
        volume = stored.reshape(stored.shape[:3])
        return cls(grid, volume, float(image.dataobj.slope), float(image.dataobj.inter))

    def hu(self, index: int) -> NDArray[np.int16]:
        """One slice in HU, shape (row, column); what is no number, or below air, becomes air."""
        return whole_hu(np.nan_to_num(self.values(index), nan=LOWEST_HU))

    def labels(self, index: int) -> NDArray[np.uint8]:
        """One slice of a volume of label values, shape (row, column)."""
        return np.clip(np.rint(np.nan_to_num(self.values(index))), 0, 255).astype(np.uint8)

    def values(self, index: int) -> NDArray[np.float32]:
        """One slice as the file means it, whatever that measures, shape (row, column)."""
        stored = self.grid.slice_of(self._stored, index).astype(np.float32)
        return np.asarray(stored * np.float32(self._slope) + np.float32(self._intercept))


def _load(path: Path) -> Any:
    import nibabel  # imported where a NIfTI file is met: other data sets do not pay for it

    try:
        return nibabel.load(path)
    except (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError) as exc:
        raise ValueError(f"it cannot be read as NIfTI: {_line(exc)}") from exc


def _grid(image: Any) -> NiftiGrid:
    import nibabel

    said = tuple(int(n) for n in image.shape)
    shape, further = said[:3], said[3:]
    if len(shape) != 3 or min(shape) < 1 or any(n != 1 for n in further):
        raise ValueError(f"it holds an image of shape {said}, not one volume")
    affine = np.asarray(image.affine, dtype=np.float64)
    axes = nibabel.io_orientation(affine) if np.isfinite(affine).all() else np.full((3, 2), np.nan)
    if not np.isfinite(axes).all():
        raise ValueError("its header says no usable orientation")
    x, y, z = (int(np.flatnonzero(axes[:, 0] == world)[0]) for world in range(3))
    side_mm = np.linalg.norm(affine[:3, :3], axis=0)
    start = (np.array(shape) - 1) / 2
    start[z] = 0
    first_mm = float((affine @ [*start, 1.0])[2])
    return NiftiGrid(
        shape=(shape[z], shape[y], shape[x]),
        spacing_mm=(float(side_mm[y]), float(side_mm[x])),
        positions_mm=first_mm + np.arange(shape[z], dtype=np.float64) * float(axes[z, 1] * side_mm[z]),
        _axes=(z, y, x),
        # World axes point to the right, to the front and to the head; rows go to the back and columns to the left.
        _reversed=(bool(axes[y, 1] > 0), bool(axes[x, 1] > 0)),
    )


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())
