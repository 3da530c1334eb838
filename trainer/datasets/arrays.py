"""The three arrays of a cache while they are written: room for all of it first, then study by study."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from trainer.datasets.cache import MASKS, PIXELS, RECORDS, TABLE, CacheSpec

SPARE_BYTES = 64 * 1024 * 1024
"""Room that is left for what is written beside the arrays."""


def pixel_type(spec: CacheSpec) -> np.dtype[Any]:
    """What one pixel is kept as."""
    return np.dtype(np.uint8 if spec.pictures else np.int16)


def bytes_needed(spec: CacheSpec, slices: int, outlined: int) -> int:
    """Disk that the arrays take. Masks of slices that nobody outlined are holes in their file and take none."""
    square = spec.size * spec.size
    return slices * (square * pixel_type(spec).itemsize + TABLE.itemsize) + outlined * square


def allocate(folder: Path, spec: CacheSpec, slices: int, outlined: int) -> None:
    """Make the array files and take the room for the pixels at once.

    Raises
    ------
    ValueError
        The disk is too small, in one sentence; nothing was written then.
    """
    needed = bytes_needed(spec, slices, outlined)
    held = sum(file.stat().st_blocks * 512 for name in (PIXELS, MASKS, RECORDS) if (file := folder / name).is_file())
    free = shutil.disk_usage(folder).free + held
    if needed + SPARE_BYTES > free:
        raise ValueError(
            f"the cache needs {gigabytes(needed)}, and {folder} has {gigabytes(free)} free; choose another disk, "
            "or a smaller --size"
        )
    shape = (slices, spec.size, spec.size)
    for name, dtype, length in ((PIXELS, pixel_type(spec), shape), (MASKS, np.dtype(np.uint8), shape)):
        npy.open_memmap(folder / name, mode="w+", dtype=dtype, shape=length)
    npy.open_memmap(folder / RECORDS, mode="w+", dtype=TABLE, shape=(slices,))
    _take_room(folder / PIXELS, 0, (folder / PIXELS).stat().st_size)
    _take_room(folder / RECORDS, 0, (folder / RECORDS).stat().st_size)


def gigabytes(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """One array file; only the rows asked for are mapped, so that memory does not grow with the file."""

    path: Path
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, path: Path) -> ArrayFile:
        """Read the header."""
        mapped = npy.open_memmap(path, mode="r")
        return cls(path, mapped.dtype, int(mapped.offset), mapped.shape)

    def rows(self, start: int, count: int) -> np.memmap[Any, Any]:
        """Rows to write to; ``flush`` puts them on disk."""
        offset = self.offset + start * self._row_bytes
        return np.memmap(self.path, self.dtype, "r+", offset, (count, *self.shape[1:]))

    def take_room(self, start: int, count: int) -> None:
        """Have the disk keep room for rows: writing to a full disk through a mapping would end the process."""
        _take_room(self.path, self.offset + start * self._row_bytes, count * self._row_bytes)

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize


def _take_room(path: Path, offset: int, length: int) -> None:
    if length == 0:
        return
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), offset, length)
