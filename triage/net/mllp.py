"""Sending HL7 messages over MLLP, one at a time, each acknowledged before the next.

The acknowledgement says more than that bytes arrived: AA (or CA) means that the receiver has taken the message.
Everything else, AE, AR, silence, a closed socket or nonsense, is a reason to send the same bytes again later.
An answer can be lost after the receiver has taken the message, so it may see a message twice: MSH-10 is the same
both times, and the second is to be dropped by it.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import hl7  # type: ignore[import-untyped]

from triage.domain.errors import ConfigurationError, DeliveryUnconfirmed, TriageError
from triage.net.outgoing import OutgoingInstance, SendOutcome

START: Final = b"\x0b"
END: Final = b"\x1c\r"
ACCEPTED: Final = 0
APPLICATION_ERROR: Final = 207
"""Of HL7 table 0357, for a refusal that names no code of its own."""

_LONGEST_ANSWER = 1 << 16
_TAKEN = ("AA", "CA")
_REFUSED = ("AE", "AR", "CE", "CR")


@dataclass(frozen=True, slots=True)
class Hl7Receiver:
    """Where messages go. With ``tls`` the connection is encrypted and the receiver's certificate checked.

    ``tls_name`` is the name in that certificate where it is not ``host``.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    tls_name: str = ""

    def __post_init__(self) -> None:
        if not self.host or not 0 < self.port <= 65535:
            raise ConfigurationError("An HL7 notifier needs a host and a port between 1 and 65535.")

    def __str__(self) -> str:
        return f"the HL7 receiver at {self.host}:{self.port}"


def send(
    receiver: Hl7Receiver, instances: Sequence[OutgoingInstance], *, timeout_seconds: float = 30.0
) -> list[SendOutcome]:
    """Send messages over one connection; one outcome each, in order.

    The status of an outcome is the code of HL7 table 0357: 0 when accepted, None when no answer came. Once
    the connection is lost or no longer in step, the messages that are left are unconfirmed.

    Raises
    ------
    DeliveryUnconfirmed
        If no connection could be made now.
    """
    outcomes: list[SendOutcome] = []
    if not instances:
        return outcomes
    with _connected(receiver, timeout_seconds) as connection:
        for position, item in enumerate(instances):
            status: int | None = None
            error: TriageError | None = None
            try:
                content = item.read()
                answer = _exchange(receiver, connection, content, timeout_seconds)
                status = _verdict(receiver, content, answer)
                if status != ACCEPTED:
                    error = DeliveryUnconfirmed(
                        f"{receiver} refused the message (HL7 error code {status}); its log says why. "
                        "It will be sent again.",
                        status,
                    )
            except _OutOfStepError as exc:
                silence = DeliveryUnconfirmed(str(exc))
                return outcomes + [SendOutcome(i.sop_instance_uid, silence, None) for i in instances[position:]]
            except TriageError as exc:
                error = exc
            outcomes.append(SendOutcome(item.sop_instance_uid, error, status))
    return outcomes


class _OutOfStepError(Exception):
    """Which answer belongs to which message is no longer known."""


@contextmanager
def _connected(receiver: Hl7Receiver, timeout_seconds: float) -> Iterator[socket.socket]:
    try:
        connection = socket.create_connection((receiver.host, receiver.port), timeout_seconds)
    except OSError as exc:
        raise DeliveryUnconfirmed(f"Cannot connect to {receiver}: is it running, and are host and port right?") from exc
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receiver.tls is None:
            yield connection
            return
        try:
            secured = receiver.tls.wrap_socket(connection, server_hostname=receiver.tls_name or receiver.host)
        except ssl.SSLCertVerificationError as exc:
            raise DeliveryUnconfirmed(
                f"The certificate of {receiver} is not trusted ({exc.verify_message}): check tls_ca, tls_name and host."
            ) from exc
        except OSError as exc:
            raise DeliveryUnconfirmed(f"{receiver} does not speak TLS with us: check its port and tls.") from exc
        with secured:
            yield secured


def _exchange(receiver: Hl7Receiver, connection: socket.socket, content: bytes, timeout_seconds: float) -> bytes:
    """Send one message and read one answer, both without their frames."""
    deadline = time.monotonic() + timeout_seconds
    received = b""
    try:
        connection.settimeout(timeout_seconds)
        connection.sendall(START + content + END)
        while not received.endswith(END):
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            more = connection.recv(4096)
            if not more:
                raise _OutOfStepError(f"{receiver} closed the connection before it acknowledged the message.")
            received += more
            if len(received) > _LONGEST_ANSWER or not received.startswith(START):
                raise _OutOfStepError(f"{receiver} answered with something that is no MLLP frame.")
    except TimeoutError as exc:
        raise _OutOfStepError(f"{receiver} did not acknowledge the message in {timeout_seconds:g} s.") from exc
    except OSError as exc:
        raise _OutOfStepError(f"The connection with {receiver} broke before it acknowledged the message.") from exc
    return received[len(START) : -len(END)]


def _verdict(receiver: Hl7Receiver, content: bytes, answer: bytes) -> int:
    """0 when the answer accepts the message, else its error code; texts are not read, they may name the patient."""
    try:
        message = hl7.parse(answer.decode("utf-8", "replace"))
        code, acknowledged = str(message.segment("MSA")[1]), str(message.segment("MSA")[2])
    except (hl7.HL7Exception, AssertionError, LookupError, ValueError) as exc:
        # The parser asserts that a header names separators, and names none of them twice.
        raise _OutOfStepError(f"{receiver} answered with something that is no acknowledgement.") from exc
    if acknowledged != control_id(content):
        raise _OutOfStepError(f"{receiver} acknowledged another message than the one sent.")
    if code in _TAKEN:
        return ACCEPTED
    if code not in _REFUSED:
        raise _OutOfStepError(f"{receiver} answered with an acknowledgement code that HL7 does not know.")
    return _error_code(message)


def control_id(content: bytes) -> str:
    """MSH-10 of a message of ours."""
    fields = content.split(b"\r", 1)[0].split(b"|")
    return fields[9].decode("ascii", "replace") if len(fields) > 9 else ""


def _error_code(message: hl7.Message) -> int:
    """ERR-3.1, the code of the first error; ERR is absent from many refusals."""
    try:
        text = str(message.segment("ERR")[3]).split("^")[0]
    except LookupError:
        return APPLICATION_ERROR
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 1000 else APPLICATION_ERROR
