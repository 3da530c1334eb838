"""Heartbeats and links on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.stores import NOW, at
from triage.domain.downtime import Heartbeat, Link
from triage.store import heartbeats, links
from triage.store.db import Database


def beat(owner: str = "host/1/work", role: str = "work", seconds: float = 0.0, **detail: object) -> Heartbeat:
    return Heartbeat(owner, role, NOW, at(seconds), detail=detail)


def seen(db: Database) -> list[Heartbeat]:
    with db.read() as tx:
        return heartbeats.seen(tx)


def test_a_beat_replaces_the_one_before(database: Database) -> None:
    first, second = beat(bundle="demo 1"), beat(seconds=2.0, bundle="demo 2")
    for one in (first, second):
        with database.transaction() as tx:
            heartbeats.beat(tx, one)
    assert seen(database) == [second]


def test_the_last_beat_says_that_the_end_was_meant(database: Database) -> None:
    with database.transaction() as tx:
        heartbeats.beat(tx, replace(beat(seconds=9.0), stopped=True))
    (found,) = seen(database)
    assert found.stopped
    assert not found.alive(at(9.0))
    assert found.detail == {}


def test_a_role_that_runs_again_forgets_what_it_left_on_its_host(database: Database) -> None:
    old, twin = beat("host/1/work"), beat("host/2/work", seconds=100.0)
    elsewhere, listener = beat("host%/1/work"), beat("host/1/listen", "listen")
    with database.transaction() as tx:
        for one in (old, twin, elsewhere, listener):
            heartbeats.beat(tx, one)
        heartbeats.forget(tx, role="work", host="host", silent_since=at(94.0), now=at(100.0))
    assert [one.owner for one in seen(database)] == ["host/1/listen", "host%/1/work", "host/2/work"]


def test_a_host_that_is_long_gone_is_forgotten(database: Database) -> None:
    with database.transaction() as tx:
        heartbeats.beat(tx, beat("gone/1/work"))
        later = NOW + timedelta(days=2, seconds=1)
        heartbeats.forget(tx, role="work", host="host", silent_since=later, now=later)
    assert seen(database) == []


def test_a_link_is_down_since_it_was_first_found_so(database: Database) -> None:
    with database.transaction() as tx:
        links.down(tx, "pacs", "refused", at(0))
        links.down(tx, "pacs", "no route", at(60))
        links.down(tx, "ris", "refused", at(5))
        assert links.is_down(tx, "pacs")
        assert not links.is_down(tx, "other")
    with database.read() as tx:
        assert links.known(tx) == [
            Link("pacs", False, at(0), "no route"),
            Link("ris", False, at(5), "refused"),
        ]


def test_a_link_that_answers_again_is_up_since_then(database: Database) -> None:
    with database.transaction() as tx:
        links.down(tx, "pacs", "refused", at(0))
        links.up(tx, "pacs", at(60))
        links.up(tx, "pacs", at(90))
        links.up(tx, "never down", at(90))
        assert not links.is_down(tx, "pacs")
    with database.read() as tx:
        assert links.known(tx) == [Link("pacs", True, at(60), None)]
    with database.transaction() as tx:
        links.down(tx, "pacs", "refused", at(120))
        assert links.known(tx) == [Link("pacs", False, at(120), "refused")]
