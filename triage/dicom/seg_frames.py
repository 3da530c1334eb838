"""The frames of a Segmentation and the source frames that they lie on, whatever instances those came in.

highdicom is shown one plain single-frame header of one pixel (`stand_in`), so that it never sees the patient,
whose elements may be too broken for it, and makes the modules that do not depend on the frames. The frames
themselves are written here (`write_frames`): a Dataset for each of 1500 frames would take seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from highdicom.seg import Segmentation
from highdicom.spatial import get_volume_positions
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import CTImageStorage
from pydicom.valuerep import DSfloat

from triage.dicom.codes import SEGMENTATION, SOURCE_IMAGE
from triage.dicom.explicit import AnyElement, encoded_alone, item, raw, sequence
from triage.dicom.source import Source
from triage.dicom.uids import result_uid
from triage.domain.study import InstanceHeader
from triage.domain.volume import Volume

_THICKNESS_TOLERANCE_MM = 1e-3
_PER_FRAME_GROUPS = Tag(0x52009230)
_FRAME_CONTENT, _DIMENSION_INDEX_VALUES = Tag(0x00209111), Tag(0x00209157)
_SEGMENT_IDENTIFICATION, _REFERENCED_SEGMENT_NUMBER = Tag(0x0062000A), Tag(0x0062000B)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a Segmentation.

    ``place`` counts the slices in use from 1, against their normal as highdicom does. ``segment`` is None where
    a frame shows all segments (label map).
    """

    slice_index: int
    place: int
    segment: int | None


def frames_of(counts: NDArray[np.int64], *, together: bool) -> list[Frame]:
    """The frames that are not empty: by segment, then by place; or, ``together``, one for each slice in use.

    Parameters
    ----------
    counts : ndarray of int, shape (slice, segment)
        Voxels of each segment in each slice.
    """
    places = list(enumerate(map(int, np.flatnonzero(counts.any(axis=1))[::-1]), start=1))
    if together:
        return [Frame(index, place, None) for place, index in places]
    return [
        Frame(index, place, number)
        for number, of_segment in enumerate(counts.T, start=1)
        for place, index in places
        if of_segment[index]
    ]


