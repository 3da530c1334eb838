"""What a Segmentation of ours outlines, read back slice by slice (PS3.3 A.51)."""

from __future__ import annotations

import io
import struct
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from triage.dicom.codes import SUBTYPE_CODES
from triage.domain.errors import UnreadableInstance
from triage.domain.finding import KINDS, Subtype
from triage.domain.volume import SliceSource

_BROKEN = (AttributeError, EOFError, IndexError, KeyError, OSError, TypeError, ValueError, struct.error)
"""What pydicom raises on a damaged file, and reading what is not there."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """The segments of one object, kept packed as they are stored: a mask is made when a slice is asked for.

    Attributes
    ----------
    frames : mapping of SliceSource to tuple of (int, int)
        For each source frame with blood: the frames of the object on it, each with its segment (0 for a label
        map, which shows all of them at once).
    numbers : mapping of int to int
        Segment number to label: ``i + 1`` for ``KINDS[i]``.
    """

    rows: int
    columns: int
    frames: Mapping[SliceSource, tuple[tuple[int, int], ...]]
    numbers: Mapping[int, int]
    pixels: bytes

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return len(self.pixels) + 200 * sum(map(len, self.frames.values()))

    def labels(self, source: SliceSource) -> NDArray[np.uint8] | None:
        """The label map of one source frame, shape (row, column), 0 for none; None where nothing is outlined."""
        on_slice = self.frames.get(source)
        if on_slice is None:
            return None
        labels = np.zeros((self.rows, self.columns), dtype=np.uint8)
        for frame, segment in on_slice:
            if segment:
                labels[self._bits(frame)] = self.numbers[segment]
            else:
                labels = self._renumbered(frame)
        return labels

    def subtypes(self, source: SliceSource) -> tuple[Subtype, ...]:
        """Which subtypes are outlined on one source frame."""
        found: set[int] = set()
        for frame, segment in self.frames.get(source, ()):
            # Frames of a single segment are left out where they are empty; a label map has to be looked at.
            found |= {self.numbers[segment]} if segment else set(map(int, np.unique(self._renumbered(frame))))
        return tuple(KINDS[number - 1] for number in sorted(found - {0}))

    def _bits(self, frame: int) -> NDArray[np.bool_]:
        """One frame of one bit a pixel, the first in the lowest bit, frames without gaps between (PS3.5 8.1.1)."""
        size = self.rows * self.columns
        first, after = frame * size, (frame + 1) * size
        part = np.frombuffer(self.pixels, np.uint8, (after + 7) // 8 - first // 8, first // 8)
        bits = np.unpackbits(part, bitorder="little")[first % 8 : first % 8 + size]
        return np.asarray(bits.reshape(self.rows, self.columns).astype(np.bool_))

    def _renumbered(self, frame: int) -> NDArray[np.uint8]:
        size = self.rows * self.columns
        values = np.frombuffer(self.pixels, np.uint8, size, frame * size).reshape(self.rows, self.columns)
        table = np.zeros(256, dtype=np.uint8)
        for segment, label in self.numbers.items():
            table[segment] = label
        return np.asarray(table[values])


def read_outlines(content: bytes) -> Outlines:
    """Read a BINARY Segmentation or a label map that this project wrote.

    Raises
    ------
    UnreadableInstance
        The file is damaged, or is no such object.
    """
    try:
        ds = dcmread(io.BytesIO(content))
        return _outlines(ds)
    except (InvalidDicomError, *_BROKEN) as exc:
        raise UnreadableInstance("The stored segmentation cannot be read, so no outline can be shown.") from exc


def _outlines(ds: Dataset) -> Outlines:
    kind = str(ds.SegmentationType)
    if kind not in ("BINARY", "LABELMAP"):
        raise ValueError(f"a segmentation of type {kind} has no outlines")
    by_label = {codes.label: KINDS.index(subtype) + 1 for subtype, codes in SUBTYPE_CODES.items()}
    numbers = {int(item.SegmentNumber): by_label[str(item.SegmentLabel)] for item in ds.SegmentSequence}
    alone = int(next(iter(numbers))) if len(numbers) == 1 else 0
    frames: defaultdict[SliceSource, list[tuple[int, int]]] = defaultdict(list)
    for index, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        source = SliceSource(str(image.ReferencedSOPInstanceUID), int(image.get("ReferencedFrameNumber") or 1))
        frames[source].append((index, 0 if kind == "LABELMAP" else _segment(groups, alone)))
    rows, columns, pixels = int(ds.Rows), int(ds.Columns), bytes(ds.PixelData)
    bits = rows * columns * len(ds.PerFrameFunctionalGroupsSequence) * (8 if kind == "LABELMAP" else 1)
    if len(pixels) * 8 < bits:
        raise ValueError("the pixel data is truncated")
    found = {source: tuple(on_slice) for source, on_slice in frames.items()}
    return Outlines(rows, columns, found, numbers, pixels)


def _segment(groups: Dataset, alone: int) -> int:
    """The segment of a frame; a single segment may be said once for all frames."""
    items = groups.get("SegmentIdentificationSequence")
    return int(items[0].ReferencedSegmentNumber) if items else alone
