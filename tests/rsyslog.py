"""A real rsyslog that receives over TLS or UDP, and a way to it that can be cut without losing what it took."""

from __future__ import annotations

import array
import fcntl
import json
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from tests.services import find_program, free_port, start_child, stop_child, wait_until
from triage.net.tls import TlsFiles

NAME = "syslog.test"


class Certificates:
    """An authority, the certificate of the receiver and that of its client, as PEM files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        for name in ("server", "client"):
            issued = authority.issue_cert(NAME if name == "server" else f"{name}.test")
            issued.private_key_pem.write_to_path(folder / f"{name}.key")
            for position, blob in enumerate(issued.cert_chain_pems):
                blob.write_to_path(folder / f"{name}.pem", append=position > 0)

    def client(self, *, known: bool = True) -> TlsFiles:
        """What a sender needs; without its certificate unless ``known``."""
        ours = (self.folder / "client.pem", self.folder / "client.key") if known else (None, None)
        return TlsFiles(self.ca, *ours, expected_name=NAME)


class Rsyslog:
    """One rsyslogd that writes each message as a line of JSON."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self._program = find_program("rsyslogd", "rsyslog rsyslog-gnutls")
        self._folder = folder
        self.certificates = certificates
        self.tls_port, self.udp_port = free_port(), free_port()
        self.output = folder / "messages.jsonl"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it listens."""
        pem = self.certificates.folder
        configuration = self._folder / "rsyslog.conf"
        configuration.write_text(
            f"""
            global(workDirectory="{self._folder}" maxMessageSize="64k" defaultNetstreamDriver="gtls"
                   defaultNetstreamDriverCAFile="{pem}/ca.pem" defaultNetstreamDriverCertFile="{pem}/server.pem"
                   defaultNetstreamDriverKeyFile="{pem}/server.key" parser.escapeControlCharactersOnReceive="off")
            module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/name"
                   permittedPeer=["client.test"])
            module(load="imudp")
            input(type="imtcp" port="{self.tls_port}" address="127.0.0.1")
            input(type="imudp" port="{self.udp_port}" address="127.0.0.1")
            template(name="line" type="list" option.jsonf="on") {{
                property(outname="pri" name="pri" format="jsonf") property(outname="app" name="app-name" format="jsonf")
                property(outname="host" name="hostname" format="jsonf")
                property(outname="id" name="msgid" format="jsonf")
                property(outname="at" name="timereported" dateformat="rfc3339" format="jsonf")
                property(outname="msg" name="msg" format="jsonf")
            }}
            action(type="omfile" file="{self.output}" template="line")
            """
        )
        arguments = [self._program, "-n", "-f", str(configuration), "-i", str(self._folder / "rsyslog.pid")]
        log = self._folder / "rsyslog.log"
        self._process = start_child(arguments, log)
        wait_until(self._listens, "rsyslog", self._process, log)

    def stop(self) -> None:
        """Stop it as its service would; it writes what it has."""
        if self._process is not None:
            self._process.terminate()  # it takes no notice of the SIGINT that ends our other servers
            stop_child(self._process)
            self._process = None

    def messages(self) -> list[dict[str, str]]:
        """What it has written so far."""
        if not self.output.exists():
            return []
        lines = self.output.read_text("utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def count(self) -> int:
        """How many lines it has written so far."""
        return self.output.read_bytes().count(b"\n") if self.output.exists() else 0

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.tls_port)) == 0


class Cable:
    """A way from a port of its own to another port, which can be cut in the middle of a stream.

    A real cable holds nothing: what the far machine acknowledged, it has. This one is a relay, whose own machine
    acknowledges; so before a cut it stops reading until its buffer is full and the sender may send no more, looks
    into the buffer without taking anything out, passes that on, and only then resets the connection.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self.passed = 0
        self.connections = 0
        self.cuts = 0
        self._cut_at: list[int] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut_after(self, *passed: int) -> None:
        """Cut once so many bytes have passed, counted over all connections."""
        self._cut_at = sorted(passed)

    def close(self) -> None:
        self._closed = True
        self._listener.close()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._closed:
            try:
                self._listener.settimeout(0.1)
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.connections += 1
            with near, socket.create_connection(("127.0.0.1", self._target)) as far:
                self._carry(near, far)

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        near.settimeout(0.02)
        far.settimeout(0.001)
        while not self._closed:
            try:
                data = near.recv(8192)
                if not data:
                    return
                self._pass_on(far, data)
            except TimeoutError:
                pass
            except OSError:
                return
            try:
                back = far.recv(8192)
                if not back:
                    return
                near.sendall(back)
            except TimeoutError:
                pass
            if self._cut_at and self.passed >= self._cut_at[0] and self._full(near):
                self._cut_at.pop(0)
                self._pass_on(far, near.recv(1 << 20, socket.MSG_PEEK))
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.cuts += 1
                return

    def _pass_on(self, far: socket.socket, data: bytes) -> None:
        far.settimeout(10)
        far.sendall(data)
        far.settimeout(0.001)
        self.passed += len(data)

    @staticmethod
    def _full(near: socket.socket) -> bool:
        """Whether the sender fills the buffer and then stands still for a while."""
        seen = -1
        for _ in range(20):
            waiting = array.array("i", [0])
            fcntl.ioctl(near.fileno(), termios.FIONREAD, waiting)
            if waiting[0] == seen:
                return seen > 8192
            seen = waiting[0]
            time.sleep(0.1)
        return False


@contextmanager
def cable(target: int) -> Iterator[Cable]:
    """A `Cable` to a port of this machine."""
    laid = Cable(target)
    try:
        yield laid
    finally:
        laid.close()
