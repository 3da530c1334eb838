"""The Storage SCU against archives that accept, refuse, break off, hang, or are not there."""

import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from pynetdicom.sop_class import Verification

from tests.builders import ct_series, segmentation, structured_report
from tests.peers import CT, EXPLICIT, Memory, in_memory, listening, outgoing, remote
from tests.services import free_port
from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, NotFound, UnreadableInstance
from triage.net.part10 import dataset_offset
from triage.net.scu import OutgoingInstance, RemoteAe, echo, send

IMPLICIT = "1.2.840.10008.1.2"


@pytest.fixture(scope="module")
def head():
    return outgoing(ct_series(3, rows=32, columns=32))


@contextmanager
def archive(answer=lambda event, number: 0x0000, contexts=AllStoragePresentationContexts, **settings):
    """A pynetdicom Storage SCP called ARCHIVE whose ``answer`` sees each request and its number."""
    entity, seen = AE("ARCHIVE"), []
    entity.supported_contexts = [*contexts, build_context(Verification)]
    for name, value in settings.items():
        setattr(entity, name, value)

    def on_store(event):
        seen.append((event.request.AffectedSOPInstanceUID, event.request.DataSet.getvalue()))
        return answer(event, len(seen))

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    try:
        yield RemoteAe("ARCHIVE", "127.0.0.1", server.server_address[1]), seen
    finally:
        server.shutdown()


def test_the_archive_gets_the_data_set_byte_for_byte(head):
    with archive() as (there, seen):
        outcomes = send(there, head)

    assert [(o.sop_instance_uid, o.error, o.status) for o in outcomes] == [(i.sop_instance_uid, None, 0) for i in head]
    assert seen == [(i.sop_instance_uid, i.read()[dataset_offset(i.read()) :]) for i in head]


def test_different_objects_go_over_one_association():
    items = outgoing([segmentation(), structured_report(), ct_series(1, rows=16, columns=16)[0]])
    memory = Memory()
    with listening(memory) as scp:
        outcomes = send(remote(scp), items)
        memory.wait(ended=1)

    assert [o.error for o in outcomes] == [None, None, None]
    assert len({i.association_id for i in memory.received}) == 1


def test_only_what_is_sent_is_proposed(head):
    asked = []
    entity = AE("ARCHIVE")
    entity.supported_contexts = AllStoragePresentationContexts
    server = entity.start_server(
        ("127.0.0.1", 0),
        block=False,
        evt_handlers=[
            (
                evt.EVT_REQUESTED,
                lambda e: asked.extend(e.assoc.requestor.primitive.presentation_context_definition_list),
            ),
            (evt.EVT_C_STORE, lambda e: 0),
        ],
    )
    try:
        send(RemoteAe("ARCHIVE", "127.0.0.1", server.server_address[1]), head)
    finally:
        server.shutdown()

    assert [(cx.abstract_syntax, cx.transfer_syntax) for cx in asked] == [(CT, [EXPLICIT])]


def test_each_outcome_is_told_as_soon_as_it_is_known(head):
    told = []

    def answer(event, number):
        assert len(told) == number - 1
        return 0x0000

    with archive(answer) as (there, _):
        outcomes = send(there, head, on_sent=told.append)

    assert told == outcomes


def test_a_listener_that_fails_closes_the_association(head):
    def fail(outcome):
        raise RuntimeError("stop here")

    memory = Memory()
    with listening(memory) as scp:
        with pytest.raises(RuntimeError, match="stop here"):
            send(remote(scp), head, on_sent=fail)
        memory.wait(ended=1)

    assert len(memory.received) == 1
    assert memory.ended[0][2] is False


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xB006, 0xB007, 0x0111])
def test_success_and_warnings_are_accepted(head, status):
    with archive(lambda event, number: status) as (there, _):
        (outcome,) = send(there, head[:1])

    assert (outcome.error, outcome.status) == (None, status)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (0xA700, DeliveryUnconfirmed, "out of resources"),
        (0x0110, DeliveryUnconfirmed, "processing failure"),
        (0xA900, DeliveryRefused, "does not match its SOP class"),
        (0xC123, DeliveryRefused, "cannot understand"),
        (0x0122, DeliveryRefused, "SOP class not supported"),
        (0x0124, DeliveryRefused, "not authorized"),
        (0x4321, DeliveryUnconfirmed, "without a meaning"),
    ],
)
def test_each_failure_is_that_object_s_own(head, status, error, words):
    with archive(lambda event, number: status if number == 2 else 0x0000) as (there, _):
        outcomes = send(there, head)

    assert [o.status for o in outcomes] == [0x0000, status, 0x0000]
    assert [type(o.error) for o in outcomes] == [type(None), error, type(None)]
    assert outcomes[1].error.status == status
    assert words in str(outcomes[1].error)
    assert str(there) in str(outcomes[1].error)


def test_a_transfer_syntax_that_is_not_accepted_refuses_that_object_only(head):
    other = in_memory(CT, "2.25.5", "1.2.840.10008.1.2.5", head[0].read())
    with archive(contexts=[build_context(CT, [EXPLICIT])]) as (there, _):
        outcomes = send(there, [other, head[0]])

    assert isinstance(outcomes[0].error, DeliveryRefused)
    assert "does not accept CT Image Storage in RLE Lossless" in str(outcomes[0].error)
    assert outcomes[1].error is None


