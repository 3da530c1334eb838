"""Audit messages by syslog: RFC 5424 messages over TLS (RFC 5425, octet counted) or UDP (RFC 5426).

Syslog has no acknowledgements. Over TLS this link knows from TCP how far the other machine has acknowledged the
encrypted stream, so that after a cut only what it had not got is sent again. What that machine has got and its
syslog server never read, because it was killed, is lost: that no sender can see. Where the system does not tell
what was acknowledged, everything since the last message that is known to be safe is sent again.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from triage.domain.errors import ConfigurationError, DeliveryUnconfirmed
from triage.net.tls import TlsFiles

PRIORITY: Final = 85
"""Facility 10 (security), severity 5 (notice): PS3.15 A.6."""
BOM: Final = b"\xef\xbb\xbf"
"""How RFC 5424 marks a message in UTF-8."""

_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 10.0
"""A peer that acknowledges nothing for this long is gone."""
_SETTLE_SECONDS = 1.0
"""A server that refuses our certificate says so, or hangs up, after the handshake: this long is listened for it."""
_POLL_SECONDS = 0.005
_ONE_WRITE = 16_384
_BYTES_ACKED = slice(120, 128)
"""``tcpi_bytes_acked`` of Linux's ``struct tcp_info``, unsigned and 64 bits long."""


@dataclass(frozen=True, slots=True)
class SyslogReceiver:
    """Where audit messages go; with ``tls`` over TLS, else by UDP."""

    host: str
    port: int
    tls: TlsFiles | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.host or not 0 < self.port <= 65535:
            raise ConfigurationError("audit.syslog_host needs a host and audit.syslog_port a port from 1 to 65535.")

    def __str__(self) -> str:
        return f"the audit repository at {self.host}:{self.port}"

    def connect(self) -> SyslogLink:
        """Open a link.

        Raises
        ------
        DeliveryUnconfirmed
            There is no way to the receiver now.
        ConfigurationError
            A certificate or a key cannot be read.
        """
        return _UdpLink(self) if self.tls is None else _TlsLink(self, self.tls)


class SyslogLink(Protocol):
    """A way to a receiver, kept open as long as it works."""

    @property
    def taken(self) -> int:
        """How many of the messages sent over this link the receiver has; also after the link broke."""

    def send(self, messages: Sequence[bytes]) -> None:
        """Send messages in order, and wait until the receiver has them; DeliveryUnconfirmed when the link broke."""

    def check(self) -> None:
        """Look whether the receiver hung up; DeliveryUnconfirmed when it did."""

    def close(self) -> None:
        """Say goodbye."""


def syslog_message(content: bytes, *, at: datetime, host: str, message_id: str) -> bytes:
    """Put the header of RFC 5424 before an XML message."""
    moment = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    fields = (_printable(host, 255), "ich-triage", "-", _printable(message_id, 32), "-")
    return f"<{PRIORITY}>1 {moment} {' '.join(fields)} ".encode("ascii") + BOM + content


def _printable(text: str, longest: int) -> str:
    return "".join(letter for letter in text if "!" <= letter <= "~")[:longest] or "-"


class _UdpLink:
    def __init__(self, receiver: SyslogReceiver) -> None:
        self._receiver = receiver
        self.taken = 0
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                receiver.host, receiver.port, type=socket.SOCK_DGRAM
            )[0]
        except OSError as exc:
            raise DeliveryUnconfirmed(f"{receiver} cannot be found: is audit.syslog_host right?") from exc
        self._socket = socket.socket(family, kind, protocol)
        try:
            self._socket.connect(address)
        except OSError as exc:
            self._socket.close()
            raise DeliveryUnconfirmed(f"{receiver} cannot be reached ({exc.strerror}).") from exc

    def send(self, messages: Sequence[bytes]) -> None:
        """One datagram each; whether it arrives, nobody knows."""
        for message in messages:
            try:
                self._socket.send(message)
            except OSError as exc:
                raise DeliveryUnconfirmed(f"{self._receiver} cannot be reached ({exc.strerror}).") from exc
            self.taken += 1

    def check(self) -> None:
        """There is nothing to hang up."""

    def close(self) -> None:
        self._socket.close()


