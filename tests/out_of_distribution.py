"""SYNTHETIC scans that are odd as a whole: parts of a head, lost calibration, other modalities, sizes and poses.

Made from heads of the trainer's generator or from a real one, with parameters drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.onnx_models import volume_of
from tests.out_of_distribution_heads import Inside
from triage.domain.volume import Volume

Floats = NDArray[np.float32]
Painter = Callable[[Volume, np.random.Generator], Volume]


def contents(folder: Path) -> list[bytes]:
    """The instances in a folder of the real inputs; beside them lie a licence and a listing of the scanner."""
    return [path.read_bytes() for path in sorted(folder.iterdir()) if path.name not in {"LICENSE", "DIRFILE"}]


def smaller(volume: Volume, factor: int) -> Volume:
    """The same scan on pixels ``factor`` times as large, each the mean of those it covers."""
    count, rows, columns = volume.hu.shape
    hu = volume.hu.reshape(count, rows // factor, factor, columns // factor, factor).mean(axis=(2, 4))
    spacing = (volume.pixel_spacing_mm[0] * factor, volume.pixel_spacing_mm[1] * factor)
    return replace(volume, hu=hu.astype(np.float32), pixel_spacing_mm=spacing)


def part(volume: Volume, first: int, stop: int) -> Volume:
    """Some neighbouring slices, as a scan that covered no more."""
    thickness = [float(t) for t in volume.stack.thickness_mm[first:stop]]
    positions = [float(d) for d in volume.stack.distances_mm[first:stop]]
    return volume_of(volume.hu[first:stop], positions, thickness, volume.pixel_spacing_mm)


def resized(volume: Volume, scale: float) -> Volume:
    """The same head, ``scale`` times as large in every direction."""
    spacing = (volume.pixel_spacing_mm[0] * scale, volume.pixel_spacing_mm[1] * scale)
    thickness = [float(t) * scale for t in volume.stack.thickness_mm]
    return volume_of(volume.hu, [float(d) * scale for d in volume.stack.distances_mm], thickness, spacing)


def turned(volume: Volume, rng: np.random.Generator) -> Volume:
    """The head turned in its slices by 10 to 20 degrees."""
    rows, columns = volume.hu.shape[1:]
    degrees = float(rng.choice([-1, 1]) * rng.uniform(10, 20))
    turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), degrees, 1.0)
    hu = [cv2.warpAffine(image, turn, (columns, rows), borderValue=-1000.0) for image in volume.hu]
    return replace(volume, hu=np.stack(hu).astype(np.float32))


def shifted_hu(volume: Volume, rng: np.random.Generator) -> Volume:
    """Another calibration: 10 HU more or less."""
    return replace(volume, hu=volume.hu + np.float32(rng.choice([-10, 10])))


def noisy(volume: Volume, rng: np.random.Generator) -> Volume:
    """Less dose: noise of 6 to 14 HU on pixels of 2 mm."""
    return replace(volume, hu=volume.hu + rng.normal(0, rng.uniform(6, 14), volume.hu.shape).astype(np.float32))


def of_a_child(volume: Volume, rng: np.random.Generator) -> Volume:
    """From a newborn's size to a large man's."""
    return resized(volume, rng.uniform(0.62, 1.1))


def without_vertex(volume: Volume, rng: np.random.Generator) -> Volume:
    """The scan ends 10 to 25 mm below the vertex of the brain."""
    return part(volume, 0, Inside(volume).slice_at(rng.uniform(10, 25)))


def resliced(volume: Volume, step_mm: float) -> Volume:
    """Interpolated between slices, ``step_mm`` apart."""
    heights = volume.stack.distances_mm
    wanted = np.arange(heights[0], heights[-1], step_mm)
    below = np.clip(np.searchsorted(heights, wanted, side="right") - 1, 0, len(heights) - 2)
    share = ((wanted - heights[below]) / (heights[below + 1] - heights[below])).astype(np.float32)[:, None, None]
    hu = volume.hu[below] * (1 - share) + volume.hu[below + 1] * share
    return volume_of(hu, [float(z) for z in wanted], step_mm, volume.pixel_spacing_mm)


def one_side(volume: Volume, rng: np.random.Generator) -> Volume:
    """A quarter to a half of the head beyond one edge of the image, or beyond the round field of the scanner."""
    inside = Inside(volume)
    lost = rng.uniform(0.25, 0.5) * 2 * inside.half_width
    edge = int((inside.middle - inside.half_width + lost) / inside.mm)
    hu = volume.hu.copy()
    if rng.random() < 0.5:
        hu[:, :, :edge] = -1024.0
    else:
        hu = hu[:, :, edge:]
    return replace(volume, hu=hu[:, :, ::-1].copy() if rng.random() < 0.5 else hu.copy())


def upper_part(volume: Volume, rng: np.random.Generator) -> Volume:
    """The scan begins in the middle of the brain: its upper 40 to 60 % (of 110 mm), and air above it."""
    inside = Inside(volume)
    return part(volume, inside.slice_at(rng.uniform(0.4, 0.6) * 110), len(volume.hu))


def lower_part(volume: Volume, rng: np.random.Generator) -> Volume:
    """The scan ends in the middle of the brain: its lower 40 to 55 % (of 110 mm), and the face."""
    inside = Inside(volume)
    return part(volume, 0, inside.slice_at(rng.uniform(0.45, 0.6) * 110))


def inverted(volume: Volume, rng: np.random.Generator) -> Volume:
    """White and black exchanged, in HU or within the range of the bits."""
    about = rng.choice([0.0, 35.0, 2047.0])
    return replace(volume, hu=np.maximum(2 * np.float32(about) - volume.hu, np.float32(-1024)))


def lost_rescale(volume: Volume, rng: np.random.Generator) -> Volume:
    """Stored values taken for HU, slope lost, rescale applied twice, or grey levels of a window."""
    hu = volume.hu
    ways: tuple[Floats, ...] = (hu + 1000, hu + 1024, hu / 4, hu / 2, (hu + 1024) / 4, hu - 1024, hu * 4)
    ways += tuple(np.clip((hu - low) / width * 255, 0, 255) for low, width in ((0, 80), (-20, 120), (-160, 400)))
    return replace(volume, hu=np.maximum(ways[rng.integers(len(ways))], -1024.0).astype(np.float32))


def magnetic(volume: Volume, rng: np.random.Generator) -> Volume:
    """Intensities like those of MR: bone and air dark, fat bright, T1 or T2 contrast, uneven receive field."""
    hu = volume.hu
    fluid, brain, fat = (0.2, 1.0, 1.8) if rng.random() < 0.5 else (2.2, 1.0, 1.6)
    relative = np.interp(
        hu, [-1000, -300, -100, 0, 10, 40, 90, 200, 800], [0, 0, fat, fluid, fluid, brain, 0.9, 0.15, 0]
    )
    rows = np.linspace(-1, 1, hu.shape[1])[None, :, None]
    field = 1 + rng.uniform(-0.3, 0.3) * rows
    signal = np.abs(relative * field * rng.uniform(80, 900) + rng.normal(0, 12, hu.shape))
    return replace(volume, hu=(signal - rng.choice([0.0, 1024.0])).astype(np.float32))
