"""The audit message of DICOM PS3.15 A.5 as values, and its XML."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

MOST_BYTES = 32_000
"""Longest message: every repository takes 32 KiB (PS3.15 A.6), of which the syslog header needs a little."""

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Code:
    """A coded value: ``csd-code``, ``codeSystemName`` and ``originalText``."""

    value: str
    meaning: str
    scheme: str = "DCM"


@dataclass(frozen=True, slots=True)
class Participant:
    """Who took part (ActiveParticipant). ``address`` is an IP address or the name of a machine."""

    user_id: str
    requestor: bool = False
    role: Code | None = None
    alternative_id: str = ""
    name: str = ""
    address: str = ""
    medium: Code | None = None


@dataclass(frozen=True, slots=True)
class ParticipantObject:
    """What it was about (ParticipantObjectIdentification): a system object, never a person.

    ``role`` is 3 for a report, which a study counts as, 5 for a file of settings, 13 for a security resource.
    ``details`` are written in base64, as the standard asks.
    """

    object_id: str
    id_type: Code
    role: int
    name: str
    details: Mapping[str, str] = field(default_factory=dict)
    instances: int | None = None


@dataclass(frozen=True, slots=True)
class AuditMessage:
    """One event with one outcome: 0 success, 4 minor failure, 8 serious failure."""

    event: Code
    action: str
    at: datetime
    outcome: int
    participants: tuple[Participant, ...]
    source_id: str
    site: str = ""
    types: tuple[Code, ...] = ()
    description: str = ""
    objects: tuple[ParticipantObject, ...] = ()

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError("an audit message needs an aware time")
        if self.action not in tuple("CRUDE") or self.outcome not in (0, 4, 8, 12):
            raise ValueError(f"{self.action!r} with outcome {self.outcome} is no event of PS3.15 A.5")
        if not self.participants or sum(one.requestor for one in self.participants) > 1:
            raise ValueError("an audit message names at least one participant, and at most one of them asked for it")


def encode(message: AuditMessage) -> bytes:
    """The message as one line of XML in UTF-8, at most ``MOST_BYTES`` long; a longer description is cut short."""
    content = _xml(message)
    while len(content) > MOST_BYTES:
        if not message.description:
            raise ValueError("an audit message is too long even without its description")
        length = len(message.description)
        kept = max(length - (len(content) - MOST_BYTES) - 3, length // 2)
        message = replace(message, description=f"{message.description[:kept]}..." if kept > 100 else "")
        content = _xml(message)
    return content


def _xml(message: AuditMessage) -> bytes:
    root = ET.Element("AuditMessage")
    at = message.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    event = _add(
        root,
        "EventIdentification",
        EventActionCode=message.action,
        EventDateTime=at,
        EventOutcomeIndicator=str(message.outcome),
    )
    _code(event, "EventID", message.event)
    for code in message.types:
        _code(event, "EventTypeCode", code)
    if message.description:
        _add(event, "EventOutcomeDescription").text = _text(" ".join(message.description.splitlines()))
    for participant in message.participants:
        _participant(root, participant)
    site = {"AuditEnterpriseSiteID": message.site} if message.site else {}
    source = _add(root, "AuditSourceIdentification", **site, AuditSourceID=message.source_id)
    _add(source, "AuditSourceTypeCode", **{"csd-code": "4"})  # application server process
    for item in message.objects:
        _object(root, item)
    content: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return content.replace(b"?>\n", b"?>", 1)


def _participant(root: ET.Element, participant: Participant) -> None:
    attributes = {"UserID": participant.user_id}
    if participant.alternative_id:
        attributes["AlternativeUserID"] = participant.alternative_id
    if participant.name:
        attributes["UserName"] = participant.name
    attributes["UserIsRequestor"] = "true" if participant.requestor else "false"
    if participant.address:
        attributes["NetworkAccessPointID"] = participant.address
        attributes["NetworkAccessPointTypeCode"] = "2" if _is_ip(participant.address) else "1"
    element = _add(root, "ActiveParticipant", **attributes)
    if participant.role is not None:
        _code(element, "RoleIDCode", participant.role)
    if participant.medium is not None:
        _code(_add(element, "MediaIdentifier"), "MediaType", participant.medium)


def _object(root: ET.Element, item: ParticipantObject) -> None:
    element = _add(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=item.object_id,
        ParticipantObjectTypeCode="2",
        ParticipantObjectTypeCodeRole=str(item.role),
    )
    _code(element, "ParticipantObjectIDTypeCode", item.id_type)
    _add(element, "ParticipantObjectName").text = _text(item.name)
    for kind, value in item.details.items():
        packed = base64.b64encode(value.encode("utf-8", "replace")).decode("ascii")
        _add(element, "ParticipantObjectDetail", type=kind, value=packed)
    if item.instances is not None:
        description = _add(element, "ParticipantObjectDescription")
        _add(description, "SOPClass", NumberOfInstances=str(item.instances))


def _code(parent: ET.Element, name: str, code: Code) -> None:
    _add(parent, name, **{"csd-code": code.value, "codeSystemName": code.scheme, "originalText": code.meaning})


def _add(parent: ET.Element, name: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, name, {key: _text(value) for key, value in attributes.items()})


def _text(value: str) -> str:
    """Replace what XML cannot hold: a peer may have called itself anything."""
    return _NO_XML.sub("?", value)


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
