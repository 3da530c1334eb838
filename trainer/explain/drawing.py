"""Slices as PNG: the image, and beside it the same with outlines or with a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

LEGEND = "Solid yellow line: true outline. Dashed blue line: the net's outline."

_TRUE, _NET = (40, 220, 255), (255, 190, 60)
"""Blue, green, red: both stand out from grey, and the kind of line tells them apart without colour."""

_PANEL = 256
_DASH = 6


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of the gallery: a PNG, and what there is to see."""

    png: bytes
    caption: str


def picture(
    image: NDArray[np.float32],
    true: NDArray[np.bool_] | None,
    marked: NDArray[np.bool_] | None,
    heat: NDArray[np.float32] | None,
) -> bytes:
    """Draw one slice.

    Parameters
    ----------
    image : ndarray of float32, shape (row, column)
        0 to 1, as the net sees its first channel.
    true, marked : ndarray of bool, or None
        Outlines of the truth and of the net.
    heat : ndarray of float32, or None
        0 to 1; brightness of a warm colour over the image.

    Returns
    -------
    bytes
        PNG: the bare image on the left, what is drawn over it on the right.
    """
    side = max(_PANEL, image.shape[0])
    grey = np.clip(image * 255.0, 0, 255).astype(np.uint8)
    bare = cv2.cvtColor(_enlarged(grey, side), cv2.COLOR_GRAY2BGR)
    drawn = bare.copy()
    if heat is not None:
        warm = cv2.applyColorMap(_enlarged(np.clip(heat * 255.0, 0, 255).astype(np.uint8), side), cv2.COLORMAP_INFERNO)
        drawn = cv2.addWeighted(drawn, 0.55, warm, 0.45, 0.0)
    for mask, colour, dashed in ((true, _TRUE, False), (marked, _NET, True)):
        if mask is not None:
            for line in outlines(_enlarged(mask.astype(np.uint8), side)):
                _draw(drawn, line, colour, dashed)
    encoded, content = cv2.imencode(".png", np.hstack([bare, drawn]), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not encoded:
        raise ValueError("a picture of the gallery could not be written as PNG")
    return bytes(content.tobytes())


def outlines(mask: NDArray[np.uint8]) -> list[NDArray[np.int32]]:
    """Closed lines around every piece of a mask and every hole in it, shape (point, 2) as (column, row)."""
    found, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return [np.asarray(line[:, 0], np.int32) for line in found]


def _draw(canvas: NDArray[Any], line: NDArray[np.int32], colour: Sequence[int], dashed: bool) -> None:
    if not dashed or len(line) <= 2 * _DASH:
        cv2.polylines(canvas, [line], not dashed, tuple(colour), 1, cv2.LINE_AA)
        return
    for start in range(0, len(line), 2 * _DASH):
        piece = line[start : start + _DASH]
        cv2.polylines(canvas, [piece], False, tuple(colour), 2, cv2.LINE_AA)


def _enlarged(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_NEAREST), np.uint8)
