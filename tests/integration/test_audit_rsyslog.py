"""Audit messages reach a real rsyslog over TLS and UDP: all of them, in order, none twice, while work goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.audit_trail import REPORTER, detail, parsed
from tests.conftest import unavailable
from tests.rsyslog import Certificates, Rsyslog, cable
from tests.services import MissingProgramError
from tests.stores import STUDY
from triage.domain.audit import AuditAction, AuditEvent, Outcome
from triage.domain.errors import DeliveryUnconfirmed
from triage.entrypoints.app import utc_now
from triage.net.syslog import SyslogLink, SyslogReceiver
from triage.services.forward_audit import Forwarder, Route
from triage.store import audit, audit_forward
from triage.store.db import Database

MESSAGES = 10_000
MESSAGE_ID = "DICOM+RFC3881"


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[Rsyslog]:
    try:
        server = Rsyslog(tmp_path, Certificates(tmp_path))
    except MissingProgramError as missing:
        unavailable(str(missing))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def route(db: Database, connect: Callable[[], SyslogLink]) -> Route:
    return Route(db, "rsyslog", connect, REPORTER, MESSAGE_ID, utc_now, "h/1/send")


def told(server: Rsyslog) -> list[int]:
    """The rows that rsyslog has heard of, in its order; every message is judged by the schema."""
    return [int(detail(parsed(m["msg"].lstrip("\ufeff").encode()), "sequence") or 0) for m in server.messages()]


def forward(forwarder: Forwarder, until: Callable[[], bool], seconds: float) -> None:
    """Run the forwarder's thread until something is true."""
    stop = threading.Event()
    thread = threading.Thread(target=forwarder.run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + seconds
    try:
        while not until() and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


def logins(db: Database, count: int, longest: int = 200) -> None:
    """Rows whose messages grow up to so many bytes and begin again."""
    with db.transaction() as tx:
        for number in range(count):
            text = "x" * (number * 37 % longest)
            event = AuditEvent(
                at=utc_now(),
                actor="ada",
                action=AuditAction.LOGIN_FAILED,
                outcome=Outcome.MINOR_FAILURE,
                detail={"why": f"{number} {text}", "address": "192.0.2.7"},
            )
            tx.audit(event)


@pytest.mark.slow
def test_ten_thousand_messages_over_a_link_that_is_cut_twice(database: Database, rsyslog: Rsyslog) -> None:
    """Messages of up to 32 KB; meanwhile rows are committed, which are forwarded as well."""
    logins(database, MESSAGES // 2, longest=2_000)
    with database.transaction() as tx:
        for size in (32_000, 50_000):  # the second is cut to what every repository takes
            text = "y" * size
            tx.audit(
                AuditEvent(
                    at=utc_now(),
                    actor="ada",
                    action=AuditAction.LOGIN_FAILED,
                    outcome=Outcome.MINOR_FAILURE,
                    detail={"why": text},
                )
            )
    committed = [MESSAGES // 2 + 2]
    working = threading.Event()

    def work() -> None:
        """What goes on meanwhile: one committed step after the other."""
        while committed[0] < MESSAGES:
            with database.transaction() as tx:
                for _ in range(min(10, MESSAGES - committed[0])):
                    tx.audit(
                        AuditEvent(at=utc_now(), actor="ada", action=AuditAction.STUDY_OPENED, study_instance_uid=STUDY)
                    )
                    committed[0] += 1
        working.set()

    with cable(rsyslog.tls_port) as link:
        link.cut_after(2_000_000, 7_000_000)
        receiver = SyslogReceiver("127.0.0.1", link.port, rsyslog.certificates.client())
        worker = threading.Thread(target=work)
        worker.start()
        forward(
            Forwarder(route(database, receiver.connect)),
            until=lambda: working.is_set() and rsyslog.count() >= MESSAGES,
            seconds=200,
        )
        worker.join(30)
        assert (link.cuts, link.connections) == (2, 3)
    rsyslog.stop()
    heard = told(rsyslog)
    assert heard == list(range(1, MESSAGES + 1))
    longest = max(len(message["msg"].encode()) for message in rsyslog.messages())
    assert 31_000 < longest <= 32_768
    with database.read() as tx:
        (state,) = audit_forward.states(tx)
        assert (state.sequence, state.waiting, state.error) == (MESSAGES, 0, None)
        assert audit.verify(tx) == MESSAGES  # nothing about the link was audited


def test_rsyslog_reads_the_header_that_we_write(database: Database, rsyslog: Rsyslog) -> None:
    logins(database, 1)
    receiver = SyslogReceiver("127.0.0.1", rsyslog.tls_port, rsyslog.certificates.client())
    forward(Forwarder(route(database, receiver.connect)), until=lambda: rsyslog.count() == 1, seconds=20)
    rsyslog.stop()
    (message,) = rsyslog.messages()
    assert (message["pri"], message["app"], message["host"], message["id"]) == (
        "85",
        "ich-triage",
        REPORTER.node,
        MESSAGE_ID,
    )
    root = parsed(message["msg"].lstrip("\ufeff").encode())
    assert root.find("EventIdentification/EventID").get("csd-code") == "110114"
    assert message["at"] == root.find("EventIdentification").get("EventDateTime")


def test_messages_go_by_udp(database: Database, rsyslog: Rsyslog) -> None:
    logins(database, 20)
    receiver = SyslogReceiver("127.0.0.1", rsyslog.udp_port)
    forward(Forwarder(route(database, receiver.connect)), until=lambda: rsyslog.count() == 20, seconds=20)
    rsyslog.stop()
    assert told(rsyslog) == list(range(1, 21))


def test_a_server_that_is_restarted_gets_the_rest(database: Database, rsyslog: Rsyslog) -> None:
    receiver = SyslogReceiver("127.0.0.1", rsyslog.tls_port, rsyslog.certificates.client())
    logins(database, 5)
    forwarder = Forwarder(route(database, receiver.connect))
    forward(forwarder, until=lambda: rsyslog.count() == 5, seconds=20)
    rsyslog.stop()
    logins(database, 5)
    with pytest.raises(DeliveryUnconfirmed, match="Cannot connect"):
        forwarder.step()
    rsyslog.start()
    forward(forwarder, until=lambda: rsyslog.count() == 10, seconds=20)
    rsyslog.stop()
    assert told(rsyslog) == list(range(1, 11))


def test_a_server_that_stops_under_an_open_link_gets_the_rest(database: Database, rsyslog: Rsyslog) -> None:
    receiver = SyslogReceiver("127.0.0.1", rsyslog.tls_port, rsyslog.certificates.client())
    logins(database, 5)
    forwarder = Forwarder(route(database, receiver.connect))
    while forwarder.step():
        pass
    rsyslog.stop()
    with pytest.raises(DeliveryUnconfirmed, match=r"hung up|reset by peer"):
        forwarder.step()
    rsyslog.start()
    logins(database, 5)
    forward(Forwarder(route(database, receiver.connect)), until=lambda: rsyslog.count() == 10, seconds=20)
    rsyslog.stop()
    assert told(rsyslog) == list(range(1, 11))


def test_a_server_that_does_not_know_us_loses_nothing(database: Database, rsyslog: Rsyslog) -> None:
    """It hangs up after the handshake: what its machine acknowledged by then must not count."""
    logins(database, 3)
    stranger = SyslogReceiver("127.0.0.1", rsyslog.tls_port, rsyslog.certificates.client(known=False))
    forwarder = Forwarder(route(database, stranger.connect))
    with pytest.raises(DeliveryUnconfirmed, match="trusts audit"):
        forwarder.step()
    forwarder.hang_up()
    receiver = SyslogReceiver("127.0.0.1", rsyslog.tls_port, rsyslog.certificates.client())
    forward(Forwarder(route(database, receiver.connect)), until=lambda: rsyslog.count() == 3, seconds=20)
    rsyslog.stop()
    assert told(rsyslog) == [1, 2, 3]
