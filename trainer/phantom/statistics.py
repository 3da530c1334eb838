"""Measures made bleeds as a scanner shows them, to be held against the published figures of real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from trainer.phantom.fields import COARSE, Floats
from trainer.phantom.fitting import Probe, places_of
from trainer.phantom.lesions import Bleed, draw_bleed
from trainer.phantom.pose import Plane, axial_plane
from trainer.phantom.scene import Head, cut, draw_head, fields_in
from trainer.phantom.sources import anatomy_for
from trainer.phantom.volumes import volume_at
from triage.domain.finding import SUBTYPES, Subtype

THICKNESS_MM = 5.0
_IN_ONE_HEAD = 4
"""Bleeds of a subtype that share a head, one after the other: to draw a head takes longer than to draw a bleed."""

_FINE_MM, _COARSE_MM = 1.0, 2.0
_LARGE_ML = 10.0
"""Boxes around larger bleeds are read on the coarse grid: the share of blood in a voxel keeps the volume true."""

_MARGIN_MM = 9.0
_LOWEST_MM, _HIGHEST_MM = -85.0, 105.0
_FIELD_MM = 240.0
"""What a bleed is read in: so far around it, between these heights, on planes of this side."""

_CRUMB_ML = 0.028
"""Smaller components do not count: nobody outlines a speck of a few voxels."""

_WITHOUT_BONE = 0.02
"""HU are read where less than this share of a voxel is bone: an outline drawn in a window for brain leaves bone out."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One bleed alone in a head, in slices of 5 mm.

    Attributes
    ----------
    volume_ml : float
        Sum of the shares of blood in all voxels.
    hu : float
        Median over the voxels that are mostly blood; NaN where there are none.
    extents_mm : tuple of float
        Height of each connected component.
    """

    subtype: Subtype
    wanted_ml: float
    volume_ml: float
    hu: float
    extents_mm: tuple[float, ...]


def measured_bleeds(
    count: int, seed: int, *, anatomy: Path | None = None, subtypes: Sequence[Subtype] = SUBTYPES
) -> list[Measured]:
    """Make ``count`` bleeds of each subtype, and lay each alone into a head; a few share a head, one after the other.

    The normal scores of the volumes are laid out evenly instead of drawn, so that the quantiles of few bleeds
    tell of the generator and not of luck.
    """
    scores = [NormalDist().inv_cdf((index + 0.5) / count) for index in range(count)]
    orders = {s: np.random.default_rng([seed, SUBTYPES.index(s)]).permutation(count) for s in SUBTYPES}
    found = []
    for first in range(0, count, _IN_ONE_HEAD):
        for_anatomy, for_head, for_bleeds = np.random.default_rng([seed, len(SUBTYPES), first]).spawn(3)
        head = draw_head(for_head, anatomy_for(anatomy, for_anatomy), bleeding=False)
        probe = Probe(partial(fields_in, head, bleeds=()), float(1 / abs(np.linalg.det(head.pose.matrix))))
        for number in range(first, min(first + _IN_ONE_HEAD, count)):
            for subtype, stream in zip(SUBTYPES, for_bleeds.spawn(len(SUBTYPES)), strict=True):
                if subtype in subtypes:
                    score = scores[orders[subtype][number]]
                    bleed = draw_bleed(stream, head.anatomy, subtype, probe, score=score)
                    alone = replace(head, bleeds=(bleed,))
                    found.append(_measured(alone, bleed, probe, volume_at(subtype, score)))
    return found


def _measured(head: Head, bleed: Bleed, probe: Probe, wanted_ml: float) -> Measured:
    """The only ``bleed`` of ``head``, cut into slices and read from them."""
    spacing = _FINE_MM if wanted_ml < _LARGE_ML else _COARSE_MM
    index = SUBTYPES.index(bleed.subtype)
    parts = [cut(head, plane) for plane in _planes(head, places_of(bleed.shape, probe), spacing)]
    share = np.stack([part.blood[index] for part in parts])
    hu = np.stack([part.hu for part in parts])
    clean = (share > 0.5) & (np.stack([part.bone for part in parts]) < _WITHOUT_BONE)
    voxel_ml = spacing**2 * THICKNESS_MM / 1000
    return Measured(
        subtype=bleed.subtype,
        wanted_ml=wanted_ml,
        volume_ml=float(share.sum()) * voxel_ml,
        hu=float(np.median(hu[clean])) if clean.any() else float("nan"),
        extents_mm=_extents_mm(share > 0.5, voxel_ml),
    )


def _planes(head: Head, places: Floats, spacing_mm: float) -> list[Plane]:
    """Neighbouring slices through all of ``places`` (3, point), cropped to the box around them."""
    turned = np.linalg.solve(head.pose.matrix, places - head.pose.offset_mm[:, None]).T
    low, high = turned.min(axis=0) - _MARGIN_MM, turned.max(axis=0) + _MARGIN_MM
    size = int(_FIELD_MM / spacing_mm)
    columns, rows = (_span(low[axis], high[axis], spacing_mm, size) for axis in (0, 1))
    heights = np.arange(max(low[2], _LOWEST_MM), min(high[2], _HIGHEST_MM), THICKNESS_MM)
    return [axial_plane(float(z), size, spacing_mm, THICKNESS_MM).cropped(*rows, *columns) for z in heights]


def _span(low_mm: float, high_mm: float, spacing_mm: float, size: int) -> tuple[int, int]:
    """First and last pixel + 1 of a span, multiples of `COARSE`."""
    first = int(np.clip(low_mm / spacing_mm + size / 2, 0, size - 4 * COARSE)) // COARSE * COARSE
    last = int(np.clip(high_mm / spacing_mm + size / 2, first + 4 * COARSE, size))
    return first, -(-last // COARSE) * COARSE


def _extents_mm(mask: NDArray[np.bool_], voxel_ml: float) -> tuple[float, ...]:
    """Heights of the connected components of ``mask`` (slice, row, column) that are more than crumbs."""
    from scipy import ndimage  # only where statistics are made

    components, number = ndimage.label(mask)
    sizes = ndimage.sum(mask, components, range(1, number + 1)) if number else []
    heights = [THICKNESS_MM * (box[0].stop - box[0].start) for box in ndimage.find_objects(components)]
    return tuple(h for h, size in zip(heights, sizes, strict=True) if size * voxel_ml >= _CRUMB_ML)