class _TlsLink:
    """TLS over buffers of our own, to know which byte of the stream ends which message."""

    def __init__(self, receiver: SyslogReceiver, files: TlsFiles) -> None:
        self._receiver = receiver
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = files.client_context()
        name = files.expected_name or receiver.host
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        try:
            self._socket = socket.create_connection((receiver.host, receiver.port), _CONNECT_SECONDS)
        except OSError as exc:
            raise DeliveryUnconfirmed(
                f"Cannot connect to {receiver}: is it running, and are audit.syslog_host and audit.syslog_port right?"
            ) from exc
        self._written = 0
        self._ends: deque[int] = deque()
        self.taken = 0
        try:
            self._prepare()
        except BaseException:
            self._socket.close()
            raise

    def _prepare(self) -> None:
        _notice_silence(self._socket)
        self._acked_before = _bytes_acked(self._socket)
        try:
            while not self._shake():
                self._flush()
                self._receive(_CONNECT_SECONDS)
            self._flush()
            self._receive(_SETTLE_SECONDS, patient=True)
        except ssl.SSLCertVerificationError as exc:
            raise DeliveryUnconfirmed(
                f"The certificate of {self._receiver} is not trusted ({exc.verify_message}): check "
                "audit.syslog_tls_ca and audit.syslog_tls_name."
            ) from exc
        except (OSError, ssl.SSLError) as exc:
            raise DeliveryUnconfirmed(
                f"{self._receiver} does not speak TLS with us ({_words(exc)}): check its port, and whether it trusts "
                "audit.syslog_tls_certificate."
            ) from exc

    def _shake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def send(self, messages: Sequence[bytes]) -> None:
        try:
            for message in messages:
                self._receive(0)
                framed = memoryview(b"%d %b" % (len(message), message))
                while framed:
                    framed = framed[self._tls.write(framed[:_ONE_WRITE]) :]
                self._ends.append(self._written + self._outgoing.pending)
                self._flush()
            self._wait()
        except (OSError, ssl.SSLError) as exc:
            self._break(exc)

    def check(self) -> None:
        try:
            self._receive(0)
        except (OSError, ssl.SSLError) as exc:
            self._break(exc)

    def close(self) -> None:
        with suppress(OSError, ssl.SSLError):
            # The receiver's own goodbye is not waited for: unwrap() asks for it, and that is an SSLError here.
            with suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush()
        self._socket.close()

    def _wait(self) -> None:
        """Wait until all that was written is acknowledged."""
        if self._acked_before is None:
            time.sleep(_SETTLE_SECONDS / 4)
            self._receive(0)
            self.taken, self._ends = self.taken + len(self._ends), deque()
            return
        acked, since = self._count(), time.monotonic()
        while self._ends:
            self._receive(_POLL_SECONDS, patient=True)
            now = self._count()
            if now > acked:
                acked, since = now, time.monotonic()
            elif time.monotonic() - since > _SILENCE_SECONDS:
                raise TimeoutError(f"nothing was acknowledged for {_SILENCE_SECONDS:g} s")

    def _count(self) -> int:
        """Count the messages whose last byte has been acknowledged; how many bytes have."""
        acked = (_bytes_acked(self._socket) or 0) - (self._acked_before or 0)
        while self._acked_before is not None and self._ends and self._ends[0] <= acked:
            self._ends.popleft()
            self.taken += 1
        return acked

    def _break(self, exc: OSError) -> None:
        """Count for the last time, and let nothing of what is still on its way be sent later."""
        if "ALERT" in _words(exc).upper():
            # It refused to talk to us: what its machine acknowledged was never read.
            self._ends.clear()
        self._count()
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        raise DeliveryUnconfirmed(f"The link with {self._receiver} broke ({_words(exc)}).") from exc

    def _flush(self) -> None:
        data = self._outgoing.read()
        self._written += len(data)
        self._socket.settimeout(_SILENCE_SECONDS)
        self._socket.sendall(data)

    def _receive(self, seconds: float, *, patient: bool = False) -> None:
        """Take in what the receiver says (tickets, new keys, a goodbye); only the patient may be left without."""
        if not select.select([self._socket], [], [], seconds)[0]:
            if seconds and not patient:
                raise TimeoutError(f"no answer in {seconds:g} s")
            return
        self._socket.settimeout(_SILENCE_SECONDS)
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionResetError("it hung up")
        self._incoming.write(data)
        if not self._shake():
            return
        with suppress(ssl.SSLWantReadError):
            while self._tls.read(4096):
                pass
            raise ConnectionResetError("it hung up")


def _notice_silence(connection: socket.socket) -> None:
    """Let the kernel give up a dead connection in seconds, where it is able to."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_USER_TIMEOUT", int(_SILENCE_SECONDS * 1000)),
        ("TCP_KEEPIDLE", 5),
        ("TCP_KEEPINTVL", 2),
        ("TCP_KEEPCNT", 3),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _bytes_acked(connection: socket.socket) -> int | None:
    """How many bytes the other machine has acknowledged since the connection began; None where that is not told."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return None
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, option, 256)[_BYTES_ACKED]
    except OSError:
        return None
    return struct.unpack("=Q", told)[0] if len(told) == 8 else None


def _words(exc: OSError) -> str:
    """What happened, in the words of the system or of OpenSSL."""
    reason = getattr(exc, "reason", None)
    if isinstance(exc, ssl.SSLError) and isinstance(reason, str):
        return reason.replace("_", " ").lower()
    return exc.strerror or str(exc) or type(exc).__name__
