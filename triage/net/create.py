"""N-CREATE of attribute lists that are kept as files: Unified Procedure Steps and availability notifications.

Creating is safe to repeat: the SOP Instance UID is derived, so the second time the SCP says that it has the
instance already (0x0111), which is as good as a success.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Final

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_CREATE

from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, TriageError
from triage.net.contexts import UNCOMPRESSED
from triage.net.outgoing import OutgoingInstance, RemoteAe, SendOutcome
from triage.net.part10 import dataset_offset
from triage.net.requestor import associate
from triage.net.status import failure
from triage.net.verbatim import implicit

EXPLICIT_VR_LITTLE_ENDIAN: Final = UNCOMPRESSED[0]
IMPLICIT_VR_LITTLE_ENDIAN: Final = UNCOMPRESSED[1]
_MEANINGS: Final = {
    0x0111: "it has this instance already",
    0x0213: "resource limitation",
    0xB300: "warning: the step was created with modifications",
    0xC309: "the state of the step is not SCHEDULED",
}
"""What PS3.4 Table CC.2.5-2 adds to the general statuses of N-CREATE."""


def send(
    remote: RemoteAe, instances: Sequence[OutgoingInstance], *, timeout_seconds: float = 30.0
) -> list[SendOutcome]:
    """Create the instances over one association; one outcome each, in order.

    An attribute list goes as it is kept, in explicit VR. An SCP that knows only the default transfer syntax gets
    the same values in implicit VR. When the association breaks, what was answered stands and the rest is
    ``DeliveryUnconfirmed``.

    Raises
    ------
    DeliveryUnconfirmed
        If no association could be made now.
    DeliveryRefused
        If the peer rejects the association for good; the message says what to configure.
    """
    if not instances:
        return []
    classes = list(dict.fromkeys(item.sop_class_uid for item in instances))
    kinds = [(sop_class_uid, syntax) for sop_class_uid in classes for syntax in UNCOMPRESSED]
    with associate(remote, kinds, timeout_seconds) as assoc:
        return [_send_one(remote, assoc, item, number % 0xFFFF + 1) for number, item in enumerate(instances)]


def _send_one(remote: RemoteAe, assoc: Association, item: OutgoingInstance, message_id: int) -> SendOutcome:
    status = None
    error: TriageError | None
    try:
        status = _create(remote, assoc, item, message_id)
        words = f"{_MEANINGS[status]} (0x{status:04X})" if status in _MEANINGS else None
        error = failure(str(remote), status, words)
    except TriageError as exc:
        error = exc
    return SendOutcome(item.sop_instance_uid, error, status)


def _create(remote: RemoteAe, assoc: Association, item: OutgoingInstance, message_id: int) -> int:
    """Send one request and return the status of its answer."""
    context_id, syntax = _context(remote, assoc, item)
    content = item.read()
    if not assoc.is_established or not assoc.dul.is_alive():
        raise DeliveryUnconfirmed(f"The association with {remote} ended before this message was sent.")
    request = N_CREATE()
    request.MessageID = message_id
    request.AffectedSOPClassUID = UID(item.sop_class_uid)
    request.AffectedSOPInstanceUID = UID(item.sop_instance_uid)
    as_kept = syntax == EXPLICIT_VR_LITTLE_ENDIAN
    request.AttributeList = BytesIO(content[dataset_offset(content) :] if as_kept else implicit(content))
    assoc.dimse.send_msg(request, context_id)
    _, answer = assoc.dimse.get_msg(block=True)
    if answer is None:
        assoc.abort()
        raise DeliveryUnconfirmed(f"{remote} gave no answer for this message: it may or may not have it.")
    fits = isinstance(answer, N_CREATE) and answer.MessageIDBeingRespondedTo == message_id
    if not fits or answer.Status is None:
        assoc.abort()
        raise DeliveryUnconfirmed(f"{remote} gave an answer without a status for this message.")
    return int(answer.Status)


def _context(remote: RemoteAe, assoc: Association, item: OutgoingInstance) -> tuple[int, str]:
    accepted = {
        str(context.transfer_syntax[0]): context.context_id
        for context in assoc.accepted_contexts
        if context.abstract_syntax == item.sop_class_uid
    }
    for syntax in UNCOMPRESSED:
        context_id = accepted.get(syntax)
        if context_id is not None:
            return int(context_id), syntax
    raise DeliveryRefused(f"{remote} does not accept {UID(item.sop_class_uid).name}.")
