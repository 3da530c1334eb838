"""What holds for every answer: headers that tell the browser what it may do, and limits on what is taken in."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import urlsplit

import h11
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

LARGEST_BODY: Final = 256 * 1024
"""Bytes of a request: the largest thing that is sent to us is a form."""

REQUEST_SECONDS: Final = 30.0
"""A request has come whole after this long, or its connection is closed."""

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
STRICT_TRANSPORT: Final = {"Strict-Transport-Security": "max-age=31536000"}


def security_headers(*, secure: bool) -> dict[str, str]:
    """The headers of every answer, for pages that are reached by https or not."""
    return {**SECURITY_HEADERS, **STRICT_TRANSPORT} if secure else SECURITY_HEADERS


class Protection:
    """ASGI middleware: adds the headers, refuses a wrong host and a body that is too large."""

    def __init__(self, app: ASGIApp, *, secure: bool, public_url: str) -> None:
        self._app = app
        self._headers = security_headers(secure=secure)
        self._host = urlsplit(public_url).netloc.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        asked = Headers(scope=scope)
        if not self._known_host(scope["path"], asked.get("host", "")):
            refused = PlainTextResponse("This address is not the one that these pages have (web.public_url).", 421)
            await refused(scope, receive, send_protected)
        elif _too_large(asked):
            refused = PlainTextResponse("The request is too large, or does not say how large it is.", 413)
            await refused(scope, receive, send_protected)
        else:
            await self._app(scope, receive, send_protected)

    def _known_host(self, path: str, host: str) -> bool:
        # Probes ask by address, and are told nothing.
        return not self._host or path in ("/healthz", "/readyz", "/metrics") or host.lower() == self._host


def _too_large(headers: Headers) -> bool:
    """Whether the body is longer than we take, or its length is not known beforehand."""
    if "transfer-encoding" in headers:
        return True
    length = headers.get("content-length", "0")
    return not length.isdecimal() or int(length) > LARGEST_BODY


class PromptHttp(H11Protocol):
    """HTTP as uvicorn speaks it, to clients that say what they want within ``request_seconds``.

    Who connects and says nothing, or says it byte by byte, would hold a connection for ever, as would a workstation
    that was switched off meanwhile; and a process may only have so many.
    """

    request_seconds = REQUEST_SECONDS
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await_request()

    def data_received(self, data: bytes) -> None:
        """Go on waiting while a request is not whole; how long its answer takes is our own affair."""
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._await_request()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.request_seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
