"""The Storage SCP on real associations: bytes, statuses, refusals, starting and stopping."""

import io
import threading
import time

import pydicom
import pytest
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless
from pynetdicom import AE, build_context

from tests.builders import NAMES, ct_series, encode, part10_named
from tests.peers import CT, EXPLICIT, Memory, RawPeer, acceptors, in_memory, listening, outgoing, remote, store_command
from triage.domain.errors import (
    ConfigurationError,
    DeliveryRefused,
    DeliveryUnconfirmed,
    OutOfSpace,
    StoreUnavailable,
    UnreadableInstance,
)
from triage.net.part10 import dataset_offset
from triage.net.scp import ListenerOptions, StorageScp
from triage.net.scu import echo, send


@pytest.fixture(scope="module")
def head():
    return outgoing(ct_series(4, rows=32, columns=32))


def data_of(content):
    return content[dataset_offset(content) :]


def test_the_data_set_is_kept_byte_for_byte(head):
    memory = Memory()
    with listening(memory) as scp:
        outcomes = send(remote(scp), head)
        memory.wait(ended=1)

    assert [(o.error, o.status) for o in outcomes] == [(None, 0x0000)] * 4
    assert [i.sop_instance_uid for i in memory.received] == [o.sop_instance_uid for o in head]
    for incoming, sent in zip(memory.received, head, strict=True):
        assert incoming.content[incoming.dataset_offset :] == data_of(sent.read())
        assert (incoming.sop_class_uid, incoming.transfer_syntax_uid) == (CT, EXPLICIT)
        read = pydicom.dcmread(io.BytesIO(incoming.content))
        assert read.SOPInstanceUID == read.file_meta.MediaStorageSOPInstanceUID == sent.sop_instance_uid


def test_the_peer_and_the_association_are_told(head):
    memory = Memory()
    with listening(memory, ae_title="TRIAGE") as scp:
        send(remote(scp, ae_title="TRIAGE", calling_ae_title="PACS"), head[:2])
        send(remote(scp, ae_title="TRIAGE", calling_ae_title="CT1"), head[2:])
        memory.wait(ended=2)

    peers = [i.peer for i in memory.received]
    assert [p.calling_ae_title for p in peers] == ["PACS", "PACS", "CT1", "CT1"]
    assert {(p.called_ae_title, p.address) for p in peers} == {("TRIAGE", "127.0.0.1")}
    assert all(p.port > 0 for p in peers)
    first, second = memory.received[0].association_id, memory.received[2].association_id
    assert first != second
    assert memory.ended == [(first, peers[0], True), (second, peers[2], True)]


