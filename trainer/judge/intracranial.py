"""What the skull encloses in one slice of a real series, and where the middle of the brain lies."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.measures.interval import Flags
from triage.domain.volume import Volume

BONE_HU = 150.0
"""From here on bone, the partial volume of its edges included; far above fresh blood."""

_SEAM_MM = 3.0
"""Radius of the disc that closes sutures and foramina."""
_COMPARTMENT_MM2 = 150.0
"""Smaller enclosed spaces are air cells and marrow."""

_CALCIUM_MM2 = 200.0
"""Holes up to this size inside a compartment are calcified plexus or pineal, and belong to the brain."""
_TISSUE_HU = (5.0, 70.0)
"""Median of an enclosed space that is brain, blood included; orbits and sinuses lie outside."""

_SLICE_OF_BRAIN_MM2 = 2000.0
"""From this area on a slice belongs to the extent of the brain."""

MID_BRAIN = (0.29, 0.85)
"""Share of the brain's extent along the scan axis, from below. Looked up on the development series: above the orbital
roofs and the petrous ridges, and 25 mm or more below the top of the brain: 11 of its 28 slices."""


def intracranial(hu: NDArray[np.float32], spacing_mm: float) -> Flags:
    """Everything that bone encloses and that looks like brain in the median, shape (row, column) as ``hu``."""
    smooth = cv2.GaussianBlur(np.clip(hu, -1024.0, 1500.0), (0, 0), 0.5 / spacing_mm)
    radius = max(1, round(_SEAM_MM / spacing_mm))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    wall = cv2.morphologyEx((smooth > BONE_HU).astype(np.uint8), cv2.MORPH_CLOSE, disc)
    count, labelled, stats, _ = cv2.connectedComponentsWithStats(1 - wall, connectivity=4)
    rim = np.concatenate([labelled[0], labelled[-1], labelled[:, 0], labelled[:, -1]])
    found = np.zeros(hu.shape, dtype=np.bool_)
    for index in range(1, count):
        large = stats[index, cv2.CC_STAT_AREA] * spacing_mm**2 >= _COMPARTMENT_MM2
        if large and index not in rim:
            part = labelled == index
            found |= part & (_TISSUE_HU[0] < np.median(hu[part]) < _TISSUE_HU[1])
    return _without_small_holes(found, spacing_mm)


def brain_masks(volume: Volume) -> NDArray[np.bool_]:
    """`intracranial` of every slice, shape (slice, row, column)."""
    return np.stack([intracranial(image, volume.pixel_spacing_mm[0]) for image in volume.hu])


def heights(volume: Volume, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Where each slice lies in the extent of the brain, 0 at its lowest slice and 1 at its highest, shape (slice,).

    Raises
    ------
    ValueError
        No slice shows brain inside a closed skull.
    """
    areas_mm2 = masks.sum(axis=(1, 2)) * volume.pixel_spacing_mm[0] * volume.pixel_spacing_mm[1]
    shown = np.flatnonzero(areas_mm2 >= _SLICE_OF_BRAIN_MM2)
    if not shown.size:
        raise ValueError("no slice of the series shows brain inside a closed skull")
    upward = 1.0 if volume.stack.normal[2] >= 0 else -1.0
    middle = upward * volume.stack.distances_mm
    half = volume.stack.thickness_mm / 2
    bottom, top = float((middle - half)[shown].min()), float((middle + half)[shown].max())
    return np.asarray((middle - bottom) / (top - bottom))


def is_mid_brain(volume: Volume, masks: NDArray[np.bool_]) -> Flags:
    """Which slices lie in the middle of the brain, shape (slice,)."""
    where = heights(volume, masks)
    return np.asarray((where >= MID_BRAIN[0]) & (where <= MID_BRAIN[1]))


def brightened_hu(volume: Volume, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """By how much the bone around it brightens each slice, 0 or more, shape (slice,).

    The median of its brain above that of mid-brain: on the development series up to 16 HU at the skull base and 19 HU
    at the vertex. Slices without brain have 0.
    """
    brain = np.array([np.median(hu[mask]) if mask.any() else np.nan for hu, mask in zip(volume.hu, masks, strict=True)])
    usual = np.nanmedian(brain[is_mid_brain(volume, masks)])
    return np.nan_to_num(np.maximum(brain - usual, 0.0)).astype(np.float64)


def _without_small_holes(mask: Flags, spacing_mm: float) -> Flags:
    count, labelled, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] * spacing_mm**2 <= _CALCIUM_MM2
    small[0] = False
    return np.asarray(mask | (small[labelled] if count > 1 else False))
