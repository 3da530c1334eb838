"""Rows for tests of the stores and of the steps above them: a study taken as far along its way as a test needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Text, text, type_coerce

from triage.domain.audit import AuditAction, AuditRecord, row_digest
from triage.domain.completeness import Timings
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.finding import SUBTYPES, DecisionRule, KeySlice, SubtypeFinding, TriageResult
from triage.domain.lifecycle import SeriesState
from triage.domain.study import FrameGeometry, InstanceHeader
from triage.domain.work import ClaimedBatch, ClaimedJob
from triage.store import (
    associations,
    audit,
    deliveries,
    instances,
    jobs,
    result_objects,
    results,
    series,
    studies,
    worklist,
)
from triage.store.db import Database, Transaction
from triage.store.schema import audit as audit_table
from triage.store.series import SeriesRecord

NOW = datetime(2026, 11, 20, 8, 0, 0, 123456, tzinfo=UTC)
TIMINGS = Timings()
STUDY, SERIES = "2.25.1000", "2.25.1000.1"
DIGEST = "ab" * 32


def at(seconds: float) -> datetime:
    """So many seconds after ``NOW``."""
    return NOW + timedelta(seconds=seconds)


def header(number: int = 1, *, study: str = STUDY, series_uid: str = SERIES, **fields: Any) -> InstanceHeader:
    """The header of slice ``number`` of a series, 5 mm apart."""
    frame = FrameGeometry((-120.0, -120.0, 5.0 * number), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), 5.0)
    values: dict[str, Any] = {
        "sop_instance_uid": f"{series_uid}.{number}",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
        "series_instance_uid": series_uid,
        "study_instance_uid": study,
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "modality": "CT",
        "image_type": ("ORIGINAL", "PRIMARY", "AXIAL"),
        "pixel_spacing_mm": (0.47, 0.47),
        "frames": (frame,),
    }
    return InstanceHeader(**{**values, **fields})


def receive(
    tx: Transaction,
    number: int = 1,
    *,
    now: datetime = NOW,
    association: str = "a1",
    candidate: bool = True,
    **fields: Any,
) -> SeriesRecord:
    """Take in one instance as the listener does."""
    head = header(number, **fields)
    associations.open(tx, association, "listener-1", "SENDER", "ICHTRIAGE", "127.0.0.1", now)
    studies.lock(tx, head.study_instance_uid, accession_number=head.accession_number, now=now)
    record = series.receive(tx, head, candidate=candidate, now=now, timings=TIMINGS).series
    assert instances.add(
        tx,
        head,
        series=record,
        digest=f"digest of {head.sop_instance_uid}",
        blob_key=f"00/{head.sop_instance_uid}",
        size_bytes=1000,
        association_id=association,
        now=now,
    )
    return record


def queued(db: Database, *, now: datetime = NOW, priority: int = 1, **fields: Any) -> SeriesRecord:
    """A series of one instance that is stable, its job queued."""
    with db.transaction() as tx:
        record = receive(tx, now=now, **fields)
        stable = series.move(tx, record, SeriesState.STABLE, now=now, actor="clock")
        jobs.add(tx, stable, priority=priority, deadline_at=now, now=now)
        return stable


def running(db: Database, *, now: datetime = NOW, **fields: Any) -> ClaimedJob:
    """A series whose job a worker holds for 15 seconds."""
    queued(db, now=now, **fields)
    return claim(db, now=now)


def claim(db: Database, *, now: datetime = NOW) -> ClaimedJob:
    """Claim the one job that is due."""
    with db.transaction() as tx:
        job = jobs.claim(tx, owner="worker-1", now=now, lease_seconds=15)
    assert job is not None
    return job


def result(score: float = 0.9, *, provisional: bool = False) -> TriageResult:
    """A result with 12 ml of SDH; suspected from 0.5, emergent from 0.8."""
    subtypes = {name: SubtypeFinding(0.01, 0.0) for name in SUBTYPES} | {SUBTYPES[4]: SubtypeFinding(score, 12.25)}
    return TriageResult(score, DecisionRule(0.5, 0.8), subtypes, 12.25, KeySlice(f"{SERIES}.1", 1, 0), provisional)


def encoded(kind: str = ObjectKind.SR, uid: str = "2.25.77") -> EncodedObject:
    """An object that only has a name."""
    return EncodedObject(
        ObjectKind(kind), "1.2.840.10008.5.1.4.1.1.88.34", uid, f"{uid}.9", "1.2.840.10008.1.2.1", uid.encode()
    )


def finish(
    db: Database,
    job: ClaimedJob,
    *,
    now: datetime = NOW,
    kinds: Sequence[str] = ("SEG", "SR"),
    destinations: Sequence[str] = ("pacs",),
    score: float = 0.9,
) -> int:
    """End a job as the worker does: result, objects, outbox, states and worklist in one transaction."""
    with db.transaction() as tx:
        studies.lock(tx, job.study_instance_uid, now=now)
        jobs.succeed(tx, job, now)
        series.move(tx, series.get(tx, job.series_id), SeriesState.ANALYSED, now=now, actor="worker")
        result_id = results.record(tx, job, result(score), bundle_digest=DIGEST, bundle="demo 1", now=now)
        for number, kind in enumerate(kinds):
            uid = f"2.25.77.{job.series_id}.{job.revision}.{number}"
            object_id = result_objects.add(tx, result_id, encoded(kind, uid), f"00/{uid}", now)
            deliveries.add(tx, object_id, destinations, now)
        worklist.refresh(tx, job.study_instance_uid, now)
    return result_id


def analysed(db: Database, *, now: datetime = NOW, **how: Any) -> int:
    """A series that has been analysed, its objects waiting in the outbox."""
    return finish(db, running(db, now=now), now=now, **how)


def batch(db: Database, *, now: datetime = NOW, destination: str = "pacs") -> ClaimedBatch:
    """Claim the one result set that is due."""
    with db.transaction() as tx:
        found = deliveries.claim(tx, destination=destination, owner="sender-1", now=now, lease_seconds=15)
    assert found is not None
    return found


def logged(db: Database, action: AuditAction | None = None) -> list[AuditRecord]:
    """The audit log, or its rows of one action."""
    with db.read() as tx:
        return [record for record in audit.records(tx) if action in (None, record.event.action)]


def append_later(db: Database, action: str, outcome: str = "success") -> int:
    """Write a row as another release does, chained as it must be."""
    with db.transaction() as tx:
        sequence, previous = audit.head(tx)
        body = {
            "at": at(900),
            "actor": "ada",
            "action": action,
            "outcome": outcome,
            "study_instance_uid": STUDY,
            "series_instance_uid": None,
            "sop_instance_uid": None,
            "detail": {"why": "later"},
        }
        digest = row_digest(previous, sequence + 1, body)
        # As text, for the columns of this release take the names of this release alone.
        tx.connection.execute(
            audit_table.insert().values(
                sequence=sequence + 1,
                **{
                    **body,
                    "action": type_coerce(action, Text),
                    "outcome": type_coerce(outcome, Text),
                    "detail": json.dumps(body["detail"]),
                },
                previous=previous,
                digest=digest,
            )
        )
        moved = text("UPDATE audit_head SET sequence = :s, digest = :d")
        tx.connection.execute(moved, {"s": sequence + 1, "d": digest})
    return sequence + 1


def moves(db: Database, action: AuditAction) -> list[tuple[Any, Any]]:
    """From and to of every audited move of one kind."""
    return [(record.event.detail["from"], record.event.detail["to"]) for record in logged(db, action)]
