"""An open page hears of every change, of new flags without names, and that the server is still there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import update

from tests.unit.test_store_reading_list import put
from tests.web import Browser, Clock, signed_in
from triage.domain.account import Role
from triage.domain.errors import StoreUnavailable
from triage.domain.finding import Urgency, WorklistStatus
from triage.domain.worklist_json import instant
from triage.store import schema
from triage.store.db import Database
from triage.web.app import make_app
from triage.web.desk import Desk
from triage.web.streams import STREAMS_OF_A_PERSON, Event, Listener, Streams

SECONDS = 20.0
MOMENT = "2026-11-21T08:00:00.000Z"


@asynccontextmanager
async def listening(streams: Streams, db: Any, clock: Clock, person: str = "rad") -> AsyncIterator[Listener]:
    """One open page, once the first look has been taken."""
    with streams.listen(person, db, clock) as listener:
        await heard(listener, "beat")
        yield listener


async def heard(listener: Listener, name: str) -> Event:
    """The next event of this name; those before it are let go."""
    async with asyncio.timeout(SECONDS):
        while (event := await listener.events.get()).name != name:
            pass
    return event


def run(story: Callable[[], Any]) -> None:
    asyncio.run(story())


def flag(desk: Desk, uid: str, **columns: Any) -> None:
    now = desk.clock()
    values = {"urgency": Urgency.EMERGENT, "flagged_at": now, "updated_at": now, "received_at": now, **columns}
    put(desk.db, study_instance_uid=uid, **values)


def test_a_new_flag_is_told_with_its_study_and_nothing_else(desk: Desk) -> None:
    async def story() -> None:
        async with listening(desk.streams, desk.db, desk.clock) as page:
            flag(desk, "2.25.7", accession_number="SECRET")
            assert (await heard(page, "worklist")).data == ""
            told = json.loads((await heard(page, "suspected")).data)
            assert told == {"count": 1, "studies": [f"2.25.7@{MOMENT}"]}

    run(story)


def test_whoever_opens_a_page_hears_of_the_latest_flags(desk: Desk, clock: Clock) -> None:
    flag(desk, "2.25.1", flagged_at=clock.now - timedelta(hours=1))
    flag(desk, "2.25.2")

    async def story() -> None:
        with desk.streams.listen("rad", desk.db, clock) as page:
            assert json.loads((await heard(page, "suspected")).data)["studies"] == [f"2.25.2@{MOMENT}"]
        with desk.streams.listen("rad", desk.db, clock) as again:
            assert json.loads((await heard(again, "suspected")).data)["studies"] == [f"2.25.2@{MOMENT}"]

    run(story)


def test_what_somebody_has_opened_is_no_news(desk: Desk, clock: Clock) -> None:
    flag(desk, "2.25.1", opened_at=clock.now)
    flag(desk, "2.25.2")

    async def story() -> None:
        with desk.streams.listen("rad", desk.db, clock) as page:
            assert json.loads((await heard(page, "suspected")).data)["studies"] == [f"2.25.2@{MOMENT}"]

    run(story)


def test_the_page_says_which_flags_it_was_made_with(desk: Desk, radiologist: Browser, clock: Clock) -> None:
    flag(desk, "2.25.1", flagged_at=clock.now - timedelta(hours=1))
    flag(desk, "2.25.2")
    assert f'data-flagged="2.25.2@{MOMENT}"' in radiologist.get("/?status=pending").text


def test_whoever_comes_back_from_a_new_study_is_not_called_to_it_again(
    desk: Desk, radiologist: Browser, clock: Clock
) -> None:
    """The stream looked last before the study was opened; the page that is made afterwards knows of it."""
    flag(desk, "2.25.1")

    async def story() -> None:
        with desk.streams.listen("rad", desk.db, clock) as page:
            await heard(page, "suspected")
        with desk.db.transaction() as tx:
            tx.connection.execute(update(schema.worklist).values(opened_at=clock.now, updated_at=clock.now))
        made = radiologist.get("/").text
        with desk.streams.listen("rad", desk.db, clock) as again:
            told = json.loads((await heard(again, "suspected")).data)["studies"]
        assert f'data-flagged="{" ".join(told)}"' in made

    run(story)


def test_a_stream_that_slept_for_long_tells_of_no_old_flag(desk: Desk, clock: Clock) -> None:
    flag(desk, "2.25.1")

    async def story() -> None:
        with desk.streams.listen("rad", desk.db, clock) as page:
            await heard(page, "suspected")
        clock.forward(600)
        with desk.streams.listen("rad", desk.db, clock) as again:
            async with asyncio.timeout(SECONDS):
                while (event := await again.events.get()).name != "beat":
                    assert event.name != "suspected"

    run(story)


def test_a_second_change_at_the_same_moment_is_told_too(desk: Desk) -> None:
    flag(desk, "2.25.1")

    async def story() -> None:
        async with listening(desk.streams, desk.db, desk.clock) as page:
            with desk.db.transaction() as tx:
                tx.connection.execute(update(schema.worklist).values(status=WorklistStatus.NOT_SUSPECTED))
            assert (await heard(page, "worklist")).data == ""

    run(story)


def test_a_study_that_is_flagged_again_is_told_again(desk: Desk, clock: Clock) -> None:
    flag(desk, "2.25.1")

    async def story() -> None:
        async with listening(desk.streams, desk.db, clock) as page:
            clock.forward(60)
            with desk.db.transaction() as tx:
                tx.connection.execute(update(schema.worklist).values(flagged_at=clock.now, updated_at=clock.now))
            told = json.loads((await heard(page, "suspected")).data)["studies"]
            assert told == [f"2.25.1@{instant(clock.now)}"]

    run(story)


def test_opening_a_study_is_a_change_and_no_flag(desk: Desk, clock: Clock) -> None:
    flag(desk, "2.25.1")

    async def story() -> None:
        async with listening(desk.streams, desk.db, clock) as page:
            clock.forward(1)
            with desk.db.transaction() as tx:
                tx.connection.execute(update(schema.worklist).values(opened_at=clock.now, updated_at=clock.now))
            assert (await heard(page, "worklist")).data == ""
            await heard(page, "beat")
            assert page.events.empty()

    run(story)


def test_a_change_that_is_committed_late_is_seen(desk: Desk, clock: Clock) -> None:
    put(desk.db, study_instance_uid="2.25.1", urgency=Urgency.URGENT, updated_at=clock.now)

    async def story() -> None:
        async with listening(desk.streams, desk.db, clock) as page:
            earlier = clock.now - timedelta(seconds=30)
            put(desk.db, study_instance_uid="2.25.2", status=WorklistStatus.PENDING, updated_at=earlier)
            await heard(page, "worklist")

    run(story)


def test_a_pending_study_that_becomes_overdue_is_a_change(desk: Desk, clock: Clock) -> None:
    came = clock.now - timedelta(seconds=500)
    put(desk.db, status=WorklistStatus.PENDING, received_at=came, updated_at=came)

    async def story() -> None:
        async with listening(desk.streams, desk.db, clock) as page:
            clock.forward(119)  # a longer break between two looks would be a change by itself
            await heard(page, "worklist")

    run(story)


def test_all_pages_share_one_thread_that_ends_with_the_last(desk: Desk) -> None:
    async def story() -> None:
        async with (
            listening(desk.streams, desk.db, desk.clock),
            listening(desk.streams, desk.db, desk.clock, "boss") as other,
        ):
            thread = desk.streams._thread
            flag(desk, "2.25.1")
            await heard(other, "suspected")
            assert desk.streams._thread is thread
        assert thread is not None
        await asyncio.to_thread(thread.join, SECONDS)
        assert not thread.is_alive()

    run(story)


def test_after_a_long_break_the_rows_are_asked_for_again(desk: Desk, clock: Clock) -> None:
    async def story() -> None:
        async with listening(desk.streams, desk.db, clock) as page:
            clock.forward(3600)
            await heard(page, "worklist")

    run(story)


class Failing:
    """A database that can be switched off."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.off = False

    def read(self) -> Any:
        if self.off:
            raise StoreUnavailable("switched off")
        return self.db.read()


