"""One slice as a picture: window, outlines beside the blood and never over it, and which side is which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from triage.dicom.codes import SUBTYPE_CODES
from triage.dicom.slices import SeriesSlices
from triage.domain.finding import KINDS, Subtype

Grey = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Window:
    """Centre and width in HU, and what readers call it."""

    name: str
    centre: float
    width: float


WINDOWS: Final[Mapping[str, Window]] = MappingProxyType(
    {
        "brain": Window("Brain", 40.0, 80.0),
        "subdural": Window("Subdural", 75.0, 215.0),
        "bone": Window("Bone", 600.0, 2800.0),
    }
)
"""The usual ones (Radiopaedia, "Windowing (CT)"): brain 40/80, subdural centre 50..100 and width 130..300, of which
this is the middle, temporal bone 600/2800."""

SUBTYPE_WORDS: Final[Mapping[Subtype, str]] = MappingProxyType(
    {
        Subtype.EDH: "epidural",
        Subtype.IPH: "intraparenchymal",
        Subtype.IVH: "intraventricular",
        Subtype.SAH: "subarachnoid",
        Subtype.SDH: "subdural",
        Subtype.ICH: "of unspecified type",
    }
)

LEAST_SIDE: Final = 512
"""Pixels of the longer side; smaller slices are enlarged by a whole number, larger ones are shown as they are."""

THUMBNAIL_SIDE: Final = 128

_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
_LETTER, _EDGE = 200, 0
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_AROUND = np.ones((3, 3), dtype=np.uint8)


def windowed(hu: NDArray[np.float32], window: Window) -> Grey:
    """Grey values 0..255: 0 at and below the lower end of the window, 255 at and above the upper one."""
    shown = np.clip((hu - (window.centre - window.width / 2)) / window.width, 0.0, 1.0) * 255.0
    return np.asarray(np.rint(shown), dtype=np.uint8)


def slice_picture(
    hu: NDArray[np.float32], labels: NDArray[np.uint8] | None, slices: SeriesSlices, window: Window
) -> bytes:
    """A slice as PNG, the right way up, its pixels square.

    Parameters
    ----------
    hu : ndarray of float32, shape (row, column)
        As stored.
    labels : ndarray of uint8, shape (row, column), or None
        0 for none, ``i + 1`` for ``KINDS[i]``; None: nothing is outlined.
    slices : SeriesSlices
        How the series is turned, and which side of the patient is where then.
    """
    grey = slices.turn.apply(windowed(hu, window))
    size = _size(grey.shape, slices.pixel_spacing_mm)
    drawn = _enlarged(np.ascontiguousarray(grey), size)
    if labels is not None and labels.any():
        mask = _mask(slices.turn.apply(labels), size)
        drawn = _outlined(drawn, mask)
        _legend(drawn, [KINDS[int(number) - 1] for number in np.unique(mask) if number])
    _sides(drawn, slices.sides)
    return _png(drawn)


def thumbnail_picture(
    hu: NDArray[np.float32], labels: NDArray[np.uint8] | None, slices: SeriesSlices, window: Window
) -> bytes:
    """A small square of the head alone, with its outlines, as PNG: what a list has room for."""
    grey = np.ascontiguousarray(slices.turn.apply(windowed(hu, window)))
    inside = slices.turn.apply(np.asarray(hu > -300.0, dtype=np.uint8))
    height_mm, width_mm = (side * mm for side, mm in zip(grey.shape, slices.pixel_spacing_mm, strict=True))
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(inside)) if inside.any() else (0, 0, 0, 0)
    if width < 8 or height < 8:
        left, top, height, width = 0, 0, *grey.shape
    part = (slice(top, top + height), slice(left, left + width))
    tall, wide = height_mm * height / grey.shape[0], width_mm * width / grey.shape[1]
    scale = (THUMBNAIL_SIDE - 4) / max(tall, wide)
    size = max(1, round(wide * scale)), max(1, round(tall * scale))
    drawn = np.asarray(cv2.resize(grey[part], size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if labels is not None and labels.any():
        drawn = _outlined(drawn, _small_mask(slices.turn.apply(labels)[part], size))
    page = np.zeros((THUMBNAIL_SIDE, THUMBNAIL_SIDE, *drawn.shape[2:]), dtype=np.uint8)
    x, y = (THUMBNAIL_SIDE - size[0]) // 2, (THUMBNAIL_SIDE - size[1]) // 2
    page[y : y + size[1], x : x + size[0]] = drawn
    return _png(page)


def _size(shape: tuple[int, ...], spacing_mm: tuple[float, float]) -> tuple[int, int]:
    """Columns and rows of the picture: whole multiples where pixels are square."""
    rows, columns = shape[:2]
    times = max(1, -(-LEAST_SIDE // max(rows, columns)))
    between_rows, between_columns = spacing_mm
    tall, wide = (1.0, between_columns / between_rows) if between_columns >= between_rows else (
        between_rows / between_columns, 1.0
    )  # fmt: skip
    return round(columns * times * wide), round(rows * times * tall)


def _enlarged(grey: Grey, size: tuple[int, int]) -> Grey:
    if (grey.shape[1], grey.shape[0]) == size:
        return grey
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _mask(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(np.ascontiguousarray(labels), size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def _small_mask(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Made smaller so that nothing is lost: a pixel has the label of which there is most within it."""
    parts = [
        cv2.resize(np.asarray(labels == number, dtype=np.float32), size, interpolation=cv2.INTER_AREA)
        for number in range(1, len(KINDS) + 1)
    ]
    strongest = np.argmax(parts, axis=0)
    return np.asarray(np.where(np.max(parts, axis=0) > 0, strongest + 1, 0), dtype=np.uint8)


