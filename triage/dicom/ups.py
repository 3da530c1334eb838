"""A Unified Procedure Step that asks for a priority read (PS3.4 Table CC.2.5-3, the column of the N-CREATE SCU)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from highdicom.sr import CodeContentItem, NumContentItem
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import DT

from triage.dicom import codes
from triage.dicom.attribute_list import by_series, encode_attribute_list, sop_reference
from triage.dicom.codes import Code
from triage.dicom.equipment import plain
from triage.dicom.explicit import elements_of, item, raw, sequence
from triage.dicom.source import Source
from triage.domain.encoded import EncodedObject, ObjectKind, ObjectReference
from triage.domain.notice import Notice
from triage.domain.study import AeTitle

UPS_PUSH = "1.2.840.10008.5.1.4.34.6.1"
WORKLIST_LABEL = "ICH TRIAGE"

_CHARACTER_SET, _TIMEZONE = 0x00080005, 0x00080201
_ACCESSION_NUMBER, _ISSUER_OF_ACCESSION_NUMBER = 0x00080050, 0x00080051
_STUDY_INSTANCE_UID = 0x0020000D
_REFERENCED_REQUEST = 0x0040A370
_REQUESTED_PROCEDURE_ID, _REQUESTED_PROCEDURE_DESCRIPTION = 0x00401001, 0x00321060
_REQUESTED_PROCEDURE_CODE = 0x00321064
_STUDY_DESCRIPTION = 0x00081030
_PLACER_NUMBER, _FILLER_NUMBER = 0x00402016, 0x00402017
# Who the patient is and where; what else is known of him is of no use for a reading list.
_CARRIED = (
    *(_CHARACTER_SET, _TIMEZONE),
    *(0x00081080, 0x00081084),  # Admitting Diagnoses
    *(0x00100010, 0x00100020, 0x00100021, 0x00100024, 0x00100030, 0x00100040, 0x00101002),  # the patient's identity
    *(0x00380010, 0x00380014),  # Admission ID and its issuer
)
_TYPE_2 = {
    0x00081080: "LO",  # Admitting Diagnoses Description
    0x00081084: "SQ",  # Admitting Diagnoses Code Sequence
    0x00100010: "PN",  # Patient's Name
    0x00100020: "LO",  # Patient ID
    0x00100030: "DA",  # Patient's Birth Date
    0x00100040: "CS",  # Patient's Sex
    0x00101002: "SQ",  # Other Patient IDs Sequence
    0x00380010: "LO",  # Admission ID
    0x00380014: "SQ",  # Issuer of Admission ID Sequence
}


def encode_ups(
    notice: Notice,
    source: Source,
    identifier: str,
    *,
    retrieve_ae_title: str,
    worklist_label: str = WORKLIST_LABEL,
    station: Code | None = None,
) -> EncodedObject:
    """Encode a procedure step in the state SCHEDULED: HIGH for a suspected study, MEDIUM for any other.

    The patient is copied as sent, in the character set of the source; our own text is ASCII.

    Parameters
    ----------
    identifier : str
        UID of the step. Created a second time, it is the same step and answered as a duplicate.
    retrieve_ae_title : str
        The archive that holds the images and the results.
    worklist_label : str
        Which worklist of the SCP the step belongs to.
    station : Code or None
        The station or group of stations that is to read it; None leaves that to the SCP.

    Raises
    ------
    ValueError
        When the notice is of another series than the source, or the title is none.
    """
    if notice.series_instance_uid != source.series_instance_uid:
        raise ValueError("the notice speaks of another series than the source")
    ds = Dataset()
    ds.CodingSchemeIdentificationSequence = [codes.private_scheme()]
    ds.TransactionUID = ""
    ds.ScheduledProcedureStepPriority = "HIGH" if notice.suspected else "MEDIUM"
    ds.ProcedureStepLabel = _label(notice)
    ds.WorklistLabel = plain(worklist_label, 64)
    ds.ScheduledProcessingParametersSequence = list(_parameters(notice))
    ds.ScheduledStationNameCodeSequence = [station.concept()] if station is not None else []
    ds.ScheduledStationClassCodeSequence = []
    ds.ScheduledStationGeographicLocationCodeSequence = []
    ds.ScheduledProcedureStepStartDateTime = DT(notice.at.strftime("%Y%m%d%H%M%S%z"))
    ds.ScheduledWorkitemCodeSequence = [codes.INTERPRETATION.concept()]
    ds.CommentsOnTheScheduledProcedureStep = " ".join(notice.statements)
    ds.InputReadinessState = "READY"
    title = AeTitle(retrieve_ae_title).value
    results = [reference for _, reference in notice.objects]
    inputs = by_series([*[ObjectReference.of(header) for header in source.instances], *results])
    ds.InputInformationSequence = [_input(members, title) for members in inputs.values()]
    ds.StudyInstanceUID = source.study_instance_uid
    ds.ProcedureStepState = "SCHEDULED"
    ds.ProcedureStepProgressInformationSequence = []
    ds.UnifiedProcedureStepPerformedProcedureSequence = []
    elements = {**elements_of(ds), **_patient(source), Tag(_REFERENCED_REQUEST): _request(notice, source)}
    return encode_attribute_list(ObjectKind.UPS, UPS_PUSH, identifier, elements)


def _label(notice: Notice) -> str:
    """What a list of steps shows: the outcome, and that it is a demonstration. At most 64 characters."""
    return f"{_outcome(notice)}{', DEMONSTRATION' if notice.provenance.demonstration else ''}"


def _outcome(notice: Notice) -> str:
    if notice.suspected:
        return "Suspected ICH: priority read"
    reason = f"not analysed ({notice.reason})" if notice.reason is not None else "ICH not suspected"
    return f"Head CT read, {reason}"


def _parameters(notice: Notice) -> Iterator[Dataset]:
    """What the analysis says, as content items; nothing where there was none."""
    result = notice.result
    if result is None:
        return
    presence = codes.PRESENT if notice.suspected else codes.ABSENT
    yield CodeContentItem(codes.INTRACRANIAL_HEMORRHAGE.concept(), presence.concept())
    yield NumContentItem(codes.PROBABILITY.concept(), round(result.score, 4), codes.NO_UNITS.concept())
    if notice.urgency in codes.ACTIONABLE:
        yield CodeContentItem(codes.URGENCY.concept(), codes.ACTIONABLE[notice.urgency].concept())
    if result.outlined:
        volume = round(result.total_volume_ml, 2)
        yield NumContentItem(codes.VOLUME.concept(), volume, codes.MILLILITRE.concept())
    for subtype in result.outlined:
        yield CodeContentItem(codes.SUBTYPE.concept(), codes.SUBTYPE_CODES[subtype].subtype.concept())


def _input(members: Sequence[ObjectReference], retrieve_ae_title: str) -> Dataset:
    """Instances of one series and where to fetch them (PS3.3 Table 10-3b)."""
    where, found = Dataset(), Dataset()
    where.RetrieveAETitle = retrieve_ae_title
    found.TypeOfInstances = "DICOM"
    found.StudyInstanceUID, found.SeriesInstanceUID = members[0].study_instance_uid, members[0].series_instance_uid
    found.ReferencedSOPSequence = [sop_reference(one) for one in members]
    found.DICOMRetrievalSequence = [where]
    return found


def _patient(source: Source) -> dict[BaseTag, RawDataElement]:
    empty = {Tag(tag): raw(tag, vr, b"") for tag, vr in _TYPE_2.items()}
    return {**empty, **{Tag(tag): source.copied[Tag(tag)] for tag in _CARRIED if Tag(tag) in source.copied}}


def _request(notice: Notice, source: Source) -> RawDataElement:
    """The order that the study was made for, as far as the images tell."""
    order = notice.demographics
    copied = source.copied
    numbers = {_REQUESTED_PROCEDURE_ID: order.requested_procedure_id}
    numbers |= {_PLACER_NUMBER: order.placer_order_number, _FILLER_NUMBER: order.filler_order_number}
    vrs = {_REQUESTED_PROCEDURE_ID: "SH", _PLACER_NUMBER: "LO", _FILLER_NUMBER: "LO"}
    elements = {Tag(tag): raw(tag, vrs[tag], _ascii(text)) for tag, text in numbers.items()}
    description = copied.get(Tag(_STUDY_DESCRIPTION))
    value = (description.value if description is not None else None) or b""
    elements[Tag(_REQUESTED_PROCEDURE_DESCRIPTION)] = raw(_REQUESTED_PROCEDURE_DESCRIPTION, "LO", value)
    elements[Tag(_REQUESTED_PROCEDURE_CODE)] = raw(_REQUESTED_PROCEDURE_CODE, "SQ", b"")
    uid = source.study_instance_uid.encode("ascii")
    elements[Tag(_STUDY_INSTANCE_UID)] = raw(_STUDY_INSTANCE_UID, "UI", uid + b"\0" * (len(uid) % 2))
    elements[Tag(_ACCESSION_NUMBER)] = copied.get(Tag(_ACCESSION_NUMBER)) or raw(_ACCESSION_NUMBER, "SH", b"")
    issuer = Tag(_ISSUER_OF_ACCESSION_NUMBER)
    elements[issuer] = copied.get(issuer) or raw(_ISSUER_OF_ACCESSION_NUMBER, "SQ", b"")
    return sequence(_REFERENCED_REQUEST, [item(elements)])


def _ascii(text: str) -> bytes:
    """A number of an order, of even length; empty when it is not of plain characters."""
    value = text.encode("ascii") if text.isascii() else b""
    return value + b" " * (len(value) % 2)
