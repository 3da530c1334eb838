"""Made-up notices for the tests of the list drivers, with a name that needs escaping and more than one script."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.results import PROVENANCE
from triage.domain.encoded import ObjectKind, ObjectReference
from triage.domain.finding import SUBTYPES, DecisionRule, KeySlice, ReasonCode, Subtype, SubtypeFinding, TriageResult
from triage.domain.notice import Demographics, Notice, PersonName
from triage.net.outgoing import OutgoingInstance

STUDY, SERIES, SR, SEG = "2.25.1001", "2.25.1002", "2.25.1003", "2.25.1004"
IDENTIFIER = "2.25.42"
PATIENT = Demographics(
    patient_id="SYN|1^2",
    issuer_of_patient_id="HOSPITAL&A",
    name=PersonName("O^Hara", "Größe~", "M", "Dr", "III"),
    name_ideographic=PersonName("山田", "太郎"),
    birth_date="19500102",
    sex="F",
    accession_number="ACC\\7",
    study_id="1",
    study_date="20240102",
    study_time="030405.67",
    utc_offset="+0100",
    referring_physician=PersonName("House", "G"),
    placer_order_number="PLACER1",
    requested_procedure_id="RP1",
    scheduled_step_id="SPS1",
)


def result(score: float = 0.97, found: tuple[Subtype, ...] = (Subtype.IPH, Subtype.SAH)) -> TriageResult:
    """A result with 7.5 ml of each subtype found; blood of unspecified type comes alone."""
    kinds = (Subtype.ICH,) if Subtype.ICH in found else SUBTYPES
    subtypes = {s: SubtypeFinding(0.9, 7.5) if s in found else SubtypeFinding(0.05, 0.0) for s in kinds}
    return TriageResult(
        score=score,
        rule=DecisionRule(suspected_at=0.5, emergent_at=0.9),
        subtypes=subtypes,
        total_volume_ml=7.5 * len(found),
        key_slice=KeySlice("2.25.1005", 1, 3) if found else None,
        provisional=False,
    )


def notice(**changes: Any) -> Notice:
    """A suspected, emergent study of a demonstration bundle, with any field changed."""
    fields: dict[str, Any] = {
        "study_instance_uid": STUDY,
        "series_instance_uid": SERIES,
        "demographics": PATIENT,
        "provenance": PROVENANCE,
        "result": result(),
        "objects": (
            (ObjectKind.SR, ObjectReference(STUDY, "2.25.1006", "1.2.840.10008.5.1.4.1.1.88.34", SR)),
            (ObjectKind.SEG, ObjectReference(STUDY, "2.25.1007", "1.2.840.10008.5.1.4.1.1.66.4", SEG)),
        ),
    }
    return Notice(**{**fields, **changes})


def pages() -> tuple[tuple[ObjectKind, ObjectReference], ...]:
    """Two pages of a Secondary Capture, the first with the higher UID, beside the objects that every notice has."""
    made = [ObjectReference(STUDY, "2.25.1008", "1.2.840.10008.5.1.4.1.1.7", uid) for uid in ("2.25.1010", "2.25.1009")]
    return (*notice().objects, *((ObjectKind.SC, one) for one in made))


def negative(**changes: Any) -> Notice:
    """A study that is not suspected."""
    return notice(result=result(0.1, ()), **changes)


def not_analysed(**changes: Any) -> Notice:
    """A study that could not be analysed."""
    return notice(result=None, reason=ReasonCode.GAP, objects=(), **changes)


def real(said: Notice) -> Notice:
    """The same of a bundle that is no demonstration."""
    return replace(said, provenance=replace(PROVENANCE, demonstration=False))


def message(content: bytes, identifier: str = IDENTIFIER) -> OutgoingInstance:
    """A message as the outbox hands it to a driver."""
    return OutgoingInstance("", identifier, "", lambda: content)
