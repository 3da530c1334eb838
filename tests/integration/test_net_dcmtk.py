"""Our listener and our sender against dcmtk, the peer that hospitals have."""

import os
import signal
import subprocess
import time
from itertools import pairwise

import pydicom
import pytest

from tests.builders import ct_series, part10
from tests.peers import Memory, in_memory, listening, outgoing
from tests.services import free_port, start_child, stop_child, wait_until
from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, OutOfSpace, UnreadableInstance
from triage.net.part10 import dataset_offset
from triage.net.scu import RemoteAe, echo, send


@pytest.fixture(scope="module")
def head():
    return ct_series(12, rows=64, columns=64)


@pytest.fixture
def folder(tmp_path, head):
    place = tmp_path / "head"
    place.mkdir()
    for number, ds in enumerate(head):
        (place / f"{number}.dcm").write_bytes(part10(ds))
    return place


def data_of(content):
    return content[dataset_offset(content) :]


def test_echoscu(dcmtk):
    with listening(Memory()) as scp:
        ran = dcmtk.run("echoscu", "-aec", "ICHTRIAGE", "127.0.0.1", str(scp.port))

    assert ran.returncode == 0, ran.stderr


def test_storescu_sends_a_folder(dcmtk, folder, head):
    memory = Memory()
    with listening(memory) as scp:
        ran = dcmtk.run("storescu", "-aet", "CT1", "-aec", "ICHTRIAGE", "+sd", "127.0.0.1", str(scp.port), folder)
        memory.wait(ended=1)

    assert ran.returncode == 0, ran.stderr
    sent = {ds.SOPInstanceUID: data_of(part10(ds)) for ds in head}
    assert {i.sop_instance_uid: data_of(i.content) for i in memory.received} == sent
    assert {i.peer.calling_ae_title for i in memory.received} == {"CT1"}
    assert memory.ended[0][2] is True


def test_storescu_four_at_once(dcmtk, folder):
    memory = Memory()
    with listening(memory) as scp:
        command = [dcmtk.path("storescu"), "-aec", "ICHTRIAGE", "+sd", "127.0.0.1", str(scp.port), str(folder)]
        senders = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(4)]
        assert [sender.wait(60) for sender in senders] == [0, 0, 0, 0]
        memory.wait(ended=4)

    assert len(memory.received) == 48
    assert all(released for _, _, released in memory.ended)


@pytest.mark.parametrize(
    ("error", "said"),
    [(OutOfSpace("disk full"), "Refused: OutOfResources"), (UnreadableInstance("no series"), "CannotUnderstand")],
)
def test_storescu_hears_the_status(dcmtk, folder, error, said):
    def respond(incoming):
        raise error

    memory = Memory(respond)
    with listening(memory) as scp:
        ran = dcmtk.run(
            "storescu", "-v", "-nh", "-aec", "ICHTRIAGE", "127.0.0.1", str(scp.port), folder / "0.dcm", folder / "1.dcm"
        )

    assert (ran.stdout + ran.stderr).count(said) == 2
    assert len(memory.received) == 2


def test_storescu_with_the_wrong_title_is_rejected(dcmtk, folder):
    memory = Memory()
    with listening(memory) as scp:
        ran = dcmtk.run("storescu", "-aec", "OTHER", "127.0.0.1", str(scp.port), folder / "0.dcm")
        memory.wait(refused=1)

    assert ran.returncode != 0
    assert "Called AE Title Not Recognized" in ran.stderr
    assert memory.received == []


@pytest.mark.parametrize("option", ["--propose-lossless", "--propose-jls-lossless", "--propose-rle", "-xd"])
def test_storescu_in_other_transfer_syntaxes(dcmtk, shared_data, tmp_path, option):
    tool = {"--propose-lossless": "dcmcjpeg", "--propose-jls-lossless": "dcmcjpls", "--propose-rle": "dcmcrle"}
    plain = tmp_path / "plain.dcm"
    plain.write_bytes(part10(ct_series(1, rows=32, columns=32)[0]))
    coded = tmp_path / "coded.dcm"
    ran = dcmtk.run(tool[option], plain, coded) if option in tool else dcmtk.run("dcmconv", "+td", plain, coded)
    assert ran.returncode == 0, ran.stderr
    memory = Memory()
    with listening(memory) as scp:
        option = {"-xd": "--propose-deflated"}.get(option, option)
        ran = dcmtk.run("storescu", option, "-R", "-aec", "ICHTRIAGE", "127.0.0.1", str(scp.port), coded)

    assert ran.returncode == 0, ran.stderr
    (incoming,) = memory.received
    assert incoming.transfer_syntax_uid == pydicom.dcmread(coded, stop_before_pixels=True).file_meta.TransferSyntaxUID