@pytest.mark.parametrize("transfer_syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_other_encodings_arrive_untouched(transfer_syntax):
    item = outgoing([encode(ct_series(1, rows=16, columns=16)[0], transfer_syntax)])[0]
    memory = Memory()
    with listening(memory) as scp:
        (outcome,) = send(remote(scp), [item])

    assert outcome.error is None
    assert memory.received[0].transfer_syntax_uid == transfer_syntax
    assert data_of(memory.received[0].content) == data_of(item.read())


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_text_in_any_character_set_comes_in(kind):
    ds = ct_series(1, rows=16, columns=16)[0]
    content = part10_named(ds, kind)
    memory = Memory()
    with listening(memory) as scp:
        (outcome,) = send(remote(scp), [in_memory(CT, ds.SOPInstanceUID, EXPLICIT, content)])

    assert outcome.error is None
    assert data_of(memory.received[0].content) == data_of(content)


def test_a_data_set_that_is_no_dicom_reaches_the_callback(head):
    garbage = head[0].read()[: dataset_offset(head[0].read())] + b"\xff" * 1001
    memory = Memory()
    with listening(memory) as scp:
        send(remote(scp), [in_memory(CT, "2.25.9", EXPLICIT, garbage)])

    assert data_of(memory.received[0].content) == b"\xff" * 1001


def test_the_same_instance_twice_is_two_requests(head):
    memory = Memory()
    with listening(memory) as scp:
        outcomes = send(remote(scp), [head[0], head[0]])

    assert [o.status for o in outcomes] == [0x0000, 0x0000]
    assert memory.received[0].content == memory.received[1].content


@pytest.mark.parametrize(
    ("error", "status", "verdict"),
    [
        (OutOfSpace("Only 0.1 GB are free."), 0xA700, DeliveryUnconfirmed),
        (StoreUnavailable("The database did not answer."), 0xA700, DeliveryUnconfirmed),
        (UnreadableInstance("No Study Instance UID."), 0xC000, DeliveryRefused),
        (RuntimeError("a fault of ours"), 0xC001, DeliveryRefused),
        (KeyError("another"), 0xC001, DeliveryRefused),
    ],
)
def test_each_error_has_its_status_and_the_association_lives(head, error, status, verdict):
    failing = head[1].sop_instance_uid

    def respond(incoming):
        if incoming.sop_instance_uid == failing:
            raise error

    memory = Memory(respond)
    with listening(memory) as scp:
        outcomes = send(remote(scp), head)
        memory.wait(ended=1)

    assert [o.status for o in outcomes] == [0x0000, status, 0x0000, 0x0000]
    assert isinstance(outcomes[1].error, verdict)
    assert memory.ended[0][2] is True


def test_the_error_comment_says_why_in_64_plain_characters(head):
    def respond(incoming):
        raise UnreadableInstance("Größe \\ fehlt: " + "x" * 100)

    with listening(Memory(respond)) as scp:
        assoc = AE("SENDER").associate(
            "127.0.0.1", scp.port, contexts=[build_context(CT, EXPLICIT)], ae_title="ICHTRIAGE"
        )
        answer = assoc.send_c_store(pydicom.dcmread(io.BytesIO(head[0].read())))
        assoc.release()

    assert answer.Status == 0xC000
    assert answer.ErrorComment.startswith("Gr??e / fehlt")
    assert len(answer.ErrorComment) == 64


def test_a_fault_of_ours_is_not_explained_to_the_peer(head):
    def respond(incoming):
        raise RuntimeError("secret detail")

    with listening(Memory(respond)) as scp:
        assoc = AE("SENDER").associate(
            "127.0.0.1", scp.port, contexts=[build_context(CT, EXPLICIT)], ae_title="ICHTRIAGE"
        )
        answer = assoc.send_c_store(pydicom.dcmread(io.BytesIO(head[0].read())))
        assoc.release()

    assert "secret" not in answer.ErrorComment


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_uids_that_are_none_are_refused_before_the_callback(head):
    memory = Memory()
    with listening(memory) as scp, RawPeer(scp.port) as peer:
        assert peer.associate() == 2
        peer.send_data(store_command("../../etc/passwd"), command=True)
        peer.send_data(b"\x08\x00\x05\x00CS\x00\x00", command=False)
        kind, answer = peer.read_pdu()

    assert kind == 4
    assert b"\x00\x00\x00\x09\x02\x00\x00\x00\x00\xc0" in answer
    assert memory.received == []


@pytest.mark.parametrize("called", ["OTHER", "ichtriage"])
def test_a_wrong_called_title_is_rejected_and_told(head, called):
    memory = Memory()
    with listening(memory) as scp:
        with pytest.raises(DeliveryRefused, match="is not called"):
            send(remote(scp, ae_title=called), head)
        memory.wait(refused=1)

    peer, why = memory.refused[0]
    assert (peer.called_ae_title, peer.address) == (called, "127.0.0.1")
    assert called in why
    assert memory.received == memory.ended == []


def test_an_unknown_caller_is_rejected_and_told(head):
    memory = Memory()
    with listening(memory, allowed_callers=("PACS",)) as scp:
        with pytest.raises(DeliveryRefused, match="does not know our AE title 'STRANGER'"):
            send(remote(scp, calling_ae_title="STRANGER"), head)
        memory.wait(refused=1)
        assert send(remote(scp, calling_ae_title="PACS"), head[:1])[0].error is None

    assert [(p.calling_ae_title, why) for p, why in memory.refused] == [
        ("STRANGER", "AE title 'STRANGER' is not in listener.allowed_callers.")
    ]


def test_a_known_caller_from_a_wrong_address_is_rejected_and_told():
    memory = Memory()
    with listening(memory, allowed_callers=("PACS@192.0.2.7",)) as scp:
        with pytest.raises(DeliveryRefused):
            echo(remote(scp, calling_ae_title="PACS"))
        memory.wait(refused=1)

    assert "not allowed to call from 127.0.0.1" in memory.refused[0][1]


def test_a_refusal_callback_that_fails_does_no_harm(head):
    def fail(peer, why):
        raise RuntimeError("the audit log is gone")

    memory = Memory()
    scp = StorageScp(ListenerOptions(port=0), memory.on_instance, memory.on_ended, fail)
    scp.start()
    try:
        with pytest.raises(DeliveryRefused):
            send(remote(scp, ae_title="OTHER"), head)
        assert send(remote(scp), head[:1])[0].error is None
    finally:
        scp.stop(2)


def test_an_echo_is_answered_and_carries_nothing():
    memory = Memory()
    with listening(memory) as scp:
        echo(remote(scp))

    assert memory.ended == []


def test_four_senders_at_once(head):
    memory = Memory(lambda incoming: time.sleep(0.002))
    items = outgoing(ct_series(15, rows=32, columns=32))
    results = []
    with listening(memory) as scp:
        senders = [threading.Thread(target=lambda: results.append(send(remote(scp), items))) for _ in range(4)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        memory.wait(ended=4)

    assert all(o.error is None for outcomes in results for o in outcomes)
    assert len(memory.received) == 60
    assert len({i.association_id for i in memory.received}) == 4
    assert sorted(released for _, _, released in memory.ended) == [True] * 4


def test_more_associations_than_allowed_are_put_off_and_told(head):
    release = threading.Event()
    memory = Memory(lambda incoming: release.wait(10))
    with listening(memory, max_associations=1) as scp:
        first = threading.Thread(target=send, args=(remote(scp), head[:1]))
        first.start()
        memory.wait(received=1)
        with pytest.raises(DeliveryUnconfirmed, match="busy"):
            send(remote(scp), head[1:])
        release.set()
        first.join()
        memory.wait(ended=1, refused=1)
        assert "listener.max_associations" in memory.refused[0][1]
        assert send(remote(scp), head[1:2])[0].error is None


def test_real_files_in_seven_transfer_syntaxes(shared_data):
    memory, items = Memory(), []
    for path in sorted((shared_data / "mr_mosaic_transfer_syntaxes").rglob("*.dcm")):
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        items.append(in_memory(ds.SOPClassUID, ds.SOPInstanceUID, ds.file_meta.TransferSyntaxUID, path.read_bytes()))
    with listening(memory) as scp:
        outcomes = send(remote(scp), items)

    accepted = [item for item, o in zip(items, outcomes, strict=True) if o.error is None]
    assert [data_of(i.content) for i in memory.received] == [data_of(i.read()) for i in accepted]
    for item, outcome in zip(items, outcomes, strict=True):
        lossy = item.transfer_syntax_uid in ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
        assert (outcome.error is None) is not lossy, item.transfer_syntax_uid


def test_stopping_lets_a_running_association_finish(head):
    memory = Memory(lambda incoming: time.sleep(0.15))
    outcomes = []
    with listening(memory) as scp:
        address = remote(scp)
        sender = threading.Thread(target=lambda: outcomes.extend(send(address, head)))
        sender.start()
        memory.wait(received=1)
        scp.stop(grace_seconds=10)
        assert memory.ended[0][2] is True
        with pytest.raises(DeliveryUnconfirmed, match="Cannot connect"):
            send(address, head)
        sender.join()

    assert [o.error for o in outcomes] == [None] * 4


def test_stopping_aborts_what_does_not_finish_in_time(head):
    memory = Memory()
    with listening(memory) as scp:
        peer = RawPeer(scp.port)
        peer.associate()
        peer.send_data(store_command("2.25.7"), command=True)
        peer.send_data(bytes(8), command=False)
        assert peer.read_pdu()[0] == 4
        started = time.monotonic()
        scp.stop(grace_seconds=0.3)
        assert time.monotonic() - started < 3
        assert peer.read_pdu()[0] in (0, 7)
        peer.socket.close()

    assert [released for _, _, released in memory.ended] == [False]
    assert acceptors() == []


def test_stopping_does_not_wait_for_connections_that_never_asked():
    with listening(Memory()) as scp:
        idle = [RawPeer(scp.port) for _ in range(3)]
        deadline = time.monotonic() + 5
        while len(acceptors()) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        started = time.monotonic()
        scp.stop(grace_seconds=30)
        assert time.monotonic() - started < 5
        for peer in idle:
            assert peer.read_pdu()[0] == 0
            peer.socket.close()

    assert acceptors() == []


def test_a_port_that_is_taken_is_said(head):
    with listening(Memory()) as scp, pytest.raises(ConfigurationError, match=r"Cannot listen on 127.0.0.1:\d+"):
        StorageScp(ListenerOptions(port=scp.port), lambda i: None, lambda a, p, r: None, lambda p, w: None).start()


def test_it_can_be_started_again_on_the_same_port(head):
    first = Memory()
    with listening(first) as scp:
        port = scp.port
        send(remote(scp), head[:1])
    second = Memory()
    with listening(second, port=port) as scp:
        send(remote(scp), head[1:2])
        assert scp.port == port

    assert (len(first.received), len(second.received)) == (1, 1)
