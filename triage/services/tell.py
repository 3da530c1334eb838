"""Everything that is known of one study, as the JSON that ``triage show --json`` prints and the API serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from triage.domain.audit import AuditRecord
from triage.domain.errors import NotFound
from triage.domain.reading import Reading
from triage.domain.worklist_json import instant, row_json
from triage.store import audit, deliveries, instances, readings, result_objects, series, worklist
from triage.store.transaction import Transaction


def study_json(
    tx: Transaction, study_instance_uid: str, file_of: Callable[[str], str | None] | None = None
) -> dict[str, Any]:
    """One study: its row, series, objects, deliveries, readings and timeline.

    With ``file_of`` each object says where its file lies, which only those on this machine need to know; null when it
    is gone.

    Raises
    ------
    NotFound
        No instance of this study has come in.
    """
    row = worklist.row(tx, study_instance_uid)
    if row is None:
        raise NotFound(f"There is no study {study_instance_uid}; triage worklist lists those that came in.")
    return {
        "study": row_json(row),
        "series": [
            {
                "series_instance_uid": record.series_instance_uid,
                "state": record.state.value,
                "revision": record.revision,
                "reason": record.reason.value if record.reason else None,
                "detail": record.detail,
                "instances": len(instances.of_series(tx, record.id)),
            }
            for record in series.of_study(tx, study_instance_uid)
        ],
        "objects": [
            {"kind": o.kind, "sop_instance_uid": o.sop_instance_uid}
            | ({"file": file_of(o.blob_key)} if file_of else {})
            for o in result_objects.of_study(tx, study_instance_uid)
        ],
        "deliveries": [
            {
                "kind": d.kind,
                "destination": d.destination,
                "state": d.state.value,
                "attempt": d.attempt,
                "error": d.error,
            }
            for d in deliveries.of_study(tx, study_instance_uid)
        ],
        "readings": [reading_json(reading) for reading in readings.of_study(tx, study_instance_uid)],
        "timeline": [audit_json(record) for record in audit.records(tx, study_instance_uid=study_instance_uid)],
    }


def reading_json(reading: Reading) -> dict[str, Any]:
    """One judgement, without the note: free text is for the page of the study alone."""
    return {"verdict": reading.verdict.value, "reader": reading.reader, "at": instant(reading.at)}


def audit_json(record: AuditRecord) -> dict[str, Any]:
    """One audit row."""
    event = record.event
    return {
        "sequence": record.sequence,
        "at": instant(event.at),
        "actor": event.actor,
        "action": event.action.value,
        "outcome": event.outcome.value,
        "study_instance_uid": event.study_instance_uid,
        "series_instance_uid": event.series_instance_uid,
        "sop_instance_uid": event.sop_instance_uid,
        "detail": dict(event.detail),
        "digest": record.digest,
    }
