"""Messages that a newer one overtook: the last word that a list hears of a study is never an older one."""

from __future__ import annotations

import pytest

from tests.stores import STUDY, at, batch, encoded, finish, logged, running
from triage.domain.audit import AuditAction
from triage.domain.finding import ReasonCode
from triage.domain.lifecycle import DeliveryState
from triage.domain.work import ClaimedBatch
from triage.store import deliveries, result_objects, results, series
from triage.store.db import Database

SUSPECTED, NEGATIVE = 0.9, 0.02


def told(
    db: Database, score: float, seconds: float, *, kind: str = "ORU", series_uid: str = "1.1", to: str = "ris"
) -> int:
    """A series of the study comes in, or one slice more of it, and is analysed; the list has a message of it then."""
    job = running(db, number=int(seconds), series_uid=series_uid, now=at(seconds))
    return finish(db, job, now=at(seconds), kinds=(kind,), destinations=(to,), score=score)


def escalated(db: Database, result_id: int, seconds: float) -> None:
    with db.transaction() as tx:
        object_id = result_objects.add(tx, result_id, encoded("ORU", "2.25.99"), "00/99", at(seconds))
        assert deliveries.add(tx, object_id, ["ris"], at(seconds)) == 1


def claimed(db: Database, seconds: float) -> ClaimedBatch | None:
    with db.transaction() as tx:
        return deliveries.claim(tx, destination="ris", owner="sender-1", now=at(seconds), lease_seconds=15)


def sent(db: Database, seconds: float) -> list[str]:
    """The messages that are sent one after the other, and arrive, from now on."""
    uids = []
    while (found := claimed(db, seconds)) is not None:
        for item in found.objects:
            uids.append(item.sop_instance_uid)
            with db.transaction() as tx:
                deliveries.delivered(tx, found, item.delivery_id, status=0, now=at(seconds))
    return uids


def message(db: Database, number: int) -> str:
    with db.read() as tx:
        return result_objects.of_study(tx, STUDY)[number].sop_instance_uid


def put_off(db: Database, seconds: float, until: float) -> None:
    """The list answers AE: the message that is due waits."""
    held = batch(db, now=at(seconds), destination="ris")
    with db.transaction() as tx:
        deliveries.later(tx, held, held.objects[0].delivery_id, error="AE", status=None, at=at(until), now=at(seconds))


@pytest.mark.parametrize("scores", [(NEGATIVE, SUSPECTED), (SUSPECTED, NEGATIVE), (NEGATIVE, NEGATIVE)])
def test_a_message_that_waited_is_not_sent_after_a_newer_one(database: Database, scores: tuple[float, float]) -> None:
    told(database, scores[0], 1)
    put_off(database, 2, until=300)
    told(database, scores[1], 10)
    assert sent(database, 11) == [message(database, 1)]
    assert sent(database, 300) == []
    with database.read() as tx:
        assert [d.state for d in deliveries.of_study(tx, STUDY)] == [DeliveryState.DELIVERED]
    (said,) = [record.event for record in logged(database, AuditAction.MESSAGE_SUPERSEDED)]
    assert (said.actor, said.study_instance_uid, said.sop_instance_uid) == ("sender-1", STUDY, message(database, 0))
    assert said.detail == {"destination": "ris", "kind": "ORU", "attempt": 1}


def test_a_message_that_was_being_sent_meanwhile_and_came_back(database: Database) -> None:
    told(database, NEGATIVE, 1)
    assert claimed(database, 2) is not None
    told(database, SUSPECTED, 10)
    with database.transaction() as tx:
        assert deliveries.requeue_lapsed(tx, at(30)) == 1
    assert sent(database, 30) == [message(database, 1)]


def test_a_message_that_a_person_has_sent_again(database: Database) -> None:
    told(database, NEGATIVE, 1)
    held = batch(database, now=at(2), destination="ris")
    with database.transaction() as tx:
        deliveries.refused(tx, held, held.objects[0].delivery_id, error="AR", status=None, now=at(3))
    told(database, SUSPECTED, 10)
    assert sent(database, 11) == [message(database, 1)]
    with database.transaction() as tx:
        assert deliveries.retry_failed(tx, STUDY, actor="ada", now=at(20)) == 1
    assert sent(database, 20) == []


