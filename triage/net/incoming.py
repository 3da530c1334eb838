"""What the Storage SCP needs to listen, and what it hands on: values without a socket."""

from __future__ import annotations

from dataclasses import dataclass, field

from triage.domain.errors import ConfigurationError
from triage.domain.study import AeTitle
from triage.net.callers import CallerList, ip_address
from triage.net.contexts import MAXIMUM_PDU_BYTES
from triage.net.peer import Peer
from triage.net.tls import TlsFiles


@dataclass(frozen=True, slots=True)
class IncomingInstance:
    """One C-STORE request.

    ``content`` is a whole Part 10 file: file meta information of our own making, then, from
    ``dataset_offset`` on, the data set exactly as it was sent in ``transfer_syntax_uid``.
    """

    association_id: str
    peer: Peer
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    content: bytes = field(repr=False)
    dataset_offset: int


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """How to listen. Port 0 takes a free one.

    ``idle_timeout_seconds`` ends an established association on which nothing arrives, and a connection that
    stops in the middle of a PDU; ``request_timeout_seconds`` one that never asks for an association.
    """

    ae_title: str = "ICHTRIAGE"
    host: str = "127.0.0.1"
    port: int = 11112
    allowed_callers: tuple[str, ...] = ()
    max_associations: int = 64
    maximum_pdu_bytes: int = MAXIMUM_PDU_BYTES
    idle_timeout_seconds: float = 60.0
    request_timeout_seconds: float = 15.0
    tls: TlsFiles | None = None

    def __post_init__(self) -> None:
        try:
            AeTitle(self.ae_title)
        except ValueError as exc:
            raise ConfigurationError(f"listener.ae_title: {exc}.") from exc
        try:
            ip_address(self.bind_address)
        except ValueError as exc:
            raise ConfigurationError(
                f"listener.host must be an address of this machine, such as 127.0.0.1 or 0.0.0.0, not {self.host!r}."
            ) from exc
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"listener.port must lie between 0 and 65535, not {self.port}.")
        if self.max_associations < 1:
            raise ConfigurationError("listener.max_associations must be 1 or more.")
        if self.maximum_pdu_bytes < 4096 or min(self.idle_timeout_seconds, self.request_timeout_seconds) <= 0:
            raise ConfigurationError("The listener needs a PDU of 4096 bytes or more and timeouts above zero.")
        CallerList.parse(self.allowed_callers, self.host)

    @property
    def bind_address(self) -> str:
        """``host`` as an address; localhost is 127.0.0.1."""
        return "127.0.0.1" if self.host == "localhost" else self.host
