"""Patient, visit and order of a study, decoded for systems that are no DICOM: HL7 and webhooks."""

from __future__ import annotations

import codecs
import warnings

from pydicom.charset import convert_encodings, decode_bytes, default_encoding, python_encoding
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from triage.dicom.source import read_dataset
from triage.dicom.verbatim import DAMAGED
from triage.domain.notice import Demographics, PersonName

_REQUEST = "RequestAttributesSequence"
_VALUES = (
    *("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex", "AdmissionID"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "TimezoneOffsetFromUTC", "StudyDescription"),
    *("ReferringPhysicianName", "BodyPartExamined", "PlacerOrderNumberImagingServiceRequest"),
    *("FillerOrderNumberImagingServiceRequest", "RequestedProcedureID", "ScheduledProcedureStepID"),
)
_NAME_DELIMITERS = {ord("^"), ord("="), ord("\\")}
_TEXT_DELIMITERS = {ord("\\")}
_TEXT_CODECS = {codecs.lookup(name).name for name in python_encoding.values()}
"""Those of the standard. Python knows others by name, some of which fail even when asked to replace what they cannot
decode: a header that declares one of them must not stop the message."""


def read_demographics(content: bytes) -> Demographics:
    """Read the demographics of one instance from the bytes of its file.

    Text is decoded with the Specific Character Set of the instance (PS3.3 C.12.1.1.2); what that cannot decode
    becomes replacement characters, what cannot be shown is dropped, and nothing stops the message: a suspected
    haemorrhage must not go unsaid because a name is misspelt.

    Raises
    ------
    UnreadableInstance
        The header is damaged.
    """
    ds = read_dataset(content, ["SpecificCharacterSet", *_VALUES, _REQUEST])
    # The orders are those of the image, or of its first request.
    request = next(iter(_items(ds, _REQUEST)), Dataset())
    encodings = _encodings(ds)

    def text(keyword: str, *places: Dataset) -> str:
        found = (_decoded(_raw(place, keyword), encodings, _TEXT_DELIMITERS) for place in places or (ds,))
        return next((value for value in found if value), "")

    def names(keyword: str) -> tuple[PersonName, PersonName, PersonName]:
        return _names(_decoded(_raw(ds, keyword), encodings, _NAME_DELIMITERS))

    alphabetic, ideographic, phonetic = names("PatientName")
    return Demographics(
        patient_id=text("PatientID"),
        issuer_of_patient_id=text("IssuerOfPatientID"),
        name=alphabetic,
        name_ideographic=ideographic,
        name_phonetic=phonetic,
        birth_date=text("PatientBirthDate"),
        sex=text("PatientSex").upper(),
        admission_id=text("AdmissionID"),
        accession_number=text("AccessionNumber"),
        study_id=text("StudyID"),
        study_date=text("StudyDate"),
        study_time=text("StudyTime"),
        utc_offset=text("TimezoneOffsetFromUTC"),
        study_description=text("StudyDescription"),
        referring_physician=names("ReferringPhysicianName")[0],
        placer_order_number=text("PlacerOrderNumberImagingServiceRequest", ds, request),
        filler_order_number=text("FillerOrderNumberImagingServiceRequest", ds, request),
        requested_procedure_id=text("RequestedProcedureID", ds, request),
        scheduled_step_id=text("ScheduledProcedureStepID", ds, request),
        body_part=text("BodyPartExamined").upper(),
    )


def _encodings(ds: Dataset) -> list[str]:
    declared = [part.strip() for part in _plain(ds, "SpecificCharacterSet").split("\\")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = convert_encodings(declared)
    return [name if codecs.lookup(name).name in _TEXT_CODECS else default_encoding for name in found]


def _decoded(value: bytes, encodings: list[str], delimiters: set[int]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = decode_bytes(value, encodings, delimiters)
    return "".join(character for character in text if character.isprintable()).strip()


def _names(text: str) -> tuple[PersonName, PersonName, PersonName]:
    """The alphabetic, ideographic and phonetic form of the first name in an element."""
    groups = [*text.split("\\")[0].split("="), "", ""][:3]
    forms = [PersonName(*(part.strip() for part in group.split("^")[:5])) for group in groups]
    return forms[0], forms[1], forms[2]


def _raw(ds: Dataset, keyword: str) -> bytes:
    """The value as sent; empty when there is none, or none of text."""
    tag = tag_for_keyword(keyword)
    element = ds.get_item(tag) if tag is not None and tag in ds else None
    value = element.value if element is not None else None
    return value if isinstance(value, bytes) else b""


def _plain(ds: Dataset, keyword: str) -> str:
    """A value that pydicom has read already, as it stood in the file; empty when it cannot be converted."""
    try:
        value = ds.get(keyword)
    except DAMAGED:
        return ""
    return value if isinstance(value, str) else "\\".join(map(str, value or ()))


def _items(ds: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none when its encoding is broken."""
    try:
        return [one for one in ds.get(keyword) or () if isinstance(one, Dataset)]
    except DAMAGED:
        return []
