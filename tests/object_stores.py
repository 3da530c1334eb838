"""Object stores on loopback: one that keeps what it is given in memory, and one that only ever complains."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

BUCKET = "heads"


@dataclass(frozen=True)
class ObjectStore:
    """A store with one bucket, seen by a program of its own."""

    client: S3Client

    def names(self, prefix: str = "") -> list[str]:
        """What lies in the bucket."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]


@contextmanager
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """The S3 of moto, reached by what a site would put into the environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        port = server.get_host_and_port()[1]
        httpx.post(f"http://127.0.0.1:{port}/moto-api/reset").raise_for_status()  # all of a process are one
        reached_at(monkeypatch, port)
        client = boto3.Session().client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield ObjectStore(client)
    finally:
        server.stop()


def reached_at(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Where boto3 is to look, and as whom: of this process and of those that it starts."""
    said = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "us",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in said.items():
        monkeypatch.setenv(name, value)


@dataclass
class Complaint:
    """What a store answers to all that is asked of an object; its bucket is there. ``asked`` are method and headers."""

    status: int
    code: str
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def complaining_store(monkeypatch: pytest.MonkeyPatch, status: int, code: str) -> Iterator[Complaint]:
    """A store that refuses."""
    complaint = Complaint(status, code)

    class Answers(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            complaint.asked.append((self.command, dict(self.headers)))
            whole = self.command == "HEAD"
            body = b"" if whole else f"<Error><Code>{complaint.code}</Code><Message>no</Message></Error>".encode()
            self.send_response(200 if whole else complaint.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_DELETE = _answer  # noqa: N815 -- as the base class has them

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        reached_at(monkeypatch, server.server_address[1])
        yield complaint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
