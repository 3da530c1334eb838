"""Brain that much bone around it has brightened, brought back to what it is elsewhere.

A scanner that takes the beam for softer than it is after all that bone computes the brain between too dense: at the
vertex of the development series by 19 HU, in every pixel alike. Nets to which so much is rare take blood on top of it
for more of the same: of the epidural and subdural blood put into that vertex they found two thirds, and five sixths
once its slices were as dark as the others.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from triage.inference.skull import PIXEL_MM, enclosed

USUAL_HU = 36.0
"""Brain without blood, cortex and white matter together, is 28 to 36 HU dense; what is below is left alone."""
HU_PER_SHARE = 80.0
"""Most that is taken for each share of bone beyond `SHARE_WITHOUT`; the development series has 40 to 60. Above the base
and below the vertex the share is 0.2, and 4 HU is the most: large blood, which is no bone, keeps its density."""
SHARE_WITHOUT = 0.15
"""Bone over bone and brain of a slice where bone is no more than a thin ring."""

_BONE_HU = 300.0
"""Dense bone: an inner table in part of a slice is none."""
_BRAIN_HU = (0.0, 100.0)
_LEAST_MM2 = 500.0
"""Brain of a slice; in less its median is that of the partial volume at its edge."""


def brightening_hu(hu: NDArray[np.float32], pixel_mm: float) -> float:
    """How much denser than usual the brain of a slice (row, column) is, as far as the bone of the slice explains it.

    0 where the slice shows no brain inside a closed skull.
    """
    step = pixel_mm / PIXEL_MM
    small = np.asarray(cv2.resize(hu, None, fx=step, fy=step, interpolation=cv2.INTER_AREA), np.float32)
    inside = enclosed(small) & (small > _BRAIN_HU[0]) & (small < _BRAIN_HU[1])
    brain = int(np.count_nonzero(inside))
    if brain * PIXEL_MM**2 < _LEAST_MM2:
        return 0.0
    bone = int(np.count_nonzero(small > _BONE_HU))
    explained = HU_PER_SHARE * max(bone / (bone + brain) - SHARE_WITHOUT, 0.0)
    return min(max(float(np.median(small[inside])) - USUAL_HU, 0.0), explained)


def evened(slices: NDArray[np.floating], pixel_mm: float) -> NDArray[np.float32]:
    """Slices (slice, row, column) of HU, each less its `brightening_hu` in every pixel."""
    exact = np.asarray(slices, np.float32)
    return exact - np.array([brightening_hu(one, pixel_mm) for one in exact], np.float32).reshape(-1, 1, 1)
