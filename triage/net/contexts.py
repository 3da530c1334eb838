"""What we offer at association time: SOP classes, transfer syntaxes, and who we say we are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydicom.uid import UID
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from triage.domain.provenance import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from triage.net.peer import Peer

MAXIMUM_PDU_BYTES: Final = 256 * 1024
"""dcmtk never sends more than 128 KiB at once; others fill what they are offered."""

UNCOMPRESSED: Final = (
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2",  # Implicit VR Little Endian
)
TRANSFER_SYNTAXES: Final = (
    *UNCOMPRESSED,
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless, process 14
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, process 14, selection value 1
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS Near-lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless Only
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.201",  # High-Throughput JPEG 2000 Lossless Only
    "1.2.840.10008.1.2.4.202",  # High-Throughput JPEG 2000 Lossless Only with RPCL
    "1.2.840.10008.1.2.5",  # RLE Lossless
    "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
    "1.2.840.10008.1.2.2",  # Explicit VR Big Endian
)
"""Only what can be decoded here, best first: a sender that offers several in one context gets the first of these."""


class SupportedContexts(list[PresentationContext]):
    """The contexts of a listener, shared by all its associations.

    pynetdicom copies them deeply for each connection, 28 ms for all storage classes, although negotiation
    only reads them.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> SupportedContexts:
        return self


@dataclass(frozen=True, slots=True)
class ListenerService:
    """A service that the listener offers besides storage: its contexts, and what answers its requests.

    A handler runs in the thread of its association, one of N-EVENT-REPORT in a thread of its own, and returns what
    pynetdicom's documentation asks for its event. ``on_ended`` is told of the end of every association that was asked
    for, whether or not it used the service.
    """

    contexts: tuple[PresentationContext, ...]
    handlers: tuple[tuple[evt.InterventionEvent, Callable[[evt.Event], Any]], ...]
    on_ended: Callable[[Association, Peer], None] | None = None


def supported_contexts(services: Sequence[ListenerService] = ()) -> SupportedContexts:
    """Every storage SOP class, so that forwarding a whole study never fails in part; Verification; the services.

    Raises
    ------
    ValueError
        If two services answer the same kind of request: the second would silently take it from the first.
    """
    events = [event for service in services for event, _ in service.handlers]
    twice = sorted({event.name for event in events if events.count(event) > 1})
    if twice:
        raise ValueError(f"two services of the listener answer {', '.join(twice)}")
    storage = [build_context(str(cx.abstract_syntax), list(TRANSFER_SYNTAXES)) for cx in AllStoragePresentationContexts]
    extra = [context for service in services for context in service.contexts]
    return SupportedContexts([*storage, build_context(Verification, list(UNCOMPRESSED)), *extra])


Entity = TypeVar("Entity", bound=AE)


def introduce(entity: Entity) -> Entity:
    """Give our side of an association its identity, and take pynetdicom's log handlers off it.

    They format every PDU, whether anybody reads it or not.
    """
    _config.LOG_HANDLER_LEVEL = "none"
    entity.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    return entity
