"""HL7 over MLLP to receivers that take, refuse, close, fall silent, or talk nonsense."""

import asyncio
import contextlib
import socket
import threading

import hl7.mllp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.certificates import Authority
from tests.notices import IDENTIFIER, message, negative, notice
from tests.ris import Ris, acknowledgement, framed, listening_ris, scripted
from tests.services import free_port
from triage.domain.errors import ConfigurationError, DeliveryUnconfirmed, NotFound
from triage.net.hl7 import Hl7Names, encode_oru
from triage.net.mllp import Hl7Receiver, control_id, send
from triage.net.outgoing import OutgoingInstance

ORU = encode_oru(notice(), Hl7Names("RIS"), IDENTIFIER).content
SECOND = encode_oru(negative(), Hl7Names("RIS"), "2.25.43").content
BOTH = [message(ORU), message(SECOND, "2.25.43")]


def send_until_taken(receiver, timeout_seconds=10.0):
    """As the outbox does it: again while the error says that trying again can help."""
    outcomes = []
    while not outcomes or (outcomes[-1].error is not None and outcomes[-1].error.retry and len(outcomes) < 5):
        outcomes += send(receiver, [message(ORU)], timeout_seconds=timeout_seconds)
    return outcomes


def taken(text):
    return framed(acknowledgement(control_id(text.encode())))


def test_a_ris_of_another_make_takes_the_message_byte_for_byte():
    ris = Ris()
    with listening_ris(ris) as receiver:
        (outcome,) = send(receiver, [message(ORU)])

    assert (outcome.sop_instance_uid, outcome.error, outcome.status) == (IDENTIFIER, None, 0)
    assert [text.encode() for text in ris.taken.values()] == [ORU]


@pytest.mark.parametrize("fault", ["AE", "AR", "CE", "CR", "close", "slow"])
def test_every_failure_is_sent_again_and_is_one_message_in_the_end(fault):
    ris = Ris(fault)
    with listening_ris(ris) as receiver:
        outcomes = send_until_taken(receiver, timeout_seconds=0.5 if fault == "slow" else 10)

    assert [type(o.error) for o in outcomes] == [DeliveryUnconfirmed, type(None)]
    assert [text.encode() for text in ris.arrived] == [ORU, ORU]
    assert len(ris.taken) == 1


def test_a_refusal_is_told_with_its_code_but_without_the_words_of_the_receiver():
    def answer(text):
        refusal = acknowledgement(control_id(text.encode()), "AE", "103")
        return framed(refusal.replace("Application internal error", "Hara unknown"))

    with scripted(answer) as receiver:
        (outcome,) = send(receiver, [message(ORU)])

    assert (outcome.status, outcome.error.status) == (103, 103)
    assert "HL7 error code 103" in str(outcome.error)
    assert "Hara" not in str(outcome.error)


def test_a_refusal_without_an_error_segment_has_the_general_code():
    with scripted(lambda text: framed(acknowledgement(control_id(text.encode()), "AR"))) as receiver:
        (outcome,) = send(receiver, [message(ORU)])

    assert (type(outcome.error), outcome.status) == (DeliveryUnconfirmed, 207)


def test_messages_go_over_one_connection_in_order_and_a_refusal_is_that_message_s_own():
    heard = []

    def answer(text):
        heard.append(text)
        code = "AE" if len(heard) == 1 else "AA"
        return framed(acknowledgement(control_id(text.encode()), code))

    with scripted(answer) as receiver:
        outcomes = send(receiver, BOTH)

    assert [text.encode() for text in heard] == [ORU, SECOND]
    assert [o.sop_instance_uid for o in outcomes] == [IDENTIFIER, "2.25.43"]
    assert [o.error is None for o in outcomes] == [False, True]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda text: None, "closed the connection"),
        (lambda text: b"HTTP/1.1 400 Bad Request\r\n\r\n", "no MLLP frame"),
        (lambda text: framed("what?"), "no acknowledgement"),
        (lambda text: framed(""), "no acknowledgement"),
        (lambda text: framed("MSH|^~\\&|RIS\rMSA|AA\r"), "no acknowledgement"),
        (lambda text: framed(f"MSH\rMSA|AA|{control_id(text.encode())}\r"), "no acknowledgement"),
        (lambda text: framed(f"MSH|^~\\^|RIS^A\rMSA|AA|{control_id(text.encode())}\r"), "no acknowledgement"),
        (lambda text: framed(acknowledgement("ANOTHER")), "another message"),
        (lambda text: framed(acknowledgement(control_id(text.encode()), "OK")), "does not know"),
        (lambda text: b"\x0b" + b"x" * 100_000, "no MLLP frame"),
        (lambda text: taken(text)[:20], "in 0.5 s"),
    ],
    ids=[
        "closed",
        "http",
        "words",
        "empty",
        "short",
        "no separators",
        "one separator twice",
        "other id",
        "other code",
        "endless",
        "half",
    ],
)
def test_what_is_no_answer_leaves_every_message_unconfirmed(answer, words):
    with scripted(answer) as receiver:
        outcomes = send(receiver, BOTH, timeout_seconds=0.5)

    assert [(type(o.error), o.status) for o in outcomes] == [(DeliveryUnconfirmed, None)] * 2
    assert words in str(outcomes[0].error)
    assert "127.0.0.1" in str(outcomes[0].error)


