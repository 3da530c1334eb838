"""What the Storage SCU is given, and what it says: values without a socket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from triage.domain.errors import ConfigurationError, TriageError
from triage.domain.study import AeTitle
from triage.net.tls import TlsFiles


@dataclass(frozen=True, slots=True)
class RemoteAe:
    """An archive, the name under which we call it, and the certificates when it is called with TLS."""

    ae_title: str
    host: str
    port: int
    calling_ae_title: str = "ICHTRIAGE"
    tls: TlsFiles | None = None

    def __post_init__(self) -> None:
        for key, title in (("ae_title", self.ae_title), ("calling_ae_title", self.calling_ae_title)):
            try:
                AeTitle(title)
            except ValueError as exc:
                raise ConfigurationError(f"{key} of the destination at {self.host}:{self.port}: {exc}.") from exc
        if not self.host or not 0 < self.port <= 65535:
            raise ConfigurationError(f"Destination {self.ae_title} needs a host and a port between 1 and 65535.")

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class OutgoingInstance:
    """One object to send.

    ``read`` fetches the whole Part 10 file, whose data set is in ``transfer_syntax_uid``, when its turn has come,
    so that a long series is never in memory as a whole.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    read: Callable[[], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """What became of one object: accepted when ``error`` is None. ``status`` is None when no answer came."""

    sop_instance_uid: str
    error: TriageError | None
    status: int | None
