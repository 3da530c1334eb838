"""Rows of the audit log for tests of what repositories are told, and the judge of each message: the schema."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

from lxml import etree

from tests.stores import NOW, SERIES, STUDY
from triage.domain.audit import AuditAction, AuditEvent, AuditRecord, Outcome
from triage.services.audit_messages import Reporter

SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).with_name("audit_message.rng")))
REPORTER = Reporter(source_id="triage1", ae_title="ICHTRIAGE", node="triage1.example.org", site="General Hospital")


def parsed(content: bytes) -> etree._Element:
    """The message as XML; it fails when the schema of the standard does not allow it."""
    root = etree.fromstring(content)
    SCHEMA.assertValid(root)
    return root


def detail(root: etree._Element, kind: str) -> str | None:
    """The text of a ParticipantObjectDetail."""
    found = root.xpath(f"//ParticipantObjectDetail[@type='{kind}']/@value")
    return base64.b64decode(found[0]).decode() if found else None


def record(action: AuditAction, sequence: int = 7, **fields: object) -> AuditRecord:
    """One row of the log; its event as given."""
    values = {"at": NOW, "actor": "ada", "action": action, **fields}
    return AuditRecord(sequence, "0" * 64, f"{sequence:064x}", AuditEvent(**values))


TRANSFER = {"study_instance_uid": STUDY, "series_instance_uid": SERIES, "sop_instance_uid": "2.25.77"}
WEB = {"address": "192.0.2.7"}
CALL = {"address": "192.0.2.8", "called_ae_title": "ICHTRIAGE"}
SENT = {"destination": "pacs", "kind": "SEG", "attempt": 1, "status": None, "reason": None}

SAMPLES: dict[AuditAction, dict[str, object]] = {
    AuditAction.SERVICE_STARTED: {"actor": "listen", "detail": {"host": "h", "pid": 1}},
    AuditAction.SERVICE_STOPPED: {"actor": "listen", "detail": {"host": "h", "pid": 1}},
    AuditAction.SETTINGS_RECORDED: {"actor": "service", "detail": {"digest": "ab"}},
    AuditAction.BUNDLE_RECORDED: {"actor": "worker", "detail": {"digest": "ab", "name": "demo", "version": "1"}},
    AuditAction.BUNDLE_CHOSEN: {"detail": {"digest": "ab", "slot": "active"}},
    AuditAction.ASSOCIATION_REFUSED: {"actor": "EVIL", "detail": {"why": "not let in", **CALL}},
    AuditAction.INSTANCES_RECEIVED: {
        "actor": "CT1",
        "study_instance_uid": STUDY,
        "detail": {"instances": 30, "series": 1, "bytes": 15000000, "association": "a", "ended": "aborted", **CALL},
    },
    AuditAction.INSTANCE_REFUSED: {
        "actor": "CT1",
        "sop_instance_uid": "2.25.5",
        "detail": {"code": "unreadable_instance", "why": "no DICOM", "address": "192.0.2.8"},
    },
    AuditAction.INSTANCE_CONFLICT: {"actor": "CT1", "detail": {"first_digest": "a", "other_digest": "b"}, **TRANSFER},
    AuditAction.INSTANCE_RESTORED: {"actor": "CT1", "detail": {"lost_blob": "00/aa", "blob": "00/ab"}, **TRANSFER},
    AuditAction.INSTANCE_IGNORED: {"actor": "PACS", "detail": {"why": "ours"}, **TRANSFER},
    AuditAction.SERIES_MOVED: {"actor": "clock", "study_instance_uid": STUDY},
    AuditAction.JOB_MOVED: {"actor": "worker", "study_instance_uid": STUDY},
    AuditAction.STUDY_FLAGGED: {"actor": "worker", "study_instance_uid": STUDY},
    AuditAction.STUDY_ESCALATED: {"actor": "clock", "study_instance_uid": STUDY},
    AuditAction.RESULT_RECORDED: {"actor": "worker", "study_instance_uid": STUDY, "detail": {"score": 0.5}},
    AuditAction.DELIVERY_MOVED: {
        "actor": "h/1/send",
        "detail": {**SENT, "from": "sending", "to": "delivered"},
        **TRANSFER,
    },
    AuditAction.MESSAGE_SUPERSEDED: {"actor": "h/1/send", "detail": {**SENT, "kind": "ORU"}, **TRANSFER},
    AuditAction.COMMITMENT_GIVEN_UP: {"actor": "send", "detail": {**SENT, "reason": "no C-FIND"}, **TRANSFER},
    AuditAction.DESTINATION_DOWN: {"actor": "h/1/send", "detail": {"destination": "pacs", "reason": "silence"}},
    AuditAction.DESTINATION_UP: {"actor": "h/1/send", "detail": {"destination": "pacs", "reason": None}},
    AuditAction.FILES_REMOVED: {"actor": "clock", "study_instance_uid": STUDY, "detail": {"files": 34}},
    AuditAction.ORPHAN_REMOVED: {"actor": "clock", "detail": {"blob": "00/aa"}},
    AuditAction.AUDIT_READ: {"detail": {"how": "page", **WEB}},
    AuditAction.LOGIN: {"detail": {"how": "password", **WEB}},
    AuditAction.LOGIN_FAILED: {"actor": "unknown name", "detail": {"why": "wrong password", **WEB}},
    AuditAction.LOGOUT: {"detail": WEB},
    AuditAction.ACCESS_REFUSED: {"detail": {"what": "GET /audit", "why": "not an administrator", **WEB}},
    AuditAction.ACCOUNT_CHANGED: {"detail": {"user": "bob", "change": "disabled"}},
    AuditAction.WORKLIST_QUERIED: {
        "actor": "WORKSTATION",
        "detail": {"questions": 2, "answers": 30, "sop_class_uid": "1.2.840.10008.5.1.4.34.6.3", **CALL},
    },
    AuditAction.STUDY_OPENED: {"study_instance_uid": STUDY, "detail": {"role": "radiologist", "first": True}},
    AuditAction.STUDY_JUDGED: {"study_instance_uid": STUDY, "detail": {"verdict": "agree"}},
    AuditAction.CHECKPOINT_SIGNED: {
        "actor": "clock",
        "detail": {"sequence": 6, "digest": "ab" * 32, "key_id": "cd" * 8, "signature": "ef" * 64},
    },
    AuditAction.EXPORTED: {"detail": {"what": "statistics.csv", **WEB}},
}


def samples() -> Iterator[AuditRecord]:
    """A row of every action in every outcome, with and without what need not be there."""
    for sequence, (action, fields) in enumerate(SAMPLES.items(), 1):
        for outcome in Outcome:
            yield record(action, sequence, outcome=outcome, **fields)
            yield record(action, sequence, outcome=outcome)
