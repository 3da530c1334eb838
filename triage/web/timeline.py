"""What happened to a study, step by step, in words for a radiologist: from the audit rows of the study."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from triage.domain.audit import AuditAction, AuditEvent, AuditRecord, Detail, Outcome
from triage.domain.finding import WorklistStatus
from triage.domain.lifecycle import DeliveryState, JobState, SeriesState
from triage.domain.reading import Verdict

STATUS_WORDS: Final[Mapping[WorklistStatus, str]] = {
    WorklistStatus.SUSPECTED: "Haemorrhage suspected",
    WorklistStatus.NOT_SUSPECTED: "Not suspected",
    WorklistStatus.NOT_ANALYSED: "Not analysed",
    WorklistStatus.PENDING: "Waiting for the analysis",
}
VERDICT_WORDS: Final[Mapping[Verdict, str]] = {
    Verdict.AGREE: "agree",
    Verdict.PARTLY: "partly",
    Verdict.DISAGREE: "disagree",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the timeline. ``trouble``: something did not go as it should."""

    at: datetime
    words: str
    actor: str
    trouble: bool


def steps(records: Iterable[AuditRecord]) -> list[Step]:
    """The steps that say something, in their order; what only prepares another step is left out."""
    told = ((record.event, _words(record.event)) for record in records)
    return [Step(event.at, words, event.actor, trouble=_is_trouble(event)) for event, words in told if words]


def reasons(records: Iterable[AuditRecord]) -> dict[str, str]:
    """Why each series was chosen, set aside or refused: what was said of it last, by its UID."""
    said = (record.event for record in records if record.event.action is AuditAction.SERIES_MOVED)
    why = ((event.series_instance_uid or "", event.detail.get("detail")) for event in said)
    return {series_instance_uid: str(detail) for series_instance_uid, detail in why if detail}


def _is_trouble(event: AuditEvent) -> bool:
    """Whether something went wrong. That a series is not one to analyse is an outcome, and no trouble."""
    return event.outcome is not Outcome.SUCCESS and event.action is not AuditAction.SERIES_MOVED


def _words(event: AuditEvent) -> str:
    """What happened; empty where it need not be said."""
    say = _SAID.get(event.action)
    return say(event.detail) if say is not None else event.action.value.replace("_", " ").capitalize()


def _received(detail: Mapping[str, Detail]) -> str:
    broken_off = "" if detail.get("ended") == "released" else "; the connection was broken off"
    return f"Received: {_many(detail.get('instances'), 'image')} of {_many(detail.get('series'), 'series')}{broken_off}"


def _many(number: Detail, what: str) -> str:
    return f"{number} {what}" if number == 1 or what == "series" else f"{number} {what}s"


def _series(detail: Mapping[str, Detail]) -> str:
    why = f": {detail['detail']}" if detail.get("detail") else ""
    return {
        SeriesState.RECEIVING.value: f"Late images came in: revision {detail.get('revision')} of the series begins",
        SeriesState.STABLE.value: f"Series complete{why}",
        SeriesState.PASSED_OVER.value: f"Series set aside{why}",
        SeriesState.UNUSABLE.value: f"Series not analysed ({detail.get('reason')}){why}",
        SeriesState.ANALYSED.value: "Series analysed",
    }.get(str(detail.get("to")), "")


def _job(detail: Mapping[str, Detail]) -> str:
    why = f": {detail['reason']}" if detail.get("reason") else ""
    return {
        JobState.RUNNING.value: f"Analysis begins (attempt {detail.get('attempt')})",
        JobState.QUEUED.value: f"Analysis waits for another attempt{why}",
        JobState.FAILED.value: f"Analysis failed{why}",
        JobState.CANCELLED.value: f"Analysis cancelled{why}",
    }.get(str(detail.get("to")), "")


def _flagged(detail: Mapping[str, Detail]) -> str:
    provisional = ", provisional" if detail.get("provisional") else ""
    return f"Flagged: {detail.get('urgency')}, score {_score(detail)}{provisional}"


def _result(detail: Mapping[str, Detail]) -> str:
    said = detail.get("status")
    status = next((words for known, words in STATUS_WORDS.items() if known == said), str(said))
    if detail.get("reason"):
        return f"Result recorded: not analysed ({detail['reason']})"
    return f"Result recorded: {status.lower()}, score {_score(detail)}, bundle {detail.get('bundle')}"


def _score(detail: Mapping[str, Detail]) -> str:
    score = detail.get("score")
    return f"{score:.2f}" if isinstance(score, float | int) else "unknown"


def _delivery(detail: Mapping[str, Detail]) -> str:
    what, whom = detail.get("kind"), detail.get("destination")
    why = f": {detail['reason']}" if detail.get("reason") else ""
    return {
        DeliveryState.DELIVERED.value: f"{what} delivered to {whom}",
        DeliveryState.COMMITTED.value: f"{what} kept by {whom} (storage commitment)",
        DeliveryState.FAILED.value: f"{what} refused by {whom}{why}",
        DeliveryState.PENDING.value: f"{what} to {whom} waits for another attempt{why}",
    }.get(str(detail.get("to")), "")


def _superseded(detail: Mapping[str, Detail]) -> str:
    return f"{detail.get('kind')} to {detail.get('destination')} not sent: a newer message says what counts now"


def _given_up(detail: Mapping[str, Detail]) -> str:
    return f"Whether {detail.get('destination')} keeps {detail.get('kind')} is not known. {detail.get('reason')}"


def _opened(detail: Mapping[str, Detail]) -> str:
    if detail.get("how") == "picture":
        return "A slice was fetched without the page of the study"
    return "Opened for the first time by a radiologist" if detail.get("first") else "Opened"


def _judged(detail: Mapping[str, Detail]) -> str:
    return f"Judged: {detail.get('verdict')}"


_SAID: Final[Mapping[str, Callable[[Mapping[str, Detail]], str]]] = {
    AuditAction.INSTANCES_RECEIVED: _received,
    AuditAction.INSTANCE_CONFLICT: lambda _: "An image came a second time with other content; the first one counts",
    AuditAction.INSTANCE_RESTORED: lambda _: "An image whose file was lost came again and was kept",
    AuditAction.FILES_REMOVED: lambda _: "The images and result objects were removed from here for their age",
    AuditAction.INSTANCE_IGNORED: lambda _: "One of our own results came back and was ignored",
    AuditAction.SERIES_MOVED: _series,
    AuditAction.JOB_MOVED: _job,
    AuditAction.STUDY_FLAGGED: _flagged,
    AuditAction.RESULT_RECORDED: _result,
    AuditAction.DELIVERY_MOVED: _delivery,
    AuditAction.MESSAGE_SUPERSEDED: _superseded,
    AuditAction.COMMITMENT_GIVEN_UP: _given_up,
    AuditAction.STUDY_OPENED: _opened,
    AuditAction.STUDY_JUDGED: _judged,
    AuditAction.STUDY_ESCALATED: lambda _: "Told again: flagged, and nobody had opened it",
}
