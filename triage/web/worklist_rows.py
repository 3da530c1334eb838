"""The lines of the worklist, in the words that a radiologist reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from triage.domain.finding import Subtype, SubtypeFinding, Urgency, WorklistStatus
from triage.domain.lifecycle import DeliveryState
from triage.domain.reading import Verdict
from triage.domain.reason_texts import REASON_TEXTS
from triage.domain.worklist import PENDING_RISES_AFTER, ListedStudy, WorklistRow
from triage.domain.worklist_json import instant
from triage.web.page import duration
from triage.web.patients import ListedPatient

STATUS_WORDS: Final[Mapping[WorklistStatus, str]] = {
    WorklistStatus.SUSPECTED: "Suspected",
    WorklistStatus.PENDING: "Pending",
    WorklistStatus.NOT_ANALYSED: "Not analysed",
    WorklistStatus.NOT_SUSPECTED: "Not suspected",
}
STATUS_MEANS: Final[Mapping[WorklistStatus, str]] = {
    WorklistStatus.SUSPECTED: "The analysis suspects a haemorrhage: read these first.",
    WorklistStatus.PENDING: "Not analysed yet: this says nothing about haemorrhage.",
    WorklistStatus.NOT_ANALYSED: "Could not be analysed: read in the normal order.",
    WorklistStatus.NOT_SUSPECTED: "Analysed without a suspicion, which excludes nothing: read in the normal order.",
}
_VERDICTS: Final[Mapping[Verdict, str]] = {
    Verdict.AGREE: "agreed",
    Verdict.PARTLY: "partly agreed",
    Verdict.DISAGREE: "disagreed",
}
_THERE: Final = frozenset({DeliveryState.DELIVERED.value, DeliveryState.COMMITTED.value})
_NAMED_FROM: Final = 0.5
_SECONDS: Final = re.compile(r"(?<= min) [0-9]+ s$")


@dataclass(frozen=True, slots=True)
class Named:
    """A subtype that was found, with its volume where one was measured."""

    name: str
    volume: str


@dataclass(frozen=True, slots=True)
class Archive:
    """How far the objects of a study are on their way, in a few words."""

    words: str
    trouble: bool


@dataclass(frozen=True, slots=True, repr=False)
class Line:
    """One study as the page shows it."""

    uid: str
    status: WorklistStatus
    status_words: str
    urgency: str
    state: str
    demonstration: bool
    explanation: str
    subtypes: Sequence[Named]
    total: str
    waiting_since: str
    waiting: str
    waits: bool
    overdue: bool
    thumbnail: str
    accession_number: str
    patient: ListedPatient | None
    age: int | None
    scanner: str
    looked: str
    archive: Archive | None
    next: bool

    @property
    def title(self) -> str:
        """What the link to the study says."""
        name = self.patient.name if self.patient else ""
        return name or self.accession_number or self.uid


def lines(studies: Sequence[ListedStudy], patients: Mapping[str, ListedPatient], now: datetime) -> list[Line]:
    """The studies as lines. The first suspected one that no radiologist has opened is marked as the next to open."""
    made = []
    marked = False
    for study in studies:
        first = not marked and study.row.status is WorklistStatus.SUSPECTED and study.opened_at is None
        marked = marked or first
        made.append(_line(study, patients.get(study.row.study_instance_uid), now, is_next=first))
    return made


def _line(study: ListedStudy, patient: ListedPatient | None, now: datetime, *, is_next: bool) -> Line:
    row = study.row
    suspected = row.status is WorklistStatus.SUSPECTED
    waited = ((study.opened_at or now) - row.received_at).total_seconds()
    return Line(
        uid=row.study_instance_uid,
        status=row.status,
        status_words=STATUS_WORDS[row.status],
        urgency=row.urgency.value if row.urgency is not Urgency.NONE else "",
        state=_state(row),
        demonstration=row.demonstration,
        explanation=_explanation(row, now),
        subtypes=_subtypes(row.subtypes) if suspected else (),
        total=f"{row.total_volume_ml:.1f} ml" if suspected and row.total_volume_ml is not None else "",
        waiting_since=instant(row.received_at) or "",
        # A wait that has ended needs no seconds.
        waiting=duration(waited) if study.opened_at is None else _SECONDS.sub("", duration(waited)),
        waits=study.opened_at is None,
        overdue=row.status is WorklistStatus.PENDING and now - row.received_at > PENDING_RISES_AFTER,
        thumbnail=_thumbnail(study) if suspected and row.key_slice is not None else "",
        accession_number=row.accession_number,
        patient=patient,
        age=patient.age(now) if patient else None,
        scanner=_scanner(study),
        looked=_looked(study),
        archive=_archive(row),
        next=is_next,
    )


def _state(row: WorklistRow) -> str:
    if row.status in (WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED):
        return "provisional" if row.provisional else "final"
    return ""


def _explanation(row: WorklistRow, now: datetime) -> str:
    """A sentence for lines that have no finding to show."""
    if row.status is WorklistStatus.NOT_ANALYSED and row.reason is not None:
        return REASON_TEXTS[row.reason]
    if row.status is WorklistStatus.PENDING:
        if now - row.received_at > PENDING_RISES_AFTER:
            return "The analysis has not ended and is overdue: something may be stuck. Do not wait for it."
        return "The analysis has not ended yet."
    if row.status is WorklistStatus.NOT_SUSPECTED:
        return "Analysed without a suspicion, which excludes nothing."
    return ""


def _subtypes(found: Mapping[Subtype, SubtypeFinding]) -> list[Named]:
    """The subtypes that were segmented or are likely, the largest first."""
    named = [(name, f) for name, f in found.items() if f.volume_ml > 0 or f.probability >= _NAMED_FROM]
    named.sort(key=lambda one: (-one[1].volume_ml, -one[1].probability))
    return [Named(name.value, f"{f.volume_ml:.1f} ml" if f.volume_ml > 0 else "") for name, f in named]


def _thumbnail(study: ListedStudy) -> str:
    # What the picture shows can change only when the row does.
    version = int(study.updated_at.timestamp() * 1000)
    return f"/study/{study.row.study_instance_uid}/thumbnail.png?v={version}"


def _scanner(study: ListedStudy) -> str:
    thickness = f"{study.slice_thickness_mm:g} mm" if study.slice_thickness_mm is not None else ""
    return ", ".join(part for part in (study.scanner, thickness) if part)


def _looked(study: ListedStudy) -> str:
    opened = f"opened by {study.opened_by}" if study.opened_by else "opened" if study.opened_at is not None else ""
    if not opened and study.escalated_at is not None:
        opened = f"not opened, told again {study.escalated_at:%H:%M} UTC"
    verdict = _VERDICTS[study.verdict] if study.verdict is not None else ""
    return ", ".join(part for part in (opened, verdict) if part)


def _archive(row: WorklistRow) -> Archive | None:
    """Objects and destinations together: what a radiologist needs to know is whether all of it has arrived."""
    if not row.objects:
        return None
    failed = [o.destination for o in row.objects if o.state == DeliveryState.FAILED.value]
    if failed:
        return Archive(f"sending to {', '.join(dict.fromkeys(failed))} failed", trouble=True)
    there = sum(o.state in _THERE for o in row.objects)
    return Archive(f"{there} of {len(row.objects)} objects sent", trouble=False)
