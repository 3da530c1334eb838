"""The structured report: what the analysis says about the exam and each segment (PS3.3 A.35.13, TID 1500).

Always written, also when nothing is suspected: a negative result says Absent. Preliminary and unverified,
because no person has looked at it.
"""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset

from triage.dicom import codes
from triage.dicom.equipment import serial_number, series_description, series_number, software_versions
from triage.dicom.header import OWN_NAME
from triage.dicom.part10 import encode_object
from triage.dicom.seg import tracking
from triage.dicom.source import Source, read_dataset, read_source
from triage.dicom.sr_groups import exam_group, segment_group
from triage.dicom.uids import device_uid
from triage.domain.encoded import EncodedObject, ObjectKind, ObjectReference
from triage.domain.finding import SUBTYPES, Subtype, TriageResult
from triage.domain.provenance import Provenance
from triage.domain.volume import Volume


def encode_sr(
    contents: Sequence[bytes],
    volume: Volume,
    result: TriageResult,
    provenance: Provenance,
    *,
    segmentation: EncodedObject | None,
    predecessor: ObjectReference | None,
) -> EncodedObject:
    """Encode the report of one series revision as Comprehensive 3D SR.

    Parameters
    ----------
    contents : sequence of bytes
        Part 10 bytes of every instance of the revision, in any order.
    volume : Volume
        What was read from them.
    result : TriageResult
        What the report says.
    provenance : Provenance
        Software, bundle and content time.
    segmentation : EncodedObject or None
        What `encode_seg` made of the same contents and result; None when no subtype was segmented.
    predecessor : ObjectReference or None
        The report of the revision that this one supersedes.

    Raises
    ------
    UnreadableInstance
        When an instance cannot be filed under a study and a series.
    ValueError
        When the segmentation is not that of this result, or the predecessor is the report itself.
    """
    source = read_source(contents, volume)
    uid = source.result_uid(ObjectKind.SR, provenance)
    if predecessor is not None and predecessor.sop_instance_uid == uid:
        raise ValueError("a report does not supersede itself: the same instances and bundle make the same report")
    groups: list[MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations]
    groups = [exam_group(source, result, provenance, segmented=segmentation is not None)]
    for number, subtype in _segments(segmentation, source, result, provenance):
        assert segmentation is not None
        names = tracking(subtype, source, provenance)
        groups.append(segment_group(subtype, number, names, segmentation, source, result, provenance))
    report = MeasurementReport(
        observation_context=_observation_context(provenance),
        procedure_reported=codes.CT_OF_HEAD.concept(),
        imaging_measurements=groups,
        title=codes.IMAGING_MEASUREMENT_REPORT.concept(),
    )
    ds = Comprehensive3DSR(
        evidence=_evidence(source, segmentation),
        content=report,
        series_instance_uid=source.result_uid("SR series", provenance),
        series_number=series_number(ObjectKind.SR, source.series_number),
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=OWN_NAME,
        manufacturer_model_name=OWN_NAME,
        software_versions=software_versions(provenance),
        device_serial_number=serial_number(provenance),
        series_description=series_description("report", provenance),
        is_complete=True,
        is_final=False,
        is_verified=False,
        previous_versions=[_reference(predecessor)] if predecessor is not None else None,
    )
    return encode_object(ObjectKind.SR, ds, source, provenance)


def _segments(
    segmentation: EncodedObject | None, source: Source, result: TriageResult, provenance: Provenance
) -> list[tuple[int, Subtype]]:
    """Number and subtype of each segment, checked against the result."""
    said = [subtype for subtype in SUBTYPES if result.subtypes[subtype].volume_ml > 0]
    found: list[tuple[int, Subtype]] = []
    if segmentation is not None:
        ds = read_dataset(segmentation.content, ["SegmentSequence"])
        subtype_of = {tracking(subtype, source, provenance)[1]: subtype for subtype in SUBTYPES}
        found = [
            (int(segment.SegmentNumber), subtype_of[segment.TrackingUID])
            for segment in ds.SegmentSequence
            if segment.TrackingUID in subtype_of
        ]
    if [subtype for _, subtype in found] != said:
        raise ValueError("the segmentation does not hold the segments that the result measured")
    return found


def _observation_context(provenance: Provenance) -> ObservationContext:
    device = DeviceObserverIdentifyingAttributes(
        uid=device_uid(provenance.bundle_digest),
        name=OWN_NAME,
        manufacturer_name=OWN_NAME,
        model_name=OWN_NAME,
        serial_number=serial_number(provenance),
    )
    observer = ObserverContext(observer_type=codes.DEVICE_OBSERVER.concept(), observer_identifying_attributes=device)
    return ObservationContext(observer_device_context=observer)


def _evidence(source: Source, segmentation: EncodedObject | None) -> list[Dataset]:
    """What the report rests on: every source instance and the segmentation, none of them with its patient."""
    evidence = []
    for header in source.instances:
        item = Dataset()
        item.SOPClassUID, item.SOPInstanceUID = header.sop_class_uid, header.sop_instance_uid
        item.StudyInstanceUID, item.SeriesInstanceUID = header.study_instance_uid, header.series_instance_uid
        evidence.append(item)
    if segmentation is not None:
        item = Dataset()
        item.SOPClassUID, item.SOPInstanceUID = segmentation.sop_class_uid, segmentation.sop_instance_uid
        item.StudyInstanceUID, item.SeriesInstanceUID = source.study_instance_uid, segmentation.series_instance_uid
        evidence.append(item)
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(evidence[0], keyword, "")
    evidence[0].StudyDate = evidence[0].StudyTime = None
    return evidence


def _reference(predecessor: ObjectReference) -> Dataset:
    ds = Dataset()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = predecessor.study_instance_uid, predecessor.series_instance_uid
    ds.SOPClassUID, ds.SOPInstanceUID = predecessor.sop_class_uid, predecessor.sop_instance_uid
    return ds
