"""The Storage SCU against archives of bare sockets that answer nonsense, reject, or stop in the middle."""

import socket
import struct
import threading
import time

import pytest
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE

from tests.builders import ct_series
from tests.peers import CT, EXPLICIT, RawPeer, in_memory, outgoing
from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed
from triage.net.scu import RemoteAe, send


@pytest.fixture(scope="module")
def head():
    return outgoing(ct_series(3, rows=32, columns=32))


class Script:
    """An archive of bare sockets: one connection, one chosen misbehaviour."""

    def __init__(self, behave):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.there = RemoteAe("ARCHIVE", "127.0.0.1", self.listener.getsockname()[1])
        self.thread = threading.Thread(target=self._serve, args=(behave,))

    def __enter__(self):
        self.thread.start()
        return self.there

    def __exit__(self, *exc):
        self.listener.close()
        self.thread.join(20)
        assert not self.thread.is_alive()

    def _serve(self, behave):
        connection, _ = self.listener.accept()
        connection.settimeout(10)
        peer = RawPeer.__new__(RawPeer)
        peer.socket = connection
        with connection:
            kind, body = peer.read_pdu()
            assert kind == 1
            request = A_ASSOCIATE_RQ()
            request.decode(struct.pack(">BBL", 1, 0, len(body)) + body)
            behave(peer, request.to_primitive())


def accept(peer, request):
    for context in request.presentation_context_definition_list:
        context.result = 0
        context.transfer_syntax = [context.transfer_syntax[0]]
    answer = A_ASSOCIATE()
    answer.application_context_name = request.application_context_name
    answer.calling_ae_title, answer.called_ae_title = request.calling_ae_title, request.called_ae_title
    answer.result, answer.result_source = 0, 1
    answer.presentation_context_definition_results_list = request.presentation_context_definition_list
    answer.user_information = request.user_information
    peer.socket.sendall(A_ASSOCIATE_AC(answer).encode())


def read_request(peer):
    """Read up to the last fragment of a data set."""
    while True:
        kind, body = peer.read_pdu()
        if kind != 4 or body[5] == 2:
            return kind


def response(**elements):
    """A C-STORE-RSP command set with chosen US elements."""
    numbers = {0x0100: 0x8001, 0x0120: 1, 0x0800: 0x0101, 0x0900: 0x0000}
    numbers.update({int(name[1:], 16): value for name, value in elements.items()})
    body = b"".join(struct.pack("<HHIH", 0, e, 2, v) for e, v in sorted(numbers.items()) if v is not None)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


@pytest.mark.parametrize(
    "elements", [{"_0900": None}, {"_0120": 99}, {"_0100": 0x8030}], ids=["no status", "wrong id", "echo"]
)
def test_an_answer_that_does_not_fit_confirms_nothing(head, elements):
    def behave(peer, request):
        accept(peer, request)
        read_request(peer)
        peer.send_data(response(**elements), command=True)
        peer.read_pdu()

    with Script(behave) as there:
        outcomes = send(there, head[:2], timeout_seconds=3)

    assert [type(o.error) for o in outcomes] == [DeliveryUnconfirmed] * 2
    assert [o.status for o in outcomes] == [None, None]


def test_a_fitting_answer_from_the_same_script_is_accepted(head):
    def behave(peer, request):
        accept(peer, request)
        read_request(peer)
        peer.send_data(response(), command=True)
        assert peer.read_pdu()[0] == 5
        peer.socket.sendall(b"\x06\x00\x00\x00\x00\x04\x00\x00\x00\x00")

    with Script(behave) as there:
        (outcome,) = send(there, head[:1])

    assert (outcome.error, outcome.status) == (None, 0x0000)


def test_an_answer_counts_although_the_archive_never_releases(head):
    def behave(peer, request):
        accept(peer, request)
        read_request(peer)
        peer.send_data(response(), command=True)
        while peer.read_pdu()[0] not in (0, 7):
            pass

    with Script(behave) as there:
        (outcome,) = send(there, head[:1], timeout_seconds=0.5)

    assert outcome.error is None


def test_an_archive_that_dies_while_answering(head):
    def behave(peer, request):
        accept(peer, request)
        read_request(peer)
        peer.socket.sendall(b"\x04\x00\x00")
        peer.reset()

    with Script(behave) as there:
        outcomes = send(there, head[:2], timeout_seconds=3)

    assert [type(o.error) for o in outcomes] == [DeliveryUnconfirmed] * 2


def test_an_archive_that_stops_reading_does_not_hold_us(head):
    done = threading.Event()

    def behave(peer, request):
        accept(peer, request)
        done.wait(20)

    large = in_memory(CT, "2.25.5", EXPLICIT, head[0].read() + bytes(20_000_000))
    started = time.monotonic()
    with Script(behave) as there:
        (outcome,) = send(there, [large], timeout_seconds=0.5)
        taken = time.monotonic() - started
        done.set()

    assert isinstance(outcome.error, DeliveryUnconfirmed)
    assert taken < 10


def test_an_archive_that_never_answers_the_request(head):
    with (
        Script(lambda peer, request: peer.read_pdu()) as there,
        pytest.raises(DeliveryUnconfirmed, match="did not answer the association request"),
    ):
        send(there, head, timeout_seconds=0.5)


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ((2, 3, 2), DeliveryUnconfirmed, "busy"),
        ((2, 3, 1), DeliveryUnconfirmed, "busy"),
        ((1, 1, 1), DeliveryRefused, "rejects associations from 'ICHTRIAGE'"),
        ((1, 1, 3), DeliveryRefused, "does not know our AE title"),
        ((1, 1, 7), DeliveryRefused, "is not called 'ARCHIVE'"),
    ],
)
def test_each_rejection(head, code, error, words):
    def behave(peer, request):
        rejection = A_ASSOCIATE()
        rejection.result, rejection.result_source, rejection.diagnostic = code
        peer.socket.sendall(A_ASSOCIATE_RJ(rejection).encode())
        peer.read_pdu()

    with Script(behave) as there, pytest.raises(error, match=words):
        send(there, head)
