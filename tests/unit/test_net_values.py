import pytest

from triage.domain.errors import ConfigurationError
from triage.net.scp import IncomingInstance, ListenerOptions, Peer, StorageScp
from triage.net.scu import OutgoingInstance, RemoteAe, send


def test_the_default_listener_is_reachable_from_this_machine_only():
    assert ListenerOptions().bind_address == "127.0.0.1"


def test_localhost_is_an_address():
    assert ListenerOptions(host="localhost").bind_address == "127.0.0.1"


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"ae_title": ""}, "listener.ae_title"),
        ({"ae_title": "BACK\\SLASH"}, "listener.ae_title"),
        ({"port": 70000}, "listener.port"),
        ({"port": -1}, "listener.port"),
        ({"max_associations": 0}, "listener.max_associations"),
        ({"host": "scanner.example", "allowed_callers": ("PACS",)}, "listener.host"),
        ({"host": "0.0.0.0"}, "listener.allowed_callers"),
        ({"allowed_callers": ("PACS@x",)}, "listener.allowed_callers"),
        ({"idle_timeout_seconds": 0}, "timeouts"),
        ({"maximum_pdu_bytes": 100}, "PDU"),
    ],
)
def test_options_that_cannot_work_name_their_key(wrong, key):
    with pytest.raises(ConfigurationError, match=key.replace(".", r"\.")):
        ListenerOptions(**wrong)


def test_a_listener_off_the_loopback_with_callers():
    assert ListenerOptions(host="0.0.0.0", allowed_callers=("PACS@10.0.0.0/8",)).bind_address == "0.0.0.0"


def test_a_listener_that_was_not_started_has_no_port_and_can_be_stopped():
    scp = StorageScp(ListenerOptions(port=0), lambda i: None, lambda a, p, r: None, lambda p, w: None)

    with pytest.raises(RuntimeError, match="not been started"):
        _ = scp.port
    scp.stop()


def test_pixels_and_names_stay_out_of_the_representation():
    incoming = IncomingInstance("a", Peer("A", "B", "127.0.0.1", 1), "1.2", "1.3", "1.2.3", b"SYNTHETIC^NAME", 0)

    assert "SYNTHETIC" not in repr(incoming)
    assert "SYNTHETIC" not in repr(OutgoingInstance("1.2", "1.3", "1.2.3", lambda: b"SYNTHETIC^NAME"))


@pytest.mark.parametrize(
    "wrong", [{"ae_title": "x" * 17}, {"calling_ae_title": " "}, {"port": 0}, {"port": 65536}, {"host": ""}]
)
def test_a_destination_that_cannot_work(wrong):
    with pytest.raises(ConfigurationError):
        RemoteAe(**{"ae_title": "PACS", "host": "127.0.0.1", "port": 104, **wrong})


def test_a_destination_says_its_name():
    assert str(RemoteAe("PACS", "pacs.example", 104)) == "PACS@pacs.example:104"


def test_nothing_to_send_needs_no_association():
    assert send(RemoteAe("PACS", "127.0.0.1", 1), []) == []


def test_more_kinds_than_an_association_holds():
    kinds = [OutgoingInstance(f"1.2.{n}", "1.3", "1.2.840.10008.1.2", bytes) for n in range(129)]

    with pytest.raises(ValueError, match="do not fit one association"):
        send(RemoteAe("PACS", "127.0.0.1", 1), kinds)
