"""Values of raw elements, read leniently: what is not there or not what it should be reads as empty."""

from __future__ import annotations

import math
import re

from pydicom.charset import python_encoding

from triage.dicom.elements import Elements, RawDataset

_ESCAPE = re.compile(r"\x1b[ -/]*[0-~]")
_LARGEST_INTEGER = 2**31 - 1


def word(elements: Elements, tag: int) -> str:
    """A code string, UID or number as sent, in ASCII, without its padding."""
    value = elements.get(tag)
    return _printable(value.decode("ascii", "replace")) if isinstance(value, bytes) else ""


def text(elements: Elements, tag: int, character_set: str) -> str:
    """A text value in the dataset's Specific Character Set, or whatever else reads it (PS3.5 6.1).

    Characters that cannot be shown or stored are dropped. No text ever fails to read.
    """
    value = elements.get(tag)
    if not isinstance(value, bytes) or not value:
        return ""
    if value.isascii() and b"\x1b" not in value:
        return _printable(value.decode("ascii"))
    return _printable(_ESCAPE.sub("", _decode(value, character_set)))


def floats(elements: Elements, tag: int, count: int) -> tuple[float, ...]:
    """The first ``count`` numbers of a decimal string; empty when there are fewer, or one is no finite number."""
    value = elements.get(tag)
    if not isinstance(value, bytes):
        return ()
    parts = value.decode("ascii", "replace").split("\\")[:count]
    try:
        numbers = tuple(float(part.strip(" \0")) for part in parts)
    except ValueError:
        return ()
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else ()


def integer(elements: Elements, tag: int) -> int | None:
    """An integer string; None when absent, not a number, or too large for 32 bits."""
    numbers = floats(elements, tag, 1)
    return int(numbers[0]) if numbers and abs(numbers[0]) <= _LARGEST_INTEGER else None


def unsigned(raw: RawDataset, tag: int) -> int:
    """A 16-bit unsigned integer (VR US), 0 when absent."""
    value = raw.elements.get(tag)
    if not isinstance(value, bytes) or len(value) < 2:
        return 0
    return int.from_bytes(value[:2], "little" if raw.little_endian else "big")


def _printable(value: str) -> str:
    if not value.isprintable():
        value = "".join(character for character in value if character.isprintable())
    return value.strip()


def _decode(value: bytes, character_set: str) -> str:
    declared = [python_encoding.get(name.strip(), "") for name in character_set.split("\\") if name.strip()]
    for encoding in filter(None, [*reversed(declared), "utf-8"]):
        try:
            return value.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return value.decode("latin-1")
