"""From the instances of a series to one volume in HU on the source frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from triage.dicom.elements import RawDataset, read_elements
from triage.dicom.header import header_of
from triage.dicom.hounsfield import (
    Padding,
    Rescale,
    check_is_hu,
    clear_outside_scan_field,
    rescales,
    undo_wrap,
    write_hu,
)
from triage.dicom.pixels import PixelFormat, frame_words
from triage.dicom.stacking import stack_series
from triage.domain.errors import UnreadableInstance, UnusableSeries
from triage.domain.finding import ReasonCode
from triage.domain.study import InstanceHeader
from triage.domain.volume import SliceSource, Volume

MOST_VOXELS = 2**29
"""2 GiB of HU: more than any head, and a limit on what a few compressed bytes can ask for."""

_INFLATED_BYTES = 2**30


def read_volume(contents: Sequence[bytes]) -> Volume:
    """Decode the instances of one series into a volume; what is given is what is read, in any order.

    Parameters
    ----------
    contents : sequence of bytes
        Whole files of the instances that `triage.dicom.select.usable` keeps; single-frame, Enhanced or Legacy
        Converted.

    Returns
    -------
    Volume
        HU on the source frames, sorted along the normal. Peak memory is the contents plus one float32 volume.

    Raises
    ------
    UnusableSeries
        ``undecodable``, ``not_original_hu``, or one of the reasons of `triage.dicom.stacking.stack_series`.
    """
    if not contents:
        raise ValueError("a volume needs at least one instance")
    raws, headers = zip(*map(_read, contents), strict=True)
    formats = [PixelFormat.of(raw, header.number_of_frames) for raw, header in zip(raws, headers, strict=True)]
    scales = [rescales(raw, pixels.frames) for raw, pixels in zip(raws, formats, strict=True)]
    stack = stack_series(headers)
    first = formats[0]
    shape = (len(stack.order), first.rows, first.columns)
    if int(np.prod(shape, dtype=np.int64)) > MOST_VOXELS:
        raise UnusableSeries(ReasonCode.UNDECODABLE, f"A series of {shape} voxels is larger than can be read.")

    hu = np.empty(shape, dtype=np.float32)
    slot = np.argsort(stack.order)  # the sorted slice that the n-th frame given becomes
    given = 0
    for raw, pixels, scale in zip(raws, formats, scales, strict=True):
        _write_instance(raw, pixels, scale, hu, slot[given : given + pixels.frames])
        given += pixels.frames
    undo_wrap(hu, formats, [one for scale in scales for one in scale])
    clear_outside_scan_field(hu)
    check_is_hu(hu)

    frames = [frame for header in headers for frame in header.frames]
    sources = [SliceSource(h.sop_instance_uid, n + 1) for h in headers for n in range(h.number_of_frames)]
    spacing = headers[0].pixel_spacing_mm
    assert spacing is not None  # stack_series refuses headers without
    return Volume(
        hu=hu,
        stack=stack,
        positions_mm=np.array([frames[index].position_mm for index in stack.order], dtype=np.float64),
        orientation=np.array(frames[stack.order[0]].orientation, dtype=np.float64),
        pixel_spacing_mm=spacing,
        frame_of_reference_uid=next((h.frame_of_reference_uid for h in headers if h.frame_of_reference_uid), ""),
        sources=tuple(sources[index] for index in stack.order),
    )


def _read(content: bytes) -> tuple[RawDataset, InstanceHeader]:
    try:
        raw = read_elements(content, inflate_limit=_INFLATED_BYTES)
        return raw, header_of(raw)
    except UnreadableInstance as exc:
        raise UnusableSeries(ReasonCode.UNDECODABLE, f"At least one instance cannot be read: {exc}") from exc


def _write_instance(
    raw: RawDataset, pixels: PixelFormat, scale: list[Rescale], hu: NDArray[np.float32], slots: NDArray[np.intp]
) -> None:
    padding = Padding.of(raw, pixels)
    for words, rescale, slot in zip(frame_words(raw, pixels), scale, slots, strict=True):
        write_hu(words, pixels, rescale, padding, hu[slot])
