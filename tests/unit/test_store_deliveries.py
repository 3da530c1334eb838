"""The outbox: one association per result set and destination, every answer kept, nothing sent by two at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.stores import NOW, SERIES, STUDY, analysed, at, batch, finish, logged, moves, running
from triage.domain.audit import AuditAction, Outcome
from triage.domain.errors import StaleState
from triage.domain.lifecycle import DeliveryState
from triage.domain.work import ClaimedBatch
from triage.store import deliveries
from triage.store.db import Database, Transaction


def _of_study(db: Database) -> list[deliveries.DeliveryRecord]:
    with db.read() as tx:
        return deliveries.of_study(tx, STUDY)


def _none_due(db: Database, seconds: float, destination: str = "pacs") -> bool:
    with db.transaction() as tx:
        asked = deliveries.any_due(tx, destination=destination, now=at(seconds))
        claimed = deliveries.claim(tx, destination=destination, owner="s", now=at(seconds), lease_seconds=1)
    assert asked is (claimed is not None)
    return claimed is None


def test_the_objects_of_a_result_are_claimed_together(database: Database) -> None:
    analysed(database)
    claimed = batch(database, now=at(1))
    assert (claimed.destination, claimed.attempt, claimed.lease_until) == ("pacs", 1, at(16))
    assert (claimed.study_instance_uid, claimed.series_instance_uid) == (STUDY, SERIES)
    assert [item.kind for item in claimed.objects] == ["SEG", "SR"]
    first = claimed.objects[0]
    assert first.blob_key == f"00/{first.sop_instance_uid}"
    assert (first.sop_class_uid, first.transfer_syntax_uid) == ("1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.1.2.1")
    assert _none_due(database, 1)
    assert {record.state for record in _of_study(database)} == {DeliveryState.SENDING}


def test_each_destination_has_its_own_way(database: Database) -> None:
    analysed(database, destinations=("pacs", "ward"))
    batch(database, destination="pacs")
    assert _none_due(database, 0, "pacs")
    assert len(batch(database, destination="ward").objects) == 2
    assert _none_due(database, 0, "nobody")


def test_results_are_not_mixed_and_the_longest_waiting_goes_first(database: Database) -> None:
    finish(database, running(database, study="1.1", series_uid="1.1.1"), now=at(5))
    finish(database, running(database, study="1.2", series_uid="1.2.1"), now=at(3))
    assert batch(database, now=at(9)).study_instance_uid == "1.2"
    assert batch(database, now=at(9)).study_instance_uid == "1.1"
    assert _none_due(database, 9)


def test_an_object_is_in_the_outbox_once_for_each_destination(database: Database) -> None:
    analysed(database, kinds=("SR",))
    (record,) = _of_study(database)
    with database.transaction() as tx:
        assert deliveries.add(tx, record.object_id, ["pacs", "ward"], at(9)) == 1
        assert deliveries.add(tx, record.object_id, [], at(9)) == 0
    assert [found.destination for found in _of_study(database)] == ["pacs", "ward"]
    assert _of_study(database)[0] == record


def test_an_answer_settles_one_object(database: Database) -> None:
    analysed(database)
    claimed = batch(database)
    seg, sr = (item.delivery_id for item in claimed.objects)
    with database.transaction() as tx:
        deliveries.delivered(tx, claimed, seg, status=0xB000, now=at(2))
        deliveries.later(tx, claimed, sr, error="Out of resources.", status=0xA700, at=at(10), now=at(2))
    first, second = _of_study(database)
    assert (first.state, first.status, first.error, first.updated_at) == (DeliveryState.DELIVERED, 0xB000, None, at(2))
    assert (second.state, second.status, second.error) == (DeliveryState.PENDING, 0xA700, "Out of resources.")
    assert _none_due(database, 9.9)
    again = batch(database, now=at(10))
    assert [item.delivery_id for item in again.objects] == [sr]
    assert again.attempt == 2
    with database.transaction() as tx:
        deliveries.refused(tx, again, sr, error="Class not supported.", status=0x0122, now=at(11))
    assert _of_study(database)[1].state is DeliveryState.FAILED
    assert _none_due(database, 9999)
    said = [record.event for record in logged(database, AuditAction.DELIVERY_MOVED)]
    assert [event.detail["to"] for event in said] == ["sending", "sending", "delivered", "pending", "sending", "failed"]
    assert [event.outcome for event in said[-4:]] == [
        Outcome.SUCCESS,
        Outcome.MINOR_FAILURE,
        Outcome.SUCCESS,
        Outcome.SERIOUS_FAILURE,
    ]
    assert said[-1].detail["status"] == 0x0122
    assert said[-1].detail["reason"] == "Class not supported."
    assert {event.actor for event in said} == {"sender-1"}


Act = Callable[[Transaction, ClaimedBatch, int], None]
SETTLING: dict[str, Act] = {
    "delivered": lambda tx, b, i: deliveries.delivered(tx, b, i, status=0, now=at(50)),
    "later": lambda tx, b, i: deliveries.later(tx, b, i, error="", status=None, at=at(60), now=at(50)),
    "refused": lambda tx, b, i: deliveries.refused(tx, b, i, error="", status=1, now=at(50)),
    "renew": lambda tx, b, i: deliveries.renew(tx, b, at(90)),
}


@pytest.mark.parametrize("act", SETTLING.values(), ids=SETTLING)
def test_who_lost_the_lease_settles_nothing(database: Database, act: Act) -> None:
    analysed(database)
    claimed = batch(database)
    with database.transaction() as tx:
        assert not deliveries.any_lapsed(tx, at(14))
        assert deliveries.requeue_lapsed(tx, at(14)) == 0
        assert deliveries.any_lapsed(tx, at(16))
        assert deliveries.requeue_lapsed(tx, at(16)) == 2
    with pytest.raises(StaleState, match="lease"), database.transaction() as tx:
        act(tx, claimed, claimed.objects[0].delivery_id)
    batch(database, now=at(17))
    with pytest.raises(StaleState, match="lease"), database.transaction() as tx:
        act(tx, claimed, claimed.objects[0].delivery_id)
    assert {record.state for record in _of_study(database)} == {DeliveryState.SENDING}


def test_a_lease_can_be_kept_while_objects_are_settled(database: Database) -> None:
    analysed(database)
    claimed = batch(database)
    with database.transaction() as tx:
        deliveries.delivered(tx, claimed, claimed.objects[0].delivery_id, status=0, now=at(1))
        deliveries.renew(tx, claimed, at(40))
        assert not deliveries.any_lapsed(tx, at(39))
        deliveries.delivered(tx, claimed, claimed.objects[1].delivery_id, status=0, now=at(2))
    with pytest.raises(StaleState), database.transaction() as tx:
        deliveries.renew(tx, claimed, at(60))


def test_what_a_vanished_sender_held_is_due_at_once_and_says_so(database: Database) -> None:
    analysed(database, kinds=("SR",))
    batch(database)
    with database.transaction() as tx:
        deliveries.requeue_lapsed(tx, at(20))
    (record,) = _of_study(database)
    assert (record.state, record.attempt, record.next_attempt_at) == (DeliveryState.PENDING, 1, at(20))
    assert "stopped without a word" in (record.error or "")
    assert moves(database, AuditAction.DELIVERY_MOVED) == [("pending", "sending"), ("sending", "pending")]
    assert logged(database)[-1].event.actor == "clock"


def test_a_person_sends_again_what_was_refused(database: Database) -> None:
    analysed(database, kinds=("SR",), destinations=("pacs", "ward"))
    for destination in ("pacs", "ward"):
        claimed = batch(database, destination=destination)
        with database.transaction() as tx:
            deliveries.refused(tx, claimed, claimed.objects[0].delivery_id, error="No.", status=0xA900, now=at(1))
    with database.transaction() as tx:
        assert deliveries.retry_failed(tx, "1.2.3", actor="ada", now=at(9)) == 0
        assert deliveries.retry_failed(tx, STUDY, destination="ward", actor="ada", now=at(9)) == 1
        assert deliveries.retry_failed(tx, STUDY, actor="ada", now=at(9)) == 1
        assert deliveries.retry_failed(tx, STUDY, actor="ada", now=at(9)) == 0
    again = batch(database, now=at(9), destination="ward")
    assert again.attempt == 1
    assert logged(database, AuditAction.DELIVERY_MOVED)[-2].event.actor == "ada"


def test_a_delivery_of_nothing_is_refused_by_the_database(database: Database) -> None:
    from sqlalchemy.exc import IntegrityError

    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), database.transaction() as tx:
        deliveries.add(tx, 12345, ["pacs"], NOW)
