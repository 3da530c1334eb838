"""The measurement groups of our reports: one for the exam (TID 1501), one per segment (TID 1411)."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    FindingSite,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.valuerep import DSfloat

from triage.dicom import codes
from triage.dicom.equipment import plain
from triage.dicom.header import OWN_NAME
from triage.dicom.source import Source
from triage.dicom.sr_document import source_frame
from triage.domain.encoded import EncodedObject
from triage.domain.finding import Subtype, TriageResult, WorklistStatus
from triage.domain.notice import DEMONSTRATION, NOTIFICATION_ONLY
from triage.domain.provenance import Provenance

_LONGEST_SENTENCE = 1024
"""Characters of what a card may say: a report is no place for a whole one."""


def exam_group(
    source: Source, result: TriageResult, provenance: Provenance, *, segmented: bool
) -> MeasurementsAndQualitativeEvaluations:
    """What is said about the whole exam: present or absent, how sure, how urgent, by which rule, for what use.

    The total volume is left out when nothing was segmented: a zero would read as a measurement.
    """
    evaluations = [QualitativeEvaluation(codes.INTRACRANIAL_HEMORRHAGE.concept(), presence(result).concept())]
    if result.urgency in codes.ACTIONABLE:
        actionable = codes.ACTIONABLE[result.urgency].concept()
        evaluations.append(QualitativeEvaluation(codes.URGENCY.concept(), actionable))
    measurements = [_probability(result.score)]
    if segmented:
        measurements.append(_volume(result.total_volume_ml))
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=source.result_uid("tracking exam", provenance), identifier="ICH triage exam"
        ),
        algorithm_id=algorithm_used(provenance, parameters(result, provenance)),
        finding_sites=[FindingSite(anatomic_location=codes.BRAIN.concept())],
        measurements=measurements,
        qualitative_evaluations=evaluations,
        source_images=_key_image(source, result),
    )
    _add_comments(group, [conclusion(result), *notices(provenance), *measured(provenance)])
    return group


def undetermined_group(source: Source, statement: str, provenance: Provenance) -> MeasurementsAndQualitativeEvaluations:
    """What is said about a series that was not analysed: undetermined, and ``statement`` says why.

    No finding site and no measurement: what the series shows is not known, it need not be a head.
    """
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=source.result_uid("tracking exam", provenance), identifier="ICH triage exam"
        ),
        algorithm_id=algorithm_used(provenance, identity(provenance)),
        qualitative_evaluations=[
            QualitativeEvaluation(codes.INTRACRANIAL_HEMORRHAGE.concept(), codes.UNDETERMINED.concept())
        ],
    )
    _add_comments(group, [statement, *notices(provenance)])
    return group


def segment_group(
    subtype: Subtype,
    segment_number: int,
    tracking: tuple[str, str],
    segmentation: EncodedObject,
    source: Source,
    result: TriageResult,
    provenance: Provenance,
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    """What is said about one segment: which subtype, how much, how sure, and where to see it.

    ``tracking`` is the Tracking ID and UID that the segment carries.
    """
    names = codes.SUBTYPE_CODES[subtype]
    finding = result.subtypes[subtype]
    tracking_id, tracking_uid = tracking
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=tracking_uid, identifier=tracking_id),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.sop_class_uid,
            sop_instance_uid=segmentation.sop_instance_uid,
            segment_number=segment_number,
            source_series=SourceSeriesForSegmentation(source.series_instance_uid),
        ),
        finding_category=codes.MORPHOLOGICALLY_ABNORMAL.concept(),
        finding_type=(names.disorder or codes.HEMORRHAGE).concept(),
        finding_sites=[FindingSite(anatomic_location=names.site.concept())],
        algorithm_id=algorithm_used(provenance),
        measurements=[_volume(finding.volume_ml), _probability(finding.probability)],
        qualitative_evaluations=[QualitativeEvaluation(codes.SUBTYPE.concept(), names.subtype.concept())],
    )


def presence(result: TriageResult) -> codes.Code:
    """Present or Absent (CID 240)."""
    return codes.PRESENT if result.status is WorklistStatus.SUSPECTED else codes.ABSENT


def conclusion(result: TriageResult) -> str:
    """One sentence for viewers that show values without their names."""
    suspected = "suspected" if result.status is WorklistStatus.SUSPECTED else "not suspected"
    limit = f"suspected from {result.rule.suspected_at:g}"
    return f"Intracranial hemorrhage {suspected}: probability {result.score:.3f}, {limit}."


def notices(provenance: Provenance) -> list[str]:
    """What the report is not, and what a demonstration is not."""
    return [NOTIFICATION_ONLY, DEMONSTRATION] if provenance.demonstration else [NOTIFICATION_ONLY]


def measured(provenance: Provenance) -> list[str]:
    """What the model learned from and what was measured of it, for whoever wonders what the probability is worth."""
    return [plain(sentence, _LONGEST_SENTENCE) for sentence in provenance.measured]


def parameters(result: TriageResult, provenance: Provenance) -> list[str]:
    """The limits that turned the probability into the decision, and what exactly ran."""
    return [
        f"suspected at probability >= {result.rule.suspected_at:g}",
        f"emergent at probability >= {result.rule.emergent_at:g}",
        *identity(provenance),
    ]


def identity(provenance: Provenance) -> list[str]:
    """What exactly ran."""
    return [
        f"bundle sha256 {provenance.bundle_digest}",
        plain(f"software {OWN_NAME} {provenance.software_version}", 64),
    ]


def algorithm_used(provenance: Provenance, said: Sequence[str] | None = None) -> AlgorithmIdentification:
    """TID 4019."""
    return AlgorithmIdentification(
        name=plain(provenance.bundle_name, 64),
        version=plain(provenance.bundle_version, 64),
        manufacturer=OWN_NAME,
        family=codes.ARTIFICIAL_INTELLIGENCE.concept(),
        parameters=said,
    )


def _volume(volume_ml: float) -> Measurement:
    return _measurement(codes.VOLUME, volume_ml, codes.MILLILITRE, method=codes.SUM_OF_VOXELS)


def _probability(value: float) -> Measurement:
    return _measurement(codes.PROBABILITY, value, codes.NO_UNITS)


def _measurement(name: codes.Code, value: float, unit: codes.Code, method: codes.Code | None = None) -> Measurement:
    """TID 300. The decimal string is for people, the floating point value beside it is exact."""
    measurement = Measurement(
        name=name.concept(),
        value=float(value),
        unit=unit.concept(),
        method=method.concept() if method is not None else None,
    )
    measurement[0].MeasuredValueSequence[0].NumericValue = DSfloat(round(float(value), 4), auto_format=True)
    return measurement


def _key_image(source: Source, result: TriageResult) -> Sequence[SourceImageForMeasurementGroup]:
    """The slice to look at first."""
    if result.key_slice is None:
        return []
    image, frames = source_frame(source, result.key_slice.sop_instance_uid, result.key_slice.frame_number)
    return [SourceImageForMeasurementGroup(image.sop_class_uid, image.sop_instance_uid, frames)]


def _add_comments(group: MeasurementsAndQualitativeEvaluations, statements: Sequence[str]) -> None:
    group[0].ContentSequence.extend(
        TextContentItem(
            name=codes.COMMENT.concept(), value=statement, relationship_type=RelationshipTypeValues.CONTAINS
        )
        for statement in statements
    )
