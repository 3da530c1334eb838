"""Contrast agent seen in the pixels, for scans whose header does not speak of it.

Blood is at most about 90 HU, even a retracted clot (its haematocrit cannot pass 1); enhanced veins and arteries lie at
120 HU and more. Two places tell. The sagittal sinus runs inside the skull from the vertex down the middle of its back:
enhanced, it is brighter than the rest of the rim on slab after slab. And between vertex and base an enhanced scan shows
several small bright places at once: the arteries beside the hemispheres and between them, the straight sinus. Calcified
plexus, pineal and basal ganglia do so on a few slabs too, but leave the sinus as it was; an old thick skull or blood
along it brightens the whole rim, not its middle alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from triage.inference.skull import PIXEL_MM

_DENSE_BONE_HU = 300.0
"""An enhanced sinus at the inner table must not count as bone."""
_RIM_PIXELS = (2.0, 2.5)
"""4 and 5 mm inside the inner table: beyond its blur, and in a sinus that is 5 to 10 mm deep."""
_NEAREST_PIXELS = 8
"""Rays whose inner table lies nearer to the middle than 16 mm are not looked at: the vertex itself."""
_THICKEST_PIXELS = 8
"""The inner table is looked for within 16 mm of the densest bone, for the marrow between the tables may be soft."""
_BLUR_HU = 15.0
"""By so much bone brightens what lies at that depth."""
_WINDOW_DEGREES = 20
"""The sinus is looked for so far on either side of the back: heads lie turned."""
_APART_DEGREES = 37
"""From here on the rim has no sinus, neither behind nor in front."""
_FEWEST_SLABS = 3

_BRIGHT_HU = 90.0
_BESIDE_BONE = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
"""The two pixels beside bone are left out: a sloping inner table fills them in part."""
_CALCIFIED_HU = 700.0
"""The densest enhanced artery is below 600 HU; what is denser is calcified or metal."""
_LARGEST_PLACE_PIXELS = 40
"""160 mm2: what is larger is no vessel but a mass, or a calcified falx."""
_INSIDE_MM2 = 2000.0
"""Smallest area away from bone in which a slab is looked at."""
_SQUARE = np.ones((3, 3), np.uint8)


def sinus_excess_hu(rays: Sequence[NDArray[np.float32]], back_degrees: float, brain_hu: float) -> float:
    """By how much the rim of the brain is brighter in the middle of its back, where the sagittal sinus runs.

    Parameters
    ----------
    rays : sequence of ndarray of float32, shape (ray, sample)
        HU from the middle of each slab of the vault outwards, evenly all round; samples are 2 mm apart.
    back_degrees : float
        Direction of the patient's back, from the first ray on.
    brain_hu : float
        Median of the inside. A wide space of fluid under the skull darkens the rim of an old brain, and must not make
        a plain sinus stand out.

    Returns
    -------
    float
        Median over the slabs, less the lower quartile of other places of the same width, or less brain beside bone
        where that is brighter; 0 where fewer than three slabs show the rim.
    """
    rims = [rim for one in rays if np.isfinite(rim := _rim(one)).mean() > 0.6]
    if len(rims) < _FEWEST_SLABS:
        return 0.0
    evened = np.stack([(np.roll(rim, 1) + rim + np.roll(rim, -1)) / 3 for rim in rims])
    half = round(_WINDOW_DEGREES * evened.shape[1] / 360)
    around = np.concatenate([evened[:, -half:], evened, evened[:, :half]], axis=1)
    window = np.ones((1, 2 * half + 1), np.uint8)
    brightest = cv2.dilate(np.nan_to_num(around, nan=0.0), window)[:, half:-half]
    of_direction = np.median(brightest, axis=0)
    degrees = np.arange(len(of_direction)) * 360.0 / len(of_direction)
    from_midline = np.abs((degrees - back_degrees + 90.0) % 180.0 - 90.0)
    behind = of_direction[round(back_degrees * len(of_direction) / 360.0) % len(of_direction)]
    elsewhere = np.percentile(of_direction[from_midline > _APART_DEGREES], 25.0)
    return float(behind - max(elsewhere, brain_hu + _BLUR_HU))


def _rim(rays: NDArray[np.float32]) -> NDArray[np.float32]:
    """HU just inside the inner table for each ray; NaN where a ray meets no dense bone."""
    densest = rays.argmax(axis=1)
    samples = np.arange(rays.shape[1])
    bone = (rays >= _DENSE_BONE_HU) & (samples > (densest - _THICKEST_PIXELS)[:, None])
    first = bone.argmax(axis=1)
    each = np.arange(len(rays))
    meets = bone.any(axis=1) & (first > _NEAREST_PIXELS)
    first = np.where(meets, first, _NEAREST_PIXELS)
    below, above = rays[each, first - 1], rays[each, first]
    meets &= below < _DENSE_BONE_HU
    edge = first - 1 + (_DENSE_BONE_HU - below) / np.where(meets, above - below, 1.0)
    total = np.zeros(len(rays), np.float32)
    for inset in _RIM_PIXELS:
        place = np.clip(edge - inset, 0.0, rays.shape[1] - 2.0)
        whole = place.astype(np.intp)
        share = place - whole
        total += (rays[each, whole] * (1 - share) + rays[each, whole + 1] * share).astype(np.float32)
    return np.where(meets, total / len(_RIM_PIXELS), np.float32(math.nan)).astype(np.float32)


def vessel_places(images: NDArray[np.float32], inner: NDArray[np.bool_], slabs: Sequence[int]) -> dict[int, int]:
    """How many separate small places inside the brain are as bright as enhanced vessels, for each slab.

    Parameters
    ----------
    images : ndarray of float32, shape (slab, row, column)
        HU at 2 mm pixels.
    inner : ndarray of bool, shape (slab, row, column)
        What a closed ring of bone cuts off.
    slabs : sequence of int
        Neighbouring slabs, by index.

    Returns
    -------
    dict of int to int
        Only slabs that show enough of the inside; what has bone beside, above or below it is left out, and what
        touches the rim of the brain.
    """
    interiors = {index: _filled(inner[index]) for index in slabs}
    skulls = {index: cv2.dilate((images[index] > _DENSE_BONE_HU) & (1 - interiors[index]), _SQUARE) for index in slabs}
    places = {}
    for index, interior in interiors.items():
        deep = np.asarray(cv2.erode(interior, _BESIDE_BONE), np.uint8)
        for other in (index - 1, index + 1):
            if other in skulls:
                deep[skulls[other] > 0] = 0
        if np.count_nonzero(deep) * PIXEL_MM**2 >= _INSIDE_MM2:
            places[index] = _vessels(images[index], interior, deep)
    return places


def _filled(inner: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The inside with its islands of bone or contrast; 0 or 1 (row, column)."""
    outside = inner.astype(np.uint8)
    cv2.floodFill(outside, None, (0, 0), 2)
    return np.asarray(outside != 2, np.uint8)


def _vessels(hu: NDArray[np.float32], interior: NDArray[np.uint8], deep: NDArray[np.uint8]) -> int:
    """Number of separate places as bright as enhanced vessels and as small, that end before the rim."""
    bright = ((hu > _BRIGHT_HU) & (interior > 0)).astype(np.uint8)
    if not (bright & deep).any():
        return 0
    count, labelled, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    vessel = stats[:, cv2.CC_STAT_AREA] <= _LARGEST_PLACE_PIXELS
    vessel[0] = False
    vessel[labelled[(bright > 0) & ((deep == 0) | (hu > _CALCIFIED_HU))]] = False
    return int(np.count_nonzero(vessel[:count]))
