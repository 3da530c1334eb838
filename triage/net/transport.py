"""Below the associations: sockets that neither stall, hang nor leak, and a thread to see each association end."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from socketserver import BaseServer
from typing import Any

import structlog
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from triage.domain.errors import ConfigurationError
from triage.net.responses import PromptResponder

log = structlog.get_logger()

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class PromptSocket(AssociationSocket):
    """Reads whole PDUs, acknowledges at once, and is closed in any case.

    The kernel delays acknowledgements by 40 ms, and a peer with Nagle's algorithm on (dcmtk as shipped) waits
    for them with every instance that it sends and every response; quick acknowledgement is not sticky, so
    each read asks for it again.
    """

    maximum_pdu_bytes = 1 << 20
    """Above it a PDU is taken for an attack or another protocol."""
    first_bytes = b""
    """The first that the peer sent: a peer that speaks TLS on a plain connection is known by them."""
    tls_failure: OSError | None = None
    """Why TLS failed after the connection was made."""
    hung_up = False
    """Whether the peer closed the connection, rather than we."""
    _held = b""

    @classmethod
    def take_over(cls, opened: AssociationSocket, maximum_pdu_bytes: int) -> PromptSocket:
        """Continue with the socket of an accepted connection."""
        # Not by the constructor: the opened one has told the state machine of the connection already.
        prompt = cls.__new__(cls)
        prompt.__dict__.update(opened.__dict__)
        prompt.maximum_pdu_bytes = maximum_pdu_bytes
        return prompt

    @property
    def ready(self) -> bool:
        """Whether there is something to read; of a TLS connection something for us, not only for TLS itself.

        A read that finds nothing but the other side's handshake messages would wait, and nothing be sent meanwhile.
        """
        if not super().ready:
            return False
        connection = self.socket
        if not isinstance(connection, ssl.SSLSocket) or self._held:
            return True
        waiting = connection.gettimeout()
        connection.settimeout(0)
        try:
            self._held = connection.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as exc:
            self.tls_failure = exc
            self.event_queue.put("Evt17")  # transport connection closed
            return False
        finally:
            connection.settimeout(waiting)
        return True

    def recv(self, nr_bytes: int) -> bytearray:
        """Read ``nr_bytes``, or less when the peer closed the connection.

        Raises
        ------
        OSError
            If the peer announces more than any PDU may hold, or falls silent in the middle of one.
        """
        if nr_bytes > self.maximum_pdu_bytes:
            raise OSError(f"The peer announced a PDU of {nr_bytes} bytes; the limit is {self.maximum_pdu_bytes}.")
        connection = self.socket
        if connection is None:
            raise OSError("The connection is closed.")
        buffer = bytearray(nr_bytes)
        view = memoryview(buffer)
        read = len(self._held)
        buffer[:read], self._held = self._held, b""
        while read < nr_bytes:
            if _QUICKACK is not None:
                connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            try:
                count = connection.recv_into(view[read:])
            except ConnectionError:
                self.hung_up = True
                raise
            if count == 0:
                self.hung_up = True
                return bytearray(view[:read])
            read += count
        self.first_bytes = self.first_bytes or bytes(buffer[:2])
        return buffer

    def _shutdown_socket(self) -> None:
        """Close also when there is nothing to shut down, as after a refused connection."""
        opened = self.socket
        super()._shutdown_socket()
        if opened is not None:
            opened.close()


class ConnectionHandler(RequestHandler):
    """One accepted connection. Its thread waits for the association to end, so the end is seen in any case."""

    server: ListeningServer

    def handle(self) -> None:
        """Run the association to its end."""
        try:
            self.request = self.server.secured(self.request)
        except (ConfigurationError, OSError) as exc:  # certificates being renewed, or a peer that is gone
            log.error("connection_not_secured", why=str(exc))
            self.server.shutdown_request(self.request)
            return
        assoc = self._create_association()
        opened = assoc.dul.socket
        if opened is not None:
            assoc.dul.socket = PromptSocket.take_over(opened, self.server.maximum_pdu_bytes)
        assoc.dimse = PromptResponder(assoc)
        assoc.bind(evt.EVT_CONN_CLOSE, release_waiting_thread)
        self.server.attend(assoc)


class ListeningServer(ThreadedAssociationServer):
    """Accepts connections up to a limit and gives each a thread.

    Parameters
    ----------
    attend
        Starts an association and returns when it has ended.
    silence_seconds
        How long a peer may fall silent in the middle of a PDU, or not take what is sent to it.
    maximum_connections
        Connections above it are closed at once, before a byte is read.
    tls_context
        Makes the TLS context of one connection; None for connections without TLS.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        entity: AE,
        address: tuple[str, int],
        ae_title: str,
        contexts: list[PresentationContext],
        *,
        attend: Callable[[Association], None],
        silence_seconds: float,
        maximum_pdu_bytes: int,
        maximum_connections: int,
        tls_context: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self.tls_context = tls_context
        self.attend = attend
        self.silence_seconds = silence_seconds
        self.maximum_pdu_bytes = maximum_pdu_bytes
        self.maximum_connections = maximum_connections
        super().__init__(entity, address, ae_title, contexts, request_handler=ConnectionHandler)

    def stop_listening(self) -> None:
        """Accept no more; running associations go on."""
        # The shutdown of pynetdicom's server is for those that its AE started.
        BaseServer.shutdown(self)
        self.server_close()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection and set its options."""
        connection, address = super().get_request()
        # A peer that is gone by now is found out by the first read.
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self.silence_seconds)
        return connection, address

    def secured(self, connection: socket.socket) -> socket.socket:
        """An accepted connection, under TLS if that is asked for; the handshake is part of the first read."""
        if self.tls_context is None:
            return connection
        return self.tls_context().wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more connection."""
        return len(self.active_associations) < self.maximum_connections


def release_waiting_thread(event: evt.Event) -> None:
    """End the wait for an association request on a connection that closed without one.

    Health checks connect and leave; without this each would hold its thread until the ACSE timeout.
    """
    assoc = event.assoc
    if assoc.requestor.primitive is None:
        assoc.dul.to_user_queue.put(None)


def hang_up(assoc: Association) -> None:
    """Close a connection on which no association was requested; the state machine knows no abort for it."""
    opened = assoc.dul.socket
    if opened is not None and opened.socket is not None:
        with contextlib.suppress(OSError):
            opened.socket.shutdown(socket.SHUT_RDWR)