def test_a_sender_killed_in_the_middle_ends_its_association_once(dcmtk, folder):
    memory = Memory(lambda incoming: time.sleep(0.2))
    with listening(memory) as scp:
        command = [dcmtk.path("storescu"), "-aec", "ICHTRIAGE", "+sd", "127.0.0.1", str(scp.port), str(folder)]
        sender = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        memory.wait(received=2)
        os.kill(sender.pid, signal.SIGKILL)
        sender.wait()
        memory.wait(ended=1, seconds=5)

    assert [released for _, _, released in memory.ended] == [False]
    assert len(memory.received) < 12


def test_the_real_head_ct_over_two_associations(dcmtk, shared_data):
    files = sorted(p for p in (shared_data / "ge_head_tilt").rglob("*.dcm"))
    assert len(files) == 28
    memory = Memory()
    with listening(memory) as scp:
        for part in (files[1::2], files[::2]):
            ran = dcmtk.run("storescu", "-aec", "ICHTRIAGE", "127.0.0.1", str(scp.port), *part)
            assert ran.returncode == 0, ran.stderr
        memory.wait(ended=2)

    assert len({i.sop_instance_uid for i in memory.received}) == 28
    assert [released for _, _, released in memory.ended] == [True, True]


@pytest.fixture
def storescp(dcmtk, tmp_path, request):
    """A running ``storescp`` called ARCHIVE, bit preserving unless asked otherwise, and the folder it writes to."""
    kept, log, port = tmp_path / "kept", tmp_path / "storescp.log", free_port()
    kept.mkdir()
    process = start_child(
        [
            dcmtk.path("storescp"),
            "-aet",
            "ARCHIVE",
            getattr(request, "param", "+B"),
            "+xa",
            "-od",
            str(kept),
            "-v",
            str(port),
        ],
        log,
    )
    there = RemoteAe("ARCHIVE", "127.0.0.1", port)

    def ready():
        try:
            echo(there, timeout_seconds=2)
        except DeliveryUnconfirmed:
            return False
        return True

    try:
        wait_until(ready, "storescp", process, log)
        yield there, kept
    finally:
        stop_child(process)


def test_storescp_keeps_our_bytes(storescp, head):
    there, kept = storescp
    items = outgoing(head)

    outcomes = send(there, items)

    assert [o.error for o in outcomes] == [None] * 12
    written = {data_of(path.read_bytes()) for path in kept.iterdir()}
    assert written == {data_of(item.read()) for item in items}


@pytest.mark.parametrize("storescp", ["-B"], indirect=True)
def test_storescp_refuses_what_it_cannot_file(storescp, head):
    there, _ = storescp
    item = outgoing(head[:1])[0]
    mismatch = in_memory(item.sop_class_uid, "2.25.4711", item.transfer_syntax_uid, item.read())

    (outcome,) = send(there, [mismatch])

    assert isinstance(outcome.error, DeliveryRefused)
    assert outcome.status == 0xA900


def test_what_arrived_by_storescu_can_be_sent_on(dcmtk, folder, storescp):
    there, kept = storescp
    memory = Memory()
    with listening(memory) as scp:
        dcmtk.run("storescu", "-aec", "ICHTRIAGE", "+sd", "127.0.0.1", str(scp.port), folder)
    onward = [in_memory(i.sop_class_uid, i.sop_instance_uid, i.transfer_syntax_uid, i.content) for i in memory.received]

    assert all(o.error is None for o in send(there, onward))
    assert len(list(kept.iterdir())) == 12


def test_objects_do_not_wait_for_delayed_acknowledgements(storescp):
    there, _ = storescp
    items, at = outgoing(ct_series(30, rows=64, columns=64)), []

    send(there, items, on_sent=lambda outcome: at.append(time.monotonic()))

    # With Nagle's algorithm each object but the first few takes 40 ms; a busy machine delays some, not all.
    assert min(later - earlier for earlier, later in pairwise(at[-15:])) < 0.035
