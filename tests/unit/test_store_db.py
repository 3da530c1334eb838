"""Transactions: all or nothing, the audit rows among it; what a driver raises becomes one sentence."""

from __future__ import annotations

import sqlite3
import threading
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.stores import NOW, STUDY, logged
from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.errors import ConfigurationError, StoreUnavailable
from triage.store import audit, studies
from triage.store.db import Database

EVENT = AuditEvent(at=NOW, actor="clock", action=AuditAction.SERVICE_STARTED, detail={"pid": 7, "share": 0.1})


def _studies(db: Database) -> list[str]:
    with db.read() as tx:
        return list(tx.connection.execute(text("SELECT study_instance_uid FROM studies")).scalars())


def test_a_block_that_ends_is_committed_with_its_audit_rows(database: Database) -> None:
    with database.transaction() as tx:
        studies.lock(tx, STUDY, now=NOW)
        tx.audit(EVENT)
    assert _studies(database) == [STUDY]
    (record,) = logged(database)
    assert record.event == EVENT
    assert record.sequence == 1


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    def act() -> None:
        with database.transaction() as tx:
            studies.lock(tx, STUDY, now=NOW)
            tx.audit(EVENT)
            raise LookupError

    with pytest.raises(LookupError):
        act()
    assert _studies(database) == []
    assert logged(database) == []


def test_an_audit_row_that_cannot_be_written_undoes_the_act(database: Database) -> None:
    with database.transaction() as tx:
        tx.connection.execute(text("DROP TABLE audit"))

    def act() -> None:
        with database.transaction() as tx:
            studies.lock(tx, STUDY, now=NOW)
            tx.audit(EVENT)

    with pytest.raises(StoreUnavailable, match="triage db upgrade"):
        act()
    assert _studies(database) == []


def test_reading_does_not_wait_for_a_writer_and_sees_what_is_committed(database: Database) -> None:
    with database.transaction() as tx:
        studies.lock(tx, STUDY, now=NOW)
        assert _studies(database) == []
    assert _studies(database) == [STUDY]


def test_a_reading_transaction_takes_no_audit_row(database: Database) -> None:
    with database.read() as tx, pytest.raises(ValueError, match="reading"):
        tx.audit(EVENT)


def test_a_row_that_is_there_already_is_not_inserted_again(database: Database) -> None:
    from triage.store.schema import studies as table

    values = {"study_instance_uid": STUDY, "accession_number": "", "received_at": NOW}
    with database.transaction() as tx:
        assert tx.insert_new(table, **values) == STUDY
        assert tx.insert_new(table, **values) is None


def test_text_from_a_peer_that_no_database_can_hold_still_makes_an_audit_row(database: Database) -> None:
    with database.transaction() as tx:
        tx.audit(
            AuditEvent(
                at=NOW,
                actor="SEND\x00ER\ud800",
                action=AuditAction.INSTANCE_REFUSED,
                sop_instance_uid="1.2\x00",
                detail={"why": "\x00\udcff 頭部"},
            )
        )
    (record,) = logged(database)
    assert record.event.actor == "SEND?ER?"
    assert record.event.sop_instance_uid == "1.2?"
    assert record.event.detail == {"why": "\x00\udcff 頭部"}
    with database.read() as tx:
        assert audit.verify(tx) == 1


def test_a_naive_time_is_refused(database: Database) -> None:
    with pytest.raises(Exception, match="time zone"), database.transaction() as tx:
        studies.lock(tx, STUDY, now=datetime(2026, 1, 1))  # noqa: DTZ001


def test_two_writers_wait_for_each_other(database: Database) -> None:
    entered, order = threading.Event(), []

    def second() -> None:
        entered.wait()
        with database.transaction() as tx:
            studies.lock(tx, STUDY, now=NOW)
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with database.transaction() as tx:
        studies.lock(tx, STUDY, now=NOW)
        entered.set()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_sqlite_is_opened_for_durability(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'a.db'}")
    with db.read() as tx:
        said = {
            name: tx.connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    db.dispose()
    assert said == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30000}


def test_sqlite_waits_for_another_process(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'a.db'}")
    with db.transaction() as tx:
        tx.connection.execute(text("CREATE TABLE t (x)"))
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, other.execute, ("COMMIT",))
    timer.start()
    with db.transaction() as tx:
        tx.connection.execute(text("INSERT INTO t VALUES (1)"))
    timer.join()
    other.close()
    db.dispose()


def test_postgresql_answers_only_when_its_disk_has_it(database: Database) -> None:
    if database.is_sqlite:
        return
    with database.transaction() as tx:
        said = {
            name: tx.connection.execute(text(f"SHOW {name}")).scalar()
            for name in ("synchronous_commit", "lock_timeout")
        }
    assert said == {"synchronous_commit": "on", "lock_timeout": "30s"}


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "mysql://u:secret@h/d", "nonsense"],
)
def test_a_url_that_cannot_work_is_refused_without_saying_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="sqlite:///path") as caught:
        Database(url)
    assert "secret" not in str(caught.value)


def test_postgresql_is_always_spoken_to_by_psycopg() -> None:
    for scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        db = Database(f"{scheme}://u:secret@127.0.0.1:1/d")
        assert db.url.drivername == "postgresql+psycopg"
        with pytest.raises(StoreUnavailable) as caught, db.read() as tx:
            tx.connection.execute(text("SELECT 1"))
        assert "secret" not in str(caught.value)
        db.dispose()


def test_a_file_that_is_no_database_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"this is no database at all" * 100)
    db = Database(f"sqlite:///{tmp_path / 'a.db'}")
    with pytest.raises(StoreUnavailable, match="not a database"), db.transaction():
        pass
    db.dispose()
