"""What an archive changed in an object that it kept."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

_OWN_BUSINESS = frozenset({0x00080001, 0x00081190, 0x00080054, 0x00080056, 0xFFFCFFFC})
"""Retrieve URL, Retrieve AE Title, Instance Availability, padding: an archive may add them to what it hands out."""


@dataclass(frozen=True, slots=True)
class Change:
    """One element that came back otherwise: ``sent`` or ``returned`` is None where it was not there."""

    element: str
    sent: str | None
    returned: str | None

    def __str__(self) -> str:
        if self.sent is None:
            return f"{self.element} added"
        if self.returned is None:
            return f"{self.element} removed"
        return f"{self.element} changed"


def changes(sent: bytes, returned: bytes) -> list[Change]:
    """Compare two Part 10 files element by element, the file meta left out; ``[]`` when nothing was changed.

    Values are compared as they decode, so another transfer syntax or an explicit padding byte is no change. A
    sequence counts as one element.
    """
    ours, theirs = _read(sent), _read(returned)
    found = []
    for tag in sorted({*ours.keys(), *theirs.keys()} - _OWN_BUSINESS):
        before, after = _value(ours, tag), _value(theirs, tag)
        if before != after and not (before in (None, "") and after in (None, "")):
            found.append(Change(keyword_for_tag(tag) or str(tag), before, after))
    return found


def _read(content: bytes) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(io.BytesIO(content), force=True)


def _value(ds: Dataset, tag: BaseTag) -> str | None:
    if tag not in ds:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        element = ds[tag]
        if element.VR == "SQ":
            return repr([item.to_json_dict() for item in element.value])
        return repr(element.value) if isinstance(element.value, bytes) else str(element.value).strip()