def test_an_archive_that_accepts_nothing_refuses_every_object(head):
    with archive(contexts=[]) as (there, seen):
        outcomes = send(there, head)

    assert [type(o.error) for o in outcomes] == [DeliveryRefused] * 3
    assert seen == []


def test_bytes_are_never_encoded_again_to_fit(head):
    with archive(contexts=[build_context(CT, [IMPLICIT])]) as (there, seen):
        (outcome,) = send(there, head[:1])

    assert isinstance(outcome.error, DeliveryRefused)
    assert seen == []


def test_content_that_is_no_file_is_that_object_s_own_error(head):
    broken = in_memory(CT, "2.25.5", EXPLICIT, b"no DICOM at all")
    with archive() as (there, _):
        outcomes = send(there, [broken, head[0]])

    assert isinstance(outcomes[0].error, UnreadableInstance)
    assert outcomes[1].error is None


def test_a_file_that_is_gone_is_that_object_s_own_error(head):
    def read():
        raise NotFound("The file is gone.")

    with archive() as (there, seen):
        outcomes = send(there, [OutgoingInstance(CT, "2.25.5", EXPLICIT, read), head[0]])

    assert isinstance(outcomes[0].error, NotFound)
    assert [uid for uid, _ in seen] == [head[0].sop_instance_uid]


def test_each_object_is_read_when_its_turn_has_come(head):
    order = []

    def reading(item):
        def read():
            order.append(f"read {item.sop_instance_uid}")
            return item.read()

        return replace(item, read=read)

    with archive() as (there, _):
        send(there, [reading(item) for item in head], on_sent=lambda o: order.append(f"sent {o.sop_instance_uid}"))

    assert order == [f"{step} {item.sop_instance_uid}" for item in head for step in ("read", "sent")]


def test_an_abort_in_the_middle_leaves_what_was_acknowledged(head):
    def answer(event, number):
        if number == 2:
            event.assoc.abort()
        return 0x0000

    started = time.monotonic()
    with archive(answer) as (there, seen):
        outcomes = send(there, head)

    assert outcomes[0].error is None
    assert [type(o.error) for o in outcomes[1:]] == [DeliveryUnconfirmed] * 2
    assert [o.status for o in outcomes] == [0x0000, None, None]
    assert len(seen) == 2
    assert time.monotonic() - started < 10


def test_an_archive_that_hangs_costs_one_timeout_not_one_per_object(head):
    hold = threading.Event()

    def answer(event, number):
        if number == 2:
            hold.wait(20)
        return 0x0000

    started = time.monotonic()
    with archive(answer) as (there, _):
        outcomes = send(there, head, timeout_seconds=0.5)
        taken = time.monotonic() - started
        hold.set()

    assert outcomes[0].error is None
    assert "may or may not be there" in str(outcomes[1].error)
    assert "ended before" in str(outcomes[2].error)
    assert taken < 5


def test_nobody_listens():
    with pytest.raises(DeliveryUnconfirmed, match=r"Cannot connect to ARCHIVE@127\.0\.0\.1"):
        echo(RemoteAe("ARCHIVE", "127.0.0.1", free_port()))


def test_a_host_name_that_does_not_exist(head):
    with pytest.raises(DeliveryUnconfirmed, match="cannot be looked up"):
        send(RemoteAe("ARCHIVE", "archive.invalid", 104), head)


def test_a_host_name_with_several_addresses_is_tried_to_the_end(head):
    with archive() as (there, _):
        outcomes = send(RemoteAe("ARCHIVE", "localhost", there.port), head[:1])

    assert outcomes[0].error is None


def test_an_archive_that_does_not_know_us_says_what_to_configure(head):
    with (
        archive(require_calling_aet=["SOMEONE"]) as (there, _),
        pytest.raises(DeliveryRefused, match="does not know our AE title 'ICHTRIAGE': add it in the archive"),
    ):
        send(there, head)


def test_an_archive_of_another_name_says_what_to_configure(head):
    with (
        archive(require_called_aet=True) as (there, _),
        pytest.raises(DeliveryRefused, match="is not called 'PACS': correct ae_title"),
    ):
        send(RemoteAe("PACS", there.host, there.port), head)


def test_an_echo_to_an_archive_that_answers(head):
    with archive() as (there, _):
        echo(there)


def test_two_hundred_objects_over_one_association_each_with_its_own_answer():
    """pynetdicom's own way of sending loses an answer now and then on a busy machine."""
    one = outgoing(ct_series(1, rows=8, columns=8))[0]
    items = [in_memory(CT, f"2.25.{n}", EXPLICIT, one.read()) for n in range(1, 201)]
    with archive(lambda event, number: 0xB000 + number) as (there, _):
        outcomes = send(there, items)

    assert [o.status for o in outcomes] == [0xB000 + n for n in range(1, 201)]


def test_nothing_is_left_running(head):
    before = set(threading.enumerate())
    with archive() as (there, _):
        send(there, head)
        echo(there)
    with pytest.raises(DeliveryUnconfirmed):
        send(there, head)
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.02)

    assert not set(threading.enumerate()) - before
