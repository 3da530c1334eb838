"""TLS on associations, both ways: who is let in, and one sentence for each way in which it fails."""

import socket
import ssl
import subprocess

import pytest

from tests.builders import ct_series, part10
from tests.certificates import Authority
from tests.peers import Memory, RawPeer, listening, outgoing, remote
from tests.services import free_port, start_child, stop_child, wait_until
from triage.domain.errors import ConfigurationError, DeliveryUnconfirmed
from triage.net.part10 import dataset_offset
from triage.net.scp import ListenerOptions
from triage.net.scu import RemoteAe, echo, send
from triage.net.tls import TlsFiles


@pytest.fixture(scope="module")
def head():
    return outgoing(ct_series(3, rows=32, columns=32))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return Authority.make(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority.make(tmp_path_factory.mktemp("stranger"), "stranger")


def data_of(content):
    return content[dataset_offset(content) :]


def refused_sentence(memory):
    memory.wait(refused=1)
    peer, sentence = memory.refused[0]
    assert (peer.calling_ae_title, peer.called_ae_title, peer.address) == ("", "", "127.0.0.1")
    assert peer.port > 0
    return sentence


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_python_peer_of_either_version_gets_in(site, version):
    context = site.files().client_context()
    context.minimum_version = context.maximum_version = version
    with listening(Memory(), tls=site.files()) as scp, RawPeer(scp.port) as peer:
        peer.socket = context.wrap_socket(peer.socket, server_hostname="127.0.0.1")
        assert peer.associate() == 2


def test_objects_go_through_with_certificates_on_both_sides(site, head):
    memory = Memory()
    with listening(memory, tls=site.files()) as scp:
        outcomes = send(remote(scp, tls=site.files("sender.example")), head)
        memory.wait(ended=1)

    assert [o.error for o in outcomes] == [None] * 3
    assert [data_of(i.content) for i in memory.received] == [data_of(i.read()) for i in head]
    assert memory.ended[0][2] is True
    assert memory.refused == []


def test_a_listener_without_an_authority_asks_nobody_for_a_certificate(site, head):
    memory = Memory()
    with listening(memory, tls=site.files(ca_file=None)) as scp:
        outcomes = send(remote(scp, tls=TlsFiles(ca_file=site.ca_file)), head)

    assert [o.error for o in outcomes] == [None] * 3


def test_large_objects_come_whole(site):
    large = outgoing(ct_series(2, rows=1024, columns=1024))
    memory = Memory()
    with listening(memory, tls=site.files()) as scp:
        outcomes = send(remote(scp, tls=site.files()), large)

    assert [o.error for o in outcomes] == [None] * 2
    assert [data_of(i.content) for i in memory.received] == [data_of(i.read()) for i in large]


def test_a_name_that_the_certificate_does_not_have(site):
    with listening(Memory(), tls=site.files("archive.example")) as scp:
        there = remote(scp, tls=site.files())
        with pytest.raises(DeliveryUnconfirmed, match=r"is for another name .*set tls_name of this destination"):
            echo(there)
        echo(remote(scp, tls=site.files(expected_name="archive.example")))


def test_a_certificate_of_an_unknown_authority_is_not_trusted(site, stranger):
    memory = Memory()
    with listening(memory, tls=stranger.files(ca_file=None)) as scp:
        with pytest.raises(DeliveryUnconfirmed, match=r"^The certificate of .* is not trusted \(.*\): set tls_ca"):
            echo(remote(scp, tls=site.files()))
        assert refused_sentence(memory).startswith("The peer refuses the listener's certificate")


def test_an_expired_certificate_of_the_archive(site):
    with (
        listening(Memory(), tls=site.files(expired=True)) as scp,
        pytest.raises(
            DeliveryUnconfirmed, match=r"certificate has expired\): .*have the archive's certificate renewed"
        ),
    ):
        echo(remote(scp, tls=site.files()))


@pytest.mark.parametrize(
    ("kind", "heard"),
    [
        ("stranger", "The peer's certificate is not trusted"),
        ("expired", "certificate has expired"),
        ("none", "The peer showed no certificate"),
    ],
)
def test_a_sender_without_a_good_certificate_is_refused_on_both_sides(site, stranger, kind, heard):
    files = {
        "stranger": stranger.files(ca_file=site.ca_file),
        "expired": site.files(expired=True),
        "none": TlsFiles(ca_file=site.ca_file),
    }[kind]
    memory = Memory()
    with listening(memory, tls=site.files()) as scp:
        with pytest.raises(DeliveryUnconfirmed, match=r"refuses our certificate|closed the connection during the TLS"):
            echo(remote(scp, tls=files), timeout_seconds=5)
        assert heard in refused_sentence(memory)
    assert memory.received == []


def test_a_plain_sender_on_a_tls_port(site):
    memory = Memory()
    with listening(memory, tls=site.files()) as scp:
        with pytest.raises(
            DeliveryUnconfirmed, match=r"expects TLS on this port[:,] switch TLS on for this destination"
        ):
            echo(remote(scp), timeout_seconds=5)
        assert "does not speak TLS, but the listener expects it" in refused_sentence(memory)


def test_a_tls_sender_on_a_plain_port(site):
    memory = Memory()
    with listening(memory) as scp:
        with pytest.raises(
            DeliveryUnconfirmed, match=r"does not speak TLS on this port: switch TLS off|may not speak TLS"
        ):
            echo(remote(scp, tls=site.files()), timeout_seconds=5)
        assert refused_sentence(memory).startswith("The peer speaks TLS, but the listener does not")


def test_a_peer_that_only_looks_whether_the_port_is_open_is_not_reported(site):
    memory = Memory()
    with listening(memory, tls=site.files()) as scp:
        socket.create_connection(("127.0.0.1", scp.port), timeout=5).close()
        echo(remote(scp, tls=site.files()))

    assert memory.refused == []


def test_a_peer_that_stops_in_its_handshake_does_not_hold_others(site):
    with (
        listening(Memory(), tls=site.files(), request_timeout_seconds=3.0) as scp,
        socket.create_connection(("127.0.0.1", scp.port), timeout=10) as silent,
    ):
        silent.sendall(b"\x16\x03\x01\x02\x00\x01")
        echo(remote(scp, tls=site.files()))
        assert silent.recv(1) == b""


def test_a_renewed_certificate_is_taken_without_a_restart(site, tmp_path):
    old, new = site.issue("127.0.0.1", expired=True), site.issue("127.0.0.1")
    place = TlsFiles(site.ca_file, tmp_path / "cert.pem", tmp_path / "cert.key")

    def install(pair):
        place.certificate_file.write_bytes(pair[0].read_bytes())
        place.key_file.write_bytes(pair[1].read_bytes())

    install(old)
    with listening(Memory(), tls=place) as scp:
        with pytest.raises(DeliveryUnconfirmed, match=r"expired"):
            echo(remote(scp, tls=site.files()))
        install(new)
        echo(remote(scp, tls=site.files()))


def test_certificates_that_cannot_be_used_stop_the_start(site, tmp_path):
    certificate, _ = site.issue("127.0.0.1")
    _, other_key = site.issue("elsewhere.example")
    wrong = [
        (TlsFiles(site.ca_file), "needs tls_certificate and tls_key"),
        (TlsFiles(site.ca_file, certificate, other_key), "not a readable pair of PEM files"),
        (TlsFiles(site.ca_file, certificate, tmp_path / "absent.key"), "No such file"),
        (site.files(ca_file=other_key), "is no readable PEM file"),
    ]
    for files, sentence in wrong:
        with pytest.raises(ConfigurationError, match=sentence), listening(Memory(), tls=files):
            pass
    with pytest.raises(ConfigurationError, match="go together"):
        TlsFiles(certificate_file=certificate)
    assert ListenerOptions(port=0).tls is None


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "head"
    place.mkdir()
    for number, ds in enumerate(ct_series(3, rows=32, columns=32)):
        (place / f"{number}.dcm").write_bytes(part10(ds))
    return place


def test_storescu_of_dcmtk_sends_over_tls(dcmtk, site, folder):
    certificate, key = site.issue("ct1.example")
    memory = Memory()
    with listening(memory, tls=site.files()) as scp:
        ran = dcmtk.run(
            "storescu", "+tls", key, certificate, "+cf", site.ca_file, "-aec", "ICHTRIAGE", "+sd",
            "127.0.0.1", str(scp.port), folder,
        )  # fmt: skip
        memory.wait(ended=1)

    assert ran.returncode == 0, ran.stderr
    assert len(memory.received) == 3
    assert memory.ended[0][2] is True


def test_echoscu_of_dcmtk_with_a_strange_certificate_or_none_is_refused(dcmtk, site, stranger):
    certificate, key = stranger.issue("ct1.example")
    memory = Memory()
    with listening(memory, tls=site.files()) as scp:
        port = str(scp.port)
        for options in (["+tls", key, certificate], ["+tla"], []):
            trust = ["+cf", site.ca_file] if options else []
            ran = dcmtk.run("echoscu", *options, *trust, "-aec", "ICHTRIAGE", "127.0.0.1", port)
            assert ran.returncode != 0
        memory.wait(refused=3)

    said = [sentence for _, sentence in memory.refused]
    assert "not trusted" in said[0]
    assert "showed no certificate" in said[1]
    assert "does not speak TLS" in said[2]


@pytest.fixture
def storescp(dcmtk, site, tmp_path, request):
    """A running ``storescp`` called ARCHIVE, with TLS and a required client certificate unless asked otherwise."""
    certificate, key = site.issue("127.0.0.1")
    options = ["+tls", str(key), str(certificate), "+cf", str(site.ca_file)] if request.param == "tls" else []
    kept, log, port = tmp_path / "kept", tmp_path / "storescp.log", free_port()
    kept.mkdir()
    command = [dcmtk.path("storescp"), "-aet", "ARCHIVE", *options, "+B", "+xa", "-od", str(kept), str(port)]
    process = start_child(command, log)

    def open_port():
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    try:
        wait_until(open_port, "storescp", process, log)
        yield RemoteAe("ARCHIVE", "127.0.0.1", port), kept
    finally:
        stop_child(process)


@pytest.mark.parametrize("storescp", ["tls"], indirect=True)
def test_storescp_of_dcmtk_gets_our_bytes_over_tls(storescp, site, head):
    there, kept = storescp
    archive = RemoteAe(there.ae_title, there.host, there.port, tls=site.files())

    outcomes = send(archive, head)

    assert [o.error for o in outcomes] == [None] * 3
    assert {data_of(p.read_bytes()) for p in kept.iterdir()} == {data_of(i.read()) for i in head}


@pytest.mark.parametrize("storescp", ["tls"], indirect=True)
def test_storescp_of_dcmtk_refuses_a_strange_certificate(storescp, site, stranger):
    there, _ = storescp
    archive = RemoteAe(there.ae_title, there.host, there.port, tls=stranger.files(ca_file=site.ca_file))

    with pytest.raises(DeliveryUnconfirmed, match=r"refuses our certificate|closed the connection during the TLS"):
        echo(archive, timeout_seconds=5)


@pytest.mark.parametrize(("storescp", "ours"), [("plain", True), ("tls", False)], indirect=["storescp"])
def test_one_side_speaks_tls_and_dcmtk_does_not_or_the_other_way_round(storescp, ours, site):
    there, _ = storescp
    archive = RemoteAe(there.ae_title, there.host, there.port, tls=site.files() if ours else None)

    with pytest.raises(DeliveryUnconfirmed, match=r"TLS"):
        echo(archive, timeout_seconds=3)


def test_openssl_sees_at_least_tls_1_2(site):
    with listening(Memory(), tls=site.files(ca_file=None)) as scp:
        ran = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{scp.port}", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
            input=b"",
            capture_output=True,
            timeout=20,
            check=False,
        )

    assert ran.returncode != 0
