"""The Storage and Verification SCP: bytes as sent go to a callback, whose outcome is the status of the answer."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import AddressInformation

from triage.domain.errors import ConfigurationError, OutOfSpace, StoreUnavailable, UnreadableInstance
from triage.domain.study import AeTitle, is_uid
from triage.net.callers import CallerList
from triage.net.contexts import ListenerService, introduce, supported_contexts
from triage.net.incoming import IncomingInstance, ListenerOptions
from triage.net.part10 import file_meta
from triage.net.peer import Peer
from triage.net.status import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, SUCCESS, UNEXPECTED_FAILURE
from triage.net.tls import CLIENT_HELLO, PLAIN_LISTENER, server_trouble
from triage.net.transport import ListeningServer, PromptSocket, hang_up

__all__ = ["IncomingInstance", "ListenerOptions", "ListenerService", "Peer", "StorageScp"]

log = structlog.get_logger()

# result, source and reason of an A-ASSOCIATE-RJ (PS3.8 9.3.4)
CALLER_NOT_RECOGNISED = (0x01, 0x01, 0x03)
CALLED_NOT_RECOGNISED = (0x01, 0x01, 0x07)
LIMIT_EXCEEDED = (0x02, 0x03, 0x02)

_ABORT_SECONDS = 5.0
_POLL_SECONDS = 0.2


@dataclass(slots=True, eq=False)
class _Visit:
    """What is known of one connection while it lasts."""

    association_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    peer: Peer | None = None
    admitted: bool = False
    requests: int = 0


class StorageScp:
    """Listens until stopped. The callbacks run in the thread of their association.

    Parameters
    ----------
    on_instance
        Returning means that the instance is safe and is answered with 0x0000. ``OutOfSpace`` and
        ``StoreUnavailable`` are answered with 0xA700, ``UnreadableInstance`` with 0xC000, anything else
        with 0xC001; the association goes on.
    on_ended
        Called once for each association that carried a C-STORE request, after the last ``on_instance`` has
        returned: association id, peer, and whether the peer released it properly.
    on_refused
        Called with a peer that was not let in, and the reason in a sentence; its titles are empty when TLS
        failed before it could give them.
    services
        What else is offered to the same callers on the same port.
    on_unreadable
        Called before a C-STORE request that carries no instance is answered with 0xC000: the peer, and the reason
        in a sentence. What it raises counts as for ``on_instance``.
    """

    def __init__(
        self,
        options: ListenerOptions,
        on_instance: Callable[[IncomingInstance], None],
        on_ended: Callable[[str, Peer, bool], None],
        on_refused: Callable[[Peer, str], None],
        services: Sequence[ListenerService] = (),
        on_unreadable: Callable[[Peer, str], None] | None = None,
    ) -> None:
        self._options = options
        self._services = tuple(services)
        self._contexts = supported_contexts(self._services)
        self._callers = CallerList.parse(options.allowed_callers, options.host)
        self._on_instance = on_instance
        self._on_unreadable = on_unreadable
        self._on_ended = on_ended
        self._on_refused = on_refused
        self._server: ListeningServer | None = None
        self._thread: threading.Thread | None = None
        self._visits: dict[_Visit, Association] = {}
        self._changed = threading.Condition()

    @property
    def port(self) -> int:
        """The port in use; only while bound."""
        if self._server is None:
            raise RuntimeError("the listener has not been started")
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Bind, and serve in threads of its own; raises what `bind` raises."""
        self.bind()
        self.serve()

    def bind(self) -> None:
        """Take the port. Who connects is kept waiting until `serve`.

        Raises
        ------
        ConfigurationError
            If host and port cannot be bound, or the certificates cannot be read.
        """
        options = self._options
        if options.tls is not None:
            options.tls.server_context()
        connections = 2 * options.max_associations + 64
        try:
            server = ListeningServer(
                _entity(options, connections),
                (options.bind_address, options.port),
                options.ae_title,
                self._contexts,
                attend=self._attend,
                silence_seconds=options.idle_timeout_seconds,
                maximum_pdu_bytes=max(4 * options.maximum_pdu_bytes, 1 << 20),
                maximum_connections=connections,
                tls_context=options.tls.server_context if options.tls is not None else None,
            )
        except OSError as exc:
            raise ConfigurationError(
                f"Cannot listen on {options.host}:{options.port} ({exc.strerror}): another program may use "
                "listener.port, or listener.host is not an address of this machine."
            ) from exc
        self._server = server

    def serve(self) -> None:
        """Attend to those who connect, in threads of its own; after `bind`, and once."""
        if self._server is None:
            raise RuntimeError("the listener has no port yet")
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="listener", daemon=True
        )
        self._thread.start()

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Accept no more, give running associations time to finish, then abort them.

        Returns after the last ``on_ended``, unless a callback hangs.
        """
        if self._server is None:
            return
        server, self._server = self._server, None
        if self._thread is None:
            server.server_close()
            return
        self._thread = None
        server.stop_listening()
        for visit, assoc in self._running():
            if visit.peer is None:
                hang_up(assoc)
        if self._wait_until_empty(grace_seconds):
            return
        for _, assoc in self._running():
            assoc.abort()
        if not self._wait_until_empty(_ABORT_SECONDS):
            log.error("listener_stopped_with_associations_running", count=len(self._running()))

    def _running(self) -> list[tuple[_Visit, Association]]:
        with self._changed:
            return list(self._visits.items())

    def _wait_until_empty(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._visits, timeout=seconds)

    def _attend(self, assoc: Association) -> None:
        """Run one association from its request to its end."""
        visit = _Visit()
        assoc.bind(evt.EVT_REQUESTED, self._on_requested, [visit])
        assoc.bind(evt.EVT_C_STORE, self._on_store, [visit])
        for service in self._services:
            for event, handler in service.handlers:
                assoc.bind(event, handler)
        connection = cast(PromptSocket, assoc.dul.socket)
        with self._changed:
            self._visits[visit] = assoc
        try:
            assoc.start()
            assoc.join()
            if visit.peer is None:
                self._report_misfit(assoc, connection)
            if visit.requests and visit.peer is not None:
                _guarded(self._on_ended, visit.association_id, visit.peer, assoc.is_released)
            for service in self._services:
                if service.on_ended is not None and visit.peer is not None:
                    _guarded(service.on_ended, assoc, visit.peer)
        finally:
            with self._changed:
                del self._visits[visit]
                self._changed.notify_all()

    def _report_misfit(self, assoc: Association, connection: PromptSocket) -> None:
        """Tell of a connection that came to nothing because only one side speaks TLS, or trusts the other."""
        why = None
        if connection.tls_failure is not None:
            why = server_trouble(connection.tls_failure)
        elif connection.first_bytes == CLIENT_HELLO:
            why = PLAIN_LISTENER
        if why is not None:
            origin = cast(AddressInformation, assoc.requestor.address_info)
            _guarded(self._on_refused, Peer("", "", origin.address, origin.port), why)

    def _on_requested(self, event: evt.Event, visit: _Visit) -> None:
        """Let the peer in, or reject it before negotiation."""
        assoc = event.assoc
        visit.peer = _peer(assoc)
        refusal = self._refusal(visit.peer)
        if refusal is None:
            refusal = self._take_place(visit)
        if refusal is None:
            return
        code, why = refusal
        assoc.acse.send_reject(*code)
        assoc.kill()
        _guarded(self._on_refused, visit.peer, why)

    def _refusal(self, peer: Peer) -> tuple[tuple[int, int, int], str] | None:
        why = self._callers.refusal(peer.calling_ae_title, peer.address)
        if why is not None:
            return CALLER_NOT_RECOGNISED, why
        if peer.called_ae_title != AeTitle(self._options.ae_title).value:
            return (
                CALLED_NOT_RECOGNISED,
                f"AE title {peer.called_ae_title!r} was called, but listener.ae_title is {self._options.ae_title!r}.",
            )
        return None

    def _take_place(self, visit: _Visit) -> tuple[tuple[int, int, int], str] | None:
        with self._changed:
            if sum(v.admitted for v in self._visits) < self._options.max_associations:
                visit.admitted = True
                return None
        return (
            LIMIT_EXCEEDED,
            f"{self._options.max_associations} associations are running already: see listener.max_associations.",
        )

    def _on_store(self, event: evt.Event, visit: _Visit) -> int | Dataset:
        """Hand one request to the callback and turn its outcome into a status; never raises."""
        visit.requests += 1
        try:
            self._on_instance(self._read(event, visit))
        except (OutOfSpace, StoreUnavailable) as exc:
            log.warning("instance_put_off", code=exc.code, why=str(exc), association_id=visit.association_id)
            return _failure(OUT_OF_RESOURCES, str(exc))
        except UnreadableInstance as exc:
            log.warning("instance_refused", code=exc.code, why=str(exc), association_id=visit.association_id)
            return _failure(CANNOT_UNDERSTAND, str(exc))
        except Exception:  # one instance that trips over a fault of ours must not end the association
            log.exception("instance_failed", association_id=visit.association_id)
            return _failure(UNEXPECTED_FAILURE, "Fault of the receiver; see its log")
        return SUCCESS

    def _read(self, event: evt.Event, visit: _Visit) -> IncomingInstance:
        try:
            return _incoming(event, visit)
        except UnreadableInstance as exc:
            if self._on_unreadable is not None and visit.peer is not None:
                self._on_unreadable(visit.peer, str(exc))
            raise


def _entity(options: ListenerOptions, connections: int) -> AE:
    entity = introduce(AE(options.ae_title))
    entity.maximum_pdu_size = options.maximum_pdu_bytes
    entity.acse_timeout = options.request_timeout_seconds
    entity.network_timeout = options.idle_timeout_seconds
    # Its count includes connections that are still being negotiated, so ours comes first.
    entity.maximum_associations = connections + 1
    return entity


def _peer(assoc: Association) -> Peer:
    request = cast(A_ASSOCIATE, assoc.requestor.primitive)
    origin = cast(AddressInformation, assoc.requestor.address_info)
    return Peer(
        calling_ae_title=request.calling_ae_title.strip(),
        called_ae_title=request.called_ae_title.strip(),
        address=origin.address,
        port=origin.port,
    )


def _incoming(event: evt.Event, visit: _Visit) -> IncomingInstance:
    request = cast(C_STORE, event.request)
    sop_class_uid, sop_instance_uid = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
    if not (is_uid(sop_class_uid) and is_uid(sop_instance_uid)):
        raise UnreadableInstance("The C-STORE request names a SOP Class or Instance UID that is no UID.")
    dataset = request.DataSet.getvalue() if request.DataSet is not None else b""
    if not dataset:
        raise UnreadableInstance("The C-STORE request carries no data set.")
    if visit.peer is None:
        raise RuntimeError("a C-STORE request came before the association request")
    transfer_syntax_uid = str(event.context.transfer_syntax)
    meta = file_meta(sop_class_uid, sop_instance_uid, transfer_syntax_uid)
    return IncomingInstance(
        association_id=visit.association_id,
        peer=visit.peer,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        content=meta + dataset,
        dataset_offset=len(meta),
    )


def _failure(status: int, comment: str) -> Dataset:
    """A failure status with its Error Comment, LO in the default character set (PS3.7 C.4.2)."""
    ds = Dataset()
    ds.Status = status
    ds.ErrorComment = comment.encode("ascii", "replace").decode("ascii").replace("\\", "/")[:64]
    return ds


def _guarded(callback: Callable[..., None], *arguments: Any) -> None:
    """Call back from a thread of an association, where an exception would only vanish."""
    try:
        callback(*arguments)
    except Exception:  # nobody above this thread could handle it; it is recorded
        log.exception("listener_callback_failed")
