"""Training slices straight on the grid of the networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.phantom.acquisition import detected, draw_acquisition, with_artefacts
from trainer.phantom.bases import anatomy_for
from trainer.phantom.pose import axial_plane
from trainer.phantom.scene import Head, cut, draw_head
from triage.domain.finding import Subtype

SLICES_PER_HEAD = 4
_POSITIVE_HEADS = 0.55
_THROUGH_BLOOD = 0.62
"""Share of the slices of a positive head that are laid through one of its bleeds."""


@dataclass(frozen=True, slots=True, eq=False)
class SliceBatch:
    """Made slices with their truth.

    Attributes
    ----------
    hu : ndarray of int16, shape (slice, row, column)
        HU after acquisition, padding at -1024.
    labels : ndarray of uint8, shape (slice, row, column)
        0 none, i + 1 for SUBTYPES[i].
    head : ndarray of int32, shape (slice,)
        Which head a slice shows, so that a split can keep heads together.
    """

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    head: NDArray[np.int32]


def slices(
    count: int,
    seed: int,
    *,
    anatomy: Path | None = None,
    size: int = 256,
    pixel_mm: float = 1.0,
    force: Sequence[Subtype] | None = None,
) -> SliceBatch:
    """Make ``count`` slices, the same for the same seed.

    Turns OpenCV to one thread in this process: many slices are made faster by several processes.

    Parameters
    ----------
    anatomy : Path, optional
        Folder of the CT template; without it every head is procedural.
    size, pixel_mm
        Sides and pixel size of the images; ``size`` divides by four.
    force : sequence of Subtype, optional
        Every head bleeds, with these subtypes; empty: none does.

    Returns
    -------
    SliceBatch
        About 45 % of the slices show blood unless ``force`` says otherwise.
    """
    if size % 4:
        raise ValueError(f"size must divide by four, not {size}")
    cv2.setNumThreads(1)
    hu = np.empty((count, size, size), np.int16)
    labels = np.empty((count, size, size), np.uint8)
    head_numbers = (np.arange(count) // SLICES_PER_HEAD).astype(np.int32)
    for number in range(0, count, SLICES_PER_HEAD):
        rng = np.random.default_rng([seed, number // SLICES_PER_HEAD])
        bleeding = bool(force) if force is not None else rng.random() < _POSITIVE_HEADS
        for_head, for_slices = rng.spawn(2)
        head = draw_head(for_head, anatomy_for(anatomy, for_head), bleeding=bleeding, subtypes=force or None)
        for index in range(number, min(number + SLICES_PER_HEAD, count)):
            hu[index], labels[index] = _slice(head, for_slices, size, pixel_mm)
    return SliceBatch(hu=hu, labels=labels, head=head_numbers)


def _slice(
    head: Head, rng: np.random.Generator, size: int, pixel_mm: float
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """One slice, int16 HU and labels (row, column)."""
    thickness = 5.0 if rng.random() < 0.5 else rng.uniform(1, 9)
    plane = axial_plane(_height(head, rng), size, pixel_mm, thickness)
    ideal = cut(head, plane)
    scan = draw_acquisition(rng)
    image = detected(with_artefacts(ideal, scan, rng, pixel_mm), scan, rng, pixel_mm)
    return np.clip(np.rint(image), -1024, 3000).astype(np.int16), ideal.labels()


def _height(head: Head, rng: np.random.Generator) -> float:
    """Scanner z of a slice: through a bleed, or anywhere from the face to the vertex."""
    if head.bleeds and rng.random() < _THROUGH_BLOOD:
        return head.height_mm(head.bleeds[int(rng.integers(len(head.bleeds)))].centre) + rng.normal(0, 5)
    part, top = rng.random(), head.top_mm
    if part < 0.22:
        return rng.uniform(-66, -25)
    return rng.uniform(-25, top - 12) if part < 0.88 else rng.uniform(top - 12, top + 6)