def test_a_suspicion_waits_for_no_older_message_and_what_is_behind_is_reached(database: Database) -> None:
    told(database, NEGATIVE, 1)
    told(database, SUSPECTED, 10)
    assert sent(database, 11) == [message(database, 1)]


def test_another_series_of_the_study_overtakes(database: Database) -> None:
    told(database, NEGATIVE, 1, series_uid="1.1")
    told(database, SUSPECTED, 2, series_uid="1.2")
    assert sent(database, 11) == [message(database, 1)]


def test_a_suspicion_of_another_series_is_told_too(database: Database) -> None:
    told(database, SUSPECTED, 1, series_uid="1.1")
    told(database, SUSPECTED, 2, series_uid="1.2")
    assert sent(database, 11) == [message(database, 0), message(database, 1)]


def test_a_suspicion_stays_until_what_says_it_anew_has_arrived(database: Database) -> None:
    told(database, SUSPECTED, 1)
    put_off(database, 2, until=20)
    told(database, SUSPECTED, 10)
    put_off(database, 11, until=300)
    assert sent(database, 20) == [message(database, 0)]
    assert sent(database, 300) == [message(database, 1)]
    told(database, SUSPECTED, 301)
    put_off(database, 302, until=900)
    told(database, SUSPECTED, 303)
    assert sent(database, 304) == [message(database, 3)]
    assert sent(database, 900) == []


def test_an_escalation_says_nothing_new_of_the_finding(database: Database) -> None:
    """What it is about is told all the same, and it is told itself while the study is suspected."""
    result_id = told(database, SUSPECTED, 1)
    put_off(database, 2, until=300)
    escalated(database, result_id, 100)
    assert sent(database, 100) == ["2.25.99"]
    assert sent(database, 300) == [message(database, 0)]


def test_an_escalation_stays_when_a_later_revision_is_suspected_too(database: Database) -> None:
    result_id = told(database, SUSPECTED, 1)
    assert sent(database, 1) == [message(database, 0)]
    escalated(database, result_id, 2)
    put_off(database, 2, until=300)
    told(database, SUSPECTED, 10)
    assert sent(database, 11) == [message(database, 2)]
    assert sent(database, 300) == ["2.25.99"]


def test_an_escalation_ends_with_the_suspicion(database: Database) -> None:
    escalated(database, told(database, SUSPECTED, 1), 2)
    told(database, NEGATIVE, 10)
    assert sent(database, 11) == [message(database, 2)]


@pytest.mark.parametrize("score", [SUSPECTED, NEGATIVE])
def test_a_series_that_could_not_be_analysed_takes_no_suspicion_back(database: Database, score: float) -> None:
    told(database, score, 1)
    put_off(database, 2, until=300)
    with database.transaction() as tx:
        (record,) = series.of_study(tx, STUDY)
        failed = ReasonCode.FAILED
        result_id = results.record_undetermined(tx, record, failed, bundle_digest="cd" * 32, bundle="b 2", now=at(20))
        object_id = result_objects.add(tx, result_id, encoded("ORU", "2.25.98"), "00/98", at(20))
        deliveries.add(tx, object_id, ["ris"], at(20))
    assert sent(database, 20) == ["2.25.98"]
    assert sent(database, 300) == ([message(database, 0)] if score == SUSPECTED else [])


@pytest.mark.parametrize("kind", ["IAN", "SR", "SEG"])
def test_what_carries_no_finding_to_a_list_arrives_however_old(database: Database, kind: str) -> None:
    told(database, NEGATIVE, 1, kind=kind)
    told(database, SUSPECTED, 10, kind=kind)
    assert sent(database, 11) == [message(database, 0), message(database, 1)]
    assert logged(database, AuditAction.MESSAGE_SUPERSEDED) == []


def test_each_list_hears_for_itself(database: Database) -> None:
    told(database, NEGATIVE, 1)
    told(database, SUSPECTED, 10, to="ward")
    assert sent(database, 11) == [message(database, 0)]
