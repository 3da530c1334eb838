"""Clients that say nothing, or take their time, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from triage.web.protection import PromptHttp

HERE = "127.0.0.1"
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
FORM = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"


class Hasty(PromptHttp):
    """One that waits less long."""

    request_seconds = 0.5


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Read the whole request; answer what was sent, in two pieces with a long pause when it is asked for ``/long``."""
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": body.ljust(5, b"."), "more_body": True})
    if scope["path"] == "/long":
        await asyncio.sleep(3 * Hasty.request_seconds)
    await send({"type": "http.response.body", "body": b"whole"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where the application is served."""
    config = uvicorn.Config(application, http=Hasty, log_config=None, lifespan="off", timeout_keep_alive=30)
    server = uvicorn.Server(config)
    with socket.create_server((HERE, 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(port: int) -> Iterator[socket.socket]:
    """A connection to the application."""
    with socket.create_connection((HERE, port), 20) as opened:
        yield opened


def heard(client: socket.socket, enough: bytes = b"whole") -> bytes:
    """What comes until ``enough`` of it has come, or until the connection is closed."""
    told = b""
    try:
        while not told.endswith(enough) and (piece := client.recv(1000)):
            told += piece
    except ConnectionResetError:
        pass
    return told


def drip(client: socket.socket, words: bytes) -> None:
    """Send byte by byte, until it is no longer taken."""
    try:
        for position in range(len(words)):
            client.sendall(words[position : position + 1])
            time.sleep(0.1)
    except (BrokenPipeError, ConnectionResetError):
        pass


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost:", FORM, FORM + b"1234"])
def test_who_does_not_say_what_they_want_is_left(client: socket.socket, said: bytes) -> None:
    client.sendall(said)
    assert heard(client) == b""


@pytest.mark.parametrize("before", [b"", HEAD], ids=["first", "second"])
def test_a_request_byte_by_byte_is_not_waited_for(client: socket.socket, before: bytes) -> None:
    if before:
        client.sendall(before)
        assert heard(client).endswith(b".....whole")
    drip(client, HEAD)
    assert heard(client) == b""


def test_a_request_in_pieces_is_whole_in_time(client: socket.socket) -> None:
    for piece in (FORM[:10], FORM[10:], b"123", b"45"):
        client.sendall(piece)
        time.sleep(0.02)
    assert heard(client).endswith(b"12345whole")


def test_an_answer_may_take_as_long_as_it_takes(client: socket.socket) -> None:
    client.sendall(HEAD.replace(b"/ ", b"/long "))
    assert heard(client).endswith(b".....whole")


def test_an_open_connection_may_ask_again_later(client: socket.socket) -> None:
    for _ in range(2):
        client.sendall(HEAD)
        assert heard(client).endswith(b".....whole")
        time.sleep(2 * Hasty.request_seconds)
