"""What a result object takes over from the instances it was made from: patient, study, and who they are."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from triage.dicom.explicit import raw
from triage.dicom.header import read_header
from triage.dicom.uids import result_uid
from triage.dicom.verbatim import DAMAGED, carry, text_of
from triage.domain.errors import UnreadableInstance
from triage.domain.provenance import Provenance
from triage.domain.study import InstanceHeader
from triage.domain.volume import Volume

_TIMEZONE, _SERIES_NUMBER = 0x00080201, 0x00200011
_BODY_PART = 0x00180015
_IDENTITY_REMOVED = Tag(0x00120062)
_DEIDENTIFICATION_METHODS = (Tag(0x00120063), Tag(0x00120064))
_LOSSY = (0x00282110, 0x00282112, 0x00282114)

# Groups 0010 and 0012 hold the Patient, Patient Study and Clinical Trial modules, but for these of the series.
_OF_THE_SERIES = frozenset({0x00120060, 0x00120071, 0x00120072, 0x00120073})
_STUDY_KEYWORDS = (
    *("SpecificCharacterSet", "TimezoneOffsetFromUTC"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber"),
    *("IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "ReferringPhysicianIdentificationSequence"),
    *("ConsultingPhysicianName", "ConsultingPhysicianIdentificationSequence", "ProcedureCodeSequence"),
    *("PhysiciansOfRecord", "PhysiciansOfRecordIdentificationSequence", "NameOfPhysiciansReadingStudy"),
    *("PhysiciansReadingStudyIdentificationSequence", "ReferencedStudySequence", "ReferencedPatientSequence"),
    *("RequestingService", "RequestingServiceCodeSequence", "ReasonForPerformedProcedureCodeSequence"),
    *("AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence", "ReasonForVisit"),
    *("ReasonForVisitCodeSequence", "AdmissionID", "IssuerOfAdmissionIDSequence", "ServiceEpisodeID"),
    *("ServiceEpisodeDescription", "IssuerOfServiceEpisodeIDSequence", "PatientState"),
)
_TYPE_2 = {
    0x00080020: "DA",  # Study Date
    0x00080030: "TM",  # Study Time
    0x00080050: "SH",  # Accession Number
    0x00080090: "PN",  # Referring Physician's Name
    0x00100010: "PN",  # Patient's Name
    0x00100020: "LO",  # Patient ID
    0x00100030: "DA",  # Patient's Birth Date
    0x00100040: "CS",  # Patient's Sex
    0x00200010: "SH",  # Study ID
}


def _tags(keywords: Sequence[str]) -> frozenset[BaseTag]:
    return frozenset(Tag(tag) for tag in map(tag_for_keyword, keywords) if tag is not None)


_STUDY_TAGS = _tags(_STUDY_KEYWORDS)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The instances of one series revision, and the elements that every result object copies from them.

    Attributes
    ----------
    instances : tuple of InstanceHeader
        Every instance given, each once: that of the first slice, then by SOP Instance UID.
    copied : mapping of tag to element
        The Patient, General Study, Patient Study and Clinical Trial modules of the first instance, as sent.
        A missing type 2 element is there, empty. Left out is only Patient Identity Removed without a method.
    lossy : mapping of tag to element
        How the source was compressed with loss; empty when it was not.
    body_part : RawDataElement or None
        Body Part Examined as sent, None where missing or empty.
    series_number : int
        0 where the source has none.
    """

    study_instance_uid: str
    series_instance_uid: str
    instances: tuple[InstanceHeader, ...]
    copied: Mapping[BaseTag, RawDataElement]
    lossy: Mapping[BaseTag, RawDataElement]
    body_part: RawDataElement | None
    series_number: int

    @property
    def sop_instance_uids(self) -> tuple[str, ...]:
        """The set that result UIDs are derived from."""
        return tuple(i.sop_instance_uid for i in self.instances)

    def result_uid(self, kind: str, provenance: Provenance) -> str:
        """The UID of one thing in or around a result made from these instances."""
        return result_uid(kind, self.series_instance_uid, self.sop_instance_uids, provenance.bundle_digest)

    def local(self, at: datetime) -> datetime:
        """An instant in the zone that the source declares.

        Without a declared zone the instant keeps its own: to declare one (0008,0201) would move the dates and
        times of the copied study as well.
        """
        declared = re.fullmatch(r"([+-])(0\d|1[0-4])([0-5]\d)", text_of(self.copied.get(Tag(_TIMEZONE))))
        if declared is None:
            return at
        offset = timedelta(hours=int(declared[2]), minutes=int(declared[3]))
        return at.astimezone(timezone(-offset if declared[1] == "-" else offset))


