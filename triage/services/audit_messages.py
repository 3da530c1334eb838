"""What each row of the audit log says to an audit repository: rows become messages of DICOM PS3.15 A.5.

No message names a patient, for the log does not: the patient that the standard asks for in messages about
instances is left out, and a repository finds the patient by the Study Instance UID.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from triage.domain.audit import AuditAction, AuditRecord, Outcome
from triage.domain.audit_message import AuditMessage, Code, Participant, ParticipantObject
from triage.domain.encoded import MESSAGE_KINDS
from triage.domain.lifecycle import DeliveryState

PRIVATE_SCHEME = "99ICHTRIAGE"
LONGEST_TEXT = 500
"""Of every text but the description of an outcome, which takes what is left of the message."""

APPLICATION_ACTIVITY = Code("110100", "Application Activity")
AUDIT_LOG_USED = Code("110101", "Audit Log Used")
BEGIN_TRANSFERRING = Code("110102", "Begin Transferring DICOM Instances")
INSTANCES_ACCESSED = Code("110103", "DICOM Instances Accessed")
INSTANCES_TRANSFERRED = Code("110104", "DICOM Instances Transferred")
STUDY_DELETED = Code("110105", "DICOM Study Deleted")
EXPORT = Code("110106", "Export")
QUERY = Code("110112", "Query")
SECURITY_ALERT = Code("110113", "Security Alert")
USER_AUTHENTICATION = Code("110114", "User Authentication")

_START, _STOP = Code("110120", "Application Start"), Code("110121", "Application Stop")
_LOGIN, _LOGOUT = Code("110122", "Login"), Code("110123", "Logout")
_NODE_AUTHENTICATION = Code("110126", "Node Authentication")
_SOFTWARE_CONFIGURATION = Code("110131", "Software Configuration")
_RESTRICTED_FUNCTION = Code("110132", "Use of Restricted Function")
_CHECKPOINT = Code("AuditCheckpoint", "Audit log checkpoint signed", PRIVATE_SCHEME)
_USER_ATTRIBUTES = Code("110137", "User security Attributes Changed")

_APPLICATION = Code("110150", "Application")
_DESTINATION, _SOURCE = Code("110152", "Destination Role ID"), Code("110153", "Source Role ID")
_DESTINATION_MEDIA, _BY_URI = Code("110154", "Destination Media"), Code("110037", "URI")

_STUDY_UID = Code("110180", "Study Instance UID")
_SOP_CLASS_UID = Code("110181", "SOP Class UID")
_NODE_ID = Code("110182", "Node ID")
_URI = Code("12", "URI", "RFC-3881")
_INSTANCE_UID = Code("SOPInstanceUID", "SOP Instance UID", PRIVATE_SCHEME)

_REPORT, _MASTER_FILE, _SECURITY_RESOURCE = 3, 5, 13
_OUTCOMES = {Outcome.SUCCESS: 0, Outcome.MINOR_FAILURE: 4, Outcome.SERIOUS_FAILURE: 8}


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports: the name of this installation, its AE title, the machine, and the site, if it has a name."""

    source_id: str
    ae_title: str
    node: str
    site: str = ""

    def uri(self, *path: str) -> str:
        """Name something of this installation."""
        return "/".join((f"ich-triage://{self.source_id}", *path))


def audit_messages(record: AuditRecord, reporter: Reporter, after: int | None = None) -> tuple[AuditMessage, ...]:
    """The messages of one row: none for what stays internal, two where part of it failed.

    Each names the row and its digest in the chain; with ``after``, also the row that was told before it, so that
    a receiver can see repetitions and gaps.
    """
    tell = _TOLD.get(record.event.action)
    told = tell(record, reporter) if tell else ()
    return tuple(
        _numbered(message, record, reporter, after, f"{part}/{len(told)}") for part, message in enumerate(told, 1)
    )


def _numbered(
    message: AuditMessage, record: AuditRecord, reporter: Reporter, after: int | None, part: str
) -> AuditMessage:
    details = {"sequence": str(record.sequence), "part": part, "digest": record.digest}
    if after is not None:
        details["after"] = str(after)
    row = ParticipantObject(reporter.uri("audit", str(record.sequence)), _URI, _SECURITY_RESOURCE, "Audit log row")
    first, *others = message.objects or (row,)
    return replace(message, objects=(replace(first, details={**first.details, **details}), *others))


