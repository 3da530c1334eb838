"""What a DICOMweb server has: asked by QIDO-RS, fetched by WADO-RS, deleted where that is allowed (PS3.18 10)."""

from __future__ import annotations

import json
from collections.abc import Collection
from email.message import Message
from typing import Any, Final

import httpx

from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, NotFound
from triage.domain.study import is_uid
from triage.net.dicomweb import JSON, DicomWebTarget, client, fetch, http_trouble

OBJECT_LIMIT_BYTES: Final = 1 << 30
_SOP_INSTANCE_UID: Final = "00080018"
_PART10: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def present(target: DicomWebTarget, study_instance_uid: str, sop_instance_uids: Collection[str]) -> set[str]:
    """Which of the SOP Instance UIDs the server has in the study, asked for one by one.

    Raises
    ------
    DeliveryUnconfirmed, DeliveryRefused
        If the server cannot be reached, gives no usable answer, or does not let us ask.
    """
    found: set[str] = set()
    with client(target) as opened:
        for uid in sorted(set(sop_instance_uids)):
            resource = target.address("studies", _uid(study_instance_uid), "instances")
            request = opened.build_request(
                "GET", resource, params={"SOPInstanceUID": _uid(uid)}, headers={"Accept": JSON}
            )
            response, body = fetch(target, opened, request)
            if response.status_code == 204:  # nothing matches
                continue
            if response.status_code != 200:
                raise http_trouble(target, response.status_code, doing="QIDO-RS")
            if uid in _instances(target, body):
                found.add(uid)
    return found


def retrieve(target: DicomWebTarget, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> bytes:
    """One object as a Part 10 file, in the transfer syntax in which the server keeps it.

    Raises
    ------
    NotFound
        If the server does not have it.
    DeliveryUnconfirmed, DeliveryRefused
        As `present`.
    """
    path = ("studies", study_instance_uid, "series", series_instance_uid, "instances", sop_instance_uid)
    for uid in path[1::2]:
        _uid(uid)
    with client(target) as opened:
        request = opened.build_request("GET", target.address(*path), headers={"Accept": _PART10})
        response, body = fetch(target, opened, request, limit_bytes=OBJECT_LIMIT_BYTES)
    if response.status_code in (404, 410):
        raise NotFound(f"{target} does not find the object that was asked for.")
    if response.status_code == 406:
        raise DeliveryRefused(f"{target} does not give objects back as application/dicom in the syntax it keeps them.")
    if response.status_code != 200:
        raise http_trouble(target, response.status_code, doing="WADO-RS")
    content = _first_part(target, response, body)
    if content[128:132] != b"DICM":
        raise DeliveryUnconfirmed(f"{target} answered WADO-RS with something that is no DICOM file.")
    return content


def delete_study(target: DicomWebTarget, study_instance_uid: str) -> None:
    """Have the server delete a study; few allow it.

    Raises
    ------
    DeliveryUnconfirmed, DeliveryRefused
        If the server cannot be reached, or does not do this.
    """
    with client(target) as opened:
        request = opened.build_request("DELETE", target.address("studies", _uid(study_instance_uid)))
        response, _ = fetch(target, opened, request)
    if response.status_code == 404:  # the only answer of many servers to what they do not offer
        raise DeliveryRefused(f"{target} does not find the study, or does not offer to delete one (HTTP 404).")
    if not 200 <= response.status_code < 300:
        raise http_trouble(target, response.status_code, doing="the deletion of a study")


def _uid(text: str) -> str:
    """A UID that may be part of a URL."""
    if not is_uid(text):
        raise ValueError("only a UID may be part of a DICOMweb URL")
    return text


def _instances(target: DicomWebTarget, body: bytes) -> set[str]:
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise DeliveryUnconfirmed(f"{target} answered QIDO-RS with something that is no JSON.") from exc
    if not isinstance(said, list):
        raise DeliveryUnconfirmed(f"{target} answered QIDO-RS with something that is no list.")
    elements = [item.get(_SOP_INSTANCE_UID) for item in said if isinstance(item, dict)]
    values = [element.get("Value") for element in elements if isinstance(element, dict)]
    return {str(value[0]) for value in values if isinstance(value, list) and value}


def _first_part(target: DicomWebTarget, response: httpx.Response, body: bytes) -> bytes:
    """The first part of a multipart answer, byte for byte (RFC 2046 5.1.1)."""
    header = Message()
    header["Content-Type"] = response.headers.get("Content-Type", "")
    boundary = header.get_boundary()
    if header.get_content_type() == "application/dicom":
        return body
    if boundary is not None:
        mark = b"--" + boundary.encode("ascii", "replace")
        _, opened, rest = body.partition(mark)
        _, blank, content = rest.partition(b"\r\n\r\n")
        part, closed, _ = content.partition(b"\r\n" + mark)
        if opened and blank and closed:
            return part
    raise DeliveryUnconfirmed(f"{target} answered WADO-RS with something that is no multipart message.")
