"""Peers for the network tests: a listener that remembers, objects to send, and a socket that misbehaves on purpose."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, MaximumLengthNotification
from pynetdicom.pdu_primitives import ImplementationClassUIDNotification as ImplementationClassUid
from pynetdicom.presentation import build_context

from tests.builders import part10
from triage.net.requestor import AnswerBox
from triage.net.scp import IncomingInstance, ListenerOptions, ListenerService, Peer, StorageScp
from triage.net.scu import OutgoingInstance, RemoteAe

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


class Memory:
    """What a listener was told. ``respond`` runs inside ``on_instance`` and may raise or wait."""

    def __init__(self, respond: Callable[[IncomingInstance], None] | None = None) -> None:
        self.respond = respond
        self.received: list[IncomingInstance] = []
        self.ended: list[tuple[str, Peer, bool]] = []
        self.refused: list[tuple[Peer, str]] = []
        self._changed = threading.Condition()

    def on_instance(self, incoming: IncomingInstance) -> None:
        with self._changed:
            self.received.append(incoming)
            self._changed.notify_all()
        if self.respond is not None:
            self.respond(incoming)

    def on_ended(self, association_id: str, peer: Peer, released: bool) -> None:
        with self._changed:
            self.ended.append((association_id, peer, released))
            self._changed.notify_all()

    def on_refused(self, peer: Peer, sentence: str) -> None:
        with self._changed:
            self.refused.append((peer, sentence))
            self._changed.notify_all()

    def wait(self, seconds: float = 10.0, **counts: int) -> None:
        """Until the named lists have that many entries, such as ``wait(ended=2)``."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: all(len(getattr(self, name)) >= count for name, count in counts.items()), seconds
            )
        assert done, f"waited for {counts}; received {len(self.received)}, ended {self.ended}, refused {self.refused}"


@contextmanager
def listening(memory: Memory, services: Sequence[ListenerService] = (), **options: Any) -> Iterator[StorageScp]:
    """A running listener on a free port of the loopback, stopped at the end."""
    listener_options = ListenerOptions(**{"port": 0, **options})
    scp = StorageScp(listener_options, memory.on_instance, memory.on_ended, memory.on_refused, services)
    scp.start()
    try:
        yield scp
    finally:
        scp.stop(grace_seconds=2)


def remote(scp: StorageScp, **changes: Any) -> RemoteAe:
    """The listener as the SCU sees it."""
    return RemoteAe(**{"ae_title": "ICHTRIAGE", "host": "127.0.0.1", "port": scp.port, **changes})


def acceptors() -> list[threading.Thread]:
    """Threads of this process that serve an association."""
    return [t for t in threading.enumerate() if "AcceptorThread" in t.name]


def outgoing(datasets: Sequence[Dataset]) -> list[OutgoingInstance]:
    """Datasets from the builders as objects to send."""
    return [in_memory(ds.SOPClassUID, ds.SOPInstanceUID, ds.file_meta.TransferSyntaxUID, part10(ds)) for ds in datasets]


def in_memory(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, content: bytes) -> OutgoingInstance:
    """An object to send whose bytes are at hand; they need not fit what is said of them."""
    return OutgoingInstance(sop_class_uid, sop_instance_uid, transfer_syntax_uid, lambda: content)


def keep_answers(event: evt.Event) -> None:
    """For EVT_CONN_OPEN of an association that asks more than once: see `AnswerBox`."""
    event.assoc.dimse = AnswerBox(event.assoc)


class RawPeer:
    """A requestor made of a bare socket, which can stop or lie in the middle of anything."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def associate(self, calling: str = "RAW", called: str = "ICHTRIAGE") -> int:
        """Ask for CT storage; the type of the PDU that comes back, 2 for an acceptance."""
        self.socket.sendall(association_request(calling, called))
        kind, _ = self.read_pdu()
        return kind

    def read_pdu(self) -> tuple[int, bytes]:
        """Type and body of the next PDU; type 0 when the connection was closed."""
        try:
            header = self._read(6)
            kind, _, length = struct.unpack(">BBL", header)
            return kind, self._read(length)
        except EOFError:
            return 0, b""

    def send_data(self, message: bytes, *, command: bool, last: bool = True, context_id: int = 1) -> None:
        """One P-DATA-TF PDU with one fragment."""
        fragment = bytes([context_id, command | last << 1]) + message
        self.socket.sendall(struct.pack(">BBLL", 4, 0, len(fragment) + 4, len(fragment)) + fragment)

    def reset(self) -> None:
        """Close as the kernel does for a process that was killed with data unread: by RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                raise EOFError
            data += more
        return data


def association_request(calling: str, called: str) -> bytes:
    """An A-ASSOCIATE-RQ PDU for CT storage in Explicit VR Little Endian."""
    length, implementation = MaximumLengthNotification(), ImplementationClassUid()
    length.maximum_length_received = 16384
    implementation.implementation_class_uid = "2.25.1"
    context = build_context(CT, EXPLICIT)
    context.context_id = 1
    request = A_ASSOCIATE()
    request.application_context_name = "1.2.840.10008.3.1.1.1"
    request.calling_ae_title, request.called_ae_title = calling, called
    request.user_information = [length, implementation]
    request.presentation_context_definition_list = [context]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(request)
    return bytes(pdu.encode())


def store_command(sop_instance_uid: str, message_id: int = 1) -> bytes:
    """The command set of a C-STORE-RQ for a CT image, Implicit VR Little Endian."""

    def text(element: int, value: str) -> bytes:
        raw = value.encode() + b"\0" * (len(value) % 2)
        return struct.pack("<HHI", 0, element, len(raw)) + raw

    def number(element: int, value: int) -> bytes:
        return struct.pack("<HHIH", 0, element, 2, value)

    body = text(0x0002, CT) + number(0x0100, 1) + number(0x0110, message_id) + number(0x0700, 0)
    body += number(0x0800, 1) + text(0x1000, sop_instance_uid)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body
