"""Open pages are told when the list has changed: one thread looks at the database for all of them.

A page is also told, every few seconds, that the look went well. When it hears nothing, the server, the network or the
database is gone, and the page must say so: a list that stands still looks like one on which nothing is waiting.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from triage.domain.errors import StoreUnavailable
from triage.domain.finding import WorklistStatus
from triage.domain.worklist_json import instant
from triage.store import reading_list
from triage.store.db import Database
from triage.store.reading_list import Change
from triage.store.transaction import Transaction

log = structlog.get_logger()

LOOK_EVERY_SECONDS: Final = 0.5
BEAT_EVERY_LOOKS: Final = 6
STREAMS_OF_A_PERSON: Final = 4
"""Without HTTP/2 a browser has six connections to a server for all its pages: some must be left for what they ask."""

LOOK_BACK: Final = timedelta(minutes=2)
"""A change may be committed after a later one: what was written so long ago is still looked at."""

MOST_CHANGES: Final = 500


@dataclass(frozen=True, slots=True)
class Event:
    """One message to a page: ``worklist`` (ask for the rows again), ``suspected`` (new ones), ``beat`` (still here)."""

    name: str
    data: str = ""

    def __str__(self) -> str:
        """The event as the stream carries it."""
        return f"event: {self.name}\ndata: {self.data}\n\n"


WORKLIST: Final = Event("worklist")


@dataclass(frozen=True, slots=True)
class _Look:
    """The list as it stood at one moment: its newest changes, its newest flags, and how many studies are overdue."""

    at: datetime
    changed: frozenset[Change]
    flagged: Mapping[str, datetime]
    overdue: int

    def news(self, before: _Look) -> list[Event]:
        """What has happened since an earlier look."""
        # Whole changes, not their moments alone: two of one study may bear the same one.
        changed = bool(self.changed - before.changed)
        new = [flag for flag in self.flagged if flag not in before.flagged]
        events = [WORKLIST] if changed or self.overdue != before.overdue else []
        return [*events, suspected(new)] if new else events


def suspected(flags: Collection[str]) -> Event:
    """Newly suspected studies by the names of their flags, and nothing of who the patients are."""
    return Event("suspected", json.dumps({"count": len(flags), "studies": list(flags)}))


def latest_changes(tx: Transaction, now: datetime) -> list[Change]:
    """What has changed on the list so lately that it is still looked at."""
    return reading_list.changes(tx, now - LOOK_BACK, limit=MOST_CHANGES)


def lately_flagged(changes: Iterable[Change], now: datetime, *, opened: bool) -> dict[str, datetime]:
    """The flags of lately by their names, and when each was set; those of ``opened`` studies only when asked for.

    A name is the UID of the study, ``@`` and the moment: a study may be flagged again after its suspicion has gone.
    """
    return {
        f"{change.study_instance_uid}@{instant(change.flagged_at)}": change.flagged_at
        for change in changes
        if change.status is WorklistStatus.SUSPECTED
        and (opened or change.opened_at is None)
        and change.flagged_at is not None
        and change.flagged_at >= now - LOOK_BACK
    }


@dataclass(eq=False)
class Listener:
    """One open page. Events are put in from the thread that looks and taken out by the event loop."""

    person: str
    loop: asyncio.AbstractEventLoop
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)

    def tell(self, event: Event) -> None:
        """Hand an event over; a loop that has ended hears nothing any more."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.events.put_nowait, event)


class Streams:
    """The open pages of this process. The thread runs while there are any.

    A stream ends by itself after ``longest_seconds`` and the browser opens another one: who was signed out or
    locked meanwhile gets none.
    """

    def __init__(self, *, longest_seconds: float = 300.0) -> None:
        self.longest_seconds = longest_seconds
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._last: _Look | None = None
        self._thread: threading.Thread | None = None

    def has_room(self, person: str) -> bool:
        """Whether a person may open one more."""
        with self._lock:
            return sum(listener.person == person for listener in self._listeners) < STREAMS_OF_A_PERSON

    @contextmanager
    def listen(self, person: str, db: Database, clock: Callable[[], datetime]) -> Iterator[Listener]:
        """Be told of events until the end of the block; called in the event loop."""
        listener = Listener(person, asyncio.get_running_loop())
        with self._lock:
            self._listeners.append(listener)
            # Whoever comes back after a break hears of the latest flags again; the page knows which it has shown.
            latest = {} if self._last is None else self._last.flagged
            if again := [flag for flag, at in latest.items() if at >= clock() - LOOK_BACK]:
                listener.tell(suspected(again))
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, args=(db, clock), name="streams", daemon=True)
                self._thread.start()
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.remove(listener)

    def _watch(self, db: Database, clock: Callable[[], datetime]) -> None:
        pause = threading.Event()
        beats = 0
        while self._goes_on():
            events = self._look(db, clock)
            if events is not None:
                beats = (beats + 1) % BEAT_EVERY_LOOKS
                events += [Event("beat", clock().isoformat())] if beats == 1 else []
            for event in events or ():
                self._publish(event)
            pause.wait(LOOK_EVERY_SECONDS)

    def _goes_on(self) -> bool:
        with self._lock:
            if not self._listeners:
                self._thread = None
            return bool(self._listeners)

    def _look(self, db: Database, clock: Callable[[], datetime]) -> list[Event] | None:
        """What is new; None when the database did not answer."""
        now = clock()
        try:
            with db.read() as tx:
                changes = latest_changes(tx, now)
                overdue = reading_list.count_overdue(tx, now)
        except StoreUnavailable as unavailable:
            log.warning("worklist_not_watched", why=str(unavailable))
            return None
        look = _Look(
            at=now,
            changed=frozenset(changes),
            flagged=lately_flagged(changes, now, opened=False),
            overdue=overdue,
        )
        with self._lock:
            before, self._last = self._last, look
        if before is None:
            return [suspected(look.flagged)] if look.flagged else []
        # After a long break something has changed that is not looked at any more.
        missed = [WORKLIST] if now - before.at > LOOK_BACK else []
        return [*missed, *look.news(before)]

    def _publish(self, event: Event) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.tell(event)
