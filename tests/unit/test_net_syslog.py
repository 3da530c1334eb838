"""Syslog over TLS and UDP: what goes over the wire, what counts as taken, what is said when nothing gets through."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.rsyslog import Certificates
from tests.stores import NOW
from triage.domain.errors import ConfigurationError, DeliveryUnconfirmed
from triage.net import syslog
from triage.net.syslog import BOM, SyslogLink, SyslogReceiver, syslog_message

Talk = Callable[[ssl.SSLSocket, "Peer"], None]


@dataclass
class Peer:
    """A TLS server that does what a test wants with one connection after the other."""

    port: int = 0
    received: bytearray = field(default_factory=bytearray)
    ended: threading.Event = field(default_factory=threading.Event)


def read_all(link: ssl.SSLSocket, peer: Peer) -> None:
    with suppress(OSError):
        while data := link.recv(1 << 16):
            peer.received += data
    peer.ended.set()


@contextmanager
def peer(
    certificates: Certificates, talk: Talk = read_all, **options: ssl.TLSVersion | ssl.VerifyMode
) -> Iterator[Peer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.folder / "server.pem", certificates.folder / "server.key")
    context.load_verify_locations(certificates.ca)
    for name, value in options.items():
        setattr(context, name, value)
    listener = socket.create_server(("127.0.0.1", 0))
    here = Peer(listener.getsockname()[1])

    def serve() -> None:
        with suppress(OSError):
            while True:
                plain, _ = listener.accept()
                try:
                    with context.wrap_socket(plain, server_side=True) as link:
                        talk(link, here)
                except OSError:
                    plain.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(15)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def receiver(here: Peer, certificates: Certificates, *, known: bool = True) -> SyslogReceiver:
    return SyslogReceiver("127.0.0.1", here.port, certificates.client(known=known))


def frames(stream: bytes) -> list[bytes]:
    """The messages of an octet-counted stream (RFC 5425 4.3); what is left must be nothing."""
    found = []
    while stream:
        length, _, rest = stream.partition(b" ")
        found.append(rest[: int(length)])
        stream = rest[int(length) :]
    return found


def test_the_header_is_that_of_rfc_5424() -> None:
    message = syslog_message(b"<a/>", at=NOW, host="here.example", message_id="IHE+RFC-3881")
    assert message == b"<85>1 2026-11-20T08:00:00.123456Z here.example ich-triage - IHE+RFC-3881 - " + BOM + b"<a/>"


@pytest.mark.parametrize(("host", "written"), [("", "-"), ("a b\n\x00ü", "ab"), ("h" * 300, "h" * 255)])
def test_a_header_field_holds_only_what_it_may(host: str, written: str) -> None:
    assert syslog_message(b"", at=NOW, host=host, message_id="M").split(b" ")[2].decode() == written


@pytest.mark.parametrize(("host", "said"), [("255.255.255.255", "reached"), ("no such host", "found")])
def test_a_receiver_by_udp_that_cannot_be_had_is_said(host: str, said: str) -> None:
    """The broadcast address is refused by the kernel; the socket is closed, or this test ends with a warning."""
    with pytest.raises(DeliveryUnconfirmed, match=f"cannot be {said}"):
        SyslogReceiver(host, 514).connect()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_messages_of_every_size_arrive_framed_and_taken(certificates: Certificates, version: ssl.TLSVersion) -> None:
    messages = [bytes([65 + n % 26]) * size for n, size in enumerate((1, 9, 10, 16_384, 16_385, 32_768, 100_000))]
    with peer(certificates, maximum_version=version) as here:
        link = receiver(here, certificates).connect()
        link.send(messages[:3])
        assert link.taken == 3
        link.send(messages[3:])
        link.check()
        link.close()
        assert here.ended.wait(15)
    assert link.taken == len(messages)
    assert frames(bytes(here.received)) == messages


def test_a_server_that_asks_for_our_certificate_gets_it(certificates: Certificates) -> None:
    with peer(certificates, verify_mode=ssl.CERT_REQUIRED) as here:
        link = receiver(here, certificates).connect()
        link.send([b"one"])
        link.close()
        assert here.ended.wait(15)
        assert frames(bytes(here.received)) == [b"one"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_refuses_us_is_named_before_anything_is_sent(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    with (
        peer(certificates, verify_mode=ssl.CERT_REQUIRED, maximum_version=version) as here,
        pytest.raises(DeliveryUnconfirmed, match="trusts audit"),
    ):
        receiver(here, certificates, known=False).connect()


def test_a_server_with_another_name_or_authority_is_not_trusted(certificates: Certificates, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Certificates(tmp_path / "other")
    with peer(certificates) as here:
        for files in (stranger.client(known=False), replace(certificates.client(), expected_name="elsewhere.test")):
            with pytest.raises(DeliveryUnconfirmed, match="is not trusted"):
                SyslogReceiver("127.0.0.1", here.port, files).connect()


def test_a_server_that_hangs_up_between_messages_is_noticed(certificates: Certificates) -> None:
    def read_once(link: ssl.SSLSocket, here: Peer) -> None:
        here.received += link.recv(100)

    with peer(certificates, read_once) as here:
        link = receiver(here, certificates).connect()
        link.send([b"one"])
        assert "hung up" in trouble_of(link)
        assert link.taken == 1


def trouble_of(link: SyslogLink) -> str:
    """What is said once the other side's goodbye has arrived."""
    for _ in range(500):
        try:
            link.check()
        except DeliveryUnconfirmed as exc:
            return str(exc)
        time.sleep(0.02)
    return "nothing"


