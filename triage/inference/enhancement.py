"""Contrast agent seen in the pixels, for scans whose header does not speak of it.

Blood is at most about 90 HU, even a retracted clot (its haematocrit cannot pass 1); enhanced veins and arteries lie at
120 HU and more. In the vault, above choroid plexus, pineal and basal ganglia, nothing natural but plaques of the falx
and rare tumours passes 100 HU, and those end after a few slabs. Enhanced vessels are seen at several places of nearly
every slab: the sagittal sinus in front and behind, cortical veins, arteries between the hemispheres and over them.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from triage.inference.skull import PIXEL_MM

ENHANCED_HU = 100.0
_DENSE_BONE_HU = 300.0
"""An enhanced sinus at the inner table must not count as bone; where bone is thinner than this the ring leaks and
nothing is measured."""
_BESIDE_BONE_PIXELS = 2.5
"""The two pixels beside bone are left out: a sloping inner table fills them in part."""
_CALCIFIED_HU = 700.0
"""The densest enhanced artery is below 600 HU; what is denser is calcified or metal, and is left out with its halo."""
_MASS_PIXELS = 7
"""Wider than 12 mm is no vessel but a mass: calcified tumours are left out."""
_INSIDE_MM2 = 2000.0
"""Smallest area away from bone in which a slab is looked at."""
_SQUARE = np.ones((3, 3), np.uint8)


def enhanced_places(images: NDArray[np.float32], vault: Sequence[int]) -> NDArray[np.int64]:
    """How many separate places are as bright as enhanced vessels, for each slab of the vault that has room for them.

    Parameters
    ----------
    images : ndarray of float32, shape (slab, row, column)
        HU at 2 mm pixels.
    vault : sequence of int
        Neighbouring slabs, by index.

    Returns
    -------
    ndarray of int64
        One entry per slab that shows enough of the inside; what has bone beside, above or below it is left out.
    """
    bones = {index: (images[index] > _DENSE_BONE_HU).astype(np.uint8) for index in vault}
    interiors = {index: _interior(bone) for index, bone in bones.items()}
    places = []
    for index in vault:
        apart = cv2.distanceTransform(interiors[index], cv2.DIST_L2, 5)
        deep = (apart > _BESIDE_BONE_PIXELS).astype(np.uint8)
        for other in (index - 1, index + 1):
            if other in bones:
                deep &= 1 - cv2.dilate(bones[other] & (1 - interiors[other]), _SQUARE)
        if deep.sum() * PIXEL_MM**2 >= _INSIDE_MM2:
            places.append(_vessels(images[index], deep))
    return np.array(places, np.int64)


def _interior(bone: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the ring of dense bone surrounds, islands of bone or contrast in it included; 0 or 1 (row, column)."""
    wall = cv2.morphologyEx(bone, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, spaces = cv2.connectedComponents(1 - wall, connectivity=4)
    border = np.zeros(spaces.max() + 1, np.bool_)
    for edge in (spaces[0], spaces[-1], spaces[:, 0], spaces[:, -1]):
        border[edge] = True
    border[0] = False
    outside = border[spaces]
    _, walls = cv2.connectedComponents(wall, connectivity=8)
    skull = np.zeros(walls.max() + 1, np.bool_)
    skull[walls[cv2.dilate(outside.astype(np.uint8), _SQUARE) > 0]] = True
    skull[0] = False
    return np.asarray(~outside & ~skull[walls], np.uint8)


def _vessels(hu: NDArray[np.float32], deep: NDArray[np.uint8]) -> int:
    """Number of separate places as bright as enhanced vessels, and as thin."""
    bright = ((hu > ENHANCED_HU) & (deep > 0)).astype(np.uint8)
    if not bright.any():
        return 0
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_MASS_PIXELS, _MASS_PIXELS))
    masses = cv2.morphologyEx(bright, cv2.MORPH_OPEN, disc)
    count, labelled = cv2.connectedComponents(bright, connectivity=8)
    dense = np.unique(labelled[(bright > 0) & ((hu > _CALCIFIED_HU) | (masses > 0))])
    return int(count - 1 - len(dense))
