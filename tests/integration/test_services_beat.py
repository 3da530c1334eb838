"""A role says that it lives for as long as it does, whatever the database does meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from triage.domain.downtime import Heartbeat
from triage.domain.errors import StoreUnavailable
from triage.services.beat import Heart, alive
from triage.store import heartbeats
from triage.store.db import Database
from triage.store.transaction import Transaction


class Flickering:
    """A database that can be switched off, when whatever it is doing has ended."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._off = False
        self._busy = threading.Lock()

    def switch(self, *, off: bool) -> None:
        with self._busy:
            self._off = off

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._busy:
            if self._off:
                raise StoreUnavailable("SYNTHETIC: no answer.")
            with self._db.transaction() as tx:
                yield tx


def now() -> datetime:
    return datetime.now(UTC)


def seen(db: Database) -> list[Heartbeat]:
    with db.read() as tx:
        return heartbeats.seen(tx)


def soon(ready: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.01)


def heart(db: Database, **fields: object) -> Heart:
    return Heart(db, "host/1/work", "work", now, every_seconds=0.02, **fields)  # type: ignore[arg-type]


def test_it_beats_until_the_end_and_says_that_it_ended(database: Database) -> None:
    with alive(heart(database, detail={"bundle": "demo 1"})):
        soon(lambda: bool(seen(database)))
        first = seen(database)[0]
        assert first.alive(now())
        soon(lambda: seen(database)[0].at > first.at)
    (last,) = seen(database)
    assert last.stopped
    assert not last.alive(now())
    assert last.started_at == first.started_at
    assert last.detail == {"bundle": "demo 1"}


def test_a_role_that_fails_is_not_said_to_have_stopped(database: Database) -> None:
    def role() -> None:
        with alive(heart(database)):
            soon(lambda: bool(seen(database)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        role()
    assert not seen(database)[0].stopped


def test_what_a_role_does_may_change_with_each_beat(database: Database) -> None:
    detail: dict[str, object] = {"bundle": "demo 1"}
    with alive(heart(database, detail=detail)):
        soon(lambda: bool(seen(database)))
        detail["bundle"] = "demo 2"
        soon(lambda: seen(database)[0].detail == {"bundle": "demo 2"})


def test_a_database_that_does_not_answer_stops_no_role(database: Database) -> None:
    flickering = Flickering(database)
    flickering.switch(off=True)
    with alive(heart(flickering)):  # type: ignore[arg-type]
        time.sleep(0.1)
        assert seen(database) == []
        flickering.switch(off=False)
        soon(lambda: bool(seen(database)))
        flickering.switch(off=True)
        before = seen(database)[0].at
    assert seen(database)[0].at == before, "the goodbye is lost, and the role ends all the same"


def test_a_role_that_starts_again_takes_the_place_of_the_one_that_was_killed(database: Database) -> None:
    killed = datetime(2026, 11, 1, tzinfo=UTC)
    with database.transaction() as tx:
        heartbeats.beat(tx, Heartbeat("host/77/work", "work", killed, killed))
        heartbeats.beat(tx, Heartbeat("host/78/listen", "listen", killed, killed))
    with alive(heart(database)):
        soon(lambda: [one.owner for one in seen(database)] == ["host/78/listen", "host/1/work"])
