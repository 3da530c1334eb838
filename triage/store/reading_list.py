"""The reading list page by page: in the order of ``triage.domain.worklist``, read by its index and never sorted whole.

Rows of one segment lie together in ``ix_worklist_reading_order``, so a page is a walk from the place where the last
one ended. A search leaves few rows over, and these are sorted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, or_, select, true, tuple_

from triage.domain.finding import Urgency, WorklistStatus
from triage.domain.reading import Verdict
from triage.domain.worklist import PENDING_RISES_AFTER, READING_ORDER, ListedStudy, Segment
from triage.store.schema import instances, series, worklist
from triage.store.transaction import Transaction
from triage.store.types import clean
from triage.store.worklist import listed_studies

_PLACE = re.compile(r"([np])\.([0-9])\.([0-9]{1,17})\.([0-9.]{1,64})")
_UID_PART = re.compile(r"[0-9.]{1,64}")
_LAST_CHARACTER = "\U0010ffff"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ToRead:
    """What still waits to be read: a study that came in since ``received_since`` and that no radiologist has opened.

    A suspected study that none has opened stays however old it is and whatever an administrator says of it, and so
    does a pending one. What was opened since ``opened_since`` stays too: whoever opened it may want to go back.
    """

    received_since: datetime
    opened_since: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which studies are asked for; each field that is set narrows the list.

    Parameters
    ----------
    to_read : ToRead
        What a reader who asks for nothing else is shown.
    text : str
        Beginning of an accession number or of a Study Instance UID.
    accession_number : str
        The whole accession number.
    """

    statuses: frozenset[WorklistStatus] = frozenset()
    urgency: Urgency | None = None
    provisional: bool | None = None
    opened: bool | None = None
    verdict: Verdict | None = None
    received_since: datetime | None = None
    to_read: ToRead | None = None
    text: str = ""
    accession_number: str | None = None

    @property
    def is_search(self) -> bool:
        """Whether few rows are expected: these are cheaper to sort than to look for in the whole order."""
        return bool(self.text or self.accession_number or self.verdict or self.provisional)


EVERYTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: after a row, or backwards from it. The row itself need not be there any more."""

    rank: int
    received_at: datetime
    study_instance_uid: str
    backwards: bool = False

    def __str__(self) -> str:
        """The place as a token for an address."""
        moment = (self.received_at - _EPOCH) // _MICROSECOND
        return f"{'p' if self.backwards else 'n'}.{self.rank}.{moment}.{self.study_instance_uid}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a token.

        Raises
        ------
        ValueError
            It is none of ours.
        """
        found = _PLACE.fullmatch(text)
        if found is None or int(found[2]) >= len(READING_ORDER):
            raise ValueError("this is no place in the reading list")
        return cls(int(found[2]), _EPOCH + int(found[3]) * _MICROSECOND, found[4], backwards=found[1] == "p")


@dataclass(frozen=True, slots=True)
class Page:
    """Some studies in reading order, and where the pages after and before them begin."""

    studies: Sequence[ListedStudy]
    next: Place | None = field(default=None)
    previous: Place | None = field(default=None)


def page(tx: Transaction, wanted: Wanted, now: datetime, *, size: int, place: Place | None = None) -> Page:
    """The ``size`` studies after a place, or before it; the first ones without any.

    What is overdue at ``now`` stands where overdue studies stand. A page before a place that would be the first
    one is the first one, and full.
    """
    backwards = place is not None and place.backwards
    found = (_sorted if wanted.is_search else _walked)(tx, wanted, now, size + 1, place)
    more = len(found) > size
    if backwards and not more:
        return page(tx, wanted, now, size=size)
    found = found[:size]
    if backwards:
        found.reverse()
    places = [Place(rank, row.received_at, row.study_instance_uid) for rank, row in found]
    return Page(
        studies=listed_studies(tx, [row for _, row in found]),
        next=places[-1] if found and (more or backwards) else None,
        previous=replace(places[0], backwards=True) if found and place is not None else None,
    )


def every(tx: Transaction, now: datetime, *, wanted: Wanted = EVERYTHING, size: int = 500) -> Iterator[ListedStudy]:
    """All studies that are asked for, read ``size`` at a time."""
    place: Place | None = None
    while True:
        found = page(tx, wanted, now, size=size, place=place)
        yield from found.studies
        if found.next is None:
            return
        place = found.next


