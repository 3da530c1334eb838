"""Our pages behind a real server that can be stopped, started again, and made to fail at one address."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from tests.services import free_port
from triage.web.app import make_app
from triage.web.desk import Desk

START_SECONDS = 20.0


@dataclass
class Served:
    """The pages of a desk on a port of this machine. Paths in ``failing`` are answered with 500."""

    desk: Desk
    port: int = field(default_factory=free_port)
    failing: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Root of the pages, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serve, at the same port as before."""
        config = uvicorn.Config(
            self._app,
            host="127.0.0.1",
            port=self.port,
            interface="asgi3",
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="served")
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server never answered"
            time.sleep(0.02)

    def stop(self) -> None:
        """Answer nobody any more."""
        self._server.should_exit = True
        self._thread.join(START_SECONDS)
        assert not self._thread.is_alive(), "the server never ended"

    def __post_init__(self) -> None:
        self._pages = make_app(self.desk)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") in self.failing:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"Something went wrong."})
            return
        await self._pages(scope, receive, send)


@contextmanager
def served(desk: Desk) -> Iterator[Served]:
    """The pages of a desk, until the end of the block."""
    pages = Served(desk)
    pages.start()
    try:
        yield pages
    finally:
        pages.stop()
