"""Slices ready for training: three memory-mapped arrays and a description. `trainer.datasets.prepare` writes them.

Rows of slices that could not be used are kept, dark and marked, so that the rows of a study never move.

========================  ==============================================================================
``cache.json``            a `CacheSpec`, the names of patients and studies, and what was found
``pixels.npy``            int16 HU or uint8 grey, shape (slice, size, size)
``masks.npy``             uint8, same shape: 0 none, 1 to 5 a subtype, 6 blood of unknown type
``table.npy``             one record per slice, see ``TABLE``
``unusable.csv``          every file that could not be used, and why
========================  ==============================================================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

FORMAT = 1
DESCRIPTION, PIXELS, MASKS, RECORDS, UNUSABLE = "cache.json", "pixels.npy", "masks.npy", "table.npy", "unusable.csv"

TABLE = np.dtype(
    [
        ("patient", np.int32),  # index into Cache.patients; -1 where the data set names none
        ("study", np.int32),  # index into Cache.studies
        ("position_mm", np.float32),
        ("labels", np.int8, (6,)),  # any, EDH, IPH, IVH, SAH, SDH: 1, 0, -1 unknown
        ("study_labels", np.int8, (6,)),  # the same of the whole study
        ("drawn", np.bool_),  # whether somebody drew a mask for this slice; without it masks.npy says nothing
        ("pixel_mm", np.float32),  # side of a cached pixel, see `geometry.Square`; nan where the source does not say
        ("usable", np.bool_),
    ]
)

_ROWS = 65536

Geometry = Literal["resize", "raster"]


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True, slots=True)
class CacheSpec:
    """What a cache holds.

    Attributes
    ----------
    dataset : str
        Registry name.
    size : int
        Rows and columns.
    geometry : str
        ``resize``: the whole image shrunk to the square, as the papers do. ``raster``: ``pixel_mm`` about the centre of
        the image, as the daemon does; needs a data set that says how large its pixels are.
    pixel_mm : float
        Of the raster; without meaning for ``resize``.
    pictures : bool
        uint8 grey instead of int16 HU.
    window : tuple of float, or None
        Centre and width of the pictures.
    """

    dataset: str
    size: int
    geometry: Geometry = "resize"
    pixel_mm: float = 1.0
    pictures: bool = False
    window: tuple[float, float] | None = None


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Description:
    """The content of ``cache.json``; ``digest`` is what `cache_digest` says, for provenance."""

    spec: CacheSpec
    patients: tuple[str, ...]
    studies: tuple[str, ...]
    slices: int
    unusable: int
    digest: str
    licence: str
    root: str
    format: int = FORMAT
    lost: int = 0
    """Slices with a drawn mask of which nothing is left at this size."""
    contradicted: int = 0
    """Slices that the data set calls free of blood although its masks outline some; labels and masks stand as given."""


@dataclass(frozen=True, slots=True, eq=False)
class Cache:
    """An opened cache; arrays are memory-mapped, read-only, and hold only usable slices through `usable`."""

    folder: Path
    description: Description
    pixels: NDArray[Any]
    masks: NDArray[np.uint8]
    table: NDArray[Any]
    usable: NDArray[np.intp] = field(init=False)
    """Indices of the slices that can be used, ascending: study by study, from the feet up."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "usable", np.flatnonzero(self.table["usable"]))

    @property
    def spec(self) -> CacheSpec:
        """What it holds."""
        return self.description.spec


_ADAPTER: TypeAdapter[Description] = TypeAdapter(Description)


def open_cache(folder: Path) -> Cache:
    """Open what ``trainer prepare`` wrote.

    Raises
    ------
    ValueError
        The folder is no finished cache, or one of another format.
    """
    described = folder / DESCRIPTION
    if not described.is_file():
        raise ValueError(f"{folder} holds no finished cache: run trainer prepare to its end, it resumes where it was")
    try:
        description = _ADAPTER.validate_json(described.read_bytes())
    except ValidationError as exc:
        raise ValueError(f"{described} cannot be read by this release; run trainer prepare into a new folder") from exc
    if description.format != FORMAT:
        raise ValueError(f"{described} has format {description.format}; this release reads {FORMAT}")
    pixels, masks, table = (np.load(folder / name, mmap_mode="r") for name in (PIXELS, MASKS, RECORDS))
    expected = (description.slices, description.spec.size, description.spec.size)
    if pixels.shape != expected or masks.shape != expected or table.shape != expected[:1] or table.dtype != TABLE:
        raise ValueError(f"the arrays in {folder} do not fit {DESCRIPTION}; run trainer prepare into a new folder")
    return Cache(folder, description, pixels, masks, table)


def slice_digest(pixels: NDArray[Any], mask: NDArray[np.uint8]) -> bytes:
    """SHA-256 of one slice and its mask as they lie in the cache, 32 bytes."""
    both = hashlib.sha256(np.ascontiguousarray(pixels).data)
    both.update(np.ascontiguousarray(mask).data)
    return both.digest()


def cache_digest(table: NDArray[Any], slice_digests: Iterable[bytes]) -> str:
    """SHA-256 of the table and then of the `slice_digest` of every slice in order, as hexadecimal digits."""
    whole = hashlib.sha256()
    for start in range(0, len(table), _ROWS):
        whole.update(np.ascontiguousarray(table[start : start + _ROWS]).data)
    for one in slice_digests:
        whole.update(one)
    return whole.hexdigest()


def recomputed_digest(cache: Cache) -> str:
    """The digest of what lies in the folder now; another one than described means that a file was changed."""

    def slices() -> Iterator[bytes]:
        for pixels, mask in zip(cache.pixels, cache.masks, strict=True):
            yield slice_digest(pixels, mask)

    return cache_digest(cache.table, slices())


def write_description(folder: Path, description: Description) -> None:
    """Finish a cache: what stands in ``cache.json`` is there in full."""
    text = json.dumps(_ADAPTER.dump_python(description, mode="json"), indent=1) + "\n"
    partial = folder / f".{DESCRIPTION}"
    partial.write_text(text, encoding="utf-8")
    partial.replace(folder / DESCRIPTION)
