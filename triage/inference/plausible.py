"""Is this a living head at all? Asked before any net is, because a net answers for whatever it is shown.

A plastic head, a water phantom, a chest, or a head whose rescale was lost must end as ``out_of_distribution``,
never as a quiet negative. Children, tilted heads, open skulls and partial scans must pass, so the limits are wide:
they tell what can be no head, not what is a normal one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode
from triage.domain.volume import Volume
from triage.inference.preprocess import PreprocessSpec
from triage.inference.slabs import group_slices, sample_slabs

_PIXEL_MM = 2.0
BONE_HU = 150.0
"""Above all soft tissue and fresh blood, below an infant's skull averaged over 2 mm."""
_SEAM_PIXELS = 5
"""Side of the square that closes seams of up to 8 mm in the skull: sutures, thin bone, burr holes."""
_COMPARTMENT_MM2 = 400.0
_RIM_PIXELS = 4
"""8 mm beside the bone are left out where structure is measured: there partial volume and cupping rule."""

RING_AREA_MM2 = 2000.0
"""Smallest enclosed area that counts as a closed skull; an adult's widest slice has about 18,000."""
RING_LENGTH_MM = 15.0
"""Closed skull needed along the scan axis: three slices of 5 mm. An open skull still closes at its base."""
LARGEST_AREA_MM2 = 32000.0
AIR_SHARE = 0.02
"""Smallest share of the images that must be air (below -500 HU): the corners around any head."""
TISSUE_MEDIAN_HU = (5.0, 65.0)
"""Around 30 in adults (29-39 over kV and scanners), lower in infants and oedema, higher only when full of blood."""
TISSUE_SHARE = 0.6
"""Smallest share of the enclosed volume between 0 and 80 HU; sinuses and bone at the base take the rest."""
STRUCTURE_HU = 4.0
"""Smallest 5 to 95 % spread inside: grey, white and fluid differ, a filled phantom does not."""
OUTSIDE_SHARE = 0.05
"""Largest share of the enclosed volume that may lie beyond the field that the nets see."""


@dataclass(frozen=True, slots=True)
class HeadMeasures:
    """What was measured; the enclosed volume is what a closed ring of bone surrounds.

    Attributes
    ----------
    air_share : float
        Share of all pixels below -500 HU.
    ring_length_mm : float
        Length along the normal over which the skull is closed.
    largest_area_mm2 : float
        Largest enclosed area of one slice.
    tissue_median_hu, tissue_share, structure_hu : float
        Median, share within 0..80 HU, and 5 to 95 % spread of the enclosed volume; NaN without a ring.
    outside_share : float
        Share of the enclosed volume beyond the analysed field.
    """

    air_share: float
    ring_length_mm: float
    largest_area_mm2: float
    tissue_median_hu: float
    tissue_share: float
    structure_hu: float
    outside_share: float


def check_living_head(volume: Volume, field_mm: float = 256.0) -> None:
    """Refuse what cannot be a living head.

    Parameters
    ----------
    field_mm : float
        Side of the square about the image centre that the nets see.

    Raises
    ------
    UnusableSeries
        ``out_of_distribution``, with the measurement that failed and its limit.
    """
    measured = measure_head(volume, field_mm)
    fault = _first_fault(measured, field_mm)
    if fault:
        raise UnusableSeries(ReasonCode.OUT_OF_DISTRIBUTION, f"Does not look like a living head: {fault}.")