def test_a_database_that_does_not_answer_ends_the_beats_and_a_later_answer_brings_them_back(desk: Desk) -> None:
    failing = Failing(desk.db)

    async def story() -> None:
        async with listening(desk.streams, failing, desk.clock) as page:
            failing.off = True
            await asyncio.sleep(1)
            while not page.events.empty():
                page.events.get_nowait()
            await asyncio.sleep(4)
            assert page.events.empty()
            failing.off = False
            await heard(page, "beat")

    run(story)


def test_a_person_has_only_so_many_open_pages(desk: Desk, radiologist: Browser) -> None:
    async def story() -> None:
        assert desk.streams.has_room("rad")
        open_pages = [desk.streams.listen("rad", desk.db, desk.clock) for _ in range(STREAMS_OF_A_PERSON)]
        for one in open_pages:
            one.__enter__()
        assert not desk.streams.has_room("rad")
        assert desk.streams.has_room("boss")
        refused = await asyncio.to_thread(radiologist.get, "/events")
        assert refused.status_code == 429
        for one in open_pages:
            one.__exit__(None, None, None)
        assert desk.streams.has_room("rad")

    run(story)


def test_the_stream_is_for_readers_only(anonymous: Browser, service: Browser) -> None:
    answers = [browser.get("/events", headers={"Accept": "text/event-stream"}) for browser in (anonymous, service)]
    assert [answer.status_code for answer in answers] == [401, 403]


def test_the_stream_begins_with_a_change_and_ends_by_itself(desk: Desk) -> None:
    desk = replace(desk, streams=Streams(longest_seconds=2.0))
    browser = signed_in(make_app(desk), "rad", Role.RADIOLOGIST)
    answer = browser.get("/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.startswith("retry: 2000\n\nevent: worklist\ndata: \n\n")
    assert "event: beat\n" in answer.text
    assert desk.streams.has_room("rad")
