"""One slice at a time for a page: the order of a series from its stored headers, one frame in HU, the right way up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triage.dicom.elements import read_elements
from triage.dicom.header import header_of
from triage.dicom.hounsfield import Padding, clear_outside_scan_field, rescales, undo_wrap, write_hu
from triage.dicom.pixels import PixelFormat, frame_words
from triage.dicom.select import usable
from triage.domain.errors import UnreadableInstance, UnusableSeries
from triage.domain.finding import ReasonCode
from triage.domain.geometry import SliceStack, Turn, stack_frames, upright
from triage.domain.study import InstanceHeader
from triage.domain.volume import SliceSource

_INFLATED_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class SlicePlace:
    """Where one slice is found, how thick it is, and where it lies along the normal; None where nothing says it."""

    source: SliceSource
    thickness_mm: float | None
    distance_mm: float | None


@dataclass(frozen=True, slots=True)
class SeriesSlices:
    """The slices of a series in the order of its volume.

    Attributes
    ----------
    places : tuple of SlicePlace
        As `triage.dicom.volume.read_volume` sorts them, wherever it would read the series.
    turn : Turn
        For an axial slice: the patient's left at the right edge, the front at the upper edge, as radiologists
        read; nothing for other planes.
    sides : tuple of str
        The side of the patient (PS3.3 C.7.6.1.1.1) at the right, left, lower and upper edge once turned; empty
        where the headers do not say.
    pixel_spacing_mm : tuple of float
        Between rows, between columns, once turned; 1, 1 where the headers do not say.
    from_below : bool
        Whether the first slice is the lowest. Some scanners' rows and columns make it the highest.
    ordered : bool
        False where the headers do not say where the slices lie, and their numbers had to do.
    """

    places: tuple[SlicePlace, ...]
    turn: Turn
    sides: tuple[str, str, str, str]
    pixel_spacing_mm: tuple[float, float]
    from_below: bool
    ordered: bool


def series_slices(headers: Sequence[InstanceHeader]) -> SeriesSlices:
    """The slices of a series, also of one that could not be analysed, as far as its headers tell.

    Raises
    ------
    UnusableSeries
        No instance has pixels.
    """
    kept = [header for header in (usable(headers) or headers) if header.has_pixel_data]
    if not kept:
        raise UnusableSeries(ReasonCode.UNDECODABLE, "No instance of the series holds an image.")
    try:
        return _stacked(kept)
    except UnusableSeries:
        return _numbered(kept)


def _stacked(headers: Sequence[InstanceHeader]) -> SeriesSlices:
    if any(not header.frames for header in headers):
        raise UnusableSeries(ReasonCode.NO_GEOMETRY, "At least one image says no position.")
    frames = [frame for header in headers for frame in header.frames]
    sources = [SliceSource(h.sop_instance_uid, n + 1) for h in headers for n in range(len(h.frames))]
    stack: SliceStack = stack_frames(frames)
    places = tuple(
        SlicePlace(sources[given], float(thickness), float(distance))
        for given, thickness, distance in zip(stack.order, stack.thickness_mm, stack.distances_mm, strict=True)
    )
    orientation = np.array(frames[stack.order[0]].orientation, dtype=np.float64)
    row, column = orientation[:3], orientation[3:]
    turn = upright(orientation)
    if turn.exchange:
        row, column = column, row
    row, column = (-row if turn.reverse_columns else row), (-column if turn.reverse_rows else column)
    return SeriesSlices(
        places=places,
        turn=turn,
        sides=(side(row), side(-row), side(column), side(-column)),
        pixel_spacing_mm=_spacing(headers, turn),
        from_below=stack.from_below,
        ordered=True,
    )


def _numbered(headers: Sequence[InstanceHeader]) -> SeriesSlices:
    """By instance number: all there is where positions are missing, repeated, or of several directions."""
    by_number = sorted(headers, key=lambda header: (header.instance_number or 0, header.sop_instance_uid))
    return SeriesSlices(
        places=tuple(
            SlicePlace(SliceSource(header.sop_instance_uid, number + 1), None, None)
            for header in by_number
            for number in range(header.number_of_frames)
        ),
        turn=Turn(),
        sides=("", "", "", ""),
        pixel_spacing_mm=_spacing(by_number, Turn()),
        from_below=True,
        ordered=False,
    )


def _spacing(headers: Sequence[InstanceHeader], turn: Turn) -> tuple[float, float]:
    between_rows, between_columns = headers[0].pixel_spacing_mm or (1.0, 1.0)
    return (between_columns, between_rows) if turn.exchange else (between_rows, between_columns)


def side(direction: NDArray[np.float64]) -> str:
    """The letter of the side of the patient that a direction in LPS points to most."""
    axis = int(np.argmax(np.abs(direction)))
    return ("LR", "PA", "HF")[axis][int(direction[axis] < 0)]


def read_slice(content: bytes, frame_number: int) -> NDArray[np.float32]:
    """One frame of an instance in HU, shape (row, column), as stored; other frames are not decoded.

    The faults that `triage.dicom.hounsfield` repairs are repaired here as well, told from this slice alone.

    Parameters
    ----------
    content : bytes
        The whole file.
    frame_number : int
        1-based.

    Raises
    ------
    UnusableSeries
        ``undecodable`` or ``not_original_hu``: there is nothing in HU to show.
    """
    try:
        raw = read_elements(content, inflate_limit=_INFLATED_BYTES)
        header = header_of(raw)
    except UnreadableInstance as exc:
        raise UnusableSeries(ReasonCode.UNDECODABLE, f"The instance cannot be read: {exc}") from exc
    pixels = PixelFormat.of(raw, header.number_of_frames)
    if not 1 <= frame_number <= pixels.frames:
        raise UnusableSeries(ReasonCode.UNDECODABLE, f"The instance has no frame {frame_number}.")
    rescale = rescales(raw, pixels.frames)[frame_number - 1]
    hu = np.empty((1, pixels.rows, pixels.columns), dtype=np.float32)
    (words,) = frame_words(raw, pixels, only=frame_number - 1)
    write_hu(words, pixels, rescale, Padding.of(raw, pixels), hu[0])
    undo_wrap(hu, [pixels], [rescale])
    clear_outside_scan_field(hu)
    one: NDArray[np.float32] = hu[0]
    return one
