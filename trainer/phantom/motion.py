"""A patient who moves: double contours in a slice, and a jump between two slices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from trainer.phantom.fields import Floats
from trainer.phantom.pose import Plane


@dataclass(frozen=True, slots=True)
class Motion:
    """The random constants of one scan.

    ``restless`` is the chance of a slice to show the head twice, ``shift_mm`` and ``turn_deg`` apart (standard
    deviations). ``jump_at`` is where in the stack the head moves by ``jump_mm`` (x, y, z; LPS) for good, 0..1, None
    where it does not.
    """

    restless: float
    shift_mm: float
    turn_deg: float
    jump_at: float | None
    jump_mm: tuple[float, float, float]


def draw_motion(rng: np.random.Generator) -> Motion:
    """Draw the motion of one scan: 6 % are restless, 4 % have a jump."""
    restless = float(rng.random() < 0.06) * rng.uniform(0.2, 0.8)
    jumps, at = rng.random() < 0.04, rng.uniform(0.15, 0.85)
    x, y, z = (float(value) for value in rng.normal(0, (3.0, 3.0, 2.0)))
    return Motion(restless, rng.uniform(0.8, 4), rng.uniform(0.3, 3.5), at if jumps else None, (x, y, z))


def shaken(hu: Floats, motion: Motion, rng: np.random.Generator, spacing_mm: float) -> Floats:
    """HU (row, column) of a slice in which the head was at two places, or at one."""
    if rng.random() >= motion.restless:
        return hu
    angle, share = rng.normal(0, motion.turn_deg), rng.uniform(0.15, 0.45)
    centre = ((hu.shape[1] - 1) / 2, (hu.shape[0] - 1) / 2)
    turn = np.asarray(cv2.getRotationMatrix2D(centre, angle, 1.0), np.float64)
    turn[:, 2] += rng.normal(0, motion.shift_mm, 2) / spacing_mm
    other = cv2.warpAffine(hu, turn, hu.shape[::-1], flags=cv2.INTER_LINEAR, borderValue=float(hu[0, 0]))
    return np.asarray(hu + np.float32(share) * (other - hu), np.float32)


def seen_plane(plane: Plane, motion: Motion, place: float) -> Plane:
    """The plane of the head that a slice shows, ``place`` 0..1 in the stack: another one after a jump."""
    if motion.jump_at is None or place < motion.jump_at:
        return plane
    return replace(plane, origin_mm=plane.origin_mm + np.array(motion.jump_mm))
