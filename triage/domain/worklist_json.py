"""One worklist row as the contract names it: what ``triage worklist --json`` prints and the API serves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from triage.domain.worklist import WorklistRow


def instant(at: datetime | None) -> str | None:
    """ISO 8601 in UTC, or None."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at is not None else None


def row_json(row: WorklistRow) -> dict[str, Any]:
    """One worklist row as the contract in the README names it."""
    return {
        "study_instance_uid": row.study_instance_uid,
        "series_instance_uid": row.series_instance_uid,
        "accession_number": row.accession_number,
        "status": row.status.value,
        "provisional": row.provisional,
        "reason": row.reason.value if row.reason else None,
        "urgency": row.urgency.value,
        "score": round(row.score, 4) if row.score is not None else None,
        "subtypes": {
            subtype.value: {"probability": round(f.probability, 4), "volume_ml": round(f.volume_ml, 2)}
            for subtype, f in row.subtypes.items()
        },
        "total_volume_ml": round(row.total_volume_ml, 2) if row.total_volume_ml is not None else None,
        "key_slice": (
            {
                "sop_instance_uid": row.key_slice.sop_instance_uid,
                "frame_number": row.key_slice.frame_number,
                "index": row.key_slice.index,
            }
            if row.key_slice is not None
            else None
        ),
        "received_at": instant(row.received_at),
        "flagged_at": instant(row.flagged_at),
        "bundle": row.bundle,
        "demonstration": row.demonstration,
        "objects": [
            {"kind": o.kind, "sop_instance_uid": o.sop_instance_uid, "destination": o.destination, "state": o.state}
            for o in row.objects
        ],
    }
