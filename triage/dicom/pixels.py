"""Stored pixel values of an instance, frame by frame, from any transfer syntax in `triage.dicom.syntaxes`."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder

from triage.dicom import tags
from triage.dicom.elements import UNDEFINED_LENGTH, RawDataset
from triage.dicom.syntaxes import DECODERS, UNCOMPRESSED
from triage.dicom.values import unsigned, word
from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode

Words = NDArray[np.uint16] | NDArray[np.uint32]
"""Allocated words as they lie in the pixel data: unsigned, native byte order, all bits kept."""

LARGEST_SIDE = 4096

_DECODER_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, IndexError, EOFError, struct.error)
"""What pydicom and the decoders raise on damaged data, as seen by giving them damaged data."""


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How one instance stores its pixels (PS3.5 8.1, PS3.3 C.7.6.3): one sample, 16 or 32 bits allocated."""

    rows: int
    columns: int
    frames: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool

    @classmethod
    def of(cls, raw: RawDataset, frames: int) -> PixelFormat:
        """Read the format from the header.

        Raises
        ------
        UnusableSeries
            ``not_original_hu`` for colour, inverted greys or 8 bits (a windowed export cannot be undone);
            ``undecodable`` without pixel data or with a format that fits no CT.
        """
        said = cls(
            rows=unsigned(raw, tags.ROWS),
            columns=unsigned(raw, tags.COLUMNS),
            frames=frames,
            bits_allocated=unsigned(raw, tags.BITS_ALLOCATED),
            bits_stored=unsigned(raw, tags.BITS_STORED),
            high_bit=unsigned(raw, tags.HIGH_BIT),
            signed=unsigned(raw, tags.PIXEL_REPRESENTATION) == 1,
        )
        photometric = word(raw.elements, tags.PHOTOMETRIC_INTERPRETATION)
        if photometric not in ("MONOCHROME2", "") or unsigned(raw, tags.SAMPLES_PER_PIXEL) > 1:
            raise UnusableSeries(ReasonCode.NOT_ORIGINAL_HU, f"The pixels are {photometric}, not HU.")
        if raw.pixel_offset is None:
            raise UnusableSeries(ReasonCode.UNDECODABLE, "At least one instance has no pixel data.")
        if said.bits_stored <= 8:
            raise UnusableSeries(ReasonCode.NOT_ORIGINAL_HU, "The pixels have 8 bits: a windowed export, not HU.")
        high = said.high_bit
        if said.bits_allocated not in (16, 32) or not said.bits_stored - 1 <= high < said.bits_allocated:
            raise UnusableSeries(ReasonCode.UNDECODABLE, "The header describes pixels that no CT has.")
        if not (0 < said.rows <= LARGEST_SIDE and 0 < said.columns <= LARGEST_SIDE):
            raise UnusableSeries(ReasonCode.UNDECODABLE, f"An image of {said.rows} x {said.columns} cannot be read.")
        return said

    def stored(self, words: Words) -> NDArray[Any]:
        """Stored values: the bits from the high bit down, sign extended; whatever lies above or below is dropped."""
        values = words.view(words.dtype.str.replace("u", "i")) if self.signed else words
        if self.bits_stored == self.bits_allocated:
            return values
        above = self.bits_allocated - self.high_bit - 1
        return (values << above) >> (self.bits_allocated - self.bits_stored)


def frame_words(raw: RawDataset, pixels: PixelFormat, *, only: int | None = None) -> Iterator[Words]:
    """The frames in stored order, each of shape (row, column); ``only`` is the index of the one that is wanted.

    Raises
    ------
    UnusableSeries
        ``undecodable`` when the pixel data is short, damaged, or compressed in an unsupported way.
    """
    syntax = raw.transfer_syntax_uid
    if raw.pixel_offset is None:
        raise UnusableSeries(ReasonCode.UNDECODABLE, "At least one instance has no pixel data.")
    wanted = range(pixels.frames) if only is None else range(only, only + 1)
    if syntax in UNCOMPRESSED:
        yield from _plain(raw, pixels, raw.pixel_offset, wanted)
    elif syntax in DECODERS:
        yield from _decoded(raw, pixels, raw.pixel_offset, wanted)
    else:
        raise UnusableSeries(ReasonCode.UNDECODABLE, f"Images compressed as {syntax} cannot be decoded here.")


def _plain(raw: RawDataset, pixels: PixelFormat, offset: int, wanted: range) -> Iterator[Words]:
    order = "<" if raw.little_endian else ">"
    stored_as = np.dtype(f"{order}u{pixels.bits_allocated // 8}")
    size = pixels.rows * pixels.columns
    there = min(raw.pixel_length, len(raw.content) - offset)
    if raw.pixel_length == UNDEFINED_LENGTH or there < size * pixels.frames * stored_as.itemsize:
        raise UnusableSeries(ReasonCode.UNDECODABLE, "The pixel data of at least one instance is truncated.")
    for index in wanted:
        start = offset + index * size * stored_as.itemsize
        frame = np.frombuffer(raw.content, stored_as, size, start)
        yield frame.astype(stored_as.newbyteorder("="), copy=False).reshape(pixels.rows, pixels.columns)


def _decoded(raw: RawDataset, pixels: PixelFormat, offset: int, wanted: range) -> Iterator[Words]:
    failed: Exception | None = None
    for plugin in DECODERS[raw.transfer_syntax_uid]:
        try:
            frames = _decode_by(plugin, raw, pixels, offset, wanted)
        except _DECODER_ERRORS as exc:
            failed = exc
            continue
        if len(frames) == len(wanted) and all(frame.shape == (pixels.rows, pixels.columns) for frame in frames):
            yield from frames
            return
    raise UnusableSeries(
        ReasonCode.UNDECODABLE, "The compressed pixel data of at least one instance is damaged."
    ) from failed


def _decode_by(plugin: str, raw: RawDataset, pixels: PixelFormat, offset: int, wanted: range) -> list[Words]:
    decoded = get_decoder(raw.transfer_syntax_uid).iter_array(
        raw.content[offset:],
        indices=None if len(wanted) == pixels.frames else wanted,
        raw=True,
        decoding_plugin=plugin,
        rows=pixels.rows,
        columns=pixels.columns,
        number_of_frames=pixels.frames,
        samples_per_pixel=1,
        photometric_interpretation="MONOCHROME2",
        bits_allocated=pixels.bits_allocated,
        bits_stored=pixels.bits_stored,
        pixel_representation=int(pixels.signed),
        pixel_keyword="PixelData",
    )
    size = pixels.bits_allocated // 8
    # A decoder may answer in fewer bits than were allocated; widening keeps the sign.
    return [
        frame.astype(np.dtype(f"{frame.dtype.kind}{size}"), copy=False).view(np.dtype(f"u{size}"))
        for frame, _ in islice(decoded, len(wanted))
    ]
