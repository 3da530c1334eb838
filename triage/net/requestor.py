"""One association that we ask for: made with clear errors, used to send bytes as they are, always closed."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from ssl import SSLContext
from typing import Any, cast

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_STORE, DimseServiceType
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_role
from pynetdicom.transport import AddressInformation, AssociationSocket

from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, TriageError
from triage.net.contexts import introduce
from triage.net.outgoing import OutgoingInstance, RemoteAe
from triage.net.tls import TLS_ALERT, RememberingSocket, client_trouble
from triage.net.transport import PromptSocket

SLOWEST_BYTES_PER_SECOND = 100_000
"""Waiting for an answer begins before the object has left: large objects get more time."""


class AnswerBox(DIMSEServiceProvider):
    """Keeps answers for the one who waits for them.

    pynetdicom's reactor thread polls for requests meanwhile and throws away an answer that it finds first.
    ``Association.send_c_store`` pauses it, but the pause has a gap when one object follows another.
    """

    def get_msg(self, block: bool = False) -> tuple[None, None] | tuple[int, DimseServiceType]:
        """The next message, for a caller that waits; nothing for one that polls."""
        return super().get_msg(block=True) if block else (None, None)


class RequestingEntity(AE):
    """Connects through our own kind of socket, with TLS where the archive is called with it."""

    def __init__(self, remote: RemoteAe) -> None:
        super().__init__(remote.calling_ae_title)
        self._remote = remote
        self._tls_context = remote.tls.client_context() if remote.tls is not None else None
        self._opened: PromptSocket | None = None
        self._secured: RememberingSocket | None = None

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[SSLContext, str] | None
    ) -> AssociationSocket:
        self._opened = opened = PromptSocket(assoc, address=address)
        if self._tls_context is not None and self._remote.tls is not None and opened.socket is not None:
            name = self._remote.tls.expected_name or self._remote.host
            # Connecting closes and forgets a socket whose handshake failed, so it is kept here.
            opened.socket = self._tls_context.wrap_socket(opened.socket, server_hostname=name)
            self._secured = cast(RememberingSocket, opened.socket)
        return opened

    def tls_trouble(self) -> str | None:
        """Why the last connection came to nothing, in a sentence, if the reason is TLS or the want of it."""
        opened = self._opened
        if self._secured is None or opened is None:
            if opened is not None and opened.first_bytes == TLS_ALERT:
                return f"{self._remote} expects TLS on this port: switch TLS on for this destination."
            if opened is not None and opened.hung_up:
                return (
                    f"{self._remote} closed the connection and did not answer the association request: if it expects "
                    "TLS on this port, switch TLS on for this destination."
                )
            return None
        failure = self._secured.failure or opened.tls_failure
        return client_trouble(str(self._remote), failure) if failure is not None else None


@contextmanager
def associate(
    remote: RemoteAe, kinds: Sequence[tuple[str, str]], timeout_seconds: float, *, receives: Sequence[str] = ()
) -> Iterator[Association]:
    """Hold an association with one context for each (SOP class, transfer syntax); released at the end.

    The association may have accepted none of them. Of the SOP classes in ``receives`` we are the SCP: the archive
    sends them to us here (C-GET).

    Raises
    ------
    DeliveryUnconfirmed
        If the archive cannot be reached, does not answer, or says "not now".
    DeliveryRefused
        If the archive rejects the association for good.
    ConfigurationError
        If a certificate or key cannot be read.
    """
    entity = introduce(RequestingEntity(remote))
    entity.connection_timeout = entity.acse_timeout = timeout_seconds
    entity.dimse_timeout = timeout_seconds
    entity.network_timeout = None  # counts from the last byte received, however much is being sent
    for sop_class_uid, transfer_syntax_uid in kinds:
        entity.add_requested_context(sop_class_uid, transfer_syntax_uid)
    assoc = _connect(remote, entity, timeout_seconds, [build_role(uid, scp_role=True) for uid in receives])
    try:
        yield assoc
        assoc.release()
    finally:
        if assoc.is_established:
            assoc.abort()


def store(
    remote: RemoteAe,
    assoc: Association,
    item: OutgoingInstance,
    dataset: bytes | memoryview,
    message_id: int,
    timeout_seconds: float,
) -> int:
    """Send one data set as it is and return the status of the answer.

    Raises
    ------
    DeliveryRefused
        If the archive did not accept this SOP class in this transfer syntax.
    DeliveryUnconfirmed
        If the association is or gets lost, or the answer is missing or unfit; it is aborted then.
    """
    context_id = _context_id(remote, assoc, item)
    if not assoc.is_established or not assoc.dul.is_alive():
        raise DeliveryUnconfirmed(f"The association with {remote} ended before this object was sent.")
    request = C_STORE()
    request.MessageID = message_id
    request.AffectedSOPClassUID = UID(item.sop_class_uid)
    request.AffectedSOPInstanceUID = UID(item.sop_instance_uid)
    request.Priority = 0x0000
    request.DataSet = BytesIO(dataset)
    assoc.dimse_timeout = timeout_seconds + len(dataset) / SLOWEST_BYTES_PER_SECOND
    assoc.dimse.send_msg(request, context_id)
    _, answer = assoc.dimse.get_msg(block=True)
    if answer is None:
        assoc.abort()
        raise DeliveryUnconfirmed(
            f"{remote} gave no answer for this object, which may or may not be there: some archives break off when "
            f"they do not know our AE title {remote.calling_ae_title!r}."
        )
    fits = isinstance(answer, C_STORE) and answer.MessageIDBeingRespondedTo == message_id
    if not fits or answer.Status is None:
        assoc.abort()
        raise DeliveryUnconfirmed(f"{remote} gave an answer without a status for this object.")
    return int(answer.Status)


def _context_id(remote: RemoteAe, assoc: Association, item: OutgoingInstance) -> int:
    for context in assoc.accepted_contexts:
        if (context.abstract_syntax, context.transfer_syntax[0]) == (item.sop_class_uid, item.transfer_syntax_uid):
            return cast(int, context.context_id)
    raise DeliveryRefused(
        f"{remote} does not accept {UID(item.sop_class_uid).name} in {UID(item.transfer_syntax_uid).name}."
    )


def _connect(
    remote: RemoteAe, entity: RequestingEntity, timeout_seconds: float, roles: list[SCP_SCU_RoleSelectionNegotiation]
) -> Association:
    """Ask at each address of the host until one takes the connection."""
    connected = False

    def on_connected(event: evt.Event) -> None:
        nonlocal connected
        connected = True
        event.assoc.dimse = AnswerBox(event.assoc)
        opened = event.assoc.dul.socket
        if opened is not None and opened.socket is not None:
            # With Nagle's algorithm each object would wait 40 ms for a delayed acknowledgement.
            opened.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # An archive that stops reading must not hold us for ever.
            opened.socket.settimeout(timeout_seconds)

    for address in _addresses(remote):
        assoc = entity.associate(
            address,
            remote.port,
            ae_title=remote.ae_title,
            ext_neg=list(roles),
            evt_handlers=[(evt.EVT_CONN_OPEN, on_connected)],
        )
        if connected:
            break
    else:
        raise DeliveryUnconfirmed(
            entity.tls_trouble() or f"Cannot connect to {remote}: is it running, and are host and port right?"
        )
    if assoc.is_established:
        return assoc
    answer = assoc.acceptor.primitive or _overlooked(assoc)
    if answer is None:
        raise DeliveryUnconfirmed(entity.tls_trouble() or f"{remote} did not answer the association request.")
    if answer.result != 0x00:
        raise _rejection(remote, answer)
    return assoc


def _overlooked(assoc: Association) -> A_ASSOCIATE | None:
    """The answer of an archive that said no and hung up before pynetdicom looked whether it was connected."""
    while True:
        primitive: Any = assoc.dul.receive_pdu()
        if primitive is None or isinstance(primitive, A_ASSOCIATE):
            return primitive


def _addresses(remote: RemoteAe) -> list[str]:
    try:
        found = socket.getaddrinfo(remote.host, remote.port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise DeliveryUnconfirmed(f"The host name of {remote} cannot be looked up: {exc.strerror}.") from exc
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _rejection(remote: RemoteAe, answer: A_ASSOCIATE) -> TriageError:
    """The A-ASSOCIATE-RJ as an error that says what to configure (PS3.8 9.3.4)."""
    if answer.result == 0x02:
        return DeliveryUnconfirmed(f"{remote} is busy and rejects associations for now ({answer.reason_str}).")
    match (answer.result_source, answer.diagnostic):
        case (0x01, 0x03):
            return DeliveryRefused(
                f"{remote} does not know our AE title {remote.calling_ae_title!r}: add it in the archive, "
                "or set listener.ae_title to one that it knows."
            )
        case (0x01, 0x07):
            return DeliveryRefused(
                f"The archive at {remote.host}:{remote.port} is not called {remote.ae_title!r}: "
                "correct ae_title of this destination."
            )
    return DeliveryRefused(f"{remote} rejects associations from {remote.calling_ae_title!r} ({answer.reason_str}).")
