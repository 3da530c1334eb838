"""Forwarding the log to an audit repository: everything, in order, none twice, whatever happens to the link."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.audit_trail import REPORTER, SAMPLES, detail, parsed
from tests.conftest import copy_sqlite
from tests.stores import NOW, append_later, at
from triage.domain.audit import AuditAction, AuditEvent, Outcome
from triage.domain.errors import ConfigurationError, DeliveryUnconfirmed, StaleState
from triage.net.syslog import BOM
from triage.services.forward_audit import Forwarder, Route
from triage.store import audit_forward
from triage.store.db import Database


@dataclass
class Repository:
    """Takes messages; each link breaks after the number of messages that ``breaks`` names next."""

    breaks: list[int] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)
    links: int = 0
    down: bool = False
    trouble: Exception | None = None

    def connect(self) -> Link:
        if self.trouble is not None:
            raise self.trouble
        self.links += 1
        return Link(self, self.breaks.pop(0) if self.breaks else None)

    def sequences(self) -> list[tuple[int, str]]:
        roots = [parsed(message.split(BOM, 1)[1]) for message in self.got]
        return [(int(detail(root, "sequence") or 0), detail(root, "part") or "") for root in roots]


@dataclass
class Link:
    repository: Repository
    left: int | None
    taken: int = 0
    closed: bool = False

    def send(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            if self.left == 0:
                raise DeliveryUnconfirmed("The link broke.")
            self.left = None if self.left is None else self.left - 1
            self.repository.got.append(message)
            self.taken += 1

    def check(self) -> None:
        if self.repository.down:
            raise DeliveryUnconfirmed("It hung up.")

    def close(self) -> None:
        self.closed = True


def write(db: Database, *actions: AuditAction, outcome: Outcome = Outcome.SUCCESS) -> None:
    with db.transaction() as tx:
        for action in actions:
            fields = {"actor": "ada", "outcome": outcome, **SAMPLES[action]}
            tx.audit(AuditEvent(at=NOW, action=action, **fields))


def route(
    db: Database, repository: Repository, owner: str = "h/1/send", clock: Callable[[], datetime] = lambda: NOW
) -> Route:
    return Route(db, "tls:r:6514", repository.connect, REPORTER, "DICOM+RFC3881", clock, owner)


def drain(forwarder: Forwarder) -> None:
    """Step until nothing is left, as `run` does, without its waits."""
    idle = 0
    while idle < 2:
        try:
            idle = idle + 1 if not forwarder.step() else 0
        except DeliveryUnconfirmed as exc:
            forwarder._trouble(exc)


def state(db: Database) -> audit_forward.ForwardState:
    with db.read() as tx:
        (only,) = audit_forward.states(tx)
    return only


def test_every_row_that_is_told_arrives_in_order(database: Database) -> None:
    repository = Repository()
    write(database, AuditAction.LOGIN, AuditAction.JOB_MOVED, AuditAction.STUDY_OPENED, AuditAction.LOGOUT)
    drain(Forwarder(route(database, repository)))
    assert repository.sequences() == [(1, "1/1"), (3, "1/1"), (4, "1/1")]
    assert (state(database).sequence, state(database).error) == (4, None)
    assert repository.got[0].startswith(
        b"<85>1 2026-11-20T08:00:00.123456Z triage1.example.org ich-triage - DICOM+RFC3881 - "
    )


def test_each_message_names_the_one_before_also_after_a_restart(database: Database) -> None:
    repository = Repository()
    write(database, AuditAction.JOB_MOVED, AuditAction.LOGIN, AuditAction.JOB_MOVED)
    drain(Forwarder(route(database, repository)))
    write(database, AuditAction.DELIVERY_MOVED, AuditAction.LOGOUT)
    drain(Forwarder(route(database, repository)))
    roots = [parsed(message.split(BOM, 1)[1]) for message in repository.got]
    assert [(detail(r, "after"), detail(r, "sequence")) for r in roots] == [("0", "2"), ("2", "4"), ("4", "5")]


def test_an_empty_log_opens_no_link(database: Database) -> None:
    repository = Repository()
    forwarder = Forwarder(route(database, repository))
    assert not forwarder.step()
    write(database, AuditAction.JOB_MOVED)
    assert forwarder.step()
    assert (repository.links, state(database).sequence) == (0, 1)


def test_what_was_taken_before_a_cut_is_not_sent_again(database: Database) -> None:
    repository = Repository(breaks=[3, 0, 2])
    write(database, *[AuditAction.LOGIN] * 10)
    drain(Forwarder(route(database, repository)))
    assert [sequence for sequence, _ in repository.sequences()] == list(range(1, 11))
    assert repository.links == 4


def test_a_cut_between_the_two_messages_of_one_row_repeats_neither(database: Database) -> None:
    repository = Repository(breaks=[2])
    write(database, AuditAction.LOGIN)
    write(database, AuditAction.INSTANCES_RECEIVED, outcome=Outcome.MINOR_FAILURE)
    write(database, AuditAction.LOGOUT)
    drain(Forwarder(route(database, repository)))
    assert repository.sequences() == [(1, "1/1"), (2, "1/2"), (2, "2/2"), (3, "1/1")]


@settings(max_examples=30)
@given(
    rows=st.lists(st.sampled_from(["one", "two", "none"]), max_size=25),
    breaks=st.lists(st.integers(0, 9), max_size=8),
)
def test_no_order_of_cuts_loses_or_repeats_anything(
    rows: list[str], breaks: list[int], tmp_path_factory: pytest.TempPathFactory, sqlite_template: object
) -> None:
    file = tmp_path_factory.mktemp("db") / "a.db"
    copy_sqlite(sqlite_template, file)  # type: ignore[arg-type]
    db = Database(f"sqlite:///{file}")
    expected = []
    for sequence, kind in enumerate(rows, 1):
        if kind == "two":
            write(db, AuditAction.INSTANCES_RECEIVED, outcome=Outcome.MINOR_FAILURE)
            expected += [(sequence, "1/2"), (sequence, "2/2")]
        elif kind == "one":
            write(db, AuditAction.LOGIN)
            expected += [(sequence, "1/1")]
        else:
            write(db, AuditAction.JOB_MOVED)
    repository = Repository(breaks=list(breaks))
    drain(Forwarder(route(db, repository)))
    assert repository.sequences() == expected
    db.dispose()


def test_a_repository_that_is_down_leaves_no_audit_row_and_a_sentence(database: Database) -> None:
    repository = Repository(trouble=DeliveryUnconfirmed("Cannot connect."))
    write(database, AuditAction.LOGIN)
    forwarder = Forwarder(route(database, repository))
    for _ in range(3):
        with pytest.raises(DeliveryUnconfirmed) as caught:
            forwarder.step()
        forwarder._trouble(caught.value)
    assert (state(database).error, state(database).waiting) == ("Cannot connect.", 1)
    repository.trouble = None
    drain(forwarder)
    assert (state(database).error, state(database).sequence) == (None, 1)


def test_a_repository_that_hung_up_is_noticed_before_the_next_message(database: Database) -> None:
    repository = Repository()
    write(database, AuditAction.LOGIN)
    forwarder = Forwarder(route(database, repository))
    drain(forwarder)
    repository.down = True
    with pytest.raises(DeliveryUnconfirmed):
        forwarder.step()


def test_a_second_sender_waits_until_the_first_is_gone(database: Database) -> None:
    repository = Repository()
    write(database, AuditAction.LOGIN)
    now = [NOW]
    first, second = (Forwarder(route(database, repository, owner, lambda: now[0])) for owner in ("a", "b"))
    assert first.step()
    assert not second.step()
    write(database, AuditAction.LOGOUT)
    first.hang_up()
    now[0] = at(25)  # it asks again now and then
    drain(second)
    assert [sequence for sequence, _ in repository.sequences()] == [1, 2]


def test_a_sender_that_hung_up_asks_for_its_place_again(database: Database) -> None:
    """Its lease is gone: what it sent without one could not be noted, and would be sent twice."""
    repository = Repository()
    forwarder = Forwarder(route(database, repository))
    for _ in range(2):
        write(database, AuditAction.LOGIN)
        drain(forwarder)
        forwarder.hang_up()
    assert [sequence for sequence, _ in repository.sequences()] == [1, 2]


def test_a_place_that_a_person_moved_is_taken_up(database: Database) -> None:
    repository = Repository()
    write(database, AuditAction.LOGIN, AuditAction.LOGOUT)
    forwarder = Forwarder(route(database, repository))
    drain(forwarder)
    with database.transaction() as tx:
        audit_forward.rewind(tx, "tls:r:6514", 1, NOW)
    write(database, AuditAction.LOGIN)
    with pytest.raises(StaleState):
        forwarder.step()
    forwarder._forget()
    drain(forwarder)
    assert [sequence for sequence, _ in repository.sequences()] == [1, 2, 3, 2, 3]


def test_a_row_that_somebody_spoilt_holds_nothing_up(database: Database) -> None:
    from sqlalchemy import text

    repository = Repository()
    write(database, AuditAction.LOGIN, AuditAction.LOGIN, AuditAction.LOGIN)
    with database.transaction() as tx:
        tx.connection.execute(text("UPDATE audit SET action = 'sabotage' WHERE sequence = 2"))
    drain(Forwarder(route(database, repository)))
    assert [sequence for sequence, _ in repository.sequences()] == [1, 3]


def test_a_row_of_a_later_release_is_left_out_and_told_after_the_upgrade(database: Database) -> None:
    repository = Repository()
    write(database, AuditAction.LOGIN)
    append_later(database, "study_deleted")
    write(database, AuditAction.LOGIN)
    with capture_logs() as said:
        drain(Forwarder(route(database, repository)))
    assert [sequence for sequence, _ in repository.sequences()] == [1, 3]
    (left_out,) = [entry for entry in said if entry["event"] == "audit_row_not_forwarded"]
    assert left_out["sequence"] == 2
    assert "resend" in left_out["why"]


def test_nothing_is_skipped_while_many_write_at_once(database: Database) -> None:
    """A row has its number only once its writer holds the head: no lower number appears after a higher one."""
    repository = Repository(breaks=[5, 3, 11])
    threads = [
        threading.Thread(target=lambda: [write(database, AuditAction.LOGIN, AuditAction.LOGOUT) for _ in range(15)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    forwarder = Forwarder(route(database, repository))
    while any(thread.is_alive() for thread in threads):
        drain(forwarder)
    drain(forwarder)
    assert [sequence for sequence, _ in repository.sequences()] == list(range(1, 121))


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize(
    "trouble", [DeliveryUnconfirmed("down"), ConfigurationError("tls_ca is gone"), AssertionError("our own fault")]
)
def test_the_thread_goes_on_until_it_is_stopped(database: Database, trouble: Exception) -> None:
    repository = Repository(breaks=[1, 1], trouble=trouble)
    forwarder = Forwarder(route(database, repository))
    stop = threading.Event()
    thread = threading.Thread(target=forwarder.run, args=(stop,))
    write(database, *[AuditAction.LOGIN] * 3)
    thread.start()
    until(lambda: bool(state_or_none(database) and state(database).error))
    repository.trouble = None
    until(lambda: len(repository.got) == 3)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert [sequence for sequence, _ in repository.sequences()] == [1, 2, 3]
    assert Forwarder(route(database, repository, "another")).step() is False  # released, and nothing is left


def state_or_none(db: Database) -> audit_forward.ForwardState | None:
    with db.read() as tx:
        return next(iter(audit_forward.states(tx)), None)


def test_no_header_holds_anything_but_printable_text(database: Database) -> None:
    repository = Repository()
    write(database, AuditAction.LOGIN)
    drain(Forwarder(route(database, repository)))
    assert re.fullmatch(rb"<85>1( [!-~]+){6} ", repository.got[0].split(BOM, 1)[0])