def read_source(contents: Sequence[bytes], volume: Volume | None) -> Source:
    """Read what the results of a series revision copy from and refer to.

    Parameters
    ----------
    contents : sequence of bytes
        Part 10 bytes of every instance of the series revision, in any order.
    volume : Volume or None
        What was read from them; its first slice names the instance whose patient and study are copied. Without
        one, for no volume could be read, it is the instance of the lowest SOP Instance UID.

    Raises
    ------
    UnreadableInstance
        When an instance cannot be filed under a study and a series, or the header of the first is damaged.
    ValueError
        When there is no instance, or a slice of the volume comes from none of those given.
    """
    if not contents:
        raise ValueError("a result has at least one source instance")
    headers = [read_header(content) for content in contents]
    found = {header.sop_instance_uid: (header, content) for header, content in zip(headers, contents, strict=True)}
    sources = [s.sop_instance_uid for s in volume.sources] if volume is not None else [min(found)]
    missing = set(sources) - set(found)
    if missing:
        raise ValueError(f"{len(missing)} source instances of the volume are not among the given contents")
    first, content = found[sources[0]]
    ds = read_dataset(content)
    copied = carry(ds, sorted(tag for tag in ds.keys() if _belongs_to_study(tag)))  # noqa: SIM118
    for tag, vr in _TYPE_2.items():
        copied.setdefault(Tag(tag), raw(tag, vr, b""))
    if not any(copied[tag].value for tag in _DEIDENTIFICATION_METHODS if tag in copied):
        # Without a method (type 1C) the statement would make every object of ours invalid (PS3.3 C.7.1.1).
        for tag in (_IDENTITY_REMOVED, *_DEIDENTIFICATION_METHODS):
            copied.pop(tag, None)
    lossy = carry(ds, map(Tag, _LOSSY))
    body_part = carry(ds, [Tag(_BODY_PART)]).get(Tag(_BODY_PART))
    number = text_of(carry(ds, [Tag(_SERIES_NUMBER)]).get(Tag(_SERIES_NUMBER)))
    return Source(
        study_instance_uid=first.study_instance_uid,
        series_instance_uid=first.series_instance_uid,
        instances=(first, *(found[uid][0] for uid in sorted(found) if uid != first.sop_instance_uid)),
        copied=copied,
        lossy=lossy if text_of(lossy.get(Tag(_LOSSY[0]))) == "01" else {},
        body_part=body_part if text_of(body_part) else None,
        series_number=int(number) if re.fullmatch(r"\d{1,5}", number) else 0,
    )


def _belongs_to_study(tag: BaseTag) -> bool:
    in_group = tag.group in (0x0010, 0x0012) and tag.element != 0 and tag not in _OF_THE_SERIES
    return in_group or tag in _STUDY_TAGS


def read_dataset(content: bytes, keywords: Sequence[str] | None = None) -> Dataset:
    """The header of an instance, or only the named elements of it; their values are converted when asked for.

    Raises
    ------
    UnreadableInstance
        When the header is damaged: what the door files need not be whole.
    """
    # pydicom warns about character sets it does not know; nothing here is decoded with one.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tags = list(keywords) if keywords is not None else None
        try:
            return dcmread(io.BytesIO(content), stop_before_pixels=True, force=True, specific_tags=tags)
        except DAMAGED as exc:
            raise UnreadableInstance("The header of the instance is damaged.") from exc
