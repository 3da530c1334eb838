"""Elements carried from a source instance into a result object without being decoded.

A name in a broken character set, a date that is none, an empty value: all leave as they came. Only the
encoding around the value changes, to explicit VR little endian.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterable
from contextlib import suppress

import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.tag import BaseTag

from triage.dicom.explicit import AnyElement, elements_of, encoded_alone, item, raw, sequence

_WORD_BYTES = {"US": 2, "SS": 2, "OW": 2, "AT": 2, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4, "FD": 8, "OD": 8}


DAMAGED: tuple[type[Exception], ...] = (
    *(OSError, EOFError, struct.error, zlib.error, BytesLengthException),
    *(ValueError, TypeError, AttributeError, LookupError, NotImplementedError, RecursionError),
)
"""What pydicom raises over bytes that are no DICOM, when it reads them or when it converts them later."""


def carry(ds: Dataset, tags: Iterable[BaseTag]) -> dict[BaseTag, RawDataElement]:
    """Those of ``tags`` that the source has, each with its value as sent, ready for explicit VR little endian.

    What must be converted for that, a sequence for the most part, and is too damaged for it, is left out.
    """
    carried = {}
    # pydicom warns about sequences that end too early, before it fails over them or makes do with what is there.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tag in tags:
            if tag in ds:
                with suppress(*DAMAGED):
                    carried[tag] = _explicit(ds.get_item(tag), ds)
    return carried


def text_of(element: RawDataElement | None) -> str:
    """The value of an element of plain characters (UI, CS, SH, IS...), empty when absent."""
    value = element.value if element is not None else None
    return (value or b"").decode("ascii", "replace").strip(" \0")


def _explicit(element: AnyElement, ds: Dataset) -> RawDataElement:
    was_implicit, was_little = ds.original_encoding
    vr = _vr(element)
    if isinstance(element, RawDataElement):
        value = element.value or b""
        if vr != "SQ":
            return raw(element.tag, vr, _even(vr, value if was_little else _swapped(vr, value)))
        if was_little and not was_implicit:
            return raw(element.tag, vr, value)
        element = convert_raw_data_element(element)
    if vr == "SQ":
        return sequence(element.tag, (item(_all_explicit(one)) for one in element.value or ()))
    return encoded_alone(element)


def _all_explicit(ds: Dataset) -> dict[BaseTag, AnyElement]:
    """The elements of an item, which keeps the encoding that it was read in."""
    return {tag: _explicit(element, ds) for tag, element in elements_of(ds).items()}


def _vr(element: AnyElement) -> str:
    """The VR as sent, or from the dictionary where the encoding has none or says UN."""
    known = str(element.VR) if element.VR is not None else ""
    if known not in ("", "UN"):
        return known
    try:
        found = dictionary_VR(element.tag)[:2]
    except KeyError:
        return "UN"
    return "UN" if known == "UN" and found == "SQ" else found


def _even(vr: str, value: bytes) -> bytes:
    """Some writers forget the padding (PS3.5 7.1.1)."""
    return value if len(value) % 2 == 0 else value + (b"\0" if vr in ("UI", "OB", "UN") else b" ")


def _swapped(vr: str, value: bytes) -> bytes:
    width = _WORD_BYTES.get(vr)
    if width is None or len(value) % width:
        return value
    return np.frombuffer(value, dtype=f">u{width}").astype(f"<u{width}").tobytes()
