"""Opening and judging a study, on both databases: what changes on the list, and what the audit log says."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from tests.stores import STUDY, analysed, at, batch, encoded, logged, queued, receive
from triage.domain.account import Person, Role
from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.errors import NotFound, NotPossibleNow
from triage.domain.finding import ReasonCode
from triage.domain.lifecycle import DeliveryState, SeriesState
from triage.domain.reading import Verdict
from triage.domain.worklist import ListedStudy
from triage.services import read, view
from triage.services.tell import study_json
from triage.store import audit, deliveries, escalations, reading_list, readings, schema, series, worklist
from triage.store.db import Database
from triage.store.reading_list import ToRead, Wanted

RADIOLOGIST, ADMINISTRATOR = Person("r.adler", Role.RADIOLOGIST), Person("boss", Role.ADMINISTRATOR)


def listed(db: Database) -> ListedStudy:
    with db.read() as tx:
        found = worklist.listed(tx, STUDY)
    assert found is not None
    return found


def last(db: Database, action: AuditAction) -> AuditEvent:
    return logged(db, action)[-1].event


def test_a_radiologist_opens_and_every_look_is_recorded(database: Database) -> None:
    analysed(database)
    read.open_study(database, STUDY, RADIOLOGIST, at(30))
    read.open_study(database, STUDY, Person("r.berg", Role.RADIOLOGIST), at(40))
    assert (listed(database).opened_by, listed(database).opened_at) == ("r.adler", at(30))
    first, second = (record.event for record in logged(database, AuditAction.STUDY_OPENED))
    assert (first.actor, first.study_instance_uid, first.at) == ("r.adler", STUDY, at(30))
    assert first.detail == {"role": "radiologist", "first": True, "status": "suspected"}
    assert (second.actor, second.detail["first"]) == ("r.berg", False)


def test_an_administrators_look_does_not_end_the_wait(database: Database) -> None:
    analysed(database)
    read.open_study(database, STUDY, ADMINISTRATOR, at(30))
    assert listed(database).opened_at is None
    assert last(database, AuditAction.STUDY_OPENED).actor == "boss"


@pytest.mark.parametrize("score", [0.9, 0.1])
def test_a_radiologist_who_judges_has_opened_the_study(database: Database, score: float) -> None:
    analysed(database, score=score)
    read.judge(database, STUDY, Verdict.AGREE, "", ADMINISTRATOR, at(20))
    assert listed(database).opened_at is None
    read.judge(database, STUDY, Verdict.AGREE, "", RADIOLOGIST, at(30))
    read.judge(database, STUDY, Verdict.PARTLY, "", Person("r.berg", Role.RADIOLOGIST), at(40))
    assert (listed(database).opened_by, listed(database).opened_at) == ("r.adler", at(30))


def test_an_administrators_judgement_takes_no_study_off_the_list(database: Database) -> None:
    analysed(database)
    read.judge(database, STUDY, Verdict.DISAGREE, "", ADMINISTRATOR, at(30))
    wanted = Wanted(to_read=ToRead(received_since=at(60), opened_since=at(60)))
    with database.read() as tx:
        assert [study.row.study_instance_uid for study in reading_list.every(tx, at(60), wanted=wanted)] == [STUDY]
        assert escalations.still_unopened(tx, STUDY)
    read.judge(database, STUDY, Verdict.DISAGREE, "", RADIOLOGIST, at(40))
    with database.read() as tx:
        assert list(reading_list.every(tx, at(60), wanted=wanted)) == []
        assert not escalations.still_unopened(tx, STUDY)


def test_what_is_not_there_cannot_be_opened_judged_or_tried_again(database: Database) -> None:
    for act in (
        lambda: read.open_study(database, "2.25.9", RADIOLOGIST, at(1)),
        lambda: read.judge(database, "2.25.9", Verdict.AGREE, "", RADIOLOGIST, at(1)),
        lambda: read.try_again(database, "2.25.9", RADIOLOGIST, at(1)),
    ):
        with pytest.raises(NotFound):
            act()
    assert logged(database) == []
    with database.read() as tx:
        assert tx.connection.execute(select(schema.studies)).all() == []


@pytest.mark.parametrize("score", [0.9, 0.1])
def test_a_judgement_is_kept_listed_and_audited_without_its_note(database: Database, score: float) -> None:
    analysed(database, score=score)
    reading = read.judge(database, STUDY, Verdict.PARTLY, "  SMITH^JOHN was here \n", RADIOLOGIST, at(30))
    assert (reading.note, reading.reader) == ("SMITH^JOHN was here", "r.adler")
    assert listed(database).verdict is Verdict.PARTLY
    event = last(database, AuditAction.STUDY_JUDGED)
    assert (event.actor, event.study_instance_uid) == ("r.adler", STUDY)
    assert event.detail == {
        "verdict": "partly", "role": "radiologist", "with_note": True, "provisional": False,
        "status": "suspected" if score > 0.5 else "not_suspected", "score": score, "bundle": "demo 1",
    }  # fmt: skip
    with database.read() as tx:
        assert not any("SMITH" in str(record) for record in audit.records(tx))
        audit.verify(tx)


@pytest.mark.parametrize("before", [None, *Verdict])
@pytest.mark.parametrize("after", list(Verdict))
def test_every_verdict_may_follow_every_other(database: Database, before: Verdict | None, after: Verdict) -> None:
    analysed(database)
    if before is not None:
        read.judge(database, STUDY, before, "", RADIOLOGIST, at(30))
    read.judge(database, STUDY, after, "", ADMINISTRATOR, at(40))
    assert listed(database).verdict is after
    with database.read() as tx:
        history = [(one.verdict, one.reader) for one in readings.of_study(tx, STUDY)]
    assert history == [(after, "boss"), *([(before, "r.adler")] if before else [])]


def test_only_what_was_analysed_can_be_judged(database: Database) -> None:
    queued(database)
    with database.transaction() as tx:
        worklist.refresh(tx, STUDY, at(1))
    with pytest.raises(NotPossibleNow, match="not ended"):
        read.judge(database, STUDY, Verdict.AGREE, "", RADIOLOGIST, at(2))
    refuse(database)
    with pytest.raises(NotPossibleNow, match="not analysed"):
        read.judge(database, STUDY, Verdict.DISAGREE, "", RADIOLOGIST, at(4))
    assert logged(database, AuditAction.STUDY_JUDGED) == []
    assert listed(database).verdict is None


def refuse(db: Database) -> None:
    with db.transaction() as tx:
        (record,) = series.of_study(tx, STUDY)
        why = {"reason": ReasonCode.GAP, "detail": "Slices are missing."}
        series.move(tx, record, SeriesState.UNUSABLE, now=at(3), actor="clock", **why)
        worklist.refresh(tx, STUDY, at(3))


@pytest.mark.parametrize("seen", ["not_suspected", "suspected.final.1-1-1-9f", "nonsense"])
def test_what_the_reader_did_not_see_is_not_judged(database: Database, seen: str) -> None:
    analysed(database)
    with pytest.raises(NotPossibleNow, match="not kept"):
        read.judge(database, STUDY, Verdict.DISAGREE, "", RADIOLOGIST, at(30), seen=seen)
    assert (listed(database).verdict, logged(database, AuditAction.STUDY_JUDGED)) == (None, [])


def test_what_the_reader_saw_is_judged(database: Database) -> None:
    analysed(database)
    with database.read() as tx:
        state = view.find(tx, STUDY).state
    for seen in ("", "suspected", state):
        read.judge(database, STUDY, Verdict.DISAGREE, "", RADIOLOGIST, at(30), seen=seen)
    assert len(logged(database, AuditAction.STUDY_JUDGED)) == 3


def test_a_note_that_is_too_long_leaves_nothing_behind(database: Database) -> None:
    analysed(database)
    with pytest.raises(ValueError, match="500"):
        read.judge(database, STUDY, Verdict.AGREE, "x" * 501, RADIOLOGIST, at(30))
    assert listed(database).verdict is None


def test_a_late_slice_takes_the_judgement_off_the_list_and_not_out_of_the_history(database: Database) -> None:
    analysed(database, score=0.1)
    read.judge(database, STUDY, Verdict.AGREE, "", RADIOLOGIST, at(30))
    with database.transaction() as tx:
        receive(tx, 2, now=at(40))
        worklist.refresh(tx, STUDY, at(40))
    assert listed(database).verdict is None
    with database.read() as tx:
        assert [one.verdict for one in readings.of_study(tx, STUDY)] == [Verdict.AGREE]


def test_what_failed_is_tried_again_in_the_name_of_the_person(database: Database) -> None:
    analysed(database, kinds=("SR",))
    with pytest.raises(NotPossibleNow, match="Nothing"):
        read.try_again(database, STUDY, RADIOLOGIST, at(5))
    claimed = batch(database)
    with database.transaction() as tx:
        deliveries.refused(tx, claimed, claimed.objects[0].delivery_id, error="No.", status=0xA900, now=at(10))
    assert read.try_again(database, STUDY, RADIOLOGIST, at(20)) == (0, 1)
    with database.read() as tx:
        (delivery,) = deliveries.of_study(tx, STUDY)
    assert (delivery.state, delivery.attempt) == (DeliveryState.PENDING, 0)
    assert last(database, AuditAction.DELIVERY_MOVED).actor == "r.adler"


def test_everything_that_is_known_is_told_as_json(database: Database) -> None:
    analysed(database)
    read.judge(database, STUDY, Verdict.DISAGREE, "a note for the page alone", RADIOLOGIST, at(30))
    with database.read() as tx:
        told = study_json(tx, STUDY)
        with_files = study_json(tx, STUDY, "/blobs/{}".format)
        with pytest.raises(NotFound, match=r"2\.25\.9"):
            study_json(tx, "2.25.9")
    assert list(told) == ["study", "series", "objects", "deliveries", "readings", "timeline"]
    assert told["readings"] == [{"verdict": "disagree", "reader": "r.adler", "at": "2026-11-20T08:00:30.123Z"}]
    assert "a note" not in str(told)
    assert all("file" not in one for one in told["objects"])
    assert [one["file"] for one in with_files["objects"]] == [
        f"/blobs/00/{one['sop_instance_uid']}" for one in told["objects"]
    ]
    assert encoded().kind == told["objects"][1]["kind"]
