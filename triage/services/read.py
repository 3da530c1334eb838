"""A radiologist opens a study, and says whether it is as the list said."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from triage.domain.account import Person, Role
from triage.domain.audit import AuditAction, AuditEvent
from triage.domain.errors import NotFound, NotPossibleNow
from triage.domain.finding import WorklistStatus
from triage.domain.reading import JUDGEABLE, Reading, Verdict
from triage.services import recover, view
from triage.store import audit, readings, worklist
from triage.store.db import Database
from triage.store.transaction import Transaction

OPENED_LATELY: Final = timedelta(hours=12)
"""A page that was opened so long ago may still be open: its slices need no row of their own."""

_WHY_NOT = {
    WorklistStatus.PENDING: "The analysis has not ended yet, so there is nothing to judge.",
    WorklistStatus.NOT_ANALYSED: "This study was not analysed, so there is nothing to judge.",
}


def open_study(db: Database, study_instance_uid: str, person: Person, now: datetime) -> None:
    """Record that a person looks at a study. Only a radiologist's look ends the wait for one.

    Raises
    ------
    NotFound
        No instance of this study has come in.
    """
    with db.transaction() as tx:
        row = worklist.row(tx, study_instance_uid)
        if row is None:
            raise NotFound("There is no such study.")
        first = person.role is Role.RADIOLOGIST and readings.mark_opened(
            tx, study_instance_uid, reader=person.name, now=now
        )
        tx.audit(_opened(study_instance_uid, person, now, row.status, first=first))


def look(db: Database, study_instance_uid: str, person: Person, now: datetime) -> None:
    """Record that a person is shown a picture of a study whose page they have not opened lately.

    A picture alone is no reading: it does not end the wait for a radiologist.

    Raises
    ------
    NotFound
        No instance of this study has come in.
    """
    with db.read() as tx:
        row = worklist.row(tx, study_instance_uid)
        if row is None:
            raise NotFound("There is no such study.")
        lately = audit.AuditFilter(
            action=AuditAction.STUDY_OPENED,
            actor=person.name,
            study_instance_uid=study_instance_uid,
            since=now - OPENED_LATELY,
        )
        if audit.page(tx, lately, before=None, limit=1):
            return
    with db.transaction() as tx:
        tx.audit(_opened(study_instance_uid, person, now, row.status, first=False, how="picture"))


def _opened(
    study_instance_uid: str, person: Person, now: datetime, status: WorklistStatus, *, first: bool, **how: str
) -> AuditEvent:
    return AuditEvent(
        at=now,
        actor=person.name,
        action=AuditAction.STUDY_OPENED,
        study_instance_uid=study_instance_uid,
        detail={"role": person.role.value, "first": first, "status": status.value, **how},
    )


def judge(
    db: Database, study_instance_uid: str, verdict: Verdict, note: str, person: Person, now: datetime, *, seen: str = ""
) -> Reading:
    """Keep what a person says of a study; what was said before stays in its history.

    A radiologist who judges has looked: that ends the wait for one, as opening the page does.

    ``seen`` is what the person was shown: `view.Found.state`, or the status alone. To disagree with a suspicion must
    not become to disagree that there is none, because another result came in while the page was open.
    The note stays out of the audit log, where nothing may name a patient.

    Raises
    ------
    NotFound
        No instance of this study has come in.
    NotPossibleNow
        The analysis has said nothing that could be judged, or something else than what was seen.
    ValueError
        The note is too long.
    """
    reading = Reading(study_instance_uid, verdict, note.strip(), person.name, now)
    with db.transaction() as tx:
        status = readings.lock_status(tx, study_instance_uid)
        if status not in JUDGEABLE:
            raise NotPossibleNow(_WHY_NOT[status])
        if seen and seen not in (status.value, view.find(tx, study_instance_uid).state):
            raise NotPossibleNow("Your judgement was not kept: there is something new on this study. Look at it again.")
        readings.add(tx, reading)
        if person.role is Role.RADIOLOGIST:
            readings.mark_opened(tx, study_instance_uid, reader=person.name, now=now)
        tx.audit(
            AuditEvent(
                at=now,
                actor=person.name,
                action=AuditAction.STUDY_JUDGED,
                study_instance_uid=study_instance_uid,
                detail={
                    "verdict": verdict.value,
                    "role": person.role.value,
                    "with_note": bool(reading.note),
                    **_judged(tx, study_instance_uid),
                },
            )
        )
    return reading


def _judged(tx: Transaction, study_instance_uid: str) -> dict[str, str | float | bool | None]:
    """What the list said at that moment: a later revision may say something else."""
    row = worklist.row(tx, study_instance_uid)
    if row is None:
        return {}
    return {"status": row.status.value, "provisional": row.provisional, "score": row.score, "bundle": row.bundle}


def try_again(db: Database, study_instance_uid: str, person: Person, now: datetime) -> tuple[int, int]:
    """A person's hand on what failed: queue it again; how many analyses and how many deliveries.

    Raises
    ------
    NotFound
        No instance of this study has come in.
    NotPossibleNow
        Nothing of it has failed.
    """
    with db.read() as tx:
        if worklist.row(tx, study_instance_uid) is None:
            raise NotFound("There is no such study.")
    jobs, deliveries = recover.retry_study(db, study_instance_uid, actor=person.name, now=now)
    if jobs + deliveries == 0:
        raise NotPossibleNow("Nothing of this study has failed, so there is nothing to try again.")
    return jobs, deliveries
