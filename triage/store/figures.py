"""What the statistics are made from: one row a study."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from triage.domain.finding import WorklistStatus
from triage.domain.reading import Verdict
from triage.store.demonstration import only_demonstrated
from triage.store.instants import epoch_seconds, whole
from triage.store.schema import worklist
from triage.store.transaction import Transaction

SHIFT_SECONDS = 8 * 3600
SHIFTS_A_DAY = 3
_EPOCH = date(1970, 1, 1)


class StudyFigures(NamedTuple):
    """What one study adds to the statistics. ``shift`` counts eight hours from 1970 in UTC.

    ``opened_seconds`` is from the first instance to the first time that a reader opened the study.
    """

    shift: int
    status: WorklistStatus
    verdict: Verdict | None
    score: float | None
    bundle: str | None
    opened_seconds: float | None
    scanner: str | None
    slice_thickness_mm: float | None


class ExportedStudy(NamedTuple):
    """One line of the export: no patient data, no accession number. ``demonstration`` as in the list."""

    study_instance_uid: str
    received_at: datetime
    status: WorklistStatus
    provisional: bool
    reason: str | None
    urgency: str
    score: float | None
    total_volume_ml: float | None
    bundle: str | None
    scanner: str | None
    slice_thickness_mm: float | None
    flagged_at: datetime | None
    opened_at: datetime | None
    verdict: Verdict | None
    demonstration: bool = False


def day_of_shift(shift: int) -> date:
    """The day in UTC that a shift belongs to."""
    return _EPOCH + timedelta(days=shift // SHIFTS_A_DAY)


def start_of(day: date) -> datetime:
    """Midnight in UTC at which a day begins."""
    return datetime.combine(day, time(), UTC)


def studies_received(tx: Transaction, first: date, until: date) -> list[StudyFigures]:
    """The studies whose first instance came in from the beginning of ``first`` to the beginning of ``until``."""
    seconds = epoch_seconds(tx, worklist.c.received_at)
    wanted = select(
        whole(tx, seconds / SHIFT_SECONDS),
        worklist.c.status,
        worklist.c.verdict,
        worklist.c.score,
        worklist.c.bundle,
        epoch_seconds(tx, worklist.c.opened_at) - seconds,
        worklist.c.scanner,
        worklist.c.slice_thickness_mm,
    ).where(worklist.c.received_at >= start_of(first), worklist.c.received_at < start_of(until))
    return [StudyFigures(*row) for row in tx.connection.execute(wanted)]


def days_changed(tx: Transaction, since: datetime) -> set[date]:
    """The days, by when their studies came in, of which a row was written since then."""
    shift = whole(tx, epoch_seconds(tx, worklist.c.received_at) / SHIFT_SECONDS)
    changed = select(shift).where(worklist.c.updated_at >= since).distinct()
    return {day_of_shift(found) for found in tx.connection.execute(changed).scalars()}


def first_scores(tx: Transaction, bundle: str, most: int) -> tuple[list[float], datetime | None]:
    """The scores that a bundle gave to the first studies it analysed here, and when the last of those came in."""
    mine = (
        select(worklist.c.score, worklist.c.received_at)
        .where(worklist.c.bundle == bundle, worklist.c.score.is_not(None))
        .order_by(worklist.c.received_at)
        .limit(most)
    )
    found = tx.connection.execute(mine).all()
    return [row.score for row in found], (found[-1].received_at if found else None)


def count_received(tx: Transaction, since: datetime, until: datetime) -> int:
    """How many studies `export` will give."""
    counted = select(func.count()).select_from(worklist).where(*_between(since, until))
    return int(tx.connection.execute(counted).scalar_one())


def export(
    tx: Transaction, since: datetime, until: datetime, *, after: ExportedStudy | None, most: int
) -> list[ExportedStudy]:
    """The next studies after that one, by the time they came in."""
    wanted = _exported().where(*_between(since, until))
    if after is not None:
        same = and_(
            worklist.c.received_at == after.received_at, worklist.c.study_instance_uid > after.study_instance_uid
        )
        wanted = wanted.where(or_(worklist.c.received_at > after.received_at, same))
    ordered = wanted.order_by(worklist.c.received_at, worklist.c.study_instance_uid).limit(most)
    found = [ExportedStudy(*row) for row in tx.connection.execute(ordered)]
    marked = only_demonstrated(tx, [study.study_instance_uid for study in found])
    return [study._replace(demonstration=study.study_instance_uid in marked) for study in found]


def _exported() -> Select[Any]:
    own = (name for name in ExportedStudy._fields if name != "demonstration")
    return select(*(worklist.columns[name] for name in own))


def _between(since: datetime, until: datetime) -> tuple[ColumnElement[bool], ...]:
    return worklist.c.received_at >= since, worklist.c.received_at < until
