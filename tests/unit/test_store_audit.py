"""The audit chain: every way of tampering with it is found, and the first bad row is named."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import select, text

from tests.stores import NOW, STUDY, append_later, at, logged
from triage.domain.audit import GENESIS, AuditAction, AuditEvent, AuditRecord, LaterAction, Outcome
from triage.domain.errors import AuditBroken
from triage.store import audit, bundles, records_of_settings
from triage.store.audit import AuditFilter
from triage.store.db import Database
from triage.store.schema import audit as table


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
        since = AuditFilter(since=at(3))
        assert [r.sequence for r in audit.rows_between(tx, since, after=0, last=6, limit=9)] == [4, 5, 6]
        assert [r.sequence for r in audit.rows_between(tx, AuditFilter(), after=1, last=4, limit=2)] == [2, 3]
        assert [r.sequence for r in audit.records(tx, study_instance_uid=STUDY)] == [2, 4, 6]
        assert [r.sequence for r in audit.records(tx, limit=2)] == [5, 6]
        assert [r.sequence for r in audit.records(tx, study_instance_uid=STUDY, limit=1)] == [6]


def test_the_log_is_read_in_chunks_up_to_a_row(database: Database) -> None:
    with database.transaction() as tx:
        for number in range(audit.CHUNK_ROWS + 3):
            tx.audit(AuditEvent(at=at(number), actor="a", action=AuditAction.JOB_MOVED))
    chunks = [[row.sequence for row in chunk] for chunk in audit.in_chunks(database, AuditFilter(), 1002)]
    assert [len(chunk) for chunk in chunks] == [1000, 2]
    assert [number for chunk in chunks for number in chunk] == list(range(1, 1003))
    assert list(audit.in_chunks(database, AuditFilter(actor="b"), 1002)) == []


def test_the_filters_that_are_equalities_each_have_an_index(sqlite_url: str) -> None:
    """A rare actor, or a rare outcome, must not be looked for in every row of years."""
    db = Database(sqlite_url)
    asked = {
        "ix_audit_actor": AuditFilter(actor="a"),
        "ix_audit_outcome": AuditFilter(outcome=Outcome.SERIOUS_FAILURE),
        "ix_audit_action": AuditFilter(action=AuditAction.LOGIN),
        "ix_audit_study_instance_uid": AuditFilter(study_instance_uid=STUDY),
    }
    with db.read() as tx:
        for index, wanted in asked.items():
            query = select(table.c.sequence).where(*wanted.conditions()).order_by(table.c.sequence.desc()).limit(51)
            said = str(query.compile(db._engine, compile_kwargs={"literal_binds": True}))
            plan = " ".join(row.detail for row in tx.connection.execute(text(f"EXPLAIN QUERY PLAN {said}")))
            assert index in plan
            assert "TEMP B-TREE" not in plan
    db.dispose()


def test_rows_of_a_later_release_verify_and_are_read_after_a_roll_back(database: Database) -> None:
    _write(database, 2)
    append_later(database, "study_deleted")
    append_later(database, "login", outcome="major_failure")
    _write(database, 1, start=2)
    assert _verify(database) == 5
    with database.read() as tx:
        newest = audit.page(tx, AuditFilter(), before=None, limit=9)
        assert isinstance(newest[1], audit.UnreadableRow)  # an outcome that no message of ours could tell
        later = newest[2]
        assert isinstance(later, AuditRecord)
        assert isinstance(later.event.action, LaterAction)
        assert (later.event.action, later.event.detail) == ("study_deleted", {"why": "later"})
        assert [row.sequence for row in audit.rows_after(tx, 0, 9)] == [1, 2, 3, 4, 5]
        assert [row.sequence for row in audit.records(tx)] == [1, 2, 3, 5]
        assert [row.sequence for row in audit.records(tx, study_instance_uid=STUDY)] == [2, 3]


def test_a_row_of_a_later_release_that_was_changed_is_found(database: Database) -> None:
    append_later(database, "study_deleted")
    _run(database, "UPDATE audit SET action = 'study_kept'")
    with pytest.raises(AuditBroken, match="row 1"):
        _verify(database)


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
        tx.connection.execute(table.update().where(table.c.sequence == 2).values(at=at(1.000001)))
    with pytest.raises(AuditBroken, match="row 2"):
        _verify(database)


DEEP = "[" * 100_000
ONLY_SQLITE = {
    "a flipped bit that leaves no UTF-8": "UPDATE audit SET actor = CAST(X'E1637472' AS TEXT) WHERE sequence = 2",
    "a flipped bit in a digest": "UPDATE audit SET digest = CAST(X'E163' AS TEXT) WHERE sequence = 2",
    "a time that is none": "UPDATE audit SET at = 'teatime' WHERE sequence = 2",
    "a time with a zone": "UPDATE audit SET at = at || '+05:00' WHERE sequence = 2",
    "a time written otherwise": "UPDATE audit SET at = replace(at, ' ', 'T') WHERE sequence = 2",
    "a time with fewer digits": "UPDATE audit SET at = substr(at, 1, 23) WHERE sequence = 2",
    "a broken byte where one stood already": "UPDATE audit SET actor = CAST(X'FF' AS TEXT) WHERE sequence = 2",
    **{
        f"{column} that equals no text": f"UPDATE audit SET {column} = CAST({column} AS BLOB) WHERE sequence = 2"
        for column in ("actor", "action", "outcome", "study_instance_uid", "detail", "at", "previous", "digest")
    },
}
ONLY_POSTGRESQL = {
    "the end of time": "UPDATE audit SET at = 'infinity' WHERE sequence = 2",
    "before our era": "UPDATE audit SET at = (to_char(at, 'YYYY-MM-DD HH24:MI:SS.USOF') || ' BC')::timestamptz",
}


@pytest.mark.parametrize("statement", [*ONLY_SQLITE.values()], ids=[*ONLY_SQLITE])
def test_what_sqlite_keeps_and_no_driver_reads_is_found(sqlite_url: str, statement: str) -> None:
    db = Database(sqlite_url)
    _found_at_row_2_and_shown(db, statement)
    db.dispose()


@pytest.mark.parametrize("statement", [*ONLY_POSTGRESQL.values()], ids=[*ONLY_POSTGRESQL])
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_postgresql_keeps_and_no_driver_reads_is_found(database: Database, statement: str) -> None:
    _found_at_row_2_and_shown(database, statement, row=1 if "BC" in statement else 2)


def test_a_detail_deeper_than_can_be_read_is_found(database: Database) -> None:
    _found_at_row_2_and_shown(database, f"UPDATE audit SET detail = '{DEEP}' WHERE sequence = 2")


def _found_at_row_2_and_shown(db: Database, statement: str, row: int = 2) -> None:
    _write(db, 1)
    with db.transaction() as tx:
        moment = NOW.replace(microsecond=123000)
        tx.audit(AuditEvent(at=moment, actor="\ufffd", action=AuditAction.SERIES_MOVED, study_instance_uid=STUDY))
    _write(db, 1)
    assert _verify(db) == 3
    _run(db, statement)
    with pytest.raises(AuditBroken, match=f"row {row}:"):
        _verify(db)
    with db.read() as tx:
        shown = audit.page(tx, AuditFilter(), before=None, limit=9)
        assert [shown_row.sequence for shown_row in shown] == [3, 2, 1]
        audit.records(tx)


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
        from triage.store.schema import bundles as kept

        (row,) = tx.connection.execute(kept.select()).all()
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
