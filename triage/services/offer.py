"""Offer the reading list to those who ask: procedure steps in the order of the worklist."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import structlog

from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.errors import NotFound
from triage.net.peer import Peer
from triage.net.ups_scp import Asked, Step, StepQuery
from triage.store import reading_list, result_objects
from triage.store.db import Database
from triage.store.file_area import FileArea

log = structlog.get_logger()

_WILDCARDS = frozenset("*?\\")
_STUDIES_AT_A_TIME = 200


def find_steps(db: Database, blobs: FileArea, query: StepQuery, now: datetime) -> Iterator[Step]:
    """The newest step of each study that may match, the most urgent first.

    Only a single study narrows the search here; whoever asked looks at every other key. A step whose file is gone is
    left out: the others must be found all the same. A study that moves down the list meanwhile is told once.
    """
    told: set[str] = set()
    study = query.study_instance_uid
    one_study = study if study and not _WILDCARDS.intersection(study) else None
    for studies in [[one_study]] if one_study else _in_reading_order(db, now):
        with db.read() as tx:
            found = {record.study_instance_uid: record for record in result_objects.steps(tx, studies)}
        for uid in studies:
            if uid not in found or uid in told:
                continue
            told.add(uid)
            try:
                yield Step(found[uid].sop_instance_uid, blobs.read(found[uid].blob_key))
            except NotFound as gone:
                log.error("step_not_offered", study_instance_uid=uid, why=str(gone))


def _in_reading_order(db: Database, now: datetime) -> Iterator[list[str]]:
    """The studies of the worklist, some at a time: whoever asked may have had enough long before the end."""
    place = None
    while True:
        with db.read() as tx:
            page = reading_list.page(tx, reading_list.EVERYTHING, now, size=_STUDIES_AT_A_TIME, place=place)
        yield [study.row.study_instance_uid for study in page.studies]
        if page.next is None:
            return
        place = page.next


def record_query(db: Database, peer: Peer, asked: Asked, now: datetime) -> None:
    """Leave an audit row about an association that read the list, without what it asked for: that may name a patient.

    Raises
    ------
    StoreUnavailable
        The database did not answer.
    """
    with db.transaction() as tx:
        tx.audit(
            AuditEvent(
                at=now,
                actor=peer.calling_ae_title or peer.address,
                action=AuditAction.WORKLIST_QUERIED,
                detail={
                    "questions": asked.questions,
                    "answers": asked.answers,
                    "sop_class_uid": asked.sop_class_uid,
                    "address": peer.address,
                    "called_ae_title": peer.called_ae_title,
                },
            )
        )


def get_step(db: Database, blobs: FileArea, sop_instance_uid: str) -> Step | None:
    """One step by its UID, of whichever revision; None when there is none."""
    with db.read() as tx:
        record = result_objects.step(tx, sop_instance_uid)
    return None if record is None else Step(record.sop_instance_uid, blobs.read(record.blob_key))
