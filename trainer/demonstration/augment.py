"""Random changes to training stacks in HU, before windowing, so that no window hides what was changed."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.demonstration.protocol import AugmentSpec
from triage.inference.preprocess import AIR_HU, METAL_HU


def augment(
    hu: NDArray[np.int16], labels: NDArray[np.uint8], spec: AugmentSpec, rng: np.random.Generator, pixel_mm: float
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Change every run of slices on its own, all slices of one alike but for the noise.

    The middle slice is changed alike whether its neighbours are there or not.

    Parameters
    ----------
    hu : ndarray of int16, shape (run, slice, row, column)
    labels : ndarray of uint8, shape (run, row, column)
        Of the slice of each run that is learned from.
    pixel_mm : float
        Side of a pixel.

    Returns
    -------
    tuple of ndarray
        float32 HU and uint8 labels of the same shapes. Left and right are exchanged, up and down never.
    """
    changed = np.empty(hu.shape, np.float32)
    truth = np.empty_like(labels)
    for run in range(len(hu)):
        flipped = -1 if rng.random() < spec.flip else 1
        matrix = _affine(spec, rng, hu.shape[2:], pixel_mm) if rng.random() < spec.affine else None
        softened_mm = rng.uniform(0.3, max(spec.blur_mm, 0.31)) if rng.random() < spec.blur else 0.0
        scale, shift = np.float32(rng.normal(1.0, spec.hu_scale)), np.float32(rng.normal(0.0, spec.hu_shift))
        grain_hu = np.float32(rng.uniform(0.0, spec.noise_hu) if rng.random() < spec.noise else 0.0)
        grains, for_alone = rng.spawn(2)
        alone = for_alone.random() < spec.alone
        label = labels[run, :, ::flipped]
        truth[run] = label if matrix is None else _moved(label, matrix, cv2.INTER_NEAREST, 0)
        middle = hu.shape[1] // 2
        order = sorted(range(hu.shape[1]), key=lambda one: abs(one - middle))
        for index in order[:1] if alone else order:
            image = hu[run, index, :, ::flipped].astype(np.float32)
            if matrix is not None:
                image = _moved(image, matrix, cv2.INTER_LINEAR, AIR_HU)
            if softened_mm:
                image = np.asarray(cv2.GaussianBlur(image, (0, 0), softened_mm / pixel_mm), np.float32)
            image = image * scale + shift
            if grain_hu:
                image = image + grain_hu * grains.standard_normal(image.shape, dtype=np.float32)
            changed[run, index] = np.clip(image, AIR_HU, METAL_HU)
        if alone:
            changed[run] = changed[run, middle]
    return changed, truth


def _affine(
    spec: AugmentSpec, rng: np.random.Generator, shape: tuple[int, ...], pixel_mm: float
) -> NDArray[np.float64]:
    """A 2x3 matrix about the image centre, in (column, row) order as OpenCV wants it."""
    angle = np.deg2rad(rng.uniform(-spec.rotation_deg, spec.rotation_deg))
    scale = 1.0 + rng.uniform(-spec.scale, spec.scale, 2)
    shear = rng.uniform(-spec.shear, spec.shear)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag(scale)
    centre = np.array([shape[1] - 1, shape[0] - 1]) / 2
    shift = rng.uniform(-spec.shift_mm, spec.shift_mm, 2) / pixel_mm
    return np.column_stack([linear, centre - linear @ centre + shift])


def _moved(image: NDArray[Any], matrix: NDArray[np.float64], how: int, outside: float) -> NDArray[Any]:
    """The same type back; ``how`` is OpenCV's interpolation."""
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.warpAffine(np.ascontiguousarray(image), matrix, size, flags=how, borderValue=outside))
