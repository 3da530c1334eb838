"""The Storage SCU: one association per call, data sets sent as they are stored, every answer looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, TriageError
from triage.net.contexts import UNCOMPRESSED
from triage.net.outgoing import OutgoingInstance, RemoteAe, SendOutcome
from triage.net.part10 import dataset_offset
from triage.net.requestor import associate, store
from triage.net.status import failure, meaning

MAXIMUM_CONTEXTS = 128
"""Presentation context ids are the odd numbers up to 255 (PS3.8 9.3.2.2)."""


__all__ = ["OutgoingInstance", "RemoteAe", "SendOutcome", "echo", "send"]


def send(
    remote: RemoteAe,
    instances: Sequence[OutgoingInstance],
    *,
    timeout_seconds: float = 30.0,
    on_sent: Callable[[SendOutcome], None] | None = None,
) -> list[SendOutcome]:
    """Store the instances over one association, each in its own transfer syntax and never encoded again.

    Returns one outcome per instance, in order; ``on_sent`` hears each as soon as it is known. When the
    association breaks, what was answered stands and the rest is ``DeliveryUnconfirmed``.

    Raises
    ------
    DeliveryUnconfirmed
        If no association could be made now.
    DeliveryRefused
        If the archive rejects the association for good; the message says what to configure.
    """
    if not instances:
        return []
    kinds = list(dict.fromkeys((item.sop_class_uid, item.transfer_syntax_uid) for item in instances))
    if len(kinds) > MAXIMUM_CONTEXTS:
        raise ValueError(f"{len(kinds)} kinds of objects do not fit one association of {MAXIMUM_CONTEXTS} contexts")
    outcomes: list[SendOutcome] = []
    with associate(remote, kinds, timeout_seconds) as assoc:
        for number, item in enumerate(instances):
            outcome = _send_one(remote, assoc, item, number % 0xFFFF + 1, timeout_seconds)
            outcomes.append(outcome)
            if on_sent is not None:
                on_sent(outcome)
    return outcomes


def echo(remote: RemoteAe, *, timeout_seconds: float = 10.0) -> None:
    """Ask the archive whether it is there (C-ECHO).

    Raises
    ------
    DeliveryUnconfirmed, DeliveryRefused
        As ``send``; the message names the archive.
    """
    with associate(remote, [(str(Verification), UNCOMPRESSED[1])], timeout_seconds) as assoc:
        if not assoc.accepted_contexts:
            raise DeliveryRefused(f"{remote} does not accept Verification (C-ECHO).")
        answer = assoc.send_c_echo()
        status = answer.get("Status")
    if status is None:
        raise DeliveryUnconfirmed(f"{remote} did not answer the C-ECHO.")
    if status != 0x0000:
        raise DeliveryRefused(f"{remote} answered the C-ECHO with {meaning(status)}.", status)


def _send_one(
    remote: RemoteAe, assoc: Association, item: OutgoingInstance, message_id: int, timeout_seconds: float
) -> SendOutcome:
    status = None
    error: TriageError | None
    try:
        content = item.read()
        dataset = memoryview(content)[dataset_offset(content) :]
        status = store(remote, assoc, item, dataset, message_id, timeout_seconds)
        error = failure(str(remote), status)
    except TriageError as exc:
        error = exc
    return SendOutcome(item.sop_instance_uid, error, status)
