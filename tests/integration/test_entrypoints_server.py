"""The certificate of the pages, renewed under a server that goes on, over real sockets."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from structlog.testing import capture_logs

from tests.certificates import Authority
from triage.domain.errors import ConfigurationError
from triage.entrypoints.server import Certificate
from triage.net.tls import TlsFiles

HERE = "127.0.0.1"


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """The pair of the authority ``old``, in the files of the settings."""
    placed = TlsFiles(certificate_file=tmp_path / "server.crt", key_file=tmp_path / "server.key")
    put(Authority.make(tmp_path, "old").issue(HERE), placed)
    return placed


def put(pair: tuple[Path, Path], files: TlsFiles) -> None:
    """Renew both files as ACME clients do: written elsewhere, and moved into place."""
    for made, place in zip(pair, (files.certificate_file, files.key_file), strict=True):
        assert place is not None
        replace(place, made.read_bytes())


def replace(place: Path, content: bytes) -> None:
    written = place.with_suffix(".new")
    written.write_bytes(content)
    written.replace(place)


@contextmanager
def serving(certificate: Certificate) -> Iterator[int]:
    """An application that says nothing, served as the pages are; its port."""

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(
        application, log_config=None, lifespan="off", ssl_context_factory=certificate.context_of_server
    )
    server = uvicorn.Server(config)
    with socket.create_server((HERE, 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def shown(port: int, *, name: str | None = None) -> str:
    """Who issued the certificate that a new connection is shown; without a name a browser asked by address."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((HERE, port), 10) as plain, context.wrap_socket(plain, server_hostname=name) as safe:
        told = safe.getpeercert(binary_form=True)
        assert told is not None
        return next(issuer for issuer in ("old", "new") if f"Synthetic {issuer}".encode() in told)


def test_a_renewed_pair_is_shown_to_new_connections_and_kept_by_open_ones(files: TlsFiles, tmp_path: Path) -> None:
    certificate = Certificate(files)
    with serving(certificate) as port:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection((HERE, port), 10) as plain, context.wrap_socket(plain) as open_before:
            put(Authority.make(tmp_path, "new").issue(HERE), files)
            certificate.look()
            assert shown(port) == "old", "it may still be being written"
            certificate.look()
            assert shown(port) == shown(port, name="triage.example") == "new"
            open_before.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert open_before.recv(100).startswith(b"HTTP/1.1 204")


def test_half_a_renewal_is_waited_for(files: TlsFiles, tmp_path: Path) -> None:
    certificate = Certificate(files)
    renewed, key = Authority.make(tmp_path, "new").issue(HERE)
    assert files.certificate_file is not None
    with capture_logs() as events:
        replace(files.certificate_file, renewed.read_bytes())
        certificate.look()
        put((renewed, key), files)
        certificate.look()
        certificate.look()
    assert [event["event"] for event in events] == ["certificate_renewed"]


@pytest.mark.parametrize("how", ["another key", "no PEM", "gone", "empty"])
def test_a_pair_that_cannot_be_used_is_said_once_and_the_former_one_stays(
    files: TlsFiles, tmp_path: Path, how: str
) -> None:
    certificate = Certificate(files)
    pair = Authority.make(tmp_path, "new").issue(HERE)
    assert files.key_file is not None
    assert files.certificate_file is not None
    with serving(certificate) as port, capture_logs() as events:
        if how == "another key":
            replace(files.certificate_file, pair[0].read_bytes())
        elif how == "gone":
            files.key_file.unlink()
        else:
            replace(files.key_file, b"" if how == "empty" else b"no key")
        for _ in range(5):
            certificate.look()
        assert shown(port) == "old"
        (event,) = events
        assert (event["log_level"], event["event"]) == ("error", "certificate_not_renewed")
        assert str(files.key_file) in event["why"]
        put(pair, files)
        certificate.look()
        certificate.look()
        assert shown(port) == "new", "and it is still looked at"


def test_a_link_that_leads_elsewhere_is_a_renewal(files: TlsFiles, tmp_path: Path) -> None:
    """As in a secret of Kubernetes, or in the folder ``live`` of certbot."""
    real = {name: tmp_path / name for name in ("first", "second")}
    for folder in real.values():
        folder.mkdir()
    for place in (files.certificate_file, files.key_file):
        assert place is not None
        shutil.move(place, real["first"] / place.name)
        place.symlink_to(real["first"] / place.name)
    certificate = Certificate(files)
    for made, place in zip(
        Authority.make(tmp_path, "new").issue(HERE), (files.certificate_file, files.key_file), strict=True
    ):
        assert place is not None
        shutil.copy(made, real["second"] / place.name)
        place.unlink()
        place.symlink_to(real["second"] / place.name)
    certificate.look()
    certificate.look()
    with serving(certificate) as port:
        assert shown(port) == "new"


def test_files_that_stay_as_they_are_are_not_read_again(files: TlsFiles) -> None:
    certificate = Certificate(files)
    with capture_logs() as events:
        for _ in range(3):
            certificate.look()
    assert events == []


def test_without_a_usable_pair_there_is_no_server(files: TlsFiles) -> None:
    assert files.key_file is not None
    files.key_file.unlink()
    with pytest.raises(ConfigurationError, match=r"server\.key"):
        Certificate(files)
