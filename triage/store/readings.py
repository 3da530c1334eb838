"""Who opened a study first, and what readers said of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update

from triage.domain.errors import NotFound
from triage.domain.finding import WorklistStatus
from triage.domain.reading import Reading
from triage.store.schema import readings, worklist
from triage.store.transaction import Transaction


def mark_opened(tx: Transaction, study_instance_uid: str, *, reader: str, now: datetime) -> bool:
    """Say who opened a study, if nobody has since it became what it is; whether it was said."""
    marked = (
        update(worklist)
        .where(worklist.c.study_instance_uid == study_instance_uid, worklist.c.opened_at.is_(None))
        .values(opened_at=now, opened_by=reader, updated_at=now)
    )
    return tx.connection.execute(marked.returning(worklist.c.opened_at)).first() is not None


def lock_status(tx: Transaction, study_instance_uid: str) -> WorklistStatus:
    """The status of a study, which stays as it is until the transaction ends.

    Raises
    ------
    NotFound
        No instance of this study has come in.
    """
    mine = select(worklist.c.status).where(worklist.c.study_instance_uid == study_instance_uid)
    found = tx.connection.execute(mine.with_for_update()).scalar_one_or_none()
    if found is None:
        raise NotFound("There is no such study.")
    return WorklistStatus(found)


def add(tx: Transaction, reading: Reading) -> None:
    """Keep a reading, and show it on the worklist instead of the one before. The caller holds the row's lock."""
    tx.insert_new(
        readings,
        study_instance_uid=reading.study_instance_uid,
        verdict=reading.verdict,
        note=reading.note,
        reader=reading.reader,
        at=reading.at,
    )
    mine = worklist.c.study_instance_uid == reading.study_instance_uid
    tx.connection.execute(update(worklist).where(mine).values(verdict=reading.verdict, updated_at=reading.at))


def of_study(tx: Transaction, study_instance_uid: str) -> list[Reading]:
    """Every reading of a study, the latest first."""
    mine = select(readings).where(readings.c.study_instance_uid == study_instance_uid).order_by(readings.c.id.desc())
    return [
        Reading(
            study_instance_uid=row.study_instance_uid,
            verdict=row.verdict,
            note=row.note,
            reader=row.reader,
            at=row.at,
        )
        for row in tx.connection.execute(mine)
    ]
