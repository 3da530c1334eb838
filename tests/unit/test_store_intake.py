"""Associations and instances: what came in, from whom, and what a second copy means."""

from __future__ import annotations

import pytest

from tests.stores import NOW, SERIES, STUDY, analysed, at, header, logged, receive
from triage.domain.audit import AuditAction, Outcome
from triage.store import associations, instances, result_objects
from triage.store.db import Database
from triage.store.schema import associations as table


def test_an_instance_is_found_by_its_uid(database: Database) -> None:
    with database.transaction() as tx:
        receive(tx, 7, kernel="H30s")
        assert instances.find(tx, "1.2.3") is None
        stored = instances.find(tx, f"{SERIES}.7")
    assert stored is not None
    assert stored.header == header(7, kernel="H30s")
    assert (stored.received_at, stored.size_bytes) == (NOW, 1000)
    assert stored.digest == f"digest of {SERIES}.7"


def test_the_instances_of_a_series_come_in_the_order_received(database: Database) -> None:
    with database.transaction() as tx:
        for number in (9, 2, 5):
            record = receive(tx, number)
        receive(tx, 1, series_uid="1.9")
        assert [stored.header for stored in instances.of_series(tx, record.id)] == [header(n) for n in (9, 2, 5)]


def test_a_uid_is_stored_once_whatever_study_it_says(database: Database) -> None:
    with database.transaction() as tx:
        record = receive(tx, 1)
        again = {"digest": "d", "blob_key": "00/k", "size_bytes": 1, "association_id": "a1", "now": NOW}
        assert not instances.add(tx, header(1), series=record, **again)
        assert len(instances.of_series(tx, record.id)) == 1


def test_a_copy_that_differs_is_kept_beside_once(database: Database) -> None:
    with database.transaction() as tx:
        receive(tx, 1)
        other = {"sop_instance_uid": f"{SERIES}.1", "association_id": "a1", "now": NOW}
        assert instances.add_conflict(tx, digest="other", blob_key="00/o1", **other)
        assert not instances.add_conflict(tx, digest="other", blob_key="00/o2", **other)
        assert instances.add_conflict(tx, digest="third", blob_key="00/o3", **other)


def test_the_sweep_knows_every_file_that_a_row_names(database: Database) -> None:
    analysed(database)
    with database.transaction() as tx:
        conflict = {"sop_instance_uid": f"{SERIES}.1", "digest": "other", "blob_key": "00/other"}
        instances.add_conflict(tx, **conflict, association_id="a1", now=NOW)
    with database.read() as tx:
        objects = [found.blob_key for found in result_objects.of_study(tx, STUDY)]
        named = {f"00/{SERIES}.1", "00/other", *objects}
        assert len(named) == 4
        assert instances.blob_keys_known(tx, [*named, "00/orphan"]) == named
        assert instances.blob_keys_known(tx, []) == set()


def test_opening_an_association_twice_changes_nothing(database: Database) -> None:
    with database.transaction() as tx:
        for title in ("FIRST", "SECOND"):
            associations.open(tx, "a1", "listener-1", title, "ICHTRIAGE", "127.0.0.1", NOW)
        (row,) = tx.connection.execute(table.select()).all()
    assert (row.calling_ae_title, row.opened_at, row.ended_at, row.ended_how) == ("FIRST", NOW, None, None)


def test_the_end_of_an_association_names_its_series_and_audits_each_study(database: Database) -> None:
    with database.transaction() as tx:
        first = receive(tx, 1)
        receive(tx, 2)
        second = receive(tx, 3, series_uid="1.5")
        other = receive(tx, 4, study="1.6", series_uid="1.6.1")
        receive(tx, 5, association="a2", series_uid="1.7")
    with database.transaction() as tx:
        assert associations.end(tx, "a1", how="released", now=at(5)) == [first.id, second.id, other.id]
    events = [record.event for record in logged(database, AuditAction.INSTANCES_RECEIVED)]
    assert {event.study_instance_uid: event.detail["instances"] for event in events} == {STUDY: 3, "1.6": 1}
    (mine,) = (event for event in events if event.study_instance_uid == STUDY)
    assert (mine.actor, mine.at, mine.outcome) == ("SENDER", at(5), Outcome.SUCCESS)
    assert (mine.detail["series"], mine.detail["bytes"], mine.detail["ended"]) == (2, 3000, "released")


def test_an_association_ends_once(database: Database) -> None:
    with database.transaction() as tx:
        receive(tx, 1)
        assert associations.end(tx, "never opened", how="released", now=NOW) == []
    with database.transaction() as tx:
        assert associations.end(tx, "a1", how="aborted", now=at(5)) != []
        assert associations.end(tx, "a1", how="released", now=at(6)) == []
    (record,) = logged(database, AuditAction.INSTANCES_RECEIVED)
    assert record.event.outcome is Outcome.MINOR_FAILURE
    assert record.event.detail["ended"] == "aborted"


def test_an_end_that_is_no_end_is_refused(database: Database) -> None:
    with database.transaction() as tx, pytest.raises(ValueError, match="vanished"):
        associations.end(tx, "a1", how="vanished", now=NOW)


def test_a_listener_that_starts_ends_what_its_predecessor_left_open(database: Database) -> None:
    with database.transaction() as tx:
        receive(tx, 1, association="a1")
        receive(tx, 2, association="a2", now=at(1))
        receive(tx, 3, association="a3")
        associations.end(tx, "a3", how="released", now=at(2))
        associations.open(tx, "b1", "listener-2", "SENDER", "ICHTRIAGE", "127.0.0.1", NOW)
    with database.transaction() as tx:
        assert associations.end_lost(tx, "listener-1", at(9)) == ["a1", "a2"]
        assert associations.end_lost(tx, "listener-1", at(9)) == []
    with database.read() as tx:
        ended = {row.id: row.ended_how for row in tx.connection.execute(table.select())}
    assert ended == {"a1": "lost", "a2": "lost", "a3": "released", "b1": None}
    assert [record.event.detail["ended"] for record in logged(database)] == ["released", "lost", "lost"]
