"""From slices of a cache to what the nets see."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cache import Cache
from trainer.experiment.protocol import InputSpec
from triage.inference.preprocess import AIR_HU, PreprocessSpec, window_slices

BONE_HU, BONE_GREY = 200, 250
"""From here on a pixel is bone. In pictures bone is saturated; a window that saturates blood too loses it here."""

_SMALLEST_INSIDE = 0.02
"""Share of the picture: below it the skull is open, and only bone itself is taken away."""

CLAHE_CLIP, CLAHE_TILES = 2.0, (8, 8)
"""Paper 004 gives neither number; these are what OpenCV's own examples use."""


def input_channels(spec: InputSpec, pictures: bool) -> int:
    """Channels that a net gets: one per window, and one of pictures."""
    return 1 if pictures else len(spec.windows)


def check_fits(spec: InputSpec, cache: Cache) -> None:
    """Refuse a cache that was prepared for another input.

    Raises
    ------
    ValueError
        Size or geometry differ; the sentence says how to prepare it.
    """
    geometry = spec.geometry_of(pictures=cache.spec.pictures)
    if (spec.size, geometry) != (cache.spec.size, cache.spec.geometry):
        raise ValueError(
            f"{cache.folder} was prepared as {cache.spec.size} pixels, {cache.spec.geometry}, and the protocol wants "
            f"{spec.size}, {geometry}: run trainer prepare with --size {spec.size} --geometry {geometry}"
        )


def net_input(pixels: NDArray[Any], spec: InputSpec) -> NDArray[np.float32]:
    """Slices as a net sees them; the windows are those of the daemon (`triage.inference.preprocess`).

    Parameters
    ----------
    pixels : ndarray, shape (slice, row, column)
        int16 HU, or uint8 grey of a picture.

    Returns
    -------
    ndarray of float32, shape (slice, channel, row, column)
        0 to 1.
    """
    if spec.bone_removal:
        pixels = np.stack([brain_only(image) for image in pixels])
    if pixels.dtype == np.uint8:
        image = pixels[:, None].astype(np.float32) / np.float32(255)
    else:
        image = window_slices(pixels.astype(np.float32), PreprocessSpec(size=spec.size, windows=spec.windows))
    if spec.clahe:
        equalise = cv2.createCLAHE(CLAHE_CLIP, CLAHE_TILES)
        for first in image[:, 0]:
            grey = np.round(first * 255).astype(np.uint8)
            first[:] = np.asarray(equalise.apply(grey), np.float32) / np.float32(255)
    return image


def brain_only(image: NDArray[Any]) -> NDArray[Any]:
    """One slice with bone, and everything outside the skull, at the lowest value.

    Paper 002 filters "to remove noise, such as bones" and does not say how; this is the usual way: what the skull,
    its gaps closed, parts from the edge of the picture is inside.

    Parameters
    ----------
    image : ndarray, shape (row, column)
        int16 HU or uint8 grey.
    """
    pictures = image.dtype == np.uint8
    bone = (image >= (BONE_GREY if pictures else BONE_HU)).astype(np.uint8)
    reach = max(3, image.shape[0] // 32 | 1)
    closed = cv2.morphologyEx(
        np.pad(bone, reach), cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    )
    _, pieces = cv2.connectedComponents(1 - closed, connectivity=4)
    outside = np.asarray(pieces == pieces[0, 0])[reach:-reach, reach:-reach]
    inside = ~outside & (bone == 0)
    kept = inside if inside.mean() >= _SMALLEST_INSIDE else bone == 0
    return np.where(kept, image, 0 if pictures else int(AIR_HU)).astype(image.dtype)