def measure_head(volume: Volume, field_mm: float = 256.0) -> HeadMeasures:
    """Measure skull and content at 2 mm, in slabs of about 5 mm."""
    rows, columns = volume.hu.shape[1:]
    widest_mm = max(rows * volume.pixel_spacing_mm[0], columns * volume.pixel_spacing_mm[1])
    size = int(np.clip(math.ceil(widest_mm / _PIXEL_MM), 16, 512))
    spec = PreprocessSpec(size=size, pixel_mm=_PIXEL_MM)
    slabs = group_slices(volume.stack, spec)
    sampled = sample_slabs(volume, slabs, spec)
    enclosed = np.stack([_enclosed(image) for image in sampled])
    areas_mm2 = enclosed.sum(axis=(1, 2)) * _PIXEL_MM**2
    closed = areas_mm2 >= RING_AREA_MM2
    enclosed[~closed] = False
    inside = sampled[enclosed]
    return HeadMeasures(
        air_share=float(np.mean(sampled < -500.0)),
        ring_length_mm=float(sum(slab.extent_mm for slab, ring in zip(slabs, closed, strict=True) if ring)),
        largest_area_mm2=float(areas_mm2.max()),
        tissue_median_hu=float(np.median(inside)) if inside.size else math.nan,
        tissue_share=float(np.mean((inside >= 0.0) & (inside <= 80.0))) if inside.size else math.nan,
        structure_hu=_structure(sampled, enclosed),
        outside_share=_outside(enclosed, field_mm) if inside.size else 0.0,
    )


def _first_fault(measured: HeadMeasures, field_mm: float) -> str:
    """Why this is no living head, or an empty text."""
    lowest, highest = TISSUE_MEDIAN_HU
    if measured.ring_length_mm < RING_LENGTH_MM:
        return (
            f"a closed skull is seen over {measured.ring_length_mm:.0f} mm only, and {RING_LENGTH_MM:.0f} mm are needed"
        )
    if not lowest <= measured.tissue_median_hu <= highest:
        return (
            f"inside the skull the median is {measured.tissue_median_hu:.0f} HU, "
            f"and brain lies between {lowest:.0f} and {highest:.0f}"
        )
    if measured.tissue_share < TISSUE_SHARE:
        return f"only {measured.tissue_share:.0%} of the inside of the skull lies between 0 and 80 HU"
    if measured.structure_hu < STRUCTURE_HU:
        return f"the inside of the skull is uniform to {measured.structure_hu:.1f} HU, as in a filled phantom"
    if measured.largest_area_mm2 > LARGEST_AREA_MM2:
        return f"the skull encloses {measured.largest_area_mm2 / 100:.0f} cm2; check the pixel spacing"
    if measured.air_share < AIR_SHARE:
        return "there is no air around it"
    if measured.outside_share > OUTSIDE_SHARE:
        return (
            f"{measured.outside_share:.0%} of the brain lies outside the central {field_mm:.0f} mm of the image, "
            "which is all that is analysed"
        )
    return ""


def _enclosed(hu: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels that a closed ring of bone cuts off from the image border, shape (row, column)."""
    bone = (hu > BONE_HU).astype(np.uint8)
    wall = cv2.morphologyEx(bone, cv2.MORPH_CLOSE, np.ones((_SEAM_PIXELS, _SEAM_PIXELS), np.uint8))
    _, labelled, stats, _ = cv2.connectedComponentsWithStats(1 - wall, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] * _PIXEL_MM**2 >= _COMPARTMENT_MM2
    large[0] = False
    large[labelled[[0, -1], :].ravel()] = False
    large[labelled[:, [0, -1]].ravel()] = False
    return np.asarray(large[labelled])


def _structure(sampled: NDArray[np.float32], enclosed: NDArray[np.bool_]) -> float:
    """5 to 95 % spread of HU away from bone, smoothed so that noise does not pass for anatomy."""
    side = 2 * _RIM_PIXELS + 1
    kept = []
    for image, inside in zip(sampled, enclosed, strict=True):
        deep = cv2.erode(inside.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
        if deep.any():
            kept.append(cv2.GaussianBlur(np.clip(image, -100.0, 150.0), (0, 0), 1.5)[deep])
    if not kept:
        return math.nan
    low, high = np.percentile(np.concatenate(kept), [5.0, 95.0])
    return float(high - low)


def _outside(enclosed: NDArray[np.bool_], field_mm: float) -> float:
    """Share of the enclosed pixels beyond the central square of ``field_mm``."""
    size = enclosed.shape[1]
    far = np.abs((np.arange(size) + 0.5 - size / 2) * _PIXEL_MM) > field_mm / 2
    beyond = enclosed & (far[:, None] | far[None, :])
    return float(beyond.sum() / enclosed.sum())
