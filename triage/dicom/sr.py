"""The structured report: what the analysis says about the exam and each segment (PS3.3 A.35, TID 1500).

Always written, also when nothing is suspected: a negative result says Absent. One content in four forms, for
archives differ in what they keep.
"""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset

from triage.dicom import codes
from triage.dicom.seg import tracking
from triage.dicom.source import Source, read_dataset, read_source
from triage.dicom.sr_document import encode_report, observer, references
from triage.dicom.sr_groups import exam_group, segment_group
from triage.dicom.sr_text import result_text
from triage.domain.encoded import EncodedObject, ObjectKind, ObjectReference
from triage.domain.finding import KINDS, Subtype, TriageResult
from triage.domain.provenance import Provenance
from triage.domain.volume import Volume

Groups = list[MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations]


def encode_sr(
    contents: Sequence[bytes],
    volume: Volume,
    result: TriageResult,
    provenance: Provenance,
    *,
    segmentation: EncodedObject | None,
    predecessor: ObjectReference | None,
    kind: ObjectKind = ObjectKind.SR,
) -> EncodedObject:
    """Encode the report of one series revision.

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
        What `encode_seg` made of the same contents and result, of any kind; None when no subtype was segmented.
        A report on each kind has a SOP Instance UID of its own. SR_TEXT neither refers to it nor looks at it.
    predecessor : ObjectReference or None
        The report of the revision that this one supersedes; the report itself is not named.
    kind : ObjectKind
        SR (Comprehensive 3D), SR_COMPREHENSIVE, SR_ENHANCED, or SR_TEXT (Basic Text).

    Raises
    ------
    UnreadableInstance
        When an instance cannot be filed under a study and a series.
    ValueError
        When the segmentation is not that of this result, or the kind is no report.
    """
    source = read_source(contents, volume)
    if kind is ObjectKind.SR_TEXT:
        segmentation = None
        root: Dataset = result_text(source, result, provenance)
    else:
        root = measurement_report(_groups(source, result, provenance, segmentation), codes.CT_OF_HEAD, provenance)
    return encode_report(
        kind,
        _name(kind, segmentation),
        root,
        source,
        provenance,
        evidence=references(source, segmentation),
        predecessor=predecessor,
    )


def measurement_report(groups: Groups, procedure: codes.Code, provenance: Provenance) -> Dataset:
    """The root content item of TID 1500, under a title of our own (CID 7021 is extensible).

    Viewers take "Imaging Measurement Report" as a promise of coordinates to jump to, and fail where the
    measurements are those of segments; any other title they open as text, and name what they show where the
    content is separate. This one says what the report is.
    """
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer(provenance)),
        procedure_reported=procedure.concept(),
        imaging_measurements=groups,
        title=codes.TRIAGE_NOTIFICATION.concept(),
    )
    _separate(report[0])
    return report[0]


def _separate(item: Dataset) -> None:
    if item.ValueType == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for part in item.get("ContentSequence", ()):
        _separate(part)


def _name(kind: ObjectKind, segmentation: EncodedObject | None) -> str:
    """What the UID is derived from. The plain segmentation goes without saying, as in every report sent so far."""
    if segmentation is None or segmentation.kind is ObjectKind.SEG:
        return kind.value
    return f"{kind} on {segmentation.kind}"


def _groups(source: Source, result: TriageResult, provenance: Provenance, segmentation: EncodedObject | None) -> Groups:
    groups: Groups = [exam_group(source, result, provenance, segmented=segmentation is not None)]
    for number, subtype in _segments(segmentation, source, result, provenance):
        assert segmentation is not None
        names = tracking(subtype, source, provenance)
        groups.append(segment_group(subtype, number, names, segmentation, source, result, provenance))
    return groups


def _segments(
    segmentation: EncodedObject | None, source: Source, result: TriageResult, provenance: Provenance
) -> list[tuple[int, Subtype]]:
    """Number and subtype of each segment, checked against the result."""
    said = list(result.outlined)
    found: list[tuple[int, Subtype]] = []
    if segmentation is not None:
        ds = read_dataset(segmentation.content, ["SegmentSequence"])
        subtype_of = {tracking(subtype, source, provenance)[1]: subtype for subtype in KINDS}
        found = [
            (int(segment.SegmentNumber), subtype_of[segment.TrackingUID])
            for segment in ds.SegmentSequence
            if segment.TrackingUID in subtype_of
        ]
    if [subtype for _, subtype in found] != said:
        raise ValueError("the segmentation does not hold the segments that the result measured")
    return found
