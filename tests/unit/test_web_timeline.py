"""The timeline tells every step of a study in words, and only what somebody wants to know."""

from __future__ import annotations

import pytest

from tests.stores import STUDY, analysed, at, batch, logged
from triage.domain.account import Person, Role
from triage.domain.audit import AuditAction, AuditEvent, AuditRecord, LaterAction, Outcome, action_named
from triage.domain.reading import Verdict
from triage.services import read
from triage.store import associations, deliveries
from triage.store.db import Database
from triage.web.timeline import reasons, steps


def record(action: AuditAction | LaterAction, outcome: Outcome = Outcome.SUCCESS, **detail: object) -> AuditRecord:
    return AuditRecord(1, "", "", AuditEvent(at(0), "clock", action, outcome, STUDY, "2.25.7", detail=detail))


def test_a_study_from_its_first_image_to_its_judgement(database: Database) -> None:
    analysed(database, kinds=("SEG", "SR"))
    claimed = batch(database)
    with database.transaction() as tx:
        associations.end(tx, "a1", how="released", now=at(1))
        first, second = claimed.objects
        deliveries.delivered(tx, claimed, first.delivery_id, status=0, now=at(2))
        deliveries.refused(tx, claimed, second.delivery_id, error="No room.", status=0xA700, now=at(2))
    reader = Person("r.adler", Role.RADIOLOGIST)
    read.open_study(database, STUDY, reader, at(10))
    read.judge(database, STUDY, Verdict.DISAGREE, "", reader, at(20))
    told = steps(logged(database))
    assert [step.words for step in told] == [
        "Series complete",
        "Analysis begins (attempt 1)",
        "Series analysed",
        "Result recorded: haemorrhage suspected, score 0.90, bundle demo 1",
        "Flagged: emergent, score 0.90",
        "Received: 1 image of 1 series",
        "SEG delivered to pacs",
        "SR refused by pacs: No room.",
        "Opened for the first time by a radiologist",
        "Judged: disagree",
    ]
    assert [step.words for step in told if step.trouble] == ["SR refused by pacs: No room."]
    assert (told[-1].actor, told[-1].at) == ("r.adler", at(20))


@pytest.mark.parametrize(("given", "words"), [
    (record(AuditAction.INSTANCES_RECEIVED, Outcome.MINOR_FAILURE, instances=3, series=2, ended="aborted"),
     "Received: 3 images of 2 series; the connection was broken off"),
    (record(AuditAction.SERIES_MOVED, to="receiving", revision=2, detail=None),
     "Late images came in: revision 2 of the series begins"),
    (record(AuditAction.SERIES_MOVED, to="passed_over", detail="Another is better."),
     "Series set aside: Another is better."),
    (record(AuditAction.SERIES_MOVED, Outcome.MINOR_FAILURE, to="unusable", reason="gap", detail="A gap."),
     "Series not analysed (gap): A gap."),
    (record(AuditAction.JOB_MOVED, Outcome.MINOR_FAILURE, to="queued", reason="Lost."),
     "Analysis waits for another attempt: Lost."),
    (record(AuditAction.RESULT_RECORDED, status="not_analysed", reason="gap"),
     "Result recorded: not analysed (gap)"),
    (record(AuditAction.DELIVERY_MOVED, to="committed", kind="SR", destination="pacs"),
     "SR kept by pacs (storage commitment)"),
    (record(AuditAction.MESSAGE_SUPERSEDED, kind="ORU", destination="ris"),
     "ORU to ris not sent: a newer message says what counts now"),
    (record(AuditAction.COMMITMENT_GIVEN_UP, kind="SR", destination="pacs", reason="Never confirmed: no C-FIND."),
     "Whether pacs keeps SR is not known. Never confirmed: no C-FIND."),
    (record(AuditAction.STUDY_OPENED, first=False), "Opened"),
    (record(AuditAction.STUDY_ESCALATED), "Told again: flagged, and nobody had opened it"),
    (record(AuditAction.EXPORTED), "Exported"),
    # What a later release wrote, after a roll-back.
    (record(action_named("study_deleted")), "Study deleted"),
    (record(AuditAction.RESULT_RECORDED, status="doubtful", score=0.5, bundle="demo 1"),
     "Result recorded: doubtful, score 0.50, bundle demo 1"),
])  # fmt: skip
def test_words(given: AuditRecord, words: str) -> None:
    assert [step.words for step in steps([given])] == [words]


@pytest.mark.parametrize("given", [
    record(AuditAction.JOB_MOVED, to="succeeded"), record(AuditAction.DELIVERY_MOVED, to="sending")
], ids=["job", "delivery"])  # fmt: skip
def test_what_only_prepares_another_step_is_left_out(given: AuditRecord) -> None:
    assert steps([given]) == []


@pytest.mark.parametrize("action", list(AuditAction))
def test_no_action_is_without_words_or_stops_the_page(action: AuditAction) -> None:
    status = {"status": "suspected"} if action is AuditAction.RESULT_RECORDED else {}
    for step in steps([record(action, **status)]):
        assert step.words


def test_a_series_that_is_none_to_analyse_is_no_trouble() -> None:
    moved = record(AuditAction.SERIES_MOVED, Outcome.MINOR_FAILURE, to="unusable", reason="localizer", detail="Scout.")
    aborted = record(AuditAction.INSTANCES_RECEIVED, Outcome.MINOR_FAILURE, instances=1, series=1, ended="aborted")
    assert [step.trouble for step in steps([moved, aborted])] == [False, True]


def test_why_a_series_was_chosen_is_said_last() -> None:
    first = record(AuditAction.SERIES_MOVED, to="stable", detail="Chosen: 5 mm.")
    then = record(AuditAction.SERIES_MOVED, to="analysed", detail=None)
    assert reasons([first, then]) == {"2.25.7": "Chosen: 5 mm."}