def test_only_what_the_other_machine_has_counts_when_the_link_breaks(certificates: Certificates) -> None:
    """It reads nothing and resets: its buffer takes some of the messages, never all."""

    def reset(link: ssl.SSLSocket, here: Peer) -> None:
        here.ended.wait(3)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    with peer(certificates, reset) as here:
        link = receiver(here, certificates).connect()
        with pytest.raises(DeliveryUnconfirmed, match="broke"):
            link.send([b"x" * 50_000] * 1000)
        assert 0 < link.taken < 1000


def test_nobody_there_is_said(certificates: Certificates) -> None:
    with peer(certificates) as here:
        pass
    with pytest.raises(DeliveryUnconfirmed, match="Cannot connect"):
        receiver(here, certificates).connect()


def test_what_is_no_tls_is_said(certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            plain, _ = listener.accept()
            with plain:
                plain.recv(100)
                plain.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(DeliveryUnconfirmed, match="does not speak TLS"):
            SyslogReceiver("127.0.0.1", listener.getsockname()[1], certificates.client()).connect()
        thread.join()


def test_datagrams_hold_one_message_each() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind(("127.0.0.1", 0))
        there.settimeout(10)
        link = SyslogReceiver("127.0.0.1", there.getsockname()[1]).connect()
        link.send([b"one", b"y" * 32_768])
        link.check()
        assert [there.recv(1 << 16), there.recv(1 << 16)] == [b"one", b"y" * 32_768]
        assert link.taken == 2
        link.close()


@pytest.mark.parametrize(("host", "port"), [("", 6514), ("h", 0), ("h", 70_000)])
def test_a_receiver_without_an_address_is_refused(host: str, port: int) -> None:
    with pytest.raises(ConfigurationError, match="needs a host"):
        SyslogReceiver(host, port)


def test_the_kernel_tells_how_much_was_acknowledged() -> None:
    """What everything above stands on; where this fails, messages may come twice after a cut."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
        before = syslog._bytes_acked(near)
        assert before is not None
        near.sendall(b"x" * 1000)
        far.recv(1000, socket.MSG_WAITALL)
        for _ in range(500):
            if syslog._bytes_acked(near) == before + 1000:
                break
            threading.Event().wait(0.01)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        far.close()
        with suppress(OSError):
            near.recv(1)
        assert syslog._bytes_acked(near) == before + 1000  # still readable after the reset
        near.close()
