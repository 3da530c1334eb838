"""Random changes to training slices in HU, before windowing, so that no window hides what was changed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.protocol import AugmentSpec
from triage.inference.preprocess import AIR_HU, METAL_HU


def augment(
    hu: NDArray[np.int16], labels: NDArray[np.uint8], spec: AugmentSpec, rng: np.random.Generator, pixel_mm: float
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Change every slice on its own.

    Parameters
    ----------
    hu : ndarray of int16, shape (slice, row, column)
    labels : ndarray of uint8, same shape

    Returns
    -------
    tuple of ndarray
        float32 HU and uint8 labels of the same shape. Left and right are exchanged, up and down never.
    """
    changed = np.empty(hu.shape, np.float32)
    truth = np.empty_like(labels)
    for index in range(len(hu)):
        image, label = hu[index].astype(np.float32), labels[index]
        if rng.random() < spec.flip:
            image, label = image[:, ::-1], label[:, ::-1]
        if rng.random() < spec.affine:
            image, label = _move(image, label, _affine(spec, rng, image.shape, pixel_mm))
        changed[index] = _rescan(image, spec, rng, pixel_mm)
        truth[index] = label
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


def _move(
    image: NDArray[np.float32], label: NDArray[np.uint8], matrix: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    size = (image.shape[1], image.shape[0])
    moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=AIR_HU)
    truth = cv2.warpAffine(np.ascontiguousarray(label), matrix, size, flags=cv2.INTER_NEAREST, borderValue=0)
    return np.asarray(moved, np.float32), np.asarray(truth, np.uint8)


def _rescan(
    image: NDArray[np.float32], spec: AugmentSpec, rng: np.random.Generator, pixel_mm: float
) -> NDArray[np.float32]:
    """Another scanner: softer or noisier, soft tissue a little lighter, darker or flatter; air stays air."""
    if rng.random() < spec.blur:
        softer = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, max(spec.blur_mm, 0.31)) / pixel_mm)
        image = np.asarray(softer, np.float32)
    image = image * np.float32(rng.normal(1.0, spec.hu_scale)) + np.float32(rng.normal(0.0, spec.hu_shift))
    if rng.random() < spec.noise:
        grain = rng.standard_normal(image.shape, dtype=np.float32)
        image = image + np.float32(rng.uniform(0.0, spec.noise_hu)) * grain
    return np.clip(image, AIR_HU, METAL_HU).astype(np.float32)
