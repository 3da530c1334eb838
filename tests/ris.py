"""HL7 receivers for the tests: a RIS made of hl7apy, and a socket that answers what a test tells it to."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hl7apy.mllp import AbstractHandler, MLLPRequestHandler, MLLPServer
from hl7apy.parser import parse_message

from triage.net.mllp import Hl7Receiver

FRAME_START, FRAME_END = b"\x0b", b"\x1c\r"
Answer = Callable[[str], bytes | None]


def acknowledgement(control_id: str, code: str = "AA", error: str = "") -> str:
    """An ACK without its frame."""
    lines = ["MSH|^~\\&|RIS|HOSPITAL|ICHTRIAGE||20240102030406||ACK^R01^ACK|1|P|2.5.1", f"MSA|{code}|{control_id}"]
    if error:
        lines.append(f"ERR|||{error}^Application internal error^HL70357|E")
    return "\r".join(lines) + "\r"


def framed(text: str) -> bytes:
    return FRAME_START + text.encode() + FRAME_END


class Ris:
    """Takes each message once, by its control id, and remembers how often it was sent.

    ``faults`` are met by the first messages to arrive, one each: a NAK code, "close" or "slow".
    """

    def __init__(self, *faults: str) -> None:
        self.faults = list(faults)
        self.arrived: list[str] = []
        self.taken: dict[str, str] = {}
        self.go_on = threading.Event()

    def hear(self, text: str) -> str:
        """The answer to a message; raising closes the connection without one."""
        message = parse_message(text, find_groups=True)
        control_id = message.msh.msh_10.value
        self.arrived.append(text)
        fault = self.faults.pop(0) if self.faults else ""
        if fault in ("AE", "AR", "CE", "CR"):
            return framed(acknowledgement(control_id, fault, "207")).decode()
        if fault == "close":
            raise ConnectionAbortedError
        self.taken.setdefault(control_id, text)
        if fault == "slow":
            self.go_on.wait(10)
        return framed(acknowledgement(control_id)).decode()


@contextmanager
def listening_ris(ris: Ris, tls: ssl.SSLContext | None = None) -> Iterator[Hl7Receiver]:
    """The RIS behind hl7apy's MLLP server, on a free port of the loopback."""

    class Handler(AbstractHandler):
        def reply(self) -> str:
            return ris.hear(self.incoming_message)

    class Requests(MLLPRequestHandler):
        def setup(self) -> None:
            if tls is not None:
                self.request = tls.wrap_socket(self.request, server_side=True)
            super().setup()

    server = MLLPServer("127.0.0.1", 0, {"ORU^R01^ORU_R01": (Handler,)}, request_handler_class=Requests)
    server.daemon_threads = True
    server.handle_error = lambda request, client_address: None  # a peer that breaks off is expected
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield Hl7Receiver("127.0.0.1", server.server_address[1])
    finally:
        ris.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def scripted(answer: Answer) -> Iterator[Hl7Receiver]:
    """A receiver that sends what ``answer`` returns for each message, or closes the connection on None."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                for text in _messages(connection):
                    said = answer(text)
                    if said is None:
                        break
                    connection.sendall(said)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Hl7Receiver("127.0.0.1", listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _messages(connection: socket.socket) -> Iterator[str]:
    received = b""
    while True:
        try:
            more = connection.recv(4096)
        except OSError:
            return
        if not more:
            return
        received += more
        while FRAME_END in received:
            message, _, received = received.partition(FRAME_END)
            yield message.removeprefix(FRAME_START).decode()
