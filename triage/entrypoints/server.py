"""The role ``web``: the pages, served by uvicorn."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from collections.abc import Callable

import structlog
import uvicorn

from triage.domain.errors import ConfigurationError, TriageError
from triage.entrypoints.app import App, owner
from triage.net.tls import TlsFiles
from triage.services.beat import Heart, alive
from triage.settings import WebSettings
from triage.web.app import make_app

log = structlog.get_logger()

GRACE_SECONDS = 2
"""Streams of events never end by themselves: they are cut after this long, and browsers come back."""


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
    tls = _tls(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(app.desk()),
            log_config=None,
            access_log=False,  # its lines hold query strings, and those what people searched for
            server_header=False,
            lifespan="off",
            ws="none",
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            timeout_graceful_shutdown=GRACE_SECONDS,
            ssl_context_factory=tls,
        )
    )
    listening = _listen(settings.host, settings.port)
    # In a thread of its own it leaves the signals to us.
    thread = threading.Thread(target=server.run, args=([listening],), name="uvicorn")
    thread.start()
    log.info("serving", host=settings.host, port=settings.port, tls=tls is not None, public_url=settings.public_url)
    detail = {"host": settings.host, "port": settings.port, "tls": tls is not None}
    with alive(Heart(app.db, owner("web"), "web", app.clock, detail)):
        while thread.is_alive() and not stop.wait(0.2):
            pass
    ended_by_itself = not stop.is_set()
    server.should_exit = True
    thread.join()
    listening.close()
    if ended_by_itself:
        raise TriageError("The web server ended by itself.")


def _tls(settings: WebSettings) -> Callable[..., ssl.SSLContext] | None:
    if settings.tls_certificate is None:
        return None
    context = TlsFiles(certificate_file=settings.tls_certificate, key_file=settings.tls_key).server_context()
    return lambda *_: context


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
