"""From net outputs to evidence per slice, and from slices to one exam. Arrays in, arrays out."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from triage.inference.manifest import ExamCalibration, GateCalibration, Scoring

_LOWEST = 1e-4
"""Probabilities are kept this far from 0 and 1 before their logit, so that one certain pixel decides nothing."""


def logit(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Inverse of the sigmoid, in float64, kept within 9.21 of 0."""
    kept = np.clip(np.asarray(probabilities, dtype=np.float64), _LOWEST, 1.0 - _LOWEST)
    return np.asarray(np.log(kept / (1.0 - kept)))


def sigmoid(logits: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Logistic function without overflow, in float64."""
    exact = np.asarray(logits, dtype=np.float64)
    small = np.exp(-np.abs(exact))
    return np.asarray(np.where(exact >= 0, 1.0 / (1.0 + small), small / (1.0 + small)))


def lesion_probabilities(seg_logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Softmax over the classes without the background: (6, row, column) -> (5, row, column)."""
    scaled = seg_logits / np.float32(temperature)
    scaled -= scaled.max(axis=0)
    np.exp(scaled, out=scaled)
    return np.asarray(scaled[1:] / scaled.sum(axis=0), dtype=np.float32)


def as_bytes(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities 0..1 as 0..255."""
    return np.asarray(np.rint(np.clip(probabilities, 0.0, 1.0) * np.float32(255.0)), dtype=np.uint8)


def slice_evidence(lesions: NDArray[np.float32], pixels: int) -> NDArray[np.float64]:
    """How blood-like the most blood-like ``pixels`` pixels of a slice are on average.

    Parameters
    ----------
    lesions : ndarray of float32, shape (5, row, column)

    Returns
    -------
    ndarray of float64, shape (6,)
        Any haemorrhage (the subtypes summed in each pixel), then each subtype alone.
    """
    maps = np.concatenate([lesions.sum(axis=0, keepdims=True), lesions]).reshape(len(lesions) + 1, -1)
    count = min(pixels, maps.shape[1])
    highest = np.sort(np.partition(maps, -count, axis=1)[:, -count:], axis=1)
    return np.asarray(np.clip(highest.mean(axis=1, dtype=np.float64), 0.0, 1.0))


def smooth(values: NDArray[np.float64], kernel: tuple[float, float, float]) -> NDArray[np.float64]:
    """Weighted mean of each slice with its neighbours along axis 0; at the ends over those that exist."""
    before, centre, after = kernel
    total = centre * values
    weight = np.full((len(values),) + (1,) * (values.ndim - 1), centre)
    total[1:] += before * values[:-1]
    weight[1:] += before
    total[:-1] += after * values[1:]
    weight[:-1] += after
    return np.asarray(total / weight)


def smoothed(values: NDArray[np.float64], scoring: Scoring) -> NDArray[np.float64]:
    """Each slice with what its neighbours say, on the scale that ``scoring.means`` names; shape (slice, output)."""
    return smooth(logit(values) if scoring.means == "logits" else values, scoring.kernel)


def exam_evidence(values: NDArray[np.float64], scoring: Scoring) -> NDArray[np.float64]:
    """Smoothed top-k: mean of the ``top_k`` highest smoothed slices, shape (slice, output) -> (output,).

    A single-slice maximum over 30 slices would multiply the false-positive rate of one slice.
    """
    mean = np.sort(smoothed(values, scoring), axis=0)[-scoring.top_k :].mean(axis=0)
    return sigmoid(mean) if scoring.means == "logits" else np.asarray(mean)


def provisional_probability(gate: NDArray[np.float64], calibration: GateCalibration) -> NDArray[np.float64]:
    """Calibrated exam probability while only the classifier has spoken."""
    return sigmoid(calibration.gate_weight * logit(gate) + calibration.bias)


def final_probability(
    mask: NDArray[np.float64], gate: NDArray[np.float64], calibration: ExamCalibration
) -> NDArray[np.float64]:
    """Calibrated exam probability from mask evidence and classifier together.

    The mask carries the weight: nets trained on made heads outline blood on real backgrounds long before
    their class heads can be trusted.
    """
    return sigmoid(calibration.mask_weight * logit(mask) + calibration.gate_weight * logit(gate) + calibration.bias)


def lit_slices(any_probabilities: NDArray[np.float64], gate: float) -> NDArray[np.bool_]:
    """Slices at or above the gate threshold, and their neighbours; shape (slice,)."""
    lit = any_probabilities >= gate
    wider = lit.copy()
    wider[1:] |= lit[:-1]
    wider[:-1] |= lit[1:]
    return np.asarray(wider)


def drop_small_components(
    mask: NDArray[np.bool_], pixel_ml: NDArray[np.float64], minimum_ml: float
) -> NDArray[np.bool_]:
    """Remove connected pieces below ``minimum_ml``.

    Parameters
    ----------
    mask : ndarray of bool, shape (slice, row, column)
        Slices in order; a piece continues where it overlaps itself in the next slice, 8-connected within one.
    pixel_ml : ndarray of float64, shape (slice,)
        Volume of one pixel of each slice.
    """
    if minimum_ml <= 0.0 or not mask.any():
        return mask
    pieces = np.zeros(mask.shape, dtype=np.int32)
    volumes = [0.0]
    links: list[tuple[int, int]] = []
    for index in np.flatnonzero(mask.any(axis=(1, 2))):
        count, labelled, stats, _ = cv2.connectedComponentsWithStats(mask[index].astype(np.uint8), connectivity=8)
        pieces[index] = np.where(labelled > 0, labelled + (len(volumes) - 1), 0)
        volumes.extend(float(a) * float(pixel_ml[index]) for a in stats[1:count, cv2.CC_STAT_AREA])
        if index > 0:
            both = mask[index] & mask[index - 1]
            pairs = np.unique(np.stack([pieces[index - 1][both], pieces[index][both]]), axis=1)
            links.extend((int(a), int(b)) for a, b in pairs.T)
    roots = _join(len(volumes), links)
    totals = np.bincount(roots, weights=volumes, minlength=len(volumes))
    keep = totals[roots] >= minimum_ml
    keep[0] = False
    return np.asarray(keep[pieces])


def isolate(
    lesions: NDArray[np.float32], kept: NDArray[np.bool_], limit: np.float32, reach: int
) -> NDArray[np.float32]:
    """Probabilities of the kept pieces with the rim of ``reach`` pixels that interpolation needs, 0 elsewhere.

    Shapes are (5, row, column) and (row, column). Dropped pieces at or above ``limit`` vanish even in the rim.
    """
    near = cv2.dilate(kept.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
    return np.asarray(lesions * (near & (kept | (lesions.sum(axis=0) < limit))))


def _join(count: int, links: list[tuple[int, int]]) -> NDArray[np.intp]:
    """The root of each of ``count`` pieces after joining the linked ones."""
    parent = list(range(count))

    def root(piece: int) -> int:
        while parent[piece] != piece:
            parent[piece] = parent[parent[piece]]
            piece = parent[piece]
        return piece

    for a, b in links:
        parent[root(b)] = root(a)
    return np.array([root(piece) for piece in range(count)], dtype=np.intp)
