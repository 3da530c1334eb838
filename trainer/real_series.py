"""Real series of a folder, and copies of them as another scanner or another position could have shown them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from triage.dicom.header import read_header
from triage.dicom.volume import read_volume
from triage.domain.errors import UnreadableInstance
from triage.domain.geometry import SliceStack
from triage.domain.volume import Volume
from triage.inference.plausible import check_living_head
from triage.inference.predict import Gate, Predictor

_AIR_HU = -1024.0
_NOISE_SEED = 71_000
_NOISE_HU = 5.0
_NOISE_MM = 0.5
"""Width of the blur that gives the added noise the grain of a soft kernel; its deviation is 5 HU after that."""

_PARTS = 5
"""Places within a resampled slice whose mean it is."""


def read_series(folder: Path) -> Volume:
    """The volume of a folder of DICOM; folders, licences and index files beside the instances are passed over.

    Raises
    ------
    ValueError
        There is no instance.
    UnusableSeries
        They make no volume.
    """
    contents: list[bytes] = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        content = path.read_bytes()
        try:
            read_header(content)
        except UnreadableInstance:
            continue
        contents.append(content)
    if not contents:
        raise ValueError(f"{folder} holds no DICOM instance")
    return read_volume(contents)


def gate_of(predictor: Predictor, volume: Volume) -> Gate:
    """What the classifier says of a scan, asked as the daemon asks it.

    Raises
    ------
    UnusableSeries
        The daemon would not analyse it: by its pixels it is no living head, or it is too unfamiliar to the nets.
    """
    check_living_head(volume)
    return predictor.gate(volume)


def copies_of(volume: Volume) -> dict[str, Volume]:
    """The series as it is, and as another scanner or another position could have shown it."""
    return {
        "as it is": volume,
        "10 HU more": _shifted(volume, 10.0),
        "10 HU less": _shifted(volume, -10.0),
        "rotated 10 degrees": _rotated(volume, 10.0),
        "resampled to 5 mm": resampled(volume, 5.0),
        "noise of 5 HU added": _noisy(volume, np.random.default_rng(_NOISE_SEED)),
    }


def part(volume: Volume, chosen: NDArray[np.intp]) -> Volume:
    """Some neighbouring slices as a volume of their own."""
    stack = volume.stack
    kept = SliceStack(stack.normal, tuple(range(len(chosen))), stack.distances_mm[chosen], stack.thickness_mm[chosen])
    return replace(
        volume,
        hu=volume.hu[chosen],
        stack=kept,
        positions_mm=volume.positions_mm[chosen],
        sources=tuple(volume.sources[int(index)] for index in chosen),
    )


def resampled(volume: Volume, thickness_mm: float) -> Volume:
    """Slices of ``thickness_mm`` without gaps, from the first centre to the last, linear between those of the source.

    With a tilted gantry the slices are sheared against each other; every source slice is moved along its columns to
    where the new slice shows the same tissue.
    """
    stack, spacing_mm = volume.stack, volume.pixel_spacing_mm[0]
    down = volume.positions_mm @ volume.orientation[3:]
    wanted = np.arange(stack.distances_mm[0], stack.distances_mm[-1] + 1e-6, thickness_mm)
    nodes = np.eye(len(stack.distances_mm))
    offsets = (np.arange(_PARTS) - (_PARTS - 1) / 2) / _PARTS * thickness_mm
    rows, columns = volume.hu.shape[1:]
    slices: list[NDArray[np.float32]] = []
    for centre in wanted:
        at = centre + offsets
        weights = np.array([np.interp(at, stack.distances_mm, node).mean() for node in nodes])
        here = np.interp(centre, stack.distances_mm, down)
        image = np.zeros((rows, columns), dtype=np.float32)
        for index in np.flatnonzero(weights > 0):
            move = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, (down[index] - here) / spacing_mm]])
            source = np.maximum(volume.hu[index], np.float32(_AIR_HU))
            moved = cv2.warpAffine(source, move, (columns, rows), borderValue=_AIR_HU)
            image += np.float32(weights[index]) * moved
        slices.append(image)
    positions = np.stack([np.interp(wanted, stack.distances_mm, axis) for axis in volume.positions_mm.T], axis=1)
    nearest = np.abs(wanted[:, None] - stack.distances_mm).argmin(axis=1)
    return replace(
        volume,
        hu=np.stack(slices),
        stack=SliceStack(stack.normal, tuple(range(len(wanted))), wanted, np.full(len(wanted), thickness_mm)),
        positions_mm=positions,
        sources=tuple(volume.sources[int(index)] for index in nearest),
    )


def _shifted(volume: Volume, by_hu: float) -> Volume:
    return replace(volume, hu=np.maximum(volume.hu + np.float32(by_hu), np.float32(_AIR_HU)))


def _rotated(volume: Volume, degrees: float) -> Volume:
    """About the image centre; cubic, so that the noise stays."""
    rows, columns = volume.hu.shape[1:]
    turn = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), degrees, 1.0)
    source = np.maximum(volume.hu, np.float32(_AIR_HU))
    turned = [
        cv2.warpAffine(image, turn, (columns, rows), flags=cv2.INTER_CUBIC, borderValue=_AIR_HU) for image in source
    ]
    return replace(volume, hu=np.maximum(np.stack(turned), np.float32(_AIR_HU)).astype(np.float32))


def _noisy(volume: Volume, rng: np.random.Generator) -> Volume:
    noisy = np.empty_like(volume.hu)
    for index, image in enumerate(volume.hu):
        white = rng.normal(size=image.shape).astype(np.float32)
        grain = cv2.GaussianBlur(white, (0, 0), _NOISE_MM / volume.pixel_spacing_mm[0])
        noisy[index] = np.maximum(image + np.float32(_NOISE_HU) * grain / grain.std(), _AIR_HU)
    return replace(volume, hu=noisy)
