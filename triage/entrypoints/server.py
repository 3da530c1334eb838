"""The role ``web``: the pages, served by uvicorn."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time
from pathlib import Path

import structlog
import uvicorn

from triage.domain.errors import ConfigurationError, TriageError
from triage.entrypoints.app import App, owner
from triage.net.tls import TlsFiles
from triage.services.beat import Heart, alive
from triage.web.app import make_app
from triage.web.protection import PromptHttp

log = structlog.get_logger()

GRACE_SECONDS = 2
"""Streams of events never end by themselves: they are cut after this long, and browsers come back."""

LOOK_AT_CERTIFICATE_SECONDS = 5.0


class Certificate:
    """The certificate of the pages and its key, as they lie in their files today.

    Raises
    ------
    ConfigurationError
        They cannot be used.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen = self._tried = self._stamps()
        self._current = self._first = files.server_context()
        # A renewed pair gets a context of its own: one that does not fit would break the context it is loaded into.
        # OpenSSL asks for each connection, also when the browser names no server.
        self._first.sni_callback = self._hand_over

    def context_of_server(self, *_config: object) -> ssl.SSLContext:
        """The one context that the server has all the time."""
        return self._first

    def look(self) -> None:
        """Take a renewed pair for the connections to come, once both files have stayed the same for one look."""
        before, self._seen = self._seen, self._stamps()
        if self._seen == self._tried or self._seen != before:
            return
        self._tried = self._seen
        try:
            self._current = self._files.server_context()
        except ConfigurationError as exc:
            log.error("certificate_not_renewed", why=str(exc), so="the former one is shown on")
        else:
            log.info("certificate_renewed", certificate=str(self._files.certificate_file))

    def _hand_over(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _first: ssl.SSLContext) -> None:
        connection.context = self._current

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(file) for file in (self._files.certificate_file, self._files.key_file) if file is not None)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """What changes when a file, or the one that a link leads to, is written or replaced; None without one."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def serve(app: App, stop: threading.Event) -> None:
    """Serve the pages until ``stop`` is set.

    Raises
    ------
    ConfigurationError
        The address is none of this machine, or the certificate cannot be used.
    TriageError
        Somebody else has the port, or the server ended by itself.
    """
    settings = app.settings.web
    certificate = None
    if settings.tls_certificate is not None:
        certificate = Certificate(TlsFiles(certificate_file=settings.tls_certificate, key_file=settings.tls_key))
    desk = app.desk()
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(desk),
            http=PromptHttp,
            log_config=None,
            access_log=False,  # its lines hold query strings, and those what people searched for
            server_header=False,
            lifespan="off",
            ws="none",
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            timeout_graceful_shutdown=GRACE_SECONDS,
            ssl_context_factory=certificate.context_of_server if certificate is not None else None,
        )
    )
    listening = _listen(settings.host, settings.port)
    # In a thread of its own it leaves the signals to us.
    thread = threading.Thread(target=server.run, args=([listening],), name="uvicorn")
    thread.start()
    detail = {"host": settings.host, "port": settings.port, "tls": certificate is not None}
    threading.Thread(target=desk.watch.look_ahead, args=(app.clock(),), name="look-ahead", daemon=True).start()
    log.info("serving", **detail, public_url=settings.public_url)
    with alive(Heart(app.db, owner("web"), "web", app.clock, detail)):
        look_at = time.monotonic()
        while thread.is_alive() and not stop.wait(0.2):
            if certificate is not None and time.monotonic() >= look_at:
                certificate.look()
                look_at = time.monotonic() + LOOK_AT_CERTIFICATE_SECONDS
    ended_by_itself = not stop.is_set()
    server.should_exit = True
    thread.join()
    listening.close()
    if ended_by_itself:
        raise TriageError("The web server ended by itself.")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as exc:
        told = f"The pages cannot be served on {host}:{port} ({exc.strerror}): set web.host and web.port."
        if exc.errno == errno.EADDRINUSE:
            # It may become free, and until then the other roles shall go on.
            raise TriageError(told) from exc
        raise ConfigurationError(told) from exc
