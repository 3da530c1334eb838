"""Wanted elements of a DICOM instance as raw bytes, without building a dataset (PS3.5 7, PS3.10 7).

This stands on the receive path, where reading the same elements through pydicom costs ten times as much, and
where no value, character set or private sequence may stop an instance: what is not wanted is skipped by its
length, and a broken tail ends the walk instead of raising.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TypeAlias

from triage.dicom.tags import ALL, SEQUENCES
from triage.domain.errors import UnreadableInstance

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"

UNDEFINED_LENGTH = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
HEADER_BYTES = 8 * 1024 * 1024
"""How much of a deflated dataset is inflated to read its header."""

_PIXELS = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_TRANSFER_SYNTAX = 0x00020010
_DEEPEST = 24
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())

Elements: TypeAlias = "dict[int, bytes | list[Elements]]"
"""Tag to value: the bytes as sent, or the items of a sequence."""


@dataclass(frozen=True, slots=True, eq=False)
class RawDataset:
    """The wanted elements of one instance, and where its pixels begin.

    ``content`` is what ``pixel_offset`` counts in: the bytes given, inflated when they were deflated.
    ``pixel_offset`` is None without pixel data; ``pixel_length`` may be `UNDEFINED_LENGTH` (encapsulated).
    """

    transfer_syntax_uid: str
    little_endian: bool
    elements: Elements
    content: bytes
    pixel_offset: int | None
    pixel_length: int


def read_elements(content: bytes, *, inflate_limit: int = HEADER_BYTES) -> RawDataset:
    """Read the elements of `triage.dicom.tags` before the pixel data, also without preamble or file meta.

    Without file meta the coding is told from the first element. Nested elements are read where both the
    sequence and the element are wanted.

    Raises
    ------
    UnreadableInstance
        When the bytes are too few, or deflated and damaged from their first byte.
    """
    syntax, offset = _file_meta(content)
    if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        content, offset = _inflate(content, offset, inflate_limit), 0
    if len(content) < offset + 8:
        raise UnreadableInstance("The instance holds no dataset: it ends after its file meta information.")
    guess = _coding(content, offset)
    syntax = syntax or guess
    big = syntax == EXPLICIT_VR_BIG_ENDIAN
    # The first element says more truly than the file meta whether value representations are written.
    walk = _Walk(content, big, guess != IMPLICIT_VR_LITTLE_ENDIAN)
    elements, _ = walk.elements(offset, len(content), 0)
    return RawDataset(syntax, not big, elements, content, walk.pixel_offset, walk.pixel_length)


def _file_meta(content: bytes) -> tuple[str, int]:
    """The transfer syntax named in the file meta ("" without one), and where the dataset begins."""
    offset = 132 if content[128:132] == b"DICM" else 0
    if content[offset : offset + 2] != b"\x02\x00":
        return "", offset
    syntax = b""
    while content[offset : offset + 2] == b"\x02\x00" and offset + 12 <= len(content):
        short = content[offset + 4 : offset + 6] in _SHORT_VRS
        start = offset + (8 if short else 12)
        length = int.from_bytes(content[start - (2 if short else 4) : start], "little")
        if content[offset + 2 : offset + 4] == b"\x10\x00":
            syntax = content[start : start + length]
        offset = start + length
    return syntax.strip(b"\0 ").decode("ascii", "replace"), offset


def _inflate(content: bytes, offset: int, limit: int) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[offset:], limit)
    except zlib.error as exc:
        raise UnreadableInstance("The deflated dataset is damaged and cannot be inflated.") from exc


def _coding(content: bytes, offset: int) -> str:
    """The uncompressed transfer syntax that the first element looks like."""
    if not _is_vr(content[offset + 4 : offset + 6]):
        return IMPLICIT_VR_LITTLE_ENDIAN
    # Group 0008 reads as 0800 in the other byte order; no dataset begins with so high a group.
    big = content[offset] == 0 and content[offset + 1] != 0
    return EXPLICIT_VR_BIG_ENDIAN if big else EXPLICIT_VR_LITTLE_ENDIAN


def _is_vr(two: bytes) -> bool:
    return two.isalpha() and two.isupper()


class _Walk:
    """One pass over a dataset; remembers where the pixel data of the outermost level begins."""

    def __init__(self, content: bytes, big: bool, explicit: bool) -> None:
        order = ">" if big else "<"
        self._content = content
        self._explicit = explicit
        self._tag = struct.Struct(order + "HH").unpack_from
        self._u16 = struct.Struct(order + "H").unpack_from
        self._u32 = struct.Struct(order + "L").unpack_from
        self.pixel_offset: int | None = None
        self.pixel_length = 0

    def elements(self, offset: int, end: int, depth: int) -> tuple[Elements, int]:
        """Read elements until ``end``, the end of an item, or the pixel data; also say where reading stopped."""
        found: Elements = {}
        wanted = ALL
        while offset + 8 <= end:
            group, number = self._tag(self._content, offset)
            tag = group << 16 | number
            if tag == _ITEM_END:
                return found, offset + 8
            if tag == _SEQUENCE_END:
                return found, offset
            start, length = self._value(offset)
            if depth == 0 and tag in _PIXELS:
                if length > 0:
                    self.pixel_offset, self.pixel_length = start, length
                return found, end
            if length == UNDEFINED_LENGTH:
                items, offset = self._items(start, end, depth + 1, keep=tag in wanted)
                if tag in wanted:
                    found[tag] = items
                continue
            stop = start + length
            if stop > end:
                return found, end
            if tag in wanted:
                sequence = tag in SEQUENCES
                found[tag] = (
                    self._items(start, stop, depth + 1, keep=True)[0] if sequence else self._content[start:stop]
                )
            offset = stop
        return found, end

    def _value(self, offset: int) -> tuple[int, int]:
        """Where the value of the element at ``offset`` begins, and its length."""
        if self._explicit:
            vr = self._content[offset + 4 : offset + 6]
            if vr in _SHORT_VRS:
                return offset + 8, self._u16(self._content, offset + 6)[0]
            if _is_vr(vr) and offset + 12 <= len(self._content):
                return offset + 12, self._u32(self._content, offset + 8)[0]
            # Some writers leave single elements implicit in an explicit dataset.
        return offset + 8, self._u32(self._content, offset + 4)[0]

    def _items(self, offset: int, end: int, depth: int, *, keep: bool) -> tuple[list[Elements], int]:
        """The items of a sequence; without ``keep`` those of known length are stepped over."""
        items: list[Elements] = []
        if depth > _DEEPEST:
            return items, end
        while offset + 8 <= end:
            group, number = self._tag(self._content, offset)
            tag, length = group << 16 | number, self._u32(self._content, offset + 4)[0]
            offset += 8
            if tag == _SEQUENCE_END:
                return items, offset
            if tag != _ITEM:
                return items, end
            if length == UNDEFINED_LENGTH:
                item, offset = self.elements(offset, end, depth)
            elif keep:
                item, offset = self.elements(offset, min(offset + length, end), depth)[0], offset + length
            else:
                offset += length
                continue
            items.append(item)
        return items, end