def counts(tx: Transaction, wanted: Wanted, now: datetime) -> dict[WorklistStatus, int]:
    """How many studies of each status are asked for, whichever statuses ``wanted`` names."""
    if not wanted.is_search and (wanted.to_read or wanted.received_since):
        return _counts_of_lately(tx, wanted, now)
    # Counted in one pass over the table: in groups, the rows would be fetched in the order of an index.
    numbers = (func.count().filter(worklist.c.status == status).label(status.value) for status in WorklistStatus)
    rows = select(*numbers).select_from(worklist).where(*_filters(tx, wanted), _to_read(wanted))
    if wanted.urgency is not None:
        rows = rows.where(worklist.c.urgency == wanted.urgency)
    found = tx.connection.execute(rows).one()
    return {status: getattr(found, status.value) for status in WorklistStatus}


def _counts_of_lately(tx: Transaction, wanted: Wanted, now: datetime) -> dict[WorklistStatus, int]:
    """The same, segment by segment: of most, the index then gives what came in lately and nothing else."""
    counted = dict.fromkeys(WorklistStatus, 0)
    for segment in READING_ORDER:
        if wanted.urgency in (None, segment.urgency):
            rows = _of_segment(tx, select(func.count()).select_from(worklist), segment, wanted, now)
            counted[segment.status] += tx.connection.execute(rows).scalar_one()
    return counted


def last_received_at(tx: Transaction) -> datetime | None:
    """When a study came in last; None when none ever has."""
    latest: datetime | None = tx.connection.execute(select(func.max(worklist.c.received_at))).scalar_one()
    return latest


def files_of(tx: Transaction, study_instance_uids: Collection[str]) -> dict[str, str]:
    """By study, the key of one file of the series that its row speaks of."""
    one = (
        select(instances.c.blob_key)
        .join_from(instances, series)
        .where(
            series.c.study_instance_uid == worklist.c.study_instance_uid,
            series.c.series_instance_uid == worklist.c.series_instance_uid,
        )
        .limit(1)
        .scalar_subquery()
    )
    files = select(worklist.c.study_instance_uid, one).where(worklist.c.study_instance_uid.in_(study_instance_uids))
    return {study: blob_key for study, blob_key in tx.connection.execute(files) if blob_key is not None}


class Change(NamedTuple):
    """A row that was made anew, opened, judged or escalated lately."""

    study_instance_uid: str
    status: WorklistStatus
    flagged_at: datetime | None
    opened_at: datetime | None
    updated_at: datetime


def changes(tx: Transaction, since: datetime, *, limit: int) -> list[Change]:
    """The newest changes of the list, newest first."""
    columns = (worklist.c[name] for name in Change._fields)
    latest = select(*columns).where(worklist.c.updated_at >= since).order_by(worklist.c.updated_at.desc())
    return [Change(*row) for row in tx.connection.execute(latest.limit(limit))]


def count_overdue(tx: Transaction, now: datetime) -> int:
    """How many pending studies have risen, for this changes by waiting alone."""
    overdue = next(segment for segment in READING_ORDER if segment.overdue)
    return int(tx.connection.execute(select(func.count()).where(_stands_in(overdue, now))).scalar_one())


Found = tuple[int, Row[Any]]
"""The segment of a row, by its number, and the row."""


def _walked(tx: Transaction, wanted: Wanted, now: datetime, count: int, place: Place | None) -> list[Found]:
    """Rows from a place on, segment by segment."""
    backwards = place is not None and place.backwards
    ranks = range(len(READING_ORDER))
    found: list[Found] = []
    for rank in reversed(ranks) if backwards else ranks:
        segment = READING_ORDER[rank]
        if place is not None and (rank > place.rank if backwards else rank < place.rank):
            continue
        if wanted.statuses and segment.status not in wanted.statuses:
            continue
        if wanted.urgency is not None and segment.urgency is not wanted.urgency:
            continue
        rows = _of_segment(tx, select(worklist), segment, wanted, now)
        if place is not None and rank == place.rank:
            rows = rows.where(_beyond(place))
        ordered = _in_order(rows, backwards=backwards).limit(count - len(found))
        found += [(rank, row) for row in tx.connection.execute(ordered)]
        if len(found) >= count:
            break
    return found


