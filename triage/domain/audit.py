"""What the audit log records, and how its rows are chained so that none can be changed or removed unseen."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

GENESIS = "0" * 64
"""The ``previous`` hash of the first row."""


class AuditAction(StrEnum):
    """Every act that leaves an audit row."""

    SERVICE_STARTED = "service_started"
    SERVICE_STOPPED = "service_stopped"
    SETTINGS_RECORDED = "settings_recorded"
    BUNDLE_RECORDED = "bundle_recorded"
    ASSOCIATION_REFUSED = "association_refused"
    INSTANCES_RECEIVED = "instances_received"
    INSTANCE_REFUSED = "instance_refused"
    INSTANCE_CONFLICT = "instance_conflict"
    INSTANCE_RESTORED = "instance_restored"
    INSTANCE_IGNORED = "instance_ignored"
    SERIES_MOVED = "series_moved"
    JOB_MOVED = "job_moved"
    STUDY_FLAGGED = "study_flagged"
    RESULT_RECORDED = "result_recorded"
    DELIVERY_MOVED = "delivery_moved"
    MESSAGE_SUPERSEDED = "message_superseded"
    COMMITMENT_GIVEN_UP = "commitment_given_up"
    DESTINATION_DOWN = "destination_down"
    DESTINATION_UP = "destination_up"
    ORPHAN_REMOVED = "orphan_removed"
    FILES_REMOVED = "files_removed"
    AUDIT_READ = "audit_read"
    BUNDLE_CHOSEN = "bundle_chosen"
    LOGIN = "login"
    LOGIN_FAILED = "login_failed"
    LOGOUT = "logout"
    ACCESS_REFUSED = "access_refused"
    ACCOUNT_CHANGED = "account_changed"
    WORKLIST_QUERIED = "worklist_queried"
    STUDY_OPENED = "study_opened"
    STUDY_JUDGED = "study_judged"
    STUDY_ESCALATED = "study_escalated"
    EXPORTED = "exported"
    CHECKPOINT_SIGNED = "checkpoint_signed"


class LaterAction(str):
    """An act that only a later release knows: its rows are still there after a roll-back, and are read like others."""

    __slots__ = ()

    def __new__(cls, name: str) -> LaterAction:
        """Take what can be the name of an act."""
        if not _ACTION_NAME.fullmatch(name):
            raise ValueError("an act has a name of small letters and underscores")
        return super().__new__(cls, name)

    @property
    def value(self) -> str:
        """The name, as of an ``AuditAction``."""
        return str(self)


_ACTION_NAME = re.compile(r"[a-z]+(_[a-z]+)*")


def action_named(name: str) -> AuditAction | LaterAction:
    """The act of a stored row; ValueError when it cannot be one, of any release."""
    try:
        return AuditAction(name)
    except ValueError:
        return LaterAction(name)


class Outcome(StrEnum):
    """Success, or how bad the failure was (PS3.15 A.5.2 EventOutcomeIndicator 0, 4, 8)."""

    SUCCESS = "success"
    MINOR_FAILURE = "minor_failure"
    SERIOUS_FAILURE = "serious_failure"


Detail = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One act. ``actor`` is a role, an AE title or a person; no field ever names a patient."""

    at: datetime
    actor: str
    action: AuditAction | LaterAction
    outcome: Outcome = Outcome.SUCCESS
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None
    detail: Mapping[str, Detail] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError("an audit event needs an aware UTC time")
        if any(isinstance(value, float) and not math.isfinite(value) for value in self.detail.values()):
            raise ValueError("an audit detail must be a number that JSON can hold")


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An event as it stands in the log: its place, the hash of the row before it, and its own hash."""

    sequence: int
    previous: str
    digest: str
    event: AuditEvent


def chain_digest(previous: str, sequence: int, event: AuditEvent) -> str:
    """The digest of an event that is to be written as row ``sequence``."""
    body = {
        "at": event.at,
        "actor": event.actor,
        "action": event.action.value,
        "outcome": event.outcome.value,
        "study_instance_uid": event.study_instance_uid,
        "series_instance_uid": event.series_instance_uid,
        "sop_instance_uid": event.sop_instance_uid,
        "detail": dict(event.detail),
    }
    return row_digest(previous, sequence, body)


def row_digest(previous: str, sequence: int, body: Mapping[str, object]) -> str:
    """SHA-256 over the previous digest, the sequence number and the fields of an event in canonical JSON.

    ``body`` has each field of ``AuditEvent`` as it is stored: names as text that need mean nothing to this release,
    so that a row of a later one is proved like any other, and ``at`` as an aware instant.
    """
    at = body["at"]
    if not isinstance(at, datetime):
        raise TypeError("an audit row needs an instant")
    instant = at.astimezone(UTC).isoformat(timespec="microseconds")
    text = json.dumps(
        {**body, "sequence": sequence, "at": instant}, sort_keys=True, separators=(",", ":"), ensure_ascii=True
    )
    return hashlib.sha256(f"{previous}\n{text}".encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where the log stood at one moment, signed with a key that is not in the database."""

    sequence: int
    digest: str
    at: datetime
    key_id: str
    signature: str

    def signed_text(self, previous: str) -> bytes:
        """What the signature is over; ``previous`` is the signature before it, empty for the first."""
        at = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        lines = ("ich-triage audit checkpoint", str(self.sequence), self.digest, at, self.key_id, previous)
        return "\n".join(lines).encode("ascii")
