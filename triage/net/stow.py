"""STOW-RS (PS3.18 10.5): objects stored over HTTP as they are, one request each, every answer looked at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from triage.domain.errors import DeliveryUnconfirmed, TriageError
from triage.net.dicomweb import JSON, DicomWebTarget, client, fetch, http_trouble
from triage.net.outgoing import OutgoingInstance, SendOutcome
from triage.net.status import failure

SLOWEST_BYTES_PER_SECOND = 100_000
"""A server may work through a large object before it answers: large objects get more time."""

_REFERENCED_SOP_SEQUENCE, _FAILED_SOP_SEQUENCE, _OTHER_FAILURES_SEQUENCE = "00081199", "00081198", "0008119A"
_REFERENCED_SOP_INSTANCE_UID, _FAILURE_REASON, _WARNING_REASON = "00081155", "00081197", "00081196"


def send(
    target: DicomWebTarget,
    instances: Sequence[OutgoingInstance],
    *,
    on_sent: Callable[[SendOutcome], None] | None = None,
) -> list[SendOutcome]:
    """Store the instances, each in a request of its own, so that each has an answer of its own.

    Returns one outcome per instance, in order; ``on_sent`` hears each as soon as it is known. After a request
    without an answer the rest is not tried and is ``DeliveryUnconfirmed``.

    Raises
    ------
    ConfigurationError
        If a certificate, key or token cannot be read.
    """
    outcomes: list[SendOutcome] = []
    broken: DeliveryUnconfirmed | None = None
    with client(target) as opened:
        for item in instances:
            if broken is not None:
                why = DeliveryUnconfirmed(f"Not sent, because an object before it got no answer: {broken}")
                outcome = SendOutcome(item.sop_instance_uid, why, None)
            else:
                outcome, broken = _send_one(target, opened, item)
            outcomes.append(outcome)
            if on_sent is not None:
                on_sent(outcome)
    return outcomes


def _send_one(
    target: DicomWebTarget, opened: httpx.Client, item: OutgoingInstance
) -> tuple[SendOutcome, DeliveryUnconfirmed | None]:
    """What became of one object; and the failure of the connection, after which it is useless to go on."""
    status: int | None = None
    error: TriageError | None
    try:
        request = _request(target, opened, item)
    except TriageError as exc:
        return SendOutcome(item.sop_instance_uid, exc, None), None
    try:
        response, body = fetch(target, opened, request)
    except DeliveryUnconfirmed as exc:
        return SendOutcome(item.sop_instance_uid, exc, None), exc
    try:
        status = _status(target, response.status_code, body, item.sop_instance_uid)
        error = failure(str(target), status)
    except TriageError as exc:
        error = exc
    return SendOutcome(item.sop_instance_uid, error, status), None


def _request(target: DicomWebTarget, opened: httpx.Client, item: OutgoingInstance) -> httpx.Request:
    content = item.read()
    boundary = _boundary(content)
    # Without transfer-syntax parameter: the file says it, and Orthanc's plugin 1.7 leaves out a part that has one.
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
    tail = f"\r\n--{boundary}--\r\n".encode("ascii")
    # The length is said beforehand, because not every server and proxy takes a body in chunks.
    return opened.build_request(
        "POST",
        target.address("studies"),
        content=iter((head, content, tail)),
        headers={
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(len(head) + len(content) + len(tail)),
            "Accept": JSON,
        },
        timeout=httpx.Timeout(
            target.timeout_seconds, read=target.timeout_seconds + len(content) / SLOWEST_BYTES_PER_SECOND
        ),
    )


def _boundary(content: bytes) -> str:
    """A boundary that the content does not hold, the same for the same content."""
    boundary = hashlib.sha256(content).hexdigest()
    while boundary.encode("ascii") in content:
        boundary = hashlib.sha256(boundary.encode("ascii")).hexdigest()
    return boundary


def _status(target: DicomWebTarget, code: int, body: bytes, sop_instance_uid: str) -> int:
    """The status that the answer gives to our object (PS3.18 10.5.3).

    Raises
    ------
    DeliveryUnconfirmed
        If the answer says nothing of this object.
    TriageError
        If the server refused the request as a whole.
    """
    said = _said(body)
    for item in _items(said, _FAILED_SOP_SEQUENCE):
        if _value(item, _REFERENCED_SOP_INSTANCE_UID) == sop_instance_uid:
            return _number(item, _FAILURE_REASON, 0x0110)
    for item in _items(said, _REFERENCED_SOP_SEQUENCE):
        if _value(item, _REFERENCED_SOP_INSTANCE_UID) == sop_instance_uid and 200 <= code < 300:
            return _number(item, _WARNING_REASON, 0x0000)
    for item in _items(said, _OTHER_FAILURES_SEQUENCE):
        return _number(item, _FAILURE_REASON, 0x0110)
    if not 200 <= code < 300:
        raise http_trouble(target, code, doing="STOW-RS")
    raise DeliveryUnconfirmed(f"{target} answered HTTP {code} without a word on this object: it may not be there.")


def _said(body: bytes) -> dict[str, Any]:
    """The answer's data set in the DICOM JSON Model (PS3.18 F); empty when it is none."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(said, list) and len(said) == 1:
        said = said[0]
    return said if isinstance(said, dict) else {}


def _items(said: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    element = said.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return [item for item in values if isinstance(item, dict)] if isinstance(values, list) else []


def _value(item: dict[str, Any], tag: str) -> Any:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _number(item: dict[str, Any], tag: str, otherwise: int) -> int:
    value = _value(item, tag)
    return value if isinstance(value, int) and 0 <= value <= 0xFFFF else otherwise
