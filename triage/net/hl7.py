"""HL7 v2.5.1: the ORU^R01 that tells a RIS of a result, and the acknowledgement that comes back.

The order of the segments is that of the standard (chapter 7.3.1): MSH PID PV1 ORC OBR TQ1 OBX... . Where sites
look for the accession number differs, so it stands in OBR-18, as IHE Radiology has it, and in OBR-3 when the
order brought no filler number of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from triage.domain.encoded import EncodedObject, ObjectKind, ObjectReference
from triage.domain.errors import ConfigurationError
from triage.domain.finding import ReasonCode, Subtype, TriageResult, Urgency
from triage.domain.notice import Demographics, Notice, PersonName, short_identifier

SCHEME: Final = "99ICHTRIAGE"
FINDING: Final = ("1386000", "Intracranial hemorrhage", "SCT")
PRESENT: Final = ("52101004", "Present", "SCT")
ABSENT: Final = ("272519000", "Absent", "SCT")
UNDETERMINED: Final = ("373068000", "Undetermined", "SCT")
PROBABILITY: Final = ("122157", "Probability", "DCM")
VOLUME: Final = ("118565006", "Volume", "SCT")
SUBTYPE: Final = ("SUBTYPE", "Intracranial hemorrhage subtype", SCHEME)
SUBTYPE_NAMES: Final = {
    Subtype.EDH: "Epidural hemorrhage",
    Subtype.IPH: "Intraparenchymal hemorrhage",
    Subtype.IVH: "Intraventricular hemorrhage",
    Subtype.SAH: "Subarachnoid hemorrhage",
    Subtype.SDH: "Subdural hemorrhage",
    Subtype.ICH: "Intracranial hemorrhage of unspecified type",
}
STUDY: Final = ("113014", "DICOM Study", "DCM")  # as IHE Radiology writes it in results
_STATEMENT = ("STATEMENT", "Statement", SCHEME)
_BUNDLE = ("BUNDLE", "Model bundle", SCHEME)
_REASON = ("REASON", "Reason for no analysis", SCHEME)
_EXAM_OF_HEAD = ("303653007", "Computed tomography of head", "SCT")
_MILLILITRE = ("mL", "milliliter", "UCUM")

_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"}
_SPECIAL = re.compile(r"[\\|^~&\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Abnormal flags of HL7 table 0078.
_FLAGS = {Urgency.EMERGENT: "AA", Urgency.URGENT: "A", Urgency.NONE: "N"}


@dataclass(frozen=True, slots=True)
class Hl7Names:
    """What sender and receiver are called in MSH-3 to MSH-6, and the code of the exam in OBR-4.

    ``exam_code`` is value, text and coding system (HL7 table 0396); a RIS that matches orders by it wants its own.
    """

    receiving_application: str = ""
    receiving_facility: str = ""
    sending_application: str = "ICHTRIAGE"
    sending_facility: str = ""
    exam_code: tuple[str, str, str] = _EXAM_OF_HEAD

    def __post_init__(self) -> None:
        if not self.sending_application or not all(self.exam_code):
            raise ConfigurationError("An HL7 notifier needs a sending application and a whole exam code.")


def encode_oru(notice: Notice, names: Hl7Names, identifier: str) -> EncodedObject:
    """Encode a notice as ORU^R01, UTF-8, without the framing of MLLP; the same bytes for the same notice.

    Parameters
    ----------
    identifier : str
        Names this message among all; MSH-10 is derived from it, so that a receiver can tell a repetition.
    """
    patient = notice.demographics
    segments = [
        _header(notice, names, short_identifier(identifier)),
        _patient(patient),
        _segment("PV1", {1: "1", 2: "U", 8: _person(patient.referring_physician, as_physician=True)}),
        _segment("ORC", {1: "RE", 2: escape(patient.placer_order_number), 3: escape(_filler(patient))}),
        _request(notice, names),
        _segment("TQ1", {1: "1", 9: _priority(notice)}),
        *_observations(notice),
    ]
    return EncodedObject(
        kind=ObjectKind.ORU,
        sop_class_uid="",
        sop_instance_uid=identifier,
        series_instance_uid="",
        transfer_syntax_uid="",
        content="".join(f"{segment}\r" for segment in segments).encode("utf-8"),
    )


def escape(text: str) -> str:
    r"""Text of a field: delimiters as ``\F\`` ``\S\`` ``\T\`` ``\R\`` ``\E\``, control characters as ``\X0D\``.

    A line feed or an end-of-block character would otherwise end a segment or the message itself.
    """
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0]) or _hexadecimal(found[0]), text)


def _hexadecimal(character: str) -> str:
    return f"\\X{character.encode('utf-8').hex().upper()}\\"


def _header(notice: Notice, names: Hl7Names, control_id: str) -> str:
    # MSH-1 is the separator itself, so that the second field here is MSH-2.
    applications = (names.sending_application, names.sending_facility)
    receivers = (names.receiving_application, names.receiving_facility)
    fields = ["MSH", "^~\\&", *map(escape, applications), *map(escape, receivers), _instant(notice), ""]
    fields += ["ORU^R01^ORU_R01", control_id, "P", "2.5.1", *[""] * 5, "UNICODE UTF-8"]
    return "|".join(fields)


def _patient(patient: Demographics) -> str:
    identifiers = [patient.patient_id, "", "", patient.issuer_of_patient_id, "MR" if patient.patient_id else ""]
    forms = ((patient.name, "A"), (patient.name_ideographic, "I"), (patient.name_phonetic, "P"))
    shown = [(_person(name), code) for name, code in forms if name]
    # XPN-7 L is the legal name; XPN-8 tells the script where there is more than one.
    several = len(shown) > 1
    written = [f"{name}{'^' * (6 - name.count('^'))}L{'^' + code if several else ''}" for name, code in shown]
    sex = patient.sex if patient.sex in ("M", "F", "O") else ""
    born = _date(patient.birth_date)
    return _segment("PID", {1: "1", 3: _components(identifiers), 5: "~".join(written), 7: born, 8: sex})


def _request(notice: Notice, names: Hl7Names) -> str:
    patient = notice.demographics
    return _segment(
        "OBR",
        {
            1: "1",
            2: escape(patient.placer_order_number),
            3: escape(_filler(patient)),
            4: _components(names.exam_code),
            7: _exam_time(patient),
            16: _person(patient.referring_physician, as_physician=True),
            18: escape(patient.accession_number),
            19: escape(patient.requested_procedure_id),
            20: escape(patient.scheduled_step_id),
            22: _instant(notice),
            24: "CT",
            25: "P",
            27: f"^^^^^{_priority(notice)}",
        },
    )


def _filler(patient: Demographics) -> str:
    return patient.filler_order_number or patient.accession_number


def _priority(notice: Notice) -> str:
    return "S" if notice.suspected else "R"


def _observations(notice: Notice) -> Iterator[str]:
    """The exam under sub-identifier 1, each subtype that was outlined under one of its own, then text and UIDs."""
    rows: list[_Observation] = []
    if notice.result is None:
        assert notice.reason is not None
        rows += _not_analysed(notice.reason)
    else:
        rows += _found(notice.result, _FLAGS[notice.urgency])
    rows += [_Observation("TX", _STATEMENT, escape(text), group=str(n)) for n, text in enumerate(notice.statements, 1)]
    digest = f"{notice.bundle}, sha256 {notice.provenance.bundle_digest}"
    rows.append(_Observation("ST", _BUNDLE, escape(digest)))
    rows.append(_Observation("ST", STUDY, escape(notice.study_instance_uid)))
    rows += _objects(notice.objects)
    return (row.segment(number, _instant(notice)) for number, row in enumerate(rows, 1))


@dataclass(frozen=True, slots=True)
class _Observation:
    """One OBX; preliminary, because no person has confirmed it, or X: there will be none."""

    value_type: str
    name: tuple[str, str, str]
    value: str
    group: str = ""
    units: tuple[str, str, str] | None = None
    flag: str = ""
    status: str = "P"

    def segment(self, number: int, at: str) -> str:
        units = _components(self.units) if self.units is not None else ""
        fields = {1: str(number), 2: self.value_type, 3: _components(self.name), 4: self.group, 5: self.value}
        return _segment("OBX", {**fields, 6: units, 8: self.flag, 11: self.status, 19: at})


def _found(result: TriageResult, flag: str) -> Iterator[_Observation]:
    presence = ABSENT if result.urgency is Urgency.NONE else PRESENT
    yield _Observation("CWE", FINDING, _components(presence), "1", flag=flag)
    yield _Observation("NM", PROBABILITY, f"{result.score:.4f}", "1", flag=flag)
    if result.outlined:  # a zero where nothing was outlined would read as a measurement
        yield _Observation("NM", VOLUME, f"{result.total_volume_ml:.2f}", "1", _MILLILITRE)
    for group, subtype in enumerate(result.outlined, 2):
        finding, name = result.subtypes[subtype], (str(subtype), SUBTYPE_NAMES[subtype], SCHEME)
        yield _Observation("CWE", SUBTYPE, _components(name), str(group))
        yield _Observation("NM", PROBABILITY, f"{finding.probability:.4f}", str(group))
        yield _Observation("NM", VOLUME, f"{finding.volume_ml:.2f}", str(group), _MILLILITRE)


def _not_analysed(reason: ReasonCode) -> Iterator[_Observation]:
    yield _Observation("CWE", FINDING, _components(UNDETERMINED), "1", status="X")
    yield _Observation("ST", _REASON, escape(reason), "1")


def _objects(objects: Sequence[tuple[ObjectKind, ObjectReference]]) -> Iterator[_Observation]:
    """The UID of each object by kind; several of a kind are numbered, for two OBX of one name must differ in OBX-4."""
    for kind in sorted({kind for kind, _ in objects}):
        uids = [reference.sop_instance_uid for of_kind, reference in objects if of_kind is kind]
        name = (str(kind), f"SOP Instance UID of {kind}", SCHEME)
        for number, uid in enumerate(uids, 1):
            yield _Observation("ST", name, escape(uid), group=str(number) if len(uids) > 1 else "")


def _segment(name: str, fields: dict[int, str]) -> str:
    """A segment from its fields by number, each in its encoded form."""
    return "|".join([name, *(fields.get(number, "") for number in range(1, max(fields) + 1))]).rstrip("|")


def _components(parts: Sequence[str]) -> str:
    return "^".join(map(escape, parts)).rstrip("^")


def _person(name: PersonName, *, as_physician: bool = False) -> str:
    """XPN, or XCN whose first component, the number of a physician, is not known."""
    parts = [name.family, name.given, name.middle, name.suffix, name.prefix]
    return _components(["", *parts] if as_physician else parts)


def _instant(notice: Notice) -> str:
    return notice.at.strftime("%Y%m%d%H%M%S%z")


def _exam_time(patient: Demographics) -> str:
    """When the study began, as exactly as it is known, with the zone of the scanner where it says one."""
    date, time = _date(patient.study_date), re.match(r"\d{6}|\d{4}", patient.study_time.replace(":", ""))
    if not date or not time:
        return date
    return date + time[0] + (patient.utc_offset if re.fullmatch(r"[+-]\d{4}", patient.utc_offset) else "")


def _date(text: str) -> str:
    """A DICOM date, also of the old form with dots; nothing when it is none."""
    digits = text.replace(".", "")
    return digits if re.fullmatch(r"\d{8}", digits) else ""
