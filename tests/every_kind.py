"""Every kind of result object and attribute list, from sources that say much, little, and that they are lossy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tests.builders import ct_series, part10
from tests.results import REAL, Analysed, analysed, dataset
from triage.dicom import codes
from triage.dicom.availability import encode_availability
from triage.dicom.demographics import read_demographics
from triage.dicom.key_objects import encode_key_objects, encode_rejection
from triage.dicom.presentation_state import encode_presentation_state
from triage.dicom.secondary_capture import encode_secondary_capture
from triage.dicom.source import read_source
from triage.dicom.undetermined import encode_undetermined
from triage.dicom.ups import encode_ups
from triage.domain.encoded import SEG_KINDS, SR_KINDS, EncodedObject, ObjectKind, ObjectReference
from triage.domain.finding import KINDS, ReasonCode, Subtype
from triage.domain.notice import Notice

_EARLIER = ObjectReference("1.2.3.1", "1.2.3.2", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.3.4")


@cache
def samples() -> Mapping[ObjectKind, tuple[EncodedObject, ...]]:
    """Objects of every kind: of sources that say much and little, positive, negative and not analysed."""
    made: dict[ObjectKind, list[EncodedObject]] = {}
    for case in _cases():
        for one in _objects(case):
            made.setdefault(one.kind, []).append(one)
    return {kind: tuple(objects) for kind, objects in made.items()}


def messages_to_lists() -> Mapping[str, list[EncodedObject]]:
    """The attribute lists of N-CREATE, of the same sources."""
    steps, availability = [], []
    for case in [*_cases(), _admitted()]:
        source = read_source(case.contents, None)
        about = Notice(
            study_instance_uid=source.study_instance_uid,
            series_instance_uid=source.series_instance_uid,
            demographics=read_demographics(case.contents[0]),
            provenance=case.provenance,
            result=case.result,
        )
        made = _reference(case.sr())
        unknown = replace(about, result=None, reason=ReasonCode.NOT_HEAD)
        for notice in (replace(about, objects=((ObjectKind.SR, made),)), unknown):
            steps.append(encode_ups(notice, source, "2.25.77", retrieve_ae_title="PACS"))
        availability.append(encode_availability([made], "PACS", "2.25.78"))
    return {"UPS": steps, "IAN": availability}


def _cases() -> list[Analysed]:
    named = {"ReferringPhysicianName": "SYNTHETIC^DOCTOR", "PatientBirthDate": "19500101", "PatientSex": "O"}
    silent: dict[str, Any] = {"BodyPartExamined": None, "StudyDescription": None, "SpecificCharacterSet": None}
    silent |= dict.fromkeys(("PatientName", "PatientID", "AccessionNumber", "StudyDate", "StudyTime", "StudyID"), "")
    lossy: dict[str, Any] = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "8"}
    lossy |= {"LossyImageCompressionMethod": "ISO_15444_1"}
    odd = [analysed([part10(ds) for ds in ct_series(9, **said)]) for said in (named, silent, lossy)]
    found = [analysed(), analysed(subtypes=[Subtype.IPH], provenance=REAL), analysed(subtypes=[Subtype.ICH])]
    return [*found, analysed(subtypes=[], score=0.1), *odd]


def _admitted() -> Analysed:
    """A source that names a visit, which objects copy like anything else and a procedure step has places for."""
    item = Dataset()
    item.PatientID = "OTHER"
    said: dict[str, Any] = {"AdmissionID": "7", "AdmittingDiagnosesDescription": "FALL"}
    said |= {"AdmittingDiagnosesCodeSequence": [codes.HEMORRHAGE.concept()]}
    said |= {"OtherPatientIDsSequence": [item], "IssuerOfAdmissionIDSequence": [item]}
    return analysed([part10(ds) for ds in ct_series(9, **said)])


def _objects(case: Analysed) -> Iterator[EncodedObject]:
    if case.labels.any():
        segmentation, key = case.seg(), case.result.key_slice
        assert key is not None
        maps = {s: np.where(case.labels == i, 200, 0).astype(np.uint8) for i, s in enumerate(KINDS, start=1)}
        yield from (case.seg(kind=kind, probabilities=maps) for kind in sorted(SEG_KINDS))
        referenced = [segmentation, case.sr()]
        yield encode_key_objects(case.contents, case.volume, [key.index], referenced, case.provenance)
        yield encode_rejection(case.contents, [_reference(segmentation)], case.provenance)
        drawn = (case.contents, case.volume, case.labels, [key.index], case.result, case.provenance)
        yield from encode_secondary_capture(*drawn)
        yield encode_presentation_state(*drawn)
    for kind in sorted(SR_KINDS):
        yield case.sr(kind=kind)
        yield case.sr(kind=kind, predecessor=_EARLIER)
        yield not_analysed(case.contents, kind)


def not_analysed(contents: Sequence[bytes], kind: ObjectKind = ObjectKind.SR) -> EncodedObject:
    """The report on a series that is no head."""
    sentence = "The body part examined is CHEST, not the head."
    return encode_undetermined(contents, ReasonCode.NOT_HEAD, sentence, REAL, predecessor=None, kind=kind)


def _reference(one: EncodedObject) -> ObjectReference:
    ds = dataset(one)
    return ObjectReference(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPClassUID, ds.SOPInstanceUID)