def test_an_answer_that_drips_is_given_up_at_the_timeout():
    """Each byte comes in time; the whole answer never does."""
    listener = socket.create_server(("127.0.0.1", 0))
    given_up = threading.Event()

    def drip():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            while not given_up.wait(0.05):
                connection.sendall(b"\x0b")

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        (outcome,) = send(Hl7Receiver("127.0.0.1", listener.getsockname()[1]), [message(ORU)], timeout_seconds=0.5)
    finally:
        given_up.set()
        thread.join(10)
        listener.close()

    assert "did not acknowledge the message in 0.5 s" in str(outcome.error)


def test_nobody_listens():
    with pytest.raises(DeliveryUnconfirmed, match=r"Cannot connect to the HL7 receiver at 127\.0\.0\.1"):
        send(Hl7Receiver("127.0.0.1", free_port()), [message(ORU)])


def test_nothing_to_send_opens_no_connection():
    assert send(Hl7Receiver("127.0.0.1", free_port()), []) == []


def test_a_message_whose_file_is_gone_is_that_message_s_own_error():
    def read():
        raise NotFound("The file is gone.")

    with scripted(taken) as receiver:
        outcomes = send(receiver, [OutgoingInstance("", "2.25.44", "", read), message(ORU)])

    assert isinstance(outcomes[0].error, NotFound)
    assert outcomes[1].error is None


def test_a_second_library_takes_both_messages_over_one_connection():
    """The asyncio server of ``hl7``, which answers with acknowledgements of its own making."""
    heard, ready, loop = [], threading.Event(), asyncio.new_event_loop()
    ports = []

    async def serve(reader, writer):
        while not writer.is_closing():
            try:
                text = await reader.readmessage()
            except asyncio.IncompleteReadError:
                break
            heard.append(str(text.segment("MSH")[10]))
            writer.writemessage(text.create_ack())
            await writer.drain()
        writer.close()

    async def run():
        server = await hl7.mllp.start_hl7_server(serve, host="127.0.0.1", port=0, encoding="utf-8")
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await done.wait()
        server.close()
        await server.wait_closed()

    done = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        outcomes = send(Hl7Receiver("127.0.0.1", ports[0]), BOTH)
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()

    assert [o.error for o in outcomes] == [None, None]
    assert heard == [control_id(ORU), control_id(SECOND)]


HEADERS = st.text("MSHA|^~\\&\r", max_size=40).map(lambda noise: f"MSH{noise}".encode())


@given(st.binary(max_size=200).filter(lambda noise: b"\x1c\r" not in noise) | HEADERS)
def test_no_answer_is_bad_enough_to_raise(noise):
    with scripted(lambda text: b"\x0b" + noise + b"\x1c\r") as receiver:
        (outcome,) = send(receiver, [message(ORU)])

    assert isinstance(outcome.error, DeliveryUnconfirmed)


def test_a_receiver_needs_host_and_port():
    with pytest.raises(ConfigurationError, match="host and a port"):
        Hl7Receiver("ris", 0)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def site(authority):
    """Both sides show a certificate of the same authority; that of the receiver is for 127.0.0.1."""
    return authority.files("127.0.0.1")


def test_over_mutual_tls(site):
    ris = Ris()
    with listening_ris(ris, tls=site.server_context()) as plain:
        (outcome,) = send(Hl7Receiver(plain.host, plain.port, site.client_context()), [message(ORU)])

    assert outcome.error is None
    assert len(ris.taken) == 1


def test_a_receiver_reached_under_another_name_than_that_of_its_certificate(site):
    ris = Ris()
    with listening_ris(ris, tls=site.server_context()) as plain:
        (named,) = send(
            Hl7Receiver("localhost", plain.port, site.client_context(), tls_name="127.0.0.1"), [message(ORU)]
        )
        with pytest.raises(DeliveryUnconfirmed, match=r"at localhost:\d+ is not trusted"):
            send(Hl7Receiver("localhost", plain.port, site.client_context()), [message(ORU)])

    assert named.error is None
    assert len(ris.arrived) == 1


def test_a_certificate_that_cannot_be_trusted_stops_the_message(authority, site, tmp_path):
    elsewhere = Authority.make(tmp_path, "elsewhere").files("127.0.0.1").client_context()
    expired = authority.files("127.0.0.1", expired=True)
    ris = Ris()
    for server, client in ((site, elsewhere), (expired, site.client_context())):
        with (
            listening_ris(ris, tls=server.server_context()) as plain,
            pytest.raises(DeliveryUnconfirmed, match=r"The certificate of the HL7 receiver .* is not trusted \(.+\)"),
        ):
            send(Hl7Receiver(plain.host, plain.port, client), [message(ORU)])

    assert ris.arrived == []


def test_a_receiver_that_does_not_know_our_certificate_leaves_the_message_unconfirmed(site, tmp_path):
    stranger = Authority.make(tmp_path, "stranger").files("127.0.0.1", ca_file=site.ca_file)
    ris = Ris()
    with listening_ris(ris, tls=site.server_context()) as plain:
        try:
            (outcome,) = send(Hl7Receiver(plain.host, plain.port, stranger.client_context()), [message(ORU)])
            error = outcome.error
        except DeliveryUnconfirmed as exc:  # by the version of TLS the refusal comes at once or with the answer
            error = exc

    assert isinstance(error, DeliveryUnconfirmed)
    assert ris.arrived == []


def test_tls_to_a_receiver_that_speaks_none(site):
    with (
        scripted(lambda text: None) as plain,
        pytest.raises(DeliveryUnconfirmed, match="does not speak TLS"),
    ):
        send(Hl7Receiver(plain.host, plain.port, site.client_context()), [message(ORU)], timeout_seconds=1)
