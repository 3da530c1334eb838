"""The reading list page by page is the list of the rule in the domain, cut into pages."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert

from tests.stores import NOW, STUDY, analysed, at, receive
from triage.domain.finding import KeySlice, ReasonCode, Urgency, WorklistStatus
from triage.domain.reading import Verdict
from triage.domain.worklist import PENDING_RISES_AFTER, ListedStudy, in_reading_order
from triage.store import reading_list, schema, worklist
from triage.store.db import Database
from triage.store.reading_list import EVERYTHING, Place, ToRead, Wanted

SUSPECTED, PENDING, NOT_ANALYSED, NOT_SUSPECTED = (
    WorklistStatus.SUSPECTED,
    WorklistStatus.PENDING,
    WorklistStatus.NOT_ANALYSED,
    WorklistStatus.NOT_SUSPECTED,
)
STANDINGS = [
    (SUSPECTED, Urgency.EMERGENT),
    (SUSPECTED, Urgency.URGENT),
    (PENDING, Urgency.NONE),
    (NOT_ANALYSED, Urgency.NONE),
    (NOT_SUSPECTED, Urgency.NONE),
]


def put(db: Database, **columns: object) -> None:
    """One row of the list, as it would be after some analysis."""
    values: dict[str, object] = {
        "study_instance_uid": STUDY,
        "series_instance_uid": "1.2",
        "accession_number": "A1",
        "status": SUSPECTED,
        "provisional": False,
        "urgency": Urgency.NONE,
        "subtypes": {},
        "received_at": NOW,
        "updated_at": NOW,
        **columns,
    }
    study = {"study_instance_uid": values["study_instance_uid"], "accession_number": "", "received_at": NOW}
    with db.transaction() as tx:
        tx.connection.execute(insert(schema.studies), [study])
        tx.connection.execute(insert(schema.worklist), [values])


def put_many(db: Database, count: int, seed: int, now: datetime) -> None:
    """Rows at random, many of them from the same moment, some at the very moment when pending studies rise."""
    chance = random.Random(seed)
    moments = [
        now - PENDING_RISES_AFTER,
        now,
        *(now - timedelta(minutes=chance.randint(0, 40)) for _ in range(count // 4)),
    ]
    studies, rows = [], []
    for number in range(count):
        status, urgency = chance.choice(STANDINGS)
        uid = f"2.25.{number + 1000}"
        studies.append({"study_instance_uid": uid, "accession_number": "", "received_at": now})
        rows.append(
            {
                "study_instance_uid": uid,
                "series_instance_uid": "1.2",
                "accession_number": f"A{chance.randint(0, 99):02d}",
                "status": status,
                "provisional": chance.random() < 0.3,
                "reason": ReasonCode.GAP if status is NOT_ANALYSED else None,
                "urgency": urgency,
                "subtypes": {},
                "received_at": chance.choice(moments),
                "updated_at": now,
                "opened_at": chance.choice([None, None, now, now - timedelta(minutes=6)]),
                "verdict": chance.choice([None, None, *Verdict]),
            }
        )
    with db.transaction() as tx:
        tx.connection.execute(insert(schema.studies), studies)
        tx.connection.execute(insert(schema.worklist), rows)


def every(db: Database, wanted: Wanted = EVERYTHING, now: datetime = NOW, size: int = 7) -> list[ListedStudy]:
    """The whole list, page by page."""
    with db.read() as tx:
        return list(reading_list.every(tx, now, wanted=wanted, size=size))


def uids(studies: list[ListedStudy]) -> list[str]:
    return [study.row.study_instance_uid for study in studies]


def expected(db: Database, wanted: Wanted, now: datetime) -> list[str]:
    """The same by the rule in the domain, from all rows."""
    chosen = [study for study in every(db, now=now, size=1000) if _is_wanted(study, wanted)]
    return [row.study_instance_uid for row in in_reading_order([study.row for study in chosen], now)]


def _is_wanted(study: ListedStudy, wanted: Wanted) -> bool:
    row = study.row
    waits = study.opened_at is None
    if wanted.to_read is not None and study.opened_at is not None:
        waits = waits or study.opened_at >= wanted.to_read.opened_since
    texts = (row.accession_number, row.study_instance_uid)
    return all(
        (
            not wanted.statuses or row.status in wanted.statuses,
            wanted.urgency in (None, row.urgency),
            wanted.provisional in (None, row.provisional),
            wanted.opened in (None, study.opened_at is not None),
            wanted.verdict in (None, study.verdict),
            wanted.received_since is None or row.received_at >= wanted.received_since,
            wanted.to_read is None
            or row.status is PENDING
            or (waits and (row.status is SUSPECTED or row.received_at >= wanted.to_read.received_since)),
            any(text.startswith(wanted.text) for text in texts),
            wanted.accession_number in (None, row.accession_number),
        )
    )


TO_READ = ToRead(NOW - timedelta(minutes=15), opened_since=NOW - timedelta(minutes=5))
WANTED = {
    "everything": EVERYTHING,
    "suspected and pending": Wanted(statuses=frozenset({SUSPECTED, PENDING})),
    "urgent": Wanted(urgency=Urgency.URGENT),
    "provisional": Wanted(provisional=True),
    "final": Wanted(provisional=False),
    "opened": Wanted(opened=True),
    "not opened": Wanted(opened=False),
    "disagreed": Wanted(verdict=Verdict.DISAGREE),
    "disagreed and suspected": Wanted(verdict=Verdict.DISAGREE, statuses=frozenset({SUSPECTED})),
    "lately": Wanted(received_since=NOW - timedelta(minutes=15)),
    "what still waits": Wanted(to_read=TO_READ),
    "what still waits, searched": Wanted(to_read=TO_READ, text="A"),
    "searched": Wanted(text="A1"),
    "searched and urgent": Wanted(text="A", urgency=Urgency.URGENT),
    "searched by UID": Wanted(text="2.25.11"),
    "one accession number": Wanted(accession_number="A12"),
}


@pytest.mark.parametrize("name", WANTED)
def test_the_pages_are_the_list_in_reading_order(database: Database, name: str) -> None:
    put_many(database, 300, seed=len(name), now=NOW)
    for now in (NOW, NOW + timedelta(minutes=10)):
        assert uids(every(database, WANTED[name], now)) == expected(database, WANTED[name], now) != []


@pytest.mark.parametrize("name", ["everything", "what still waits", "searched"])
def test_going_back_shows_the_pages_that_one_came_by(database: Database, name: str) -> None:
    put_many(database, 100, seed=5, now=NOW)
    wanted = replace(WANTED[name], text=WANTED[name].text[:1])
    there, place = [], None
    with database.read() as tx:
        while True:
            page = reading_list.page(tx, wanted, NOW, size=9, place=place)
            there.append(page)
            if page.next is None:
                break
            place = Place.parse(str(page.next))
        assert there[0].previous is None
        back = [there[-1]]
        while back[-1].previous is not None:
            back.append(reading_list.page(tx, wanted, NOW, size=9, place=Place.parse(str(back[-1].previous))))
    assert [page.studies for page in reversed(back)] == [page.studies for page in there]
    assert len(there) > 5


def test_going_back_to_the_start_shows_a_full_page(database: Database) -> None:
    put_many(database, 20, seed=5, now=NOW)
    order = uids(every(database))
    with database.read() as tx:
        second = reading_list.page(tx, EVERYTHING, NOW, size=3)
        third = reading_list.page(tx, EVERYTHING, NOW, size=5, place=second.next)
        assert third.previous is not None
        assert uids(list(reading_list.page(tx, EVERYTHING, NOW, size=5, place=third.previous).studies)) == order[:5]


def test_a_place_whose_study_has_moved_is_still_a_place(database: Database) -> None:
    put_many(database, 20, seed=5, now=NOW)
    order = every(database)
    gone = Place(0, order[0].row.received_at - timedelta(hours=1), "2.25.9")
    with database.read() as tx:
        assert uids(list(reading_list.page(tx, EVERYTHING, NOW, size=50, place=gone).studies)) == uids(order)


@pytest.mark.parametrize(
    "token", ["", "n", "n.9.0.1", "x.0.0.1", "n.0.-5.1", "n.0.0.1;drop", "n.0.٣.1", "n.0.0." + "1" * 65]
)
def test_a_place_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="no place"):
        Place.parse(token)


def test_a_place_survives_being_written_down() -> None:
    for place in (Place(3, NOW, "1.2.840.1"), Place(0, at(0.000001), "2.25.1", backwards=True)):
        assert Place.parse(str(place)) == place


def test_a_suspicion_that_nobody_opened_stays_in_sight(database: Database) -> None:
    old, opened = NOW - timedelta(days=400), NOW - timedelta(hours=2)
    put(database, study_instance_uid="2.25.1", urgency=Urgency.URGENT, received_at=old)
    put(database, study_instance_uid="2.25.2", urgency=Urgency.URGENT, received_at=old, opened_at=opened)
    put(database, study_instance_uid="2.25.3", urgency=Urgency.URGENT, received_at=at(-9), verdict=Verdict.AGREE)
    put(database, study_instance_uid="2.25.4", status=NOT_SUSPECTED, received_at=old)
    put(database, study_instance_uid="2.25.5", status=PENDING, received_at=old, opened_at=opened)
    put(database, study_instance_uid="2.25.6", status=NOT_SUSPECTED)
    put(database, study_instance_uid="2.25.7", status=NOT_SUSPECTED, opened_at=opened)
    put(database, study_instance_uid="2.25.8", urgency=Urgency.URGENT, received_at=old, opened_at=at(-60))
    wanted = Wanted(to_read=ToRead(NOW - timedelta(days=1), opened_since=NOW - timedelta(hours=1)))
    assert uids(every(database, wanted)) == ["2.25.5", "2.25.1", "2.25.8", "2.25.3", "2.25.6"]
    with database.read() as tx:
        assert reading_list.counts(tx, wanted, NOW) == {SUSPECTED: 3, NOT_SUSPECTED: 1, NOT_ANALYSED: 0, PENDING: 1}


@pytest.mark.parametrize("name", WANTED)
def test_the_counts_are_those_of_the_list_for_every_status(database: Database, name: str) -> None:
    put_many(database, 200, seed=3, now=NOW)
    of_all = every(database, replace(WANTED[name], statuses=frozenset()))
    with database.read() as tx:
        counted = reading_list.counts(tx, WANTED[name], NOW)
    assert counted == {status: sum(study.row.status is status for study in of_all) for status in WorklistStatus}


@pytest.mark.parametrize("text", ["%", "_", "A%", "'", '"', "\\", "\x00", "\ud800", "A" * 5000, "2.25.%"])
def test_a_search_takes_every_character_as_it_is(database: Database, text: str) -> None:
    put(database, urgency=Urgency.URGENT)
    assert every(database, Wanted(text=text)) == []


def test_an_accession_number_is_found_whatever_is_in_it(database: Database) -> None:
    put(database, urgency=Urgency.URGENT, accession_number="100%_'<b>")
    assert len(every(database, Wanted(text="100%_'<"))) == 1


def test_an_empty_list_has_one_empty_page(database: Database) -> None:
    with database.read() as tx:
        page = reading_list.page(tx, EVERYTHING, NOW, size=5)
        assert (list(page.studies), page.next, page.previous) == ([], None, None)
        assert reading_list.last_received_at(tx) is None


def test_the_last_arrival_is_told(database: Database) -> None:
    put(database, study_instance_uid="2.25.1", urgency=Urgency.URGENT, received_at=at(-60))
    put(database, study_instance_uid="2.25.2", status=NOT_SUSPECTED, received_at=at(-30))
    with database.read() as tx:
        assert reading_list.last_received_at(tx) == at(-30)


def test_a_listed_study_has_its_objects_and_who_looked(database: Database) -> None:
    analysed(database, destinations=("pacs",))
    (study,) = every(database)
    with database.read() as tx:
        assert worklist.listed(tx, STUDY) == study
        assert worklist.row(tx, STUDY) == study.row
    assert [(o.kind, o.destination, o.state) for o in study.row.objects] == [
        ("SEG", "pacs", "pending"),
        ("SR", "pacs", "pending"),
    ]
    assert study.row.key_slice == KeySlice("2.25.1000.1.1", 1, 0)
    assert (study.opened_at, study.opened_by, study.verdict, study.updated_at) == (None, None, None, NOW)


def test_a_study_that_came_in_late_waits_behind(database: Database) -> None:
    for number in (3, 1, 2):
        with database.transaction() as tx:
            receive(tx, study=f"2.25.{number}", series_uid=f"2.25.{number}.1", now=at(number), association=f"a{number}")
            worklist.refresh(tx, f"2.25.{number}", at(number))
    assert uids(every(database)) == ["2.25.1", "2.25.2", "2.25.3"]


def test_the_newest_changes_come_first(database: Database) -> None:
    for number in range(5):
        put(database, study_instance_uid=f"2.25.{number}", urgency=Urgency.URGENT, updated_at=at(number))
    with database.read() as tx:
        found = reading_list.changes(tx, at(1), limit=3)
    assert [(change.study_instance_uid, change.updated_at) for change in found] == [
        ("2.25.4", at(4)),
        ("2.25.3", at(3)),
        ("2.25.2", at(2)),
    ]


def test_pending_studies_become_overdue_by_waiting(database: Database) -> None:
    put(database, study_instance_uid="2.25.1", status=PENDING)
    put(database, study_instance_uid="2.25.2", status=NOT_ANALYSED)
    with database.read() as tx:
        overdue = [reading_list.count_overdue(tx, NOW + PENDING_RISES_AFTER + timedelta(seconds=s)) for s in (0, 1)]
    assert overdue == [0, 1]
