"""The audit chain: every way of tampering with it is found, and the first bad row is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.conftest import copy_sqlite
from tests.stores import NOW, STUDY, at, logged
from triage.domain.audit import GENESIS, AuditAction, AuditEvent, Outcome
from triage.domain.errors import AuditBroken
from triage.store import audit, bundles, records_of_settings
from triage.store.db import Database


def _write(db: Database, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        with db.transaction() as tx:
            tx.audit(
                AuditEvent(
                    at=at(number),
                    actor=f"actor {number}",
                    action=AuditAction.SERIES_MOVED,
                    outcome=Outcome.MINOR_FAILURE,
                    study_instance_uid=STUDY if number % 2 else "1.2",
                    detail={"number": number, "share": 0.1 * number, "text": "Größe", "none": None, "flag": True},
                )
            )


def _verify(db: Database) -> int:
    with db.read() as tx:
        return audit.verify(tx)


def _run(db: Database, *statements: str) -> None:
    with db.transaction() as tx:
        for statement in statements:
            tx.connection.execute(text(statement))


def test_an_empty_log_is_whole(database: Database) -> None:
    assert _verify(database) == 0


def test_rows_are_chained_in_the_order_of_their_commits(database: Database) -> None:
    _write(database, 3)
    assert _verify(database) == 3
    records = logged(database)
    assert [record.sequence for record in records] == [1, 2, 3]
    assert records[0].previous == GENESIS
    assert [record.previous for record in records[1:]] == [record.digest for record in records[:-1]]
    assert records[2].event.detail == {"number": 2, "share": 0.2, "text": "Größe", "none": None, "flag": True}
    assert records[2].event.at == at(2)


def test_the_events_of_one_transaction_stand_together(database: Database) -> None:
    with database.transaction() as tx:
        for actor in ("a", "b"):
            tx.audit(AuditEvent(at=NOW, actor=actor, action=AuditAction.JOB_MOVED))
    assert [record.event.actor for record in logged(database)] == ["a", "b"]
    assert _verify(database) == 2


def test_more_rows_than_one_page_are_followed(database: Database) -> None:
    with database.transaction() as tx:
        for number in range(2500):
            tx.audit(AuditEvent(at=at(number), actor="a", action=AuditAction.JOB_MOVED))
    assert _verify(database) == 2500
    _run(database, "UPDATE audit SET actor = 'b' WHERE sequence = 2100")
    with pytest.raises(AuditBroken, match="row 2100"):
        _verify(database)


def test_the_log_can_be_read_in_part(database: Database) -> None:
    _write(database, 6)
    with database.read() as tx:
        assert [r.sequence for r in audit.records(tx, since=at(3))] == [4, 5, 6]
        assert [r.sequence for r in audit.records(tx, study_instance_uid=STUDY)] == [2, 4, 6]
        assert [r.sequence for r in audit.records(tx, limit=2)] == [5, 6]
        assert [r.sequence for r in audit.records(tx, study_instance_uid=STUDY, since=at(2), limit=1)] == [6]


TAMPERING = {
    "actor": ("UPDATE audit SET actor = 'nobody' WHERE sequence = 3", 3),
    "action": ("UPDATE audit SET action = 'job_moved' WHERE sequence = 3", 3),
    "unknown action": ("UPDATE audit SET outcome = 'splendid' WHERE sequence = 3", 3),
    "detail that is no object": ("UPDATE audit SET detail = '[1]' WHERE sequence = 3", 3),
    "study": ("UPDATE audit SET study_instance_uid = NULL WHERE sequence = 3", 3),
    "number in the detail": ("UPDATE audit SET detail = replace(detail, '2', '9') WHERE sequence = 3", 3),
    "detail that is no JSON": ("UPDATE audit SET detail = 'oops' WHERE sequence = 3", 3),
    "own digest": (f"UPDATE audit SET digest = '{GENESIS}' WHERE sequence = 3", 3),
    "link": (f"UPDATE audit SET previous = '{GENESIS}' WHERE sequence = 3", 3),
    "first row gone": ("DELETE FROM audit WHERE sequence = 1", 1),
    "row gone": ("DELETE FROM audit WHERE sequence = 3", 3),
    "tail gone": ("DELETE FROM audit WHERE sequence > 3", 4),
    "all gone": ("DELETE FROM audit", 1),
    "head moved": ("UPDATE audit_head SET sequence = 9", 6),
    "head of another chain": (f"UPDATE audit_head SET digest = '{GENESIS}'", 6),
}


@pytest.mark.parametrize(("statement", "row"), TAMPERING.values(), ids=TAMPERING)
def test_tampering_is_found_where_it_was_done(database: Database, statement: str, row: int) -> None:
    _write(database, 5)
    assert _verify(database) == 5
    _run(database, statement)
    with pytest.raises(AuditBroken, match=f"broken at row {row}:"):
        _verify(database)


def test_a_time_that_was_changed_is_found(database: Database) -> None:
    _write(database, 3)
    with database.transaction() as tx:
        from triage.store.schema import audit as table

        tx.connection.execute(table.update().where(table.c.sequence == 2).values(at=at(1.000001)))
    with pytest.raises(AuditBroken, match="row 2"):
        _verify(database)


def test_a_time_that_is_none_is_found(tmp_path: Path, sqlite_template: Path) -> None:
    copy_sqlite(sqlite_template, tmp_path / "a.db")
    db = Database(f"sqlite:///{tmp_path / 'a.db'}")
    _write(db, 3)
    _run(db, "UPDATE audit SET at = 'teatime' WHERE sequence = 2")
    with pytest.raises(AuditBroken, match="row 2"):
        _verify(db)
    db.dispose()


def test_two_rows_that_changed_places_are_found(database: Database) -> None:
    _write(database, 5)
    swap = "UPDATE audit SET sequence = {} WHERE sequence = {}"
    _run(database, swap.format(99, 2), swap.format(2, 4), swap.format(4, 99))
    with pytest.raises(AuditBroken, match="row 2"):
        _verify(database)


def test_a_row_that_was_slipped_in_is_found(database: Database) -> None:
    _write(database, 2)
    _run(
        database,
        "INSERT INTO audit (sequence, at, actor, action, outcome, detail, previous, digest) "
        "SELECT 3, at, actor, action, outcome, detail, digest, digest FROM audit WHERE sequence = 2",
    )
    with pytest.raises(AuditBroken, match="row 3"):
        _verify(database)


def test_a_lost_head_is_found_and_nothing_more_is_written(database: Database) -> None:
    _write(database, 2)
    _run(database, "DELETE FROM audit_head")
    with pytest.raises(AuditBroken, match="head"):
        _verify(database)
    with pytest.raises(AuditBroken, match="backup"):
        _write(database, 1)


def test_the_log_can_be_verified_in_a_transaction_that_is_audited_itself(database: Database) -> None:
    _write(database, 2)
    with database.transaction() as tx:
        tx.audit(AuditEvent(at=NOW, actor="ada", action=AuditAction.AUDIT_READ))
        assert audit.verify(tx) == 2
    assert _verify(database) == 3


def test_a_bundle_is_put_on_record_once(database: Database) -> None:
    for seconds in range(2):
        with database.transaction() as tx:
            bundles.record(tx, digest="ab", name="demo", version="1", manifest={"size": 256}, now=at(seconds))
    (record,) = logged(database, AuditAction.BUNDLE_RECORDED)
    assert record.event.detail == {"digest": "ab", "name": "demo", "version": "1"}
    with database.read() as tx:
        from triage.store.schema import bundles as table

        (row,) = tx.connection.execute(table.select()).all()
    assert (row.digest, row.manifest, row.recorded_at) == ("ab", {"size": 256}, NOW)


def test_settings_are_put_on_record_when_they_are_new(database: Database) -> None:
    said: list[dict[str, object]] = [{"a": 1, "b": [2.5, None]}, {"b": [2.5, None], "a": 1}, {"a": 2}]
    digests = []
    for settings in said:
        with database.transaction() as tx:
            digests.append(records_of_settings.record(tx, settings, NOW))
    assert digests[0] == digests[1] == hashlib.sha256(b'{"a":1,"b":[2.5,null]}').hexdigest()
    assert digests[2] != digests[0]
    events = [record.event for record in logged(database, AuditAction.SETTINGS_RECORDED)]
    assert [event.detail["digest"] for event in events] == [digests[0], digests[2]]
