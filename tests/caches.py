"""Small caches of made heads, as ``trainer prepare`` would write them: for tests of training, splits and reports.

A head is an ellipse of brain (about 35 HU) in a ring of bone (900 HU) in air; blood is a disc of about 70 HU whose
place tells its subtype. Every second patient bleeds, in the middle slices, patient by patient another subtype.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cache import (
    MASKS,
    PIXELS,
    RECORDS,
    TABLE,
    Cache,
    CacheSpec,
    Description,
    Geometry,
    open_cache,
    write_description,
)
from trainer.datasets.case import BLOOD_OF_UNKNOWN_TYPE, NO, UNKNOWN, YES

AIR, BRAIN, BONE, BLOOD = -1000.0, 35.0, 900.0, 70.0

PICTURE_WINDOW = (40.0, 120.0)


@dataclass(frozen=True)
class Made:
    """What a made cache holds.

    ``bleeding`` says which patients bleed (every ``bleeding``-th, 0: none). ``known_types`` False draws blood as
    ``BLOOD_OF_UNKNOWN_TYPE`` and leaves the subtypes' labels unknown. ``drawn`` False leaves every mask out.
    ``labelled`` False leaves the slices' labels unknown and keeps those of the study, unless ``studied`` is False too.
    ``named`` False: no patients.
    """

    patients: int = 8
    studies: int = 1
    slices: int = 6
    size: int = 32
    bleeding: int = 2
    known_types: bool = True
    drawn: bool = True
    labelled: bool = True
    studied: bool = True
    named: bool = True
    pictures: bool = False
    unusable: int = 0
    geometry: Geometry = "resize"
    pixel_mm: float = 1.0
    dataset: str = "phantom"
    seed: int = 1


def made_slice(size: int, subtype: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """One head in HU and its mask; ``subtype`` 0 has no blood."""
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32) / (size - 1) - 0.5
    radius = np.hypot(rows / 0.46, columns / 0.40)
    image = np.where(radius < 0.86, BRAIN, np.where(radius < 1.0, BONE, AIR)).astype(np.float32)
    image += rng.normal(0.0, 3.0, image.shape).astype(np.float32)
    mask = np.zeros((size, size), np.uint8)
    if subtype:
        angle = 2.0 * np.pi * subtype / 5.0
        top, left = 0.2 * np.sin(angle) + rng.normal(0, 0.01), 0.17 * np.cos(angle) + rng.normal(0, 0.01)
        blood = np.hypot(rows - top, columns - left) < rng.uniform(0.07, 0.1)
        image[blood] += BLOOD - BRAIN
        mask[blood] = subtype
    return image, mask


def _arrays(made: Made) -> tuple[NDArray[np.generic], NDArray[np.uint8], NDArray[np.void], list[str]]:
    rng = np.random.default_rng(made.seed)
    count = made.patients * made.studies * made.slices
    pixels = np.zeros((count, made.size, made.size), np.uint8 if made.pictures else np.int16)
    masks = np.zeros((count, made.size, made.size), np.uint8)
    table = np.zeros(count, TABLE)
    studies: list[str] = []
    row = 0
    bleeders = 0
    for patient in range(made.patients):
        bleeds = made.bleeding > 0 and patient % made.bleeding == 0
        subtype = 1 + bleeders % 5 if bleeds else 0
        bleeders += bleeds
        for study in range(made.studies):
            studies.append(f"study-{patient:03d}-{study}")
            for place in range(made.slices):
                middle = made.slices // 4 <= place < made.slices - made.slices // 4
                hu, mask = made_slice(made.size, subtype if middle else 0, rng)
                if made.pictures:
                    low = PICTURE_WINDOW[0] - PICTURE_WINDOW[1] / 2
                    pixels[row] = np.clip((hu - low) / PICTURE_WINDOW[1] * 255.0, 0, 255).astype(np.uint8)
                else:
                    pixels[row] = np.round(hu).astype(np.int16)
                if not made.known_types:
                    mask[mask > 0] = BLOOD_OF_UNKNOWN_TYPE
                masks[row] = mask if made.drawn else 0
                table[row]["patient"] = patient if made.named else -1
                table[row]["study"] = len(studies) - 1
                table[row]["position_mm"] = 5.0 * place
                table[row]["labels"] = _labels(subtype if middle else 0, made) if made.labelled else UNKNOWN
                table[row]["study_labels"] = _labels(subtype, made) if made.studied else UNKNOWN
                table[row]["drawn"] = made.drawn
                table[row]["pixel_mm"] = np.nan if made.pictures else made.pixel_mm
                table[row]["usable"] = True
                row += 1
    if made.unusable:
        table["usable"][rng.choice(count, made.unusable, replace=False)] = False
    return pixels, masks, table, studies


def _labels(subtype: int, made: Made) -> NDArray[np.int8]:
    labels = np.full(6, NO, np.int8)
    if subtype:
        labels[0] = YES
        if made.known_types:
            labels[subtype] = YES
        else:
            labels[1:] = UNKNOWN
    return labels


def _described(made: Made) -> tuple[NDArray[np.generic], NDArray[np.uint8], NDArray[np.void], Description]:
    pixels, masks, table, studies = _arrays(made)
    digest = hashlib.sha256()
    for array in (table, pixels, masks):
        digest.update(array.tobytes())
    description = Description(
        spec=CacheSpec(
            made.dataset,
            made.size,
            made.geometry,
            made.pixel_mm,
            made.pictures,
            PICTURE_WINDOW if made.pictures else None,
        ),
        patients=tuple(f"{number:03d}" for number in range(made.patients)) if made.named else (),
        studies=tuple(studies),
        slices=len(table),
        unusable=made.unusable,
        digest=digest.hexdigest(),
        licence="made by the tests",
        root="/nowhere",
    )
    return pixels, masks, table, description


def cache_in_memory(made: Made = Made()) -> Cache:
    """A cache that no file holds."""
    pixels, masks, table, description = _described(made)
    return Cache(Path("/nowhere"), description, pixels, masks, table)


def written_cache(folder: Path, made: Made = Made()) -> Cache:
    """Write a cache and open it."""
    pixels, masks, table, description = _described(made)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ((PIXELS, pixels), (MASKS, masks), (RECORDS, table)):
        np.save(folder / name, array)
    write_description(folder, description)
    return open_cache(folder)
