"""What the documents of ours have in common, whatever they say: who made them, what they rest on, how they are filed.

Reports are preliminary and unverified, because no person has looked at them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from highdicom.sr import (
    Comprehensive3DSR,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    EnhancedSR,
    ObserverContext,
)
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.uid import BasicTextSRStorage, CTImageStorage

from triage.dicom import codes
from triage.dicom.equipment import serial_number, series_description, series_number, software_versions
from triage.dicom.header import OWN_NAME
from triage.dicom.part10 import encode_object
from triage.dicom.source import Source
from triage.dicom.uids import device_uid
from triage.domain.encoded import EncodedObject, ObjectKind, ObjectReference
from triage.domain.provenance import Provenance

_CONTENT = Tag(0x0040A730)

# A Basic Text SR has the modules of an Enhanced SR and fewer value types (PS3.3 A.35.1, A.35.2).
_WRITERS: Mapping[ObjectKind, type[Comprehensive3DSR] | type[ComprehensiveSR] | type[EnhancedSR]] = MappingProxyType(
    {
        ObjectKind.SR: Comprehensive3DSR,
        ObjectKind.SR_COMPREHENSIVE: ComprehensiveSR,
        ObjectKind.SR_ENHANCED: EnhancedSR,
        ObjectKind.SR_TEXT: EnhancedSR,
    }
)


def encode_report(
    kind: ObjectKind,
    name: str,
    root: Dataset,
    source: Source,
    provenance: Provenance,
    *,
    evidence: Sequence[ObjectReference],
    predecessor: ObjectReference | None,
) -> EncodedObject:
    """Encode a content tree as a report of one of the four kinds.

    Parameters
    ----------
    kind : ObjectKind
        SR, SR_COMPREHENSIVE, SR_ENHANCED or SR_TEXT.
    name : str
        What its SOP Instance UID is derived from; another content needs another name.
    root : Dataset
        The root content item.
    evidence : sequence of ObjectReference
        What the report rests on; the first lies in the study of the source.
    predecessor : ObjectReference or None
        The report of the revision that this one supersedes. The report itself is not named: a revision of the same
        instances under the same bundle has the same report, and supersedes nothing.

    Raises
    ------
    ValueError
        When the kind is no report.
    """
    if kind not in _WRITERS:
        raise ValueError(f"{kind} is no report")
    uid = source.result_uid(name, provenance)
    superseded = [predecessor] if predecessor is not None and predecessor.sop_instance_uid != uid else []
    ds = _WRITERS[kind](
        evidence=as_evidence(evidence[:1]),
        content=_without_children(root),
        series_instance_uid=source.result_uid(f"{kind} series", provenance),
        series_number=series_number(kind, source.series_number),
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
        previous_versions=[_instance(one) for one in superseded] or None,
    )
    if kind is ObjectKind.SR_TEXT:
        ds.SOPClassUID = BasicTextSRStorage
    # highdicom would copy and search the whole tree for this, which takes longer than all the rest.
    ds.update({_CONTENT: root[_CONTENT]})
    own, other = _by_study(evidence, source.study_instance_uid)
    ds.CurrentRequestedProcedureEvidenceSequence = own
    if other:
        ds.PertinentOtherEvidenceSequence = other
    return encode_object(kind, ds, source, provenance)


def _without_children(root: Dataset) -> Dataset:
    bare = Dataset()
    bare.update({tag: element for tag, element in root.items() if tag != _CONTENT})
    bare.ContentSequence = []
    return bare


def _by_study(evidence: Sequence[ObjectReference], own_study: str) -> tuple[list[Dataset], list[Dataset]]:
    """Evidence nested as studies, series and instances (PS3.3 C.17.2.3): of the own study, and of others."""
    studies: dict[str, dict[str, list[Dataset]]] = {}
    for reference in dict.fromkeys(evidence):
        item = Dataset()
        item.ReferencedSOPClassUID = reference.sop_class_uid
        item.ReferencedSOPInstanceUID = reference.sop_instance_uid
        of_study = studies.setdefault(reference.study_instance_uid, {})
        of_study.setdefault(reference.series_instance_uid, []).append(item)
    nested = {uid: _study(uid, of_study) for uid, of_study in studies.items()}
    return [nested.pop(own_study)], list(nested.values())


def _study(study_instance_uid: str, of_study: Mapping[str, list[Dataset]]) -> Dataset:
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = study_instance_uid, DicomSequence()
    for series_instance_uid, items in of_study.items():
        series = Dataset()
        series.SeriesInstanceUID, series.ReferencedSOPSequence = series_instance_uid, DicomSequence(items)
        study.ReferencedSeriesSequence.append(series)
    return study


def observer(provenance: Provenance) -> ObserverContext:
    """The algorithm as the device that observed (TID 1002, 1004)."""
    device = DeviceObserverIdentifyingAttributes(
        uid=device_uid(provenance.bundle_digest),
        name=OWN_NAME,
        manufacturer_name=OWN_NAME,
        model_name=OWN_NAME,
        serial_number=serial_number(provenance),
    )
    return ObserverContext(observer_type=codes.DEVICE_OBSERVER.concept(), observer_identifying_attributes=device)


def references(source: Source, *made: EncodedObject | None) -> list[ObjectReference]:
    """Every source instance, then those objects that were made of them; None is passed over."""
    found = [ObjectReference.of(header) for header in source.instances]
    return found + [one.reference(source.study_instance_uid) for one in made if one is not None]


def source_frame(source: Source, sop_instance_uid: str, frame_number: int) -> tuple[ObjectReference, list[int] | None]:
    """A source instance and, when it can hold several frames, the number of the one that is meant."""
    header = next((i for i in source.instances if i.sop_instance_uid == sop_instance_uid), None)
    if header is None:
        raise ValueError("the key slice of the result is not among the given contents")
    return ObjectReference.of(header), None if header.sop_class_uid == CTImageStorage else [frame_number]


def as_evidence(references: Iterable[ObjectReference]) -> list[Dataset]:
    """Evidence as highdicom takes it: the first stands for the patient too, whom it is never shown."""
    evidence = [_instance(reference) for reference in references]
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(evidence[0], keyword, "")
    evidence[0].StudyDate = evidence[0].StudyTime = None
    return evidence


def _instance(reference: ObjectReference) -> Dataset:
    ds = Dataset()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = reference.study_instance_uid, reference.series_instance_uid
    ds.SOPClassUID, ds.SOPInstanceUID = reference.sop_class_uid, reference.sop_instance_uid
    return ds
