"""The frames of a Segmentation and the source frames that they lie on, whatever instances those came in.

highdicom is shown one plain single-frame header per slice (`slice_headers`), so that it treats single-frame,
multi-frame and several multi-frame sources alike and never sees the patient, whose elements may be too broken
for it. Afterwards the true references are put in (`write_frames`).
"""

from __future__ import annotations

import copy

import numpy as np
from highdicom.seg import Segmentation
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import CTImageStorage
from pydicom.valuerep import DSfloat

from triage.dicom.explicit import AnyElement, elements_of, encoded_alone, item, sequence
from triage.dicom.source import Source
from triage.dicom.uids import result_uid
from triage.domain.study import InstanceHeader
from triage.domain.volume import Volume

_THICKNESS_TOLERANCE_MM = 1e-3
_PER_FRAME_GROUPS = Tag(0x52009230)
_DERIVATION_IMAGE = Tag(0x00089124)
_PLANE_POSITION = Tag(0x00209113)
_PIXEL_MEASURES = Tag(0x00289110)


def slice_headers(source: Source, volume: Volume) -> list[Dataset]:
    """One single-frame image header per slice, of the geometry that the volume says.

    Each has a SOP Instance UID that only stands for the place of the slice in the volume.
    """
    shared = Dataset()
    shared.SOPClassUID, shared.Modality = CTImageStorage, "CT"
    shared.StudyInstanceUID, shared.SeriesInstanceUID = source.study_instance_uid, source.series_instance_uid
    shared.PatientID = shared.PatientName = shared.PatientBirthDate = shared.PatientSex = ""
    shared.AccessionNumber = shared.StudyID = shared.PositionReferenceIndicator = ""
    shared.StudyDate = shared.StudyTime = None
    # A series without a frame of reference lies in one of its own, named after the series.
    own_space = result_uid("frame of reference", source.series_instance_uid, source.sop_instance_uids, "any")
    shared.FrameOfReferenceUID = volume.frame_of_reference_uid or own_space
    shared.Rows, shared.Columns = volume.hu.shape[1:]
    shared.PixelSpacing = [_decimal(value) for value in volume.pixel_spacing_mm]
    shared.ImageOrientationPatient = [_decimal(value) for value in volume.orientation]
    headers = []
    for index, position in enumerate(volume.positions_mm):
        header = Dataset()
        header.update(shared)
        header.SOPInstanceUID = f"2.25.{index}"
        header.ImagePositionPatient = [_decimal(value) for value in position]
        header.SliceThickness = _decimal(volume.stack.thickness_mm[index])
        headers.append(header)
    return headers


def write_frames(ds: Segmentation, source: Source, volume: Volume, used: NDArray[np.intp]) -> None:
    """Put in the true source instances and frames, and the thickness of each frame where it is not the same.

    Parameters
    ----------
    ds : Segmentation
        Made from `slice_headers`; changed in place.
    source, volume
        Where the slices came from.
    used : ndarray of int, shape (slice with a frame,)
        The slices that have a frame.
    """
    references = {header.sop_instance_uid: header for header in source.instances}
    slice_uids = sorted({slice_source.sop_instance_uid for slice_source in volume.sources})
    instances = [_reference(references[uid]) for uid in slice_uids]
    series = Dataset()
    series.SeriesInstanceUID = source.series_instance_uid
    series.ReferencedInstanceSequence = DicomSequence(instances)
    ds.SourceImageSequence, ds.ReferencedSeriesSequence = instances, [series]

    thickness = volume.stack.thickness_mm
    shared = ds.SharedFunctionalGroupsSequence[0]
    measures = shared.PixelMeasuresSequence[0]
    measures.SliceThickness = _decimal(thickness[used[0]])
    uneven = float(np.ptp(thickness[used])) > _THICKNESS_TOLERANCE_MM
    if uneven:
        del shared.PixelMeasuresSequence

    # What depends on the slice alone is most of a frame's bytes: encoded once per slice, not once per segment.
    of_slice: dict[int, dict[BaseTag, AnyElement]] = {}
    items = []
    for frame in ds.PerFrameFunctionalGroupsSequence:
        image = frame.DerivationImageSequence[0].SourceImageSequence[0]
        index = int(image.ReferencedSOPInstanceUID.rpartition(".")[2])
        if index not in of_slice:
            own: dict[BaseTag, AnyElement] = {_PLANE_POSITION: frame[_PLANE_POSITION]}
            own[_DERIVATION_IMAGE] = _derivation(frame, references, volume, index)
            if uneven:
                own[_PIXEL_MEASURES] = _measures(measures, float(thickness[index]))
            of_slice[index] = {tag: encoded_alone(element) for tag, element in own.items()}
        items.append(item({**elements_of(frame), **of_slice[index]}))
    ds[_PER_FRAME_GROUPS] = sequence(_PER_FRAME_GROUPS, items)


def _derivation(frame: Dataset, references: dict[str, InstanceHeader], volume: Volume, index: int) -> AnyElement:
    """Derivation Image Sequence (PS3.3 C.7.6.16.2.6) that names the true source frame."""
    derivation = copy.deepcopy(frame[_DERIVATION_IMAGE])
    image = derivation.value[0].SourceImageSequence[0]
    slice_source = volume.sources[index]
    header = references[slice_source.sop_instance_uid]
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = header.sop_class_uid, header.sop_instance_uid
    if header.sop_class_uid != CTImageStorage:
        image.ReferencedFrameNumber = slice_source.frame_number
    return derivation


def _measures(shared: Dataset, thickness_mm: float) -> AnyElement:
    """Pixel Measures Sequence (PS3.3 C.7.6.16.2.1) of one slice."""
    measures = copy.deepcopy(shared)
    measures.SliceThickness = _decimal(thickness_mm)
    group = Dataset()
    group.PixelMeasuresSequence = DicomSequence([measures])
    return group[_PIXEL_MEASURES]


def _decimal(value: float) -> DSfloat:
    return DSfloat(float(value), auto_format=True)


def _reference(header: InstanceHeader) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = header.sop_class_uid, header.sop_instance_uid
    return reference