def _message(record: AuditRecord, reporter: Reporter, event: Code, action: str, *who: Participant) -> AuditMessage:
    outcome = record.event.outcome
    return AuditMessage(
        event=event,
        action=action,
        at=record.event.at,
        outcome=_OUTCOMES[outcome],
        participants=who,
        source_id=reporter.source_id,
        site=reporter.site,
        description="" if outcome is Outcome.SUCCESS else _why(record),
    )


def _why(record: AuditRecord) -> str:
    return _detail(record, "why") or _detail(record, "reason") or record.event.action.value.replace("_", " ")


def _detail(record: AuditRecord, key: str) -> str:
    value = record.event.detail.get(key)
    return "" if value is None else str(value)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."


# Who takes part.


def _us(reporter: Reporter, role: Code | None = None, process: str = "", *, requestor: bool = False) -> Participant:
    """Name this installation, or one of its processes as our logs do."""
    return Participant(
        _short(process or reporter.source_id),
        requestor,
        role,
        f"AETITLES={reporter.ae_title}",
        "ich-triage",
        reporter.node,
    )


def _person(record: AuditRecord, reporter: Reporter, role: Code | None = None) -> Participant:
    name = _short(record.event.actor)
    known_as = name if "@" in name else f"{name}@{reporter.source_id}"
    return Participant(known_as, True, role, name, name, _short(_detail(record, "address")))


def _caller(record: AuditRecord, role: Code | None = None, *, requestor: bool = True) -> Participant:
    """The peer that called our listener."""
    title, address = _short(record.event.actor), _short(_detail(record, "address"))
    return Participant(title or address or "unknown", requestor, role, f"AETITLES={title}", "", address)


# What it is about.


def _study(record: AuditRecord, instances: int | None = None) -> tuple[ParticipantObject, ...]:
    uid = record.event.study_instance_uid
    if uid is None:
        return ()
    details = {}
    if record.event.sop_instance_uid is not None:
        details["SOPInstanceUID"] = _short(record.event.sop_instance_uid)
    return (ParticipantObject(_short(uid), _STUDY_UID, _REPORT, "Study", details, instances),)


def _alert(
    record: AuditRecord, reporter: Reporter, kind: Code, subject: ParticipantObject, *who: Participant
) -> tuple[AuditMessage, ...]:
    message = _message(record, reporter, SECURITY_ALERT, "E", _us(reporter), *who)
    said = {"Alert Description": _short(_said(record))}
    return (replace(message, types=(kind,), objects=(replace(subject, details=said),)),)


def _said(record: AuditRecord) -> str:
    facts = ", ".join(f"{key} {value}" for key, value in record.event.detail.items() if value is not None)
    return f"{record.event.action.value.replace('_', ' ')}: {facts or record.event.actor}"


# One function for each kind of event.


