"""What every driver of a reading list says of one result: who, which study, what was found, how sure, how urgent."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from triage.domain.encoded import ObjectKind, ObjectReference
from triage.domain.finding import ReasonCode, TriageResult, Urgency, WorklistStatus
from triage.domain.provenance import Provenance

NOTIFICATION_ONLY = (
    "Notification only, to prioritise the reading list. Not for primary diagnosis: "
    "this result neither replaces nor changes the reading of the images."
)
DEMONSTRATION = "DEMONSTRATION: the model is not for use in care. Its result says nothing about this patient."


@dataclass(frozen=True, slots=True, repr=False)
class PersonName:
    """The five parts of a name in one script (PS3.5 6.2.1.1)."""

    family: str = ""
    given: str = ""
    middle: str = ""
    prefix: str = ""
    suffix: str = ""

    def __bool__(self) -> bool:
        return any((self.family, self.given, self.middle, self.prefix, self.suffix))


@dataclass(frozen=True, slots=True, repr=False)
class Demographics:
    """Patient, visit and order as the scanner wrote them, decoded; empty where it wrote nothing.

    Never shown by ``repr``. Dates and times are DICOM's DA and TM; ``utc_offset`` is ``+hhmm`` where the
    scanner declares one. A part that its character set cannot decode holds replacement characters.
    """

    patient_id: str = ""
    issuer_of_patient_id: str = ""
    name: PersonName = PersonName()
    name_ideographic: PersonName = PersonName()
    name_phonetic: PersonName = PersonName()
    birth_date: str = ""
    sex: str = ""
    admission_id: str = ""
    accession_number: str = ""
    study_id: str = ""
    study_date: str = ""
    study_time: str = ""
    utc_offset: str = ""
    study_description: str = ""
    referring_physician: PersonName = PersonName()
    placer_order_number: str = ""
    filler_order_number: str = ""
    requested_procedure_id: str = ""
    scheduled_step_id: str = ""
    body_part: str = ""


@dataclass(frozen=True, slots=True)
class Escalation:
    """A suspected study that nobody opened on our pages: for how long, and when that time was over."""

    minutes: int
    due_at: datetime

    def __post_init__(self) -> None:
        if self.minutes < 1 or self.due_at.tzinfo is None:
            raise ValueError("an escalation comes after at least a minute, at an aware UTC time")

    def __str__(self) -> str:
        return f"Not opened on the triage pages for {self.minutes} min after it was flagged."


@dataclass(frozen=True, slots=True)
class Notice:
    """One outcome of one series revision, told to whoever orders the reading list.

    Parameters
    ----------
    result, reason
        One of them: what was found, or why nothing could be.
    objects : tuple of (kind, reference)
        The result objects of this revision, wherever they are sent; there may be several of a kind.
    revision : int
        0 for the first outcome of the series; a higher one supersedes those before.
    escalation : Escalation or None
        Why a suspicion is told a second time.
    """

    study_instance_uid: str
    series_instance_uid: str
    demographics: Demographics = field(repr=False)
    provenance: Provenance
    result: TriageResult | None
    reason: ReasonCode | None = None
    objects: tuple[tuple[ObjectKind, ObjectReference], ...] = ()
    revision: int = 0
    escalation: Escalation | None = None

    def __post_init__(self) -> None:
        if (self.result is None) == (self.reason is None):
            raise ValueError("a notice has either a result or the reason why there is none")
        if self.revision < 0:
            raise ValueError(f"revisions count from 0, not {self.revision}")
        if self.escalation is not None and not self.suspected:
            raise ValueError("only a suspicion is escalated")

    @property
    def status(self) -> WorklistStatus:
        """What the worklist shows."""
        return self.result.status if self.result is not None else WorklistStatus.NOT_ANALYSED

    @property
    def suspected(self) -> bool:
        """Whether the study should be opened before others."""
        return self.status is WorklistStatus.SUSPECTED

    @property
    def urgency(self) -> Urgency:
        """How soon it should be opened."""
        return self.result.urgency if self.result is not None else Urgency.NONE

    @property
    def at(self) -> datetime:
        """When the content was fixed: the time that every message of this notice carries, however often it is sent."""
        return self.escalation.due_at if self.escalation is not None else self.provenance.content_at

    @property
    def bundle(self) -> str:
        """Name and version of the model bundle."""
        return f"{self.provenance.bundle_name} {self.provenance.bundle_version}"

    @property
    def conclusion(self) -> str:
        """One sentence for lists that show text only."""
        if self.result is None:
            return f"Not analysed ({self.reason}): this says nothing about the presence of haemorrhage."
        words = "suspected" if self.suspected else "not suspected"
        provisional = ", provisional" if self.result.provisional else ""
        return f"Intracranial haemorrhage {words}{provisional}: probability {self.result.score:.3f}."

    @property
    def statements(self) -> tuple[str, ...]:
        """The conclusion, and what has to be said beside it wherever it is shown."""
        escalation = (str(self.escalation),) if self.escalation is not None else ()
        demonstration = (DEMONSTRATION,) if self.provenance.demonstration else ()
        return (self.conclusion, *escalation, NOTIFICATION_ONLY, *demonstration)


def short_identifier(identifier: str) -> str:
    """Twenty letters and digits that stand for a longer identifier: as many as HL7's MSH-10 may hold."""
    return base64.b32encode(hashlib.sha256(identifier.encode("utf-8")).digest()).decode("ascii")[:20]


def checked_mail_address(address: str) -> str:
    """Check that this is one plain e-mail address, which cannot begin another header or command."""
    name, at, domain = address.rpartition("@")
    if not (name and at and domain) or not address.isascii() or _NOT_IN_ADDRESSES.intersection(address):
        raise ValueError(f"{address!r} is no e-mail address: write it as name@example.org, in ASCII")
    return address


_NOT_IN_ADDRESSES = frozenset(' \t\r\n\0<>,;:"()[]\\')
