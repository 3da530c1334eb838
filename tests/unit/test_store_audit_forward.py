"""How far a receiver has the log: one sender at a time moves it, and it survives everything."""

from __future__ import annotations

import pytest

from tests.stores import NOW, at
from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.errors import NotFound, StaleState
from triage.store import audit_forward
from triage.store.db import Database

HERE = "tls:syslog:6514"


def claim(db: Database, owner: str = "a", seconds: float = 0) -> int | None:
    with db.transaction() as tx:
        return audit_forward.claim(tx, HERE, owner=owner, now=at(seconds), lease_seconds=60)


def advance(db: Database, start: int, to: int, owner: str = "a") -> None:
    with db.transaction() as tx:
        audit_forward.advance(tx, HERE, owner=owner, start=start, to=to, now=at(1))


def state(db: Database) -> audit_forward.ForwardState:
    with db.read() as tx:
        (only,) = audit_forward.states(tx)
    return only


def test_a_new_receiver_begins_at_the_first_row(database: Database) -> None:
    with database.transaction() as tx:
        for _ in range(3):
            tx.audit(AuditEvent(at=NOW, actor="a", action=AuditAction.LOGIN))
    assert claim(database) == 0
    advance(database, 0, 2)
    assert (state(database).sequence, state(database).waiting, state(database).updated_at) == (2, 1, at(1))
    assert claim(database) == 2


def test_only_one_sender_tells_a_receiver(database: Database) -> None:
    assert claim(database, "a") == 0
    assert claim(database, "b") is None
    with pytest.raises(StaleState):
        advance(database, 0, 5, owner="b")
    assert claim(database, "a", 59) == 0  # keeps it
    assert claim(database, "b", 100) is None
    assert claim(database, "b", 120) == 0
    with pytest.raises(StaleState):
        advance(database, 0, 5, owner="a")


def test_a_sender_that_stops_lets_another_go_on_at_once(database: Database) -> None:
    claim(database, "a")
    with database.transaction() as tx:
        audit_forward.release(tx, HERE, owner="b")
    assert claim(database, "b") is None
    with database.transaction() as tx:
        audit_forward.release(tx, HERE, owner="a")
    assert claim(database, "b") == 0


def test_the_cursor_moves_only_from_where_it_was_read(database: Database) -> None:
    claim(database)
    advance(database, 0, 5)
    with pytest.raises(StaleState):
        advance(database, 0, 5)
    assert state(database).sequence == 5


def test_what_is_wrong_is_kept_until_a_row_gets_through(database: Database) -> None:
    claim(database)
    with database.transaction() as tx:
        audit_forward.failed(tx, HERE, owner="a", error="no route", now=at(2))
    assert state(database).error == "no route"
    advance(database, 0, 1)
    assert state(database).error is None


def test_a_person_can_have_rows_told_again(database: Database) -> None:
    claim(database)
    advance(database, 0, 9)
    with database.transaction() as tx:
        audit_forward.rewind(tx, HERE, 4, at(3))
    assert claim(database) == 4
    with pytest.raises(StaleState):  # what was under way when the person did it
        advance(database, 9, 12)
    with pytest.raises(NotFound), database.transaction() as tx:
        audit_forward.rewind(tx, HERE, 4, at(3))
