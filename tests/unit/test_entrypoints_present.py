"""What the commands print."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from triage.domain.audit import AuditAction, AuditEvent, AuditRecord
from triage.domain.finding import SUBTYPES, KeySlice, ReasonCode, Subtype, SubtypeFinding, Urgency, WorklistStatus
from triage.domain.worklist import ObjectState, WorklistRow
from triage.entrypoints import present
from triage.services.tell import audit_json

NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)


def row(**changes: object) -> WorklistRow:
    values: dict[str, object] = {
        "study_instance_uid": "1.2.3",
        "series_instance_uid": "1.2.3.4",
        "accession_number": "A1",
        "status": WorklistStatus.SUSPECTED,
        "provisional": False,
        "reason": None,
        "urgency": Urgency.EMERGENT,
        "score": 0.98765,
        "subtypes": {
            s: SubtypeFinding(0.9 if s is Subtype.IPH else 0.01, 12.345 if s is Subtype.IPH else 0.0) for s in SUBTYPES
        },
        "total_volume_ml": 12.345,
        "key_slice": KeySlice("1.2.3.4.5", 1, 14),
        "received_at": NOW - timedelta(minutes=3),
        "flagged_at": NOW - timedelta(minutes=2),
        "bundle": "demo 1",
        "objects": (ObjectState("SR", "2.25.1", "pacs", "delivered"),),
        **changes,
    }
    return WorklistRow(**values)  # type: ignore[arg-type]


NOT_ANALYSED = {
    "status": WorklistStatus.NOT_ANALYSED,
    "reason": ReasonCode.GAP,
    "urgency": Urgency.NONE,
    "score": None,
    "subtypes": {},
    "total_volume_ml": None,
    "key_slice": None,
    "flagged_at": None,
    "bundle": None,
    "objects": (),
}


def shown(*rows: WorklistRow) -> str:
    console = Console(width=220, record=True, file=None)
    with console.capture() as capture:
        console.print(present.worklist_table(rows, NOW))
    return capture.get()


def test_the_table_says_the_reason_beside_the_status() -> None:
    assert "not_analysed: gap" in shown(row(**NOT_ANALYSED))


def test_the_table_says_provisional() -> None:
    assert "suspected (provisional)" in shown(row(provisional=True))


def test_the_table_says_demonstration_in_every_row_of_one_and_what_that_means() -> None:
    text = shown(row(demonstration=True), row(**NOT_ANALYSED, demonstration=True), row(provisional=True))
    assert "suspected, demonstration" in text
    assert "not_analysed: gap, demonstration" in text
    assert text.count(", demonstration") == 2
    assert "not for use in care" in " ".join(text.split())
    assert "emonstration" not in shown(row()).replace("DEMO", "demo")


def test_the_table_names_only_the_subtypes_found() -> None:
    text = shown(row())
    assert "IPH 0.90 12.3" in text
    assert "SDH" not in text


def test_the_table_says_what_it_is_not() -> None:
    assert "Not a diagnosis" in shown(row())
    assert "not a negative study" in " ".join(shown(row()).split())


@pytest.mark.parametrize(
    ("waited", "text"),
    [
        (timedelta(seconds=5), "5 s"),
        (timedelta(minutes=3, seconds=7), "3 min 07 s"),
        (timedelta(hours=2, minutes=5), "2 h 05 min"),
    ],
)
def test_waiting_time_is_said_in_words(waited: timedelta, text: str) -> None:
    assert text in shown(row(received_at=NOW - waited))


def test_times_are_utc() -> None:
    assert present.instant(NOW) == "2026-11-21T02:00:00.000Z"
    assert present.instant(None) is None


def test_an_audit_row_as_json() -> None:
    event = AuditEvent(NOW, "PACS", AuditAction.INSTANCE_REFUSED, study_instance_uid="1.2", detail={"why": "no"})
    told = audit_json(AuditRecord(7, "0" * 64, "f" * 64, event))
    assert (told["sequence"], told["action"], told["detail"]) == (7, "instance_refused", {"why": "no"})


def test_details_leave_out_what_is_empty() -> None:
    assert present.detail_text({"from": "queued", "reason": None, "n": 2}) == "from=queued n=2"
