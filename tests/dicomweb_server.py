"""A DICOMweb server that answers as a test wants it to: refusals, nonsense, and sockets closed on purpose."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from triage.net.dicomweb import DicomWebTarget
from triage.net.tls import TlsFiles

SECRET = "s3cret-token"


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: Message
    body: bytes


class Reply(NamedTuple):
    """One answer."""

    code: int
    content: bytes
    content_type: str = "application/dicom+json"


@contextmanager
def dicomweb_server(
    answer: Callable[[Asked], Reply | None], tls: TlsFiles | None = None
) -> Iterator[tuple[DicomWebTarget, list[Asked]]]:
    """A server, and what it was asked so far; without an answer it closes the socket."""
    seen: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = Asked(self.command, self.path, self.headers, body)
            seen.append(asked)
            reply = answer(asked)
            if reply is None:
                self.close_connection = True
                return
            self.send_response(reply.code)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        do_GET = do_DELETE = do_POST  # noqa: N815 - http.server looks for these names

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    class Listener(ThreadingHTTPServer):
        def handle_error(self, *arguments: object) -> None:
            """Say nothing: the other side may hang up."""

    listener = Listener(("127.0.0.1", 0), Handler)
    if tls is not None:
        listener.socket = tls.server_context().wrap_socket(listener.socket, server_side=True)
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
    thread.start()
    try:
        root = f"{'https' if tls else 'http'}://127.0.0.1:{listener.server_address[1]}/dicom-web"
        yield DicomWebTarget(root, timeout_seconds=5), seen
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def token_file(folder: Path) -> Path:
    """A file that holds the secret as a bearer token."""
    file = folder / "token"
    file.write_text(f"{SECRET}\n")
    return file
