"""Pixels of the single-slice files that public data sets come in: DICOM and pictures. Volumes: `nifti`."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triage.dicom import tags
from triage.dicom.elements import UNDEFINED_LENGTH, RawDataset, read_elements
from triage.dicom.hounsfield import Padding, Rescale, clear_outside_scan_field, rescales, write_hu
from triage.dicom.pixels import PixelFormat, frame_words
from triage.dicom.source import read_dataset
from triage.dicom.syntaxes import UNCOMPRESSED
from triage.dicom.values import floats, integer, unsigned, word
from triage.dicom.verbatim import DAMAGED
from triage.domain.errors import TriageError, UnreadableInstance

LOWEST_HU, HIGHEST_HU = -1024, 32767
HEAD_BYTES = 16 * 1024
"""Enough for the header of nearly every CT slice; the rest of a file is read only where it was not."""

_WRAP = 4096
_ONE_AT_A_TIME = threading.Lock()
_UNREAD: tuple[type[Exception], ...] = (UnreadableInstance, *DAMAGED)


def whole_hu(values: NDArray[np.float32]) -> NDArray[np.int16]:
    """HU as the cache keeps them."""
    return np.clip(np.rint(values), LOWEST_HU, HIGHEST_HU).astype(np.int16)


@dataclass(frozen=True, slots=True)
class DicomHead:
    """What the header of one slice says; names are text, because public sets hold names that are no UIDs.

    Attributes
    ----------
    position_mm : tuple of float, or None
        Image Position (Patient), LPS.
    complete : bool
        Whether the file is as long as its uncompressed pixel data need; True where only decoding can tell.
    """

    patient: str
    study: str
    series: str
    instance: str
    modality: str
    series_description: str
    position_mm: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    spacing_mm: tuple[float, float] | None
    number: int | None
    rows: int
    columns: int
    frames: int
    has_pixels: bool
    complete: bool


def dicom_head(path: Path) -> DicomHead:
    """Read the header of a DICOM file, and only as much of the file as that needs.

    Raises
    ------
    ValueError
        It is no DICOM file, in one sentence; OSError when it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(HEAD_BYTES)
        length = file.seek(0, 2)
        raw = _elements(content)
        if raw.pixel_offset is None and length > len(content):
            file.seek(0)
            content = file.read()
            raw = _elements(content)
    top = raw.elements
    position, orientation = floats(top, tags.IMAGE_POSITION, 3), floats(top, tags.IMAGE_ORIENTATION, 6)
    spacing = floats(top, tags.PIXEL_SPACING, 2)
    needed = unsigned(raw, tags.ROWS) * unsigned(raw, tags.COLUMNS) * (unsigned(raw, tags.BITS_ALLOCATED) // 8)
    plain = raw.transfer_syntax_uid in UNCOMPRESSED and raw.pixel_length != UNDEFINED_LENGTH
    frames = max(1, integer(top, tags.NUMBER_OF_FRAMES) or 1)
    there = min(length - raw.pixel_offset, raw.pixel_length) if raw.pixel_offset is not None else 0
    return DicomHead(
        patient=_patient(content),
        study=word(top, tags.STUDY_INSTANCE_UID),
        series=word(top, tags.SERIES_INSTANCE_UID),
        instance=word(top, tags.SOP_INSTANCE_UID),
        modality=word(top, tags.MODALITY).upper(),
        series_description=word(top, tags.SERIES_DESCRIPTION),
        position_mm=(position[0], position[1], position[2]) if position else None,
        orientation=orientation or None,
        spacing_mm=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        number=integer(top, tags.INSTANCE_NUMBER),
        rows=unsigned(raw, tags.ROWS),
        columns=unsigned(raw, tags.COLUMNS),
        frames=frames,
        has_pixels=raw.pixel_offset is not None,
        complete=not plain or raw.pixel_offset is None or there >= needed * frames,
    )


def _elements(content: bytes) -> RawDataset:
    try:
        raw = read_elements(content)
    except TriageError as exc:
        raise ValueError(f"it is no DICOM file: {exc}") from exc
    if not raw.elements:
        raise ValueError("it is no DICOM file")
    return raw


def _patient(content: bytes) -> str:
    """Patient ID; the daemon's own reader leaves it alone, for it never needs one while it files."""
    # Warnings are caught for a whole process: one thread at a time.
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            said = read_dataset(content, ["PatientID"]).get("PatientID")
        except _UNREAD:
            said = None
    return str(said).strip() if said is not None else ""


def dicom_slice(path: Path, *, wrapped: bool = False) -> tuple[NDArray[np.int16], tuple[float, float] | None]:
    """One slice in HU, shape (row, column), and the distance between rows and between columns.

    Unlike `triage.dicom.slices.read_slice` it asks for no valid UIDs, which the RSNA 2019 data do not have.

    Parameters
    ----------
    wrapped : bool
        Undo the fault of the RSNA 2019 files, see `unwrapped_hu`, where the header shows it.

    Raises
    ------
    ValueError
        No HU can be read from the file; one sentence. OSError when it cannot be read at all.
    """
    raw = _elements(path.read_bytes())
    try:
        pixels = PixelFormat.of(raw, 1)
        (rescale,) = rescales(raw, 1)
        (words,) = frame_words(raw, pixels)
    except TriageError as exc:
        raise ValueError(str(exc)) from exc
    hu = np.empty((1, pixels.rows, pixels.columns), dtype=np.float32)
    if wrapped and shows_wrap(pixels, rescale):
        hu[0] = unwrapped_hu(pixels.stored(words), rescale.slope)
    else:
        write_hu(words, pixels, rescale, Padding.of(raw, pixels), hu[0])
    clear_outside_scan_field(hu)
    spacing = floats(raw.elements, tags.PIXEL_SPACING, 2)
    return whole_hu(hu[0]), (spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None


def shows_wrap(pixels: PixelFormat, rescale: Rescale) -> bool:
    """Whether a file is of the kind that lost its sign in the RSNA 2019 data: 12 unsigned bits that cannot hold air."""
    return pixels.bits_stored == 12 and not pixels.signed and rescale.intercept > -100


def unwrapped_hu(stored: NDArray[Any], slope: float) -> NDArray[np.float32]:
    """HU of stored values that are HU modulo 4096.

    Everything from 3096 on was below zero. The daemon, which does not know what it is sent, asks for more evidence
    (`triage.dicom.hounsfield.undo_wrap`); here the data set is known.
    """
    shifted = stored.astype(np.float32) + np.float32(1000)
    shifted[shifted >= _WRAP] -= np.float32(_WRAP)
    return np.asarray(np.maximum(shifted * np.float32(slope) - np.float32(1000), np.float32(LOWEST_HU)))


def picture(path: Path) -> NDArray[np.uint8]:
    """A picture as grey, shape (row, column); colour is weighted as in Rec. 601, transparency is dropped.

    Raises
    ------
    ValueError
        It cannot be decoded in full; one sentence.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                sixteen = opened.mode.startswith("I")
                grey = np.asarray(opened if sixteen else opened.convert("RGB").convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning, Image.DecompressionBombError) as exc:
        raise ValueError(f"it cannot be read as a picture: {exc}") from exc
    if sixteen:
        raise ValueError("it holds 16 bits a pixel, and no window is known for them")
    return np.ascontiguousarray(grey, dtype=np.uint8)