def _sorted(tx: Transaction, wanted: Wanted, now: datetime, count: int, place: Place | None) -> list[Found]:
    """The same rows by one statement that sorts what the filters leave over; only keys go through the sorting."""
    backwards = place is not None and place.backwards
    rank = case(*((_stands_in(segment, now), number) for number, segment in enumerate(READING_ORDER)))
    keys = select(worklist.c.study_instance_uid, rank.label("rank")).where(
        *_filters(tx, wanted), _to_read(wanted), rank.is_not(None)
    )
    if wanted.statuses:
        keys = keys.where(worklist.c.status.in_(wanted.statuses))
    if wanted.urgency is not None:
        keys = keys.where(worklist.c.urgency == wanted.urgency)
    if place is not None:
        further = rank < place.rank if backwards else rank > place.rank
        keys = keys.where(or_(further, and_(rank == place.rank, _beyond(place))))
    keys = keys.order_by(rank.desc() if backwards else rank)
    ordered = _in_order(keys, backwards=backwards).limit(count)
    ranks = {row.study_instance_uid: row.rank for row in tx.connection.execute(ordered)}
    rows = select(worklist).where(worklist.c.study_instance_uid.in_(ranks))
    found = {row.study_instance_uid: row for row in tx.connection.execute(rows)}
    return [(ranks[uid], found[uid]) for uid in ranks if uid in found]


def _of_segment(tx: Transaction, rows: Select[Any], segment: Segment, wanted: Wanted, now: datetime) -> Select[Any]:
    return rows.where(_stands_in(segment, now), *_filters(tx, wanted), _to_read(wanted, segment.status))


def _stands_in(segment: Segment, now: datetime) -> ColumnElement[bool]:
    of_segment = and_(worklist.c.status == segment.status, worklist.c.urgency == segment.urgency)
    if segment.overdue is None:
        return of_segment
    rises_before = now - PENDING_RISES_AFTER
    overdue, timely = worklist.c.received_at < rises_before, worklist.c.received_at >= rises_before
    return and_(of_segment, overdue if segment.overdue else timely)


def _beyond(place: Place) -> ColumnElement[bool]:
    position = tuple_(worklist.c.received_at, worklist.c.study_instance_uid)
    there = tuple_(place.received_at, place.study_instance_uid, types=[*(column.type for column in position)])
    return position < there if place.backwards else position > there


def _in_order(rows: Select[Any], *, backwards: bool) -> Select[Any]:
    columns = (worklist.c.received_at, worklist.c.study_instance_uid)
    return rows.order_by(*(column.desc() if backwards else column for column in columns))


def _filters(tx: Transaction, wanted: Wanted) -> list[ColumnElement[bool]]:
    """What is asked for apart from status, urgency and what still waits to be read."""
    filters: list[ColumnElement[bool]] = []
    if wanted.provisional is not None:
        filters.append(worklist.c.provisional.is_(wanted.provisional))
    if wanted.opened is not None:
        filters.append(worklist.c.opened_at.is_not(None) if wanted.opened else worklist.c.opened_at.is_(None))
    if wanted.verdict is not None:
        filters.append(worklist.c.verdict == wanted.verdict)
    if wanted.received_since is not None:
        filters.append(worklist.c.received_at >= wanted.received_since)
    if wanted.accession_number is not None:
        filters.append(worklist.c.accession_number == wanted.accession_number)
    if wanted.text:
        text = clean(wanted.text)
        columns = [worklist.c.accession_number, *([worklist.c.study_instance_uid] if _UID_PART.fullmatch(text) else [])]
        filters.append(or_(*(_begins_with(tx, column, text) for column in columns)))
    return filters


def _begins_with(tx: Transaction, column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Whether a text begins with another, to the letter: LIKE means different things on the two databases."""
    if tx.connection.dialect.name == "sqlite":
        # Compares bytes, so that a beginning is a range of the index; PostgreSQL sorts by the rules of a language.
        return and_(column >= text, column < text + _LAST_CHARACTER)
    return func.substr(column, 1, len(text)) == text


def _to_read(wanted: Wanted, status: WorklistStatus | None = None) -> ColumnElement[bool]:
    """What still waits to be read, for rows of one status or of any."""
    if wanted.to_read is None or status is WorklistStatus.PENDING:
        return true()
    lately = worklist.c.received_at >= wanted.to_read.received_since
    waits = or_(worklist.c.opened_at.is_(None), worklist.c.opened_at >= wanted.to_read.opened_since)
    if status is WorklistStatus.SUSPECTED:
        return waits
    if status is not None:
        return and_(lately, waits)
    pending, suspected = (worklist.c.status == s for s in (WorklistStatus.PENDING, WorklistStatus.SUSPECTED))
    return or_(pending, and_(or_(suspected, lately), waits))
