"""The Storage SCP among peers that break off, fall silent, flood it or talk nonsense: every association ends once."""

import threading
import time

import pytest

from tests.builders import ct_series
from tests.peers import Memory, RawPeer, acceptors, listening, outgoing, remote, store_command
from triage.net.scu import send


@pytest.fixture(scope="module")
def head():
    return outgoing(ct_series(4, rows=32, columns=32))


def abort_by_message(peer):
    peer.socket.sendall(b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00")


def close_in_the_middle(peer):
    peer.socket.sendall(b"\x04\x00\x00\x00\x10\x00" + bytes(100))
    peer.socket.close()


@pytest.mark.parametrize(
    "end",
    [
        abort_by_message,
        lambda peer: peer.socket.close(),
        lambda peer: peer.reset(),
        close_in_the_middle,
        lambda peer: peer.socket.sendall(b"GET / HTTP/1.1\r\n\r\n"),
        lambda peer: peer.socket.sendall(b"\x04\x00\xff\xff\xff\xff" + bytes(100)),
    ],
    ids=["abort", "close", "reset", "truncated", "garbage", "huge"],
)
def test_an_association_that_breaks_ends_once_and_not_released(end):
    memory = Memory()
    with listening(memory) as scp:
        peer = RawPeer(scp.port)
        assert peer.associate() == 2
        peer.send_data(store_command("2.25.7"), command=True)
        peer.send_data(b"\x08\x00\x05\x00CS\x00\x00", command=False)
        assert peer.read_pdu()[0] == 4
        end(peer)
        memory.wait(ended=1, seconds=5)
        peer.socket.close()

    assert len(memory.received) == 1
    assert [(released, p.calling_ae_title) for _, p, released in memory.ended] == [(False, "RAW")]


def test_half_an_instance_is_no_instance():
    memory = Memory()
    with listening(memory) as scp, RawPeer(scp.port) as peer:
        assert peer.associate() == 2
        peer.send_data(store_command("2.25.7"), command=True)
        peer.send_data(bytes(500), command=False, last=False)
        abort_by_message(peer)
        assert peer.read_pdu()[0] == 0

    assert memory.received == memory.ended == []


def test_the_end_comes_after_the_last_instance_even_when_the_peer_is_gone_before():
    inside, go_on = threading.Event(), threading.Event()
    order = []

    def respond(incoming):
        inside.set()
        go_on.wait(10)
        order.append("kept")

    memory = Memory(respond)
    with listening(memory) as scp:
        peer = RawPeer(scp.port)
        peer.associate()
        peer.send_data(store_command("2.25.7"), command=True)
        peer.send_data(bytes(8), command=False)
        assert inside.wait(10)
        peer.reset()
        time.sleep(0.2)
        assert memory.ended == []
        go_on.set()
        memory.wait(ended=1)
        order.append("ended")

    assert order == ["kept", "ended"]
    assert memory.ended[0][2] is False


def test_a_peer_that_falls_silent_is_let_go():
    memory = Memory()
    with listening(memory, idle_timeout_seconds=2.0) as scp:
        between, within = RawPeer(scp.port), RawPeer(scp.port)
        for peer in (between, within):
            peer.associate()
            peer.send_data(store_command("2.25.7"), command=True)
            peer.send_data(bytes(8), command=False)
            assert peer.read_pdu()[0] == 4
        within.socket.sendall(b"\x04\x00\x00\x01")
        memory.wait(ended=2, seconds=20)
        between.socket.close()
        within.socket.close()

    assert [released for _, _, released in memory.ended] == [False, False]


def test_fifty_health_checks_leave_nothing_behind(head):
    memory = Memory()
    with listening(memory, max_associations=2) as scp:
        for _ in range(50):
            RawPeer(scp.port).socket.close()
        deadline = time.monotonic() + 5
        while acceptors() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert acceptors() == []
        assert send(remote(scp), head[:1])[0].error is None

    assert memory.refused == []


def test_connections_that_never_ask_do_not_take_the_place_of_those_that_do(head):
    memory = Memory()
    with listening(memory, max_associations=2, request_timeout_seconds=3.0) as scp:
        idle = [RawPeer(scp.port) for _ in range(50)]
        assert send(remote(scp), head[:1])[0].error is None
        deadline = time.monotonic() + 30
        while acceptors() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert acceptors() == []
        assert all(peer.read_pdu()[0] in (0, 7) for peer in idle)
        for peer in idle:
            peer.socket.close()


def test_a_flood_of_connections_is_cut_off(head):
    with listening(Memory(), max_associations=1) as scp:
        flood = [RawPeer(scp.port) for _ in range(90)]
        assert flood[-1].read_pdu() == (0, b"")
        for peer in flood:
            peer.socket.close()
        deadline = time.monotonic() + 10
        while acceptors() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert send(remote(scp), head[:1])[0].error is None


def test_a_connection_that_asks_for_nonsense_is_let_go():
    memory = Memory()
    with listening(memory) as scp:
        with RawPeer(scp.port) as peer:
            peer.socket.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64))
            assert peer.read_pdu()[0] in (0, 7)
        deadline = time.monotonic() + 5
        while acceptors() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert acceptors() == []