def _activity(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    process = f"{_detail(record, 'host') or reporter.node}/{_detail(record, 'pid')}/{record.event.actor}"
    message = _message(record, reporter, APPLICATION_ACTIVITY, "E", _us(reporter, _APPLICATION, process))
    kind = _START if record.event.action is AuditAction.SERVICE_STARTED else _STOP
    return (replace(message, types=(kind,)),)


def _log_used(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    log = ParticipantObject(
        reporter.uri("audit"), _URI, _SECURITY_RESOURCE, "Security Audit Log", {"how": _short(_detail(record, "how"))}
    )
    message = _message(record, reporter, AUDIT_LOG_USED, "R", _person(record, reporter), _us(reporter))
    return (replace(message, objects=(log,)),)


def _configuration(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    what = "settings" if record.event.action is AuditAction.SETTINGS_RECORDED else "bundle"
    subject = ParticipantObject(
        reporter.uri(what, _short(_detail(record, "digest")) or "unknown"), _URI, _MASTER_FILE, what.capitalize()
    )
    changed_by = replace(_person(record, reporter), requestor=False)
    return _alert(record, reporter, _SOFTWARE_CONFIGURATION, subject, changed_by)


def _checkpoint(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    log = ParticipantObject(reporter.uri("audit"), _URI, _SECURITY_RESOURCE, "Security Audit Log")
    return _alert(record, reporter, _CHECKPOINT, log)


def _caller_refused(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    caller = _caller(record, requestor=False)
    subject = ParticipantObject(caller.address or caller.user_id, _NODE_ID, _SECURITY_RESOURCE, "Calling node")
    return _alert(record, reporter, _NODE_AUTHENTICATION, subject, caller)


def _conflict(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    uid = _short(record.event.sop_instance_uid or "unknown")
    subject = ParticipantObject(reporter.uri("instance", uid), _URI, _SECURITY_RESOURCE, "Instance held already")
    return _alert(record, reporter, _RESTRICTED_FUNCTION, subject, _caller(record, requestor=False))


def _access_refused(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    what = _short(_detail(record, "what")) or "page"
    subject = ParticipantObject(reporter.uri("web", what.lstrip("/")), _URI, _SECURITY_RESOURCE, "Page or endpoint")
    asked = replace(_person(record, reporter), requestor=False)
    return _alert(record, reporter, _RESTRICTED_FUNCTION, subject, asked)


def _account_changed(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    whose = _short(_detail(record, "user") or _detail(record, "token") or "unknown")
    subject = ParticipantObject(reporter.uri("account", whose), _URI, _SECURITY_RESOURCE, "Account")
    changed_by = replace(_person(record, reporter), requestor=False)
    return _alert(record, reporter, _USER_ATTRIBUTES, subject, changed_by)


def _authentication(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    person = _person(record, reporter)
    person = replace(person, address=person.address or reporter.node)
    message = _message(record, reporter, USER_AUTHENTICATION, "E", person, _us(reporter))
    return (replace(message, types=(_LOGOUT if record.event.action is AuditAction.LOGOUT else _LOGIN,)),)


def _received(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    """What an association brought; one that was cut off has failed beside what it had brought until then."""
    who = (_caller(record, _SOURCE), _us(reporter, _DESTINATION))
    count = record.event.detail.get("instances")
    instances = count if isinstance(count, int) else None
    message = _message(record, reporter, INSTANCES_TRANSFERRED, "C", *who)
    brought = replace(message, outcome=0, description="", objects=_study(record, instances))
    if record.event.outcome is Outcome.SUCCESS:
        return (brought,)
    why = f"The association ended before it was released ({_detail(record, 'ended') or 'unknown how'})."
    return brought, replace(message, description=why, objects=_study(record))


def _came_again(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    """An instance that is held already, one of our own results; or one whose file was lost."""
    held = record.event.action is AuditAction.INSTANCE_IGNORED
    who = (_caller(record, _SOURCE), _us(reporter, _DESTINATION))
    message = _message(record, reporter, INSTANCES_TRANSFERRED, "R" if held else "C", *who)
    return (replace(message, objects=_study(record)),)


def _instance_refused(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    """It could not be read, or not be kept: often nothing but its own UID is known of it."""
    uid = _short(record.event.sop_instance_uid or "unknown")
    message = _message(
        record, reporter, INSTANCES_TRANSFERRED, "C", _caller(record, _SOURCE), _us(reporter, _DESTINATION)
    )
    instance = ParticipantObject(uid, _INSTANCE_UID, _REPORT, "Instance that was refused")
    return (replace(message, objects=_study(record) or (instance,)),)


def _queried(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    """A peer read our list. What it asked for stays out, although the standard wants it: keys name patients."""
    message = _message(record, reporter, QUERY, "E", _caller(record, _SOURCE), _us(reporter, _DESTINATION))
    counts = {key: _detail(record, key) for key in ("questions", "answers") if _detail(record, key)}
    sop_class = _short(_detail(record, "sop_class_uid")) or "unknown"
    return (replace(message, objects=(ParticipantObject(sop_class, _SOP_CLASS_UID, _REPORT, "Worklist", counts),)),)


def _accessed(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    people = record.event.action in (AuditAction.STUDY_OPENED, AuditAction.STUDY_JUDGED)
    who = _person(record, reporter) if people else _us(reporter, process=record.event.actor, requestor=True)
    message = _message(record, reporter, INSTANCES_ACCESSED, "R", who, *([_us(reporter)] if people else []))
    return (replace(message, objects=_study(record)),)


def _removed(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    """The files of a study went from here for their age."""
    us = _us(reporter, process=record.event.actor, requestor=True)
    return (replace(_message(record, reporter, STUDY_DELETED, "D", us), objects=_study(record)),)


def _delivery(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    """Sending begins, or ends one way or the other; messages to reading lists are no instances."""
    detail = record.event.detail
    if detail.get("kind") in _MESSAGES or detail.get("from") not in (DeliveryState.PENDING, DeliveryState.SENDING):
        return ()
    us = _us(reporter, _SOURCE, record.event.actor, requestor=True)
    archive = Participant(_short(_detail(record, "destination")) or "unknown", False, _DESTINATION)
    begins = detail.get("to") == DeliveryState.SENDING
    event, action = (BEGIN_TRANSFERRING, "E") if begins else (INSTANCES_TRANSFERRED, "R")
    message = _message(record, reporter, event, action, us, archive)
    return (replace(message, objects=_study(record, 1)),)


_MESSAGES: frozenset[str] = frozenset(kind.value for kind in MESSAGE_KINDS)


def _exported(record: AuditRecord, reporter: Reporter) -> tuple[AuditMessage, ...]:
    what = _short(_detail(record, "what")) or "data"
    file = Participant(
        reporter.uri("export", what),
        role=_DESTINATION_MEDIA,
        name=what,
        address=_short(_detail(record, "address")) or reporter.node,
        medium=_BY_URI,
    )
    message = _message(record, reporter, EXPORT, "R", _person(record, reporter, _SOURCE), _us(reporter, _SOURCE), file)
    return (replace(message, objects=_study(record)),)


_TOLD: Mapping[str, Callable[[AuditRecord, Reporter], tuple[AuditMessage, ...]]] = MappingProxyType(
    {
        AuditAction.SERVICE_STARTED: _activity,
        AuditAction.SERVICE_STOPPED: _activity,
        AuditAction.SETTINGS_RECORDED: _configuration,
        AuditAction.BUNDLE_RECORDED: _configuration,
        AuditAction.BUNDLE_CHOSEN: _configuration,
        AuditAction.ASSOCIATION_REFUSED: _caller_refused,
        AuditAction.INSTANCES_RECEIVED: _received,
        AuditAction.INSTANCE_REFUSED: _instance_refused,
        AuditAction.INSTANCE_CONFLICT: _conflict,
        AuditAction.INSTANCE_RESTORED: _came_again,
        AuditAction.INSTANCE_IGNORED: _came_again,
        AuditAction.RESULT_RECORDED: _accessed,
        AuditAction.FILES_REMOVED: _removed,
        AuditAction.DELIVERY_MOVED: _delivery,
        AuditAction.AUDIT_READ: _log_used,
        AuditAction.LOGIN: _authentication,
        AuditAction.LOGIN_FAILED: _authentication,
        AuditAction.LOGOUT: _authentication,
        AuditAction.ACCESS_REFUSED: _access_refused,
        AuditAction.ACCOUNT_CHANGED: _account_changed,
        AuditAction.WORKLIST_QUERIED: _queried,
        AuditAction.STUDY_OPENED: _accessed,
        AuditAction.STUDY_JUDGED: _accessed,
        AuditAction.EXPORTED: _exported,
        AuditAction.CHECKPOINT_SIGNED: _checkpoint,
    }
)

TOLD: frozenset[AuditAction] = frozenset(action for action in AuditAction if action in _TOLD)
"""The acts that a repository may hear of."""

INTERNAL: Mapping[AuditAction, str] = MappingProxyType(
    {
        AuditAction.SERIES_MOVED: "a step of our own work on what was received",
        AuditAction.JOB_MOVED: "a step of our own work on what was received",
        AuditAction.STUDY_FLAGGED: "the order of a list; nobody saw an instance",
        AuditAction.STUDY_ESCALATED: "a reminder; nobody saw an instance",
        AuditAction.MESSAGE_SUPERSEDED: "a message that was not sent; nobody saw an instance",
        AuditAction.COMMITMENT_GIVEN_UP: "a question about what was sent; no instance went anywhere",
        AuditAction.DESTINATION_DOWN: "the transfers that failed are told one by one",
        AuditAction.DESTINATION_UP: "the transfers that succeed are told one by one",
        AuditAction.ORPHAN_REMOVED: "a file that no row named, set aside",
    }
)
"""The acts that stay in our own log, and why."""
