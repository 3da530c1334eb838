"""Training stacks straight on the grid of the nets: neighbouring slices of one head from one scan."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.phantom.acquisition import LOWEST_HU, Acquisition, detected, draw_acquisition, with_artefacts
from trainer.phantom.fields import COARSE
from trainer.phantom.motion import seen_plane
from trainer.phantom.pose import Plane, axial_plane
from trainer.phantom.scene import Head, cut, draw_head
from trainer.phantom.sources import anatomy_for
from triage.domain.finding import Subtype

_HIGHEST_HU = 3000.0
"""Stacks end here and exams at 3,071 HU; nothing but metal and overflown pixels lies between."""

_POSITIVE_HEADS = 0.62
"""Share of the heads that bleed, where nothing is forced."""

_THROUGH_BLOOD = 0.8
"""Share of the stacks of a positive head that are laid through one of its bleeds."""

_AT_VERTEX = 0.12
"""Share of all stacks that end at the vertex, where bone fills part of a slice and looks like blood."""

LOWEST_MM = -94.0
_ABOVE_MM = 8.0
"""Slices lie between the neck, as far down as an exam reaches, and a little above the vertex. Nets that had seen no
slice below -66 mm outlined what the foramen magnum holds."""


@dataclass(frozen=True, slots=True, eq=False)
class StackBatch:
    """Made stacks with their truth.

    Attributes
    ----------
    hu : ndarray of int16, shape (stack, slice, row, column)
        HU after acquisition, -1024..3000; slices from the feet up, as far apart as they are thick.
    labels : ndarray of uint8, same shape
        0 none, i + 1 for SUBTYPES[i].
    """

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]


def stacks(
    count: int,
    seed: int,
    *,
    anatomy: Path | None = None,
    slices: int = 10,
    size: int = 256,
    pixel_mm: float = 1.0,
    larger: float = 0.0,
    without: Collection[str] = (),
    force: Sequence[Subtype] | None = None,
) -> StackBatch:
    """Make ``count`` stacks, the same for the same arguments, each of a head of its own.

    Turns OpenCV to one thread in this process: many stacks are made faster by several processes.

    Parameters
    ----------
    anatomy : Path, optional
        Folder of the CT template; without it every head is procedural.
    slices : int
        In each stack.
    size, pixel_mm
        Sides and pixel size of the images; ``size`` is a multiple of four.
    larger : float
        By how many standard deviations bleeds are larger than the published ones.
    without : collection of str
        Ingredients that are switched off, see `trainer.phantom.ingredients.Ingredient`.
    force : sequence of Subtype, optional
        Every head bleeds, with these subtypes; empty: none does.

    Raises
    ------
    ValueError
        If ``size`` is no multiple of four, or a subtype or ingredient is unknown.
    """
    if size % COARSE:
        raise ValueError(f"size must be a multiple of {COARSE}, not {size}")
    cv2.setNumThreads(1)
    hu = np.empty((count, slices, size, size), np.int16)
    labels = np.empty((count, slices, size, size), np.uint8)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        bleeding = bool(force) if force is not None else rng.random() < _POSITIVE_HEADS
        for_head, for_place, for_scan, for_slices = rng.spawn(4)
        head = draw_head(
            for_head,
            anatomy_for(anatomy, for_head),
            bleeding=bleeding,
            subtypes=force or None,
            larger=larger,
            without=frozenset(without),
        )
        scan = draw_acquisition(for_scan, without=frozenset(without))
        thickness = 5.0 if for_place.random() < 0.5 else for_place.uniform(3, 9)
        lowest = _lowest(head, for_place, slices, thickness)
        for index, slice_rng in enumerate(for_slices.spawn(slices)):
            rough = axial_plane(lowest + index * thickness, size, pixel_mm, thickness)
            plane = seen_plane(rough, scan.motion, index / slices)
            hu[number, index], labels[number, index] = _slice(head, scan, slice_rng, plane)
    return StackBatch(hu=hu, labels=labels)


def _lowest(head: Head, rng: np.random.Generator, slices: int, thickness_mm: float) -> float:
    """Scanner z of the lowest slice: the stack passes through a bleed, or lies anywhere."""
    reach = (slices - 1) * thickness_mm
    if rng.random() < _AT_VERTEX:
        return head.top_mm + rng.uniform(-thickness_mm, _ABOVE_MM) - reach
    if head.bleeds and rng.random() < _THROUGH_BLOOD:
        bleed = head.bleeds[int(rng.integers(len(head.bleeds)))]
        return head.height_mm(bleed.centre) - reach * rng.uniform(0.15, 0.85)
    return rng.uniform(LOWEST_MM, max(head.top_mm + _ABOVE_MM - reach, LOWEST_MM + 1))


def _slice(
    head: Head, scan: Acquisition, rng: np.random.Generator, plane: Plane
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """One slice, int16 HU and labels (row, column)."""
    ideal = cut(head, plane, scan.profile)
    image = detected(with_artefacts(ideal, scan, rng, plane.spacing_mm), scan, rng, plane.spacing_mm)
    return np.clip(np.rint(image), LOWEST_HU, _HIGHEST_HU).astype(np.int16), ideal.labels()
