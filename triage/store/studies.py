"""Studies: the row that every other lock hangs on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select, update

from triage.store.schema import studies
from triage.store.transaction import Transaction


def lock(tx: Transaction, study_instance_uid: str, *, accession_number: str = "", now: datetime) -> None:
    """Hold the study until the transaction ends, and make its row if this is its first instance.

    The first accession number that is not empty stays.
    """
    known = select(studies.c.accession_number).where(studies.c.study_instance_uid == study_instance_uid)
    held = known.with_for_update(key_share=True)
    row = tx.connection.execute(held).one_or_none()
    if row is None:
        tx.insert_new(
            studies, study_instance_uid=study_instance_uid, accession_number=accession_number, received_at=now
        )
        row = tx.connection.execute(held).one()
    if accession_number and not row.accession_number:
        tx.connection.execute(
            update(studies)
            .where(studies.c.study_instance_uid == study_instance_uid)
            .values(accession_number=accession_number)
        )


def lock_known(tx: Transaction, study_instance_uids: Iterable[str]) -> None:
    """Hold several studies that have a row already; always in the order of their UIDs."""
    statement = select(studies.c.study_instance_uid).where(studies.c.study_instance_uid.in_(set(study_instance_uids)))
    tx.connection.execute(statement.order_by(studies.c.study_instance_uid).with_for_update(key_share=True)).all()