def _outlined(grey: Grey, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A grey image as BGR with a line of a pixel or two around each segment, outside of all of them."""
    drawn = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    thick = 2 if max(grey.shape) > LEAST_SIDE else 1
    free = mask == 0
    for number, subtype in enumerate(KINDS, start=1):
        inside = np.asarray(mask == number, dtype=np.uint8)
        if inside.any():
            line = cv2.dilate(inside, _AROUND, iterations=thick).astype(np.bool_)
            drawn[line & free] = SUBTYPE_CODES[subtype].colour[::-1]
            # Where two segments touch, the line between them has to lie on one of them.
            drawn[line & (mask > number)] = SUBTYPE_CODES[subtype].colour[::-1]
    return drawn


def _legend(drawn: NDArray[np.uint8], found: list[Subtype]) -> None:
    """Which colour is which, in the lower left corner, where there is air."""
    y = drawn.shape[0] - 12
    for subtype in reversed(found):
        colour = SUBTYPE_CODES[subtype].colour[::-1]
        cv2.rectangle(drawn, (8, y - 10), (18, y), colour, thickness=-1)
        _text(drawn, f"{subtype.value} {SUBTYPE_WORDS[subtype]}", (24, y), 0.42)
        y -= 18


def _sides(drawn: NDArray[np.uint8], sides: tuple[str, str, str, str]) -> None:
    """The sides of the patient at the right, left, lower and upper edge, in the middle of each."""
    height, width = drawn.shape[:2]
    middle_x, middle_y = width // 2 - 7, height // 2 + 7
    places = ((width - 20, middle_y), (6, middle_y), (middle_x, height - 8), (middle_x, 22))
    for letter, at in zip(sides, places, strict=True):
        _text(drawn, letter, at, 0.65)


def _text(drawn: NDArray[np.uint8], text: str, at: tuple[int, int], scale: float) -> None:
    for shade, thick in ((_EDGE, 3), (_LETTER, 1)):
        colour = (shade,) * (drawn.shape[2] if drawn.ndim == 3 else 1)
        cv2.putText(drawn, text, at, _FONT, scale, colour, thick, cv2.LINE_AA)


def _png(drawn: NDArray[np.uint8]) -> bytes:
    _, encoded = cv2.imencode(".png", drawn, _PNG)
    return bytes(encoded)
