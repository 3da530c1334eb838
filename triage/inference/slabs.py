"""Thin slices seen as the thicker slabs that the nets were trained on, and the way back to every slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triage.domain.geometry import SliceStack
from triage.domain.volume import Volume
from triage.inference.preprocess import AIR_HU, METAL_HU, PreprocessSpec, sample_slices


@dataclass(frozen=True, slots=True)
class Slab:
    """The slices ``start <= index < stop`` of a volume, seen as one; ``extent_mm`` counts overlaps once."""

    start: int
    stop: int
    extent_mm: float

    @property
    def middle(self) -> int:
        """Index of the slice that stands for the slab."""
        return (self.start + self.stop - 1) // 2


def group_slices(stack: SliceStack, spec: PreprocessSpec) -> tuple[Slab, ...]:
    """Cut a stack into runs of neighbouring slices about ``spec.slab_mm`` long.

    Positions and thickness decide, not counts, so uneven spacing is safe: slices that lie ``thin_below_mm`` or
    more apart are never joined, and a slice of full thickness stays alone however closely the next one follows.
    """
    below = stack.distances_mm - stack.thickness_mm / 2
    above = stack.distances_mm + stack.thickness_mm / 2
    close = np.concatenate([[False], np.diff(stack.distances_mm) < spec.thin_below_mm])
    runs = [(0, 1)]
    for index in range(1, len(stack.distances_mm)):
        start = runs[-1][0]
        span, longer = above[index - 1] - below[start], above[index] - below[start]
        # The small margin keeps rounding in the positions from cutting evenly spaced slices unevenly.
        nearer = abs(longer - spec.slab_mm) < abs(span - spec.slab_mm) - 1e-3
        if close[index] and nearer:
            runs[-1] = (start, index + 1)
        else:
            runs.append((index, index + 1))
    whole = runs[:1]
    for start, stop in runs[1:]:
        if close[start] and above[stop - 1] - below[start] < spec.slab_mm / 2:
            whole[-1] = (whole[-1][0], stop)
        else:
            whole.append((start, stop))
    extents = stack.extents_mm()
    return tuple(Slab(start, stop, float(extents[start:stop].sum())) for start, stop in whole)


def places_of(slabs: tuple[Slab, ...], stack: SliceStack) -> NDArray[np.float64]:
    """Middles of slabs along the normal in mm, shape (slab,), from the first one on, whichever end that is."""
    middles = np.array([stack.distances_mm[slab.start : slab.stop].mean() for slab in slabs])
    return np.asarray(np.abs(middles - middles[:1]))


def sample_slabs(volume: Volume, slabs: tuple[Slab, ...], spec: PreprocessSpec) -> NDArray[np.float32]:
    """Mean HU of each slab on the net raster, shape (slab, size, size), slices weighted by their extent."""
    extents = volume.stack.extents_mm()
    sampled = np.empty((len(slabs), spec.size, spec.size), dtype=np.float32)
    for index, slab in enumerate(slabs):
        image = _mean_hu(volume.hu[slab.start : slab.stop], extents[slab.start : slab.stop])
        sampled[index] = sample_slices(image[None], volume.pixel_spacing_mm, spec)[0]
    return sampled


def _mean_hu(hu: NDArray[np.float32], extents_mm: NDArray[np.float64]) -> NDArray[np.float32]:
    if len(hu) == 1:
        return np.asarray(hu[0])
    weights = (extents_mm / extents_mm.sum()).astype(np.float32)
    mean = np.zeros(hu.shape[1:], dtype=np.float32)
    for image, weight in zip(hu, weights, strict=True):
        mean += np.clip(image, AIR_HU, METAL_HU) * weight
    return mean