def stand_in(source: Source, volume: Volume) -> Dataset:
    """The header of an image of one pixel, in the space and direction of the volume."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = CTImageStorage, "2.25.0", "CT"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = source.study_instance_uid, source.series_instance_uid
    ds.PatientID = ds.PatientName = ds.PatientBirthDate = ds.PatientSex = ""
    ds.AccessionNumber = ds.StudyID = ds.PositionReferenceIndicator = ""
    ds.StudyDate = ds.StudyTime = None
    # A series without a frame of reference lies in one of its own, named after the series.
    own_space = result_uid("frame of reference", source.series_instance_uid, source.sop_instance_uids, "any")
    ds.FrameOfReferenceUID = volume.frame_of_reference_uid or own_space
    ds.Rows = ds.Columns = 1
    ds.PixelSpacing = [_decimal(value) for value in volume.pixel_spacing_mm]
    ds.ImageOrientationPatient = [_decimal(value) for value in volume.orientation]
    ds.ImagePositionPatient = [_decimal(value) for value in volume.positions_mm[0]]
    ds.SliceThickness = _decimal(volume.stack.thickness_mm[0])
    return ds


def write_frames(ds: Segmentation, source: Source, volume: Volume, frames: Sequence[Frame]) -> None:
    """Put in the frames with their source instances, and the thickness of each frame where it is not the same.

    Parameters
    ----------
    ds : Segmentation
        Made from the `stand_in`; changed in place, but for its pixels.
    source, volume
        Where the slices came from.
    frames : sequence of Frame
        In the order of the pixels.
    """
    references = {header.sop_instance_uid: header for header in source.instances}
    slice_uids = sorted({slice_source.sop_instance_uid for slice_source in volume.sources})
    instances = [_reference(references[uid]) for uid in slice_uids]
    series = Dataset()
    series.SeriesInstanceUID = source.series_instance_uid
    series.ReferencedInstanceSequence = DicomSequence(instances)
    ds.SourceImageSequence, ds.ReferencedSeriesSequence = instances, [series]
    ds.NumberOfFrames = len(frames)
    ds.Rows, ds.Columns = volume.hu.shape[1:]

    used = np.unique([frame.slice_index for frame in frames])
    shared = ds.SharedFunctionalGroupsSequence[0]
    measures = _measures(volume)
    thickness = volume.stack.thickness_mm
    uneven = float(np.ptp(thickness[used])) > _THICKNESS_TOLERANCE_MM
    if uneven:
        del shared.PixelMeasuresSequence
    else:
        measures.SliceThickness = _decimal(thickness[used[0]])
        shared.PixelMeasuresSequence = [measures]
    one_segment = len({frame.segment for frame in frames}) == 1
    if one_segment and _regular_spacing(volume, used, sort=False) is not None:
        ds.DimensionOrganizationType = "3D"

    # What depends on the slice alone is most of a frame's bytes: encoded once per slice, not once per segment.
    of_slice: dict[int, dict[BaseTag, AnyElement]] = {}
    for index in map(int, used):
        groups = _groups(references, volume, index)
        if uneven:
            measures.SliceThickness = _decimal(thickness[index])
            groups.PixelMeasuresSequence = DicomSequence([measures])
        of_slice[index] = {tag: encoded_alone(groups[tag]) for tag in groups.keys()}  # noqa: SIM118
    per_segment = "SegmentIdentificationSequence" not in shared
    items = (item({**of_slice[frame.slice_index], **_own_groups(frame, per_segment)}) for frame in frames)
    ds[_PER_FRAME_GROUPS] = sequence(_PER_FRAME_GROUPS, items)


def packed(planes: Iterator[NDArray[np.bool_]]) -> bytes:
    """Planes one after the other, one bit a pixel, the first in the lowest bit (PS3.5 8.1.1), padded to even length."""
    left = np.empty(0, dtype=np.bool_)
    parts = []
    for plane in planes:
        bits = np.concatenate([left, plane.ravel()]) if left.size else plane.ravel()
        whole = bits.size - bits.size % 8
        parts.append(np.packbits(bits[:whole], bitorder="little").tobytes())
        left = bits[whole:]
    parts.append(np.packbits(left, bitorder="little").tobytes())
    return even(b"".join(parts))


def even(pixels: bytes) -> bytes:
    """Pixel data of even length (PS3.5 8.1.1)."""
    return pixels + b"\0" * (len(pixels) % 2)


def _own_groups(frame: Frame, per_segment: bool) -> dict[BaseTag, AnyElement]:
    """What a frame does not share with the others of its slice."""
    values = [frame.place] if frame.segment is None else [frame.segment, frame.place]
    indices = raw(_DIMENSION_INDEX_VALUES, "UL", np.array(values, dtype="<u4").tobytes())
    own: dict[BaseTag, AnyElement] = {
        _FRAME_CONTENT: sequence(_FRAME_CONTENT, [item({_DIMENSION_INDEX_VALUES: indices})])
    }
    if frame.segment is not None and per_segment:
        number = raw(_REFERENCED_SEGMENT_NUMBER, "US", frame.segment.to_bytes(2, "little"))
        identification = item({_REFERENCED_SEGMENT_NUMBER: number})
        own[_SEGMENT_IDENTIFICATION] = sequence(_SEGMENT_IDENTIFICATION, [identification])
    return own


def _groups(references: dict[str, InstanceHeader], volume: Volume, index: int) -> Dataset:
    """Plane position and derivation (PS3.3 C.7.6.16.2) of the frames on one slice."""
    slice_source = volume.sources[index]
    header = references[slice_source.sop_instance_uid]
    image = _reference(header)
    if header.sop_class_uid != CTImageStorage:
        image.ReferencedFrameNumber = slice_source.frame_number
    image.SpatialLocationsPreserved = "YES"
    image.PurposeOfReferenceCodeSequence = DicomSequence([SOURCE_IMAGE.concept()])
    derivation, position, groups = Dataset(), Dataset(), Dataset()
    derivation.SourceImageSequence = DicomSequence([image])
    derivation.DerivationCodeSequence = DicomSequence([SEGMENTATION.concept()])
    position.ImagePositionPatient = [_decimal(value) for value in volume.positions_mm[index]]
    groups.DerivationImageSequence = DicomSequence([derivation])
    groups.PlanePositionSequence = DicomSequence([position])
    return groups


def _measures(volume: Volume) -> Dataset:
    """An item of the Pixel Measures Sequence (PS3.3 C.7.6.16.2.1) that waits for its thickness."""
    measures = Dataset()
    measures.PixelSpacing = [_decimal(value) for value in volume.pixel_spacing_mm]
    spacing = _regular_spacing(volume, np.arange(len(volume.sources)), sort=True)
    if spacing is not None:
        measures.SpacingBetweenSlices = _decimal(spacing)
    return measures


def _regular_spacing(volume: Volume, used: NDArray[np.intp], *, sort: bool) -> float | None:
    """Distance between neighbours where those slices make a regular grid, otherwise None."""
    if len(used) < 2:
        return None
    spacing, _ = get_volume_positions(volume.positions_mm[used].tolist(), volume.orientation.tolist(), sort=sort)
    return float(spacing) if spacing else None


def _decimal(value: float) -> DSfloat:
    return DSfloat(float(value), auto_format=True)


def _reference(header: InstanceHeader) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = header.sop_class_uid, header.sop_instance_uid
    return reference
