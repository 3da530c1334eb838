"""Storage commitment, push model (PS3.4 Annex J): asked of an archive, and its report heard on either association."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, cast

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.dsutils import decode, encode
from pynetdicom.presentation import build_context

from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, UnreadableInstance
from triage.domain.study import is_uid
from triage.net.contexts import UNCOMPRESSED, ListenerService
from triage.net.outgoing import RemoteAe
from triage.net.requestor import associate
from triage.net.status import Verdict, classify, meaning
from triage.net.verbatim import quiet

log = structlog.get_logger()

PUSH_MODEL: Final = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
"""The one instance of the class, known to both sides (PS3.4 J.3.5)."""
REQUEST_COMMITMENT: Final = 1
ALL_COMMITTED, FAILURES_EXIST = 1, 2

SUCCESS: Final = 0x0000
PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_EVENT_TYPE: Final = 0x0113
INVALID_ARGUMENT: Final = 0x0115

_REASONS: Final = {
    0x0112: "the archive does not have this object (0x0112)",
    0x0131: "duplicate transaction UID (0x0131)",
    0x0213: "resource limitation (0x0213)",
}


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """What an archive said to one transaction: the SOP Instance UIDs that it keeps, and why it does not keep others."""

    transaction_uid: str
    committed: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]


OnReport = Callable[[CommitmentReport], None]


def request_commitment(
    remote: RemoteAe,
    transaction_uid: str,
    references: Sequence[tuple[str, str]],
    *,
    on_report: OnReport | None = None,
    report_wait_seconds: float = 0.5,
    timeout_seconds: float = 30.0,
) -> None:
    """Ask the archive to commit to objects, given as (SOP Class UID, SOP Instance UID).

    Returning means that it has taken the request. Its report comes on an association of its own, to the listener
    with `commitment_service`; one that comes on this association within ``report_wait_seconds`` goes to
    ``on_report``.

    Raises
    ------
    DeliveryUnconfirmed
        If the archive cannot be reached, gives no answer, or says "try later".
    DeliveryRefused
        If it does not offer storage commitment, or refuses the request for good.
    """
    if not references:
        raise ValueError("storage commitment of nothing")
    heard, answered = threading.Event(), threading.Event()

    def on_event(event: evt.Event) -> tuple[int, None]:
        status = _answer_event(event, on_report) if on_report is not None else (PROCESSING_FAILURE, None)
        heard.set()
        return status

    def on_pdu_sent(event: evt.Event) -> None:
        if heard.is_set():
            answered.set()

    with associate(remote, [(PUSH_MODEL, syntax) for syntax in UNCOMPRESSED], timeout_seconds) as assoc:
        context_id, syntax = _context(remote, assoc)
        # A report may overtake the answer to the request, and is served in a thread of its own.
        assoc.bind(evt.EVT_N_EVENT_REPORT, on_event)
        assoc.bind(evt.EVT_PDU_SENT, on_pdu_sent)
        assoc.dimse.send_msg(_request(transaction_uid, references, syntax), context_id)
        _, answer = assoc.dimse.get_msg(block=True)
        if not isinstance(answer, N_ACTION) or answer.Status is None:
            assoc.abort()
            raise DeliveryUnconfirmed(f"{remote} gave no answer to the request for storage commitment.")
        _check(remote, int(answer.Status))
        if on_report is not None:
            answered.wait(report_wait_seconds)


def commitment_service(on_report: OnReport) -> ListenerService:
    """The listener's ear for reports that an archive sends on an association of its own.

    The archive takes the SCP role there; one that does not negotiate it is heard all the same. When ``on_report``
    fails, the archive is told so (0x0110) and may report again.
    """
    context = build_context(PUSH_MODEL, list(UNCOMPRESSED))
    context.scu_role, context.scp_role = False, True
    return ListenerService((context,), ((evt.EVT_N_EVENT_REPORT, lambda event: _answer_event(event, on_report)),))


def _context(remote: RemoteAe, assoc: Association) -> tuple[int, str]:
    for context in assoc.accepted_contexts:
        return cast(int, context.context_id), str(context.transfer_syntax[0])
    raise DeliveryRefused(
        f"{remote} does not offer storage commitment: switch it on in the archive for our AE title "
        f"{remote.calling_ae_title!r}, or off for this destination."
    )


def _request(transaction_uid: str, references: Sequence[tuple[str, str]], syntax: str) -> N_ACTION:
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    ds.ReferencedSOPSequence = [_reference(*reference) for reference in references]
    request = N_ACTION()
    request.MessageID = 1
    request.RequestedSOPClassUID = UID(PUSH_MODEL)
    request.RequestedSOPInstanceUID = UID(PUSH_MODEL_INSTANCE)
    request.ActionTypeID = REQUEST_COMMITMENT
    encoded = encode(ds, UID(syntax).is_implicit_VR, UID(syntax).is_little_endian)
    if encoded is None:
        raise ValueError("the request for storage commitment cannot be encoded")
    request.ActionInformation = BytesIO(encoded)
    return request


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    ds = Dataset()
    ds.ReferencedSOPClassUID = sop_class_uid
    ds.ReferencedSOPInstanceUID = sop_instance_uid
    return ds


def _check(remote: RemoteAe, status: int) -> None:
    said = f"{remote} answered the request for storage commitment with {_REASONS.get(status) or meaning(status)}"
    match classify(status):
        case Verdict.LATER:
            raise DeliveryUnconfirmed(f"{said}.", status)
        case Verdict.REFUSED:
            raise DeliveryRefused(f"{said}.", status)


def _answer_event(event: evt.Event, on_report: OnReport) -> tuple[int, None]:
    return _answer(cast(N_EVENT_REPORT, event.request), str(event.context.transfer_syntax), on_report), None


def _answer(request: N_EVENT_REPORT, syntax: str, on_report: OnReport) -> int:
    """Hand a report on and turn the outcome into a status; never raises."""
    if request.EventTypeID not in (ALL_COMMITTED, FAILURES_EXIST):
        return NO_SUCH_EVENT_TYPE
    try:
        report = _report(request, syntax)
    except UnreadableInstance as exc:
        log.warning("commitment_report_refused", why=str(exc))
        return INVALID_ARGUMENT
    try:
        on_report(report)
    except Exception:  # the archive keeps its report and sends it again; the association lives
        log.exception("commitment_report_failed", transaction_uid=report.transaction_uid)
        return PROCESSING_FAILURE
    return SUCCESS


def _report(request: N_EVENT_REPORT, syntax: str) -> CommitmentReport:
    try:
        with quiet():  # what is odd in a peer's UIDs is judged here
            information = cast(BytesIO, request.EventInformation) or BytesIO()
            ds = decode(information, UID(syntax).is_implicit_VR, UID(syntax).is_little_endian)
            transaction_uid = str(ds.get("TransactionUID", ""))
            committed = tuple(_uid(item) for item in ds.get("ReferencedSOPSequence") or ())
            failed = tuple((_uid(item), _why(item)) for item in ds.get("FailedSOPSequence") or ())
    except UnreadableInstance:
        raise
    except Exception as exc:  # pydicom's parser has no root of its errors
        raise UnreadableInstance("A storage commitment report cannot be read.") from exc
    if not is_uid(transaction_uid):
        raise UnreadableInstance("A storage commitment report names no transaction.")
    return CommitmentReport(transaction_uid, committed, failed)


def _uid(item: Dataset) -> str:
    uid = str(item.get("ReferencedSOPInstanceUID", ""))
    if not is_uid(uid):
        raise UnreadableInstance("A storage commitment report names an object by something that is no UID.")
    return uid


def _why(item: Dataset) -> str:
    reason: Any = item.get("FailureReason")
    if not isinstance(reason, int):
        return "the archive gave no reason"
    return _REASONS.get(reason) or meaning(reason)
