"""Offer the reading list to those who ask: procedure steps in the order of the worklist."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from triage.domain.worklist import in_reading_order
from triage.net.ups_scp import Step, StepQuery
from triage.store import results, worklist
from triage.store.blobs import BlobStore
from triage.store.db import Database

_WILDCARDS = frozenset("*?\\")


def find_steps(db: Database, blobs: BlobStore, query: StepQuery, now: datetime) -> Iterator[Step]:
    """The newest step of each study that may match, the most urgent first.

    Only a single study narrows the search here; whoever asked looks at every other key.
    """
    study = query.study_instance_uid
    one_study = study if study and not _WILDCARDS.intersection(study) else None
    with db.read() as tx:
        found = {record.study_instance_uid: record for record in results.steps(tx, study_instance_uid=one_study)}
        rows = [row for row in worklist.rows(tx) if row.study_instance_uid in found]
    for row in in_reading_order(rows, now):
        record = found[row.study_instance_uid]
        yield Step(record.sop_instance_uid, blobs.read(record.blob_key))


def get_step(db: Database, blobs: BlobStore, sop_instance_uid: str) -> Step | None:
    """One step by its UID, of whichever revision; None when there is none."""
    with db.read() as tx:
        record = results.step(tx, sop_instance_uid)
    return None if record is None else Step(record.sop_instance_uid, blobs.read(record.blob_key))
