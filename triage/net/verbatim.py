"""Data sets that leave in another encoding than they were kept in, with their values as they are.

pydicom decodes text before it writes it in another encoding, and what it cannot decode is lost; the bytes of text
are the same in explicit and implicit VR, so nothing needs to be decoded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset


def read_kept(content: bytes) -> Dataset:
    """The data set of a file in explicit VR little endian, its values raw, the items of its sequences read.

    Sequences left as raw bytes would keep the encoding that they came in.
    """
    with quiet():
        kept = dcmread(BytesIO(content))
        _read_sequences(kept)
    ds = Dataset()
    ds.update({tag: kept.get_item(tag) for tag in kept.keys()})  # noqa: SIM118
    return ds


def keep_values(ds: Dataset, *, implicit_vr: bool) -> Dataset:
    """The same data set, told that it comes in the little endian encoding that it is about to be written in."""
    # Only so does pydicom write raw values as they are, at every level.
    ds.set_original_encoding(implicit_vr, True, ds._character_set)
    for tag in ds.keys():  # noqa: SIM118
        element = ds.get_item(tag)
        if element is not None and element.VR == "SQ":
            for item in element.value:
                keep_values(item, implicit_vr=implicit_vr)
    return ds


def implicit(content: bytes) -> bytes:
    """The data set of a file in explicit VR little endian as implicit VR little endian."""
    out = DicomBytesIO()
    out.is_little_endian = out.is_implicit_VR = True
    with quiet():
        write_dataset(out, keep_values(read_kept(content), implicit_vr=True))
    return bytes(out.getvalue())


@contextmanager
def quiet() -> Iterator[None]:
    """Without pydicom's warnings about the values and character sets of others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _read_sequences(ds: Dataset) -> None:
    for tag in list(ds.keys()):
        if ds.get_item(tag).VR == "SQ":
            for item in ds[tag].value:
                _read_sequences(item)
