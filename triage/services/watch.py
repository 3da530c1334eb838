"""What is wrong at this moment, and how the daemon is doing: for the banner, the operations page and the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import structlog

from triage.domain.downtime import DATABASE_DOWN, Alarm, Drift, Heartbeat, Link, alarms
from triage.domain.errors import OutOfSpace, StoreUnavailable
from triage.domain.finding import WorklistStatus
from triage.domain.statistics import Waiting, waiting
from triage.services.figures import WINDOWS_DAYS, Ledger
from triage.services.kept import Kept
from triage.store import bundle_slots, bundles, heartbeats, links, operations
from triage.store.bundle_slots import ChosenBundle, ShadowComparison, Slot
from triage.store.bundles import BundleOnRecord
from triage.store.db import Database, Transaction
from triage.store.file_area import FileArea
from triage.store.operations import Flagged, Origin, Queued, Refused, Sent

log = structlog.get_logger()

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
MOST_ORIGINS = 20

COUNTED_SECONDS = 10.0
COMPARED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class FlagTimes:
    """Seconds from the last instance to the word on the list, over the studies of one span."""

    span: str
    suspected: Waiting
    analysed: Waiting


@dataclass(frozen=True, slots=True)
class Disk:
    """Room in the file area. ``floor_bytes`` is 0 while no listener has said below what it refuses."""

    free_bytes: int
    floor_bytes: int
    received_bytes: int

    @property
    def days_left(self) -> float | None:
        """How long the room lasts at the rate of the last 24 hours; None when nothing came in."""
        return max(0, self.free_bytes - self.floor_bytes) / self.received_bytes if self.received_bytes else None


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted a moment ago."""

    at: datetime
    queue: Sequence[Queued]
    sent: Sequence[Sent]
    errors: Mapping[str, Refused]
    flag_times: Sequence[FlagTimes]
    studies: Mapping[WorklistStatus, int]
    origins: Sequence[Origin]
    refusals: Mapping[str, int]
    received_bytes: int


@dataclass(frozen=True, slots=True)
class Compared:
    """What the shadow bundle has said since it was chosen, beside what counted."""

    shadow: ChosenBundle
    at: datetime
    pairs: Sequence[ShadowComparison]


@dataclass(frozen=True, slots=True)
class Operations:
    """Everything that the operations page shows and the metrics say.

    ``chosen`` is which bundle people chose for what, ``labels`` the names of those bundles by digest.
    """

    at: datetime
    alarms: Sequence[Alarm]
    heartbeats: Sequence[Heartbeat]
    links: Sequence[Link]
    disk: Disk | None
    bundle: BundleOnRecord | None
    chosen: Mapping[Slot, ChosenBundle]
    labels: Mapping[str, str]
    compared: Compared | None
    drift: Drift | None
    counts: Counts

    @property
    def demonstration(self) -> bool:
        """Whether the bundle in use is for demonstration only."""
        return self.bundle is not None and self.bundle.demonstration


class Watch:
    """Looks at the stores for the threads of a process.

    What is wrong and what lives is looked up each time; counting, which takes long at a large site, only every
    ``COUNTED_SECONDS``, and comparing bundles every ``COMPARED_SECONDS``.
    """

    def __init__(self, db: Database, blobs: FileArea, ledger: Ledger) -> None:
        self._db = db
        self._blobs = blobs
        self._ledger = ledger
        self._counts = Kept[Counts](COUNTED_SECONDS)
        self._compared = Kept[Compared](COMPARED_SECONDS)

    def alarms(self, now: datetime) -> list[Alarm]:
        """Everything that is wrong, the worst first; a database that does not answer is one of the answers."""
        try:
            with self._db.read() as tx:
                seen, known = heartbeats.seen(tx), links.known(tx)
                oldest = operations.oldest_queued_at(tx)
            drift = self._ledger.drift(now)
        except StoreUnavailable:
            return [DATABASE_DOWN]
        return _alarms(seen, known, now, oldest, _free_bytes(self._blobs), drift)

    def operations(self, now: datetime) -> Operations:
        """How the daemon is doing.

        Raises
        ------
        StoreUnavailable
            The database did not answer.
        """
        counts = self._counts.get(lambda: _count(self._db, now))
        with self._db.read() as tx:
            seen, known = heartbeats.seen(tx), links.known(tx)
            oldest = operations.oldest_queued_at(tx)
            bundle, chosen = bundles.in_use(tx), bundle_slots.chosen(tx)
            labels = _labels(tx, chosen.values())
        shadow = chosen.get(Slot.SHADOW)
        drift, free = self._ledger.drift(now), _free_bytes(self._blobs)
        return Operations(
            at=now,
            alarms=_alarms(seen, known, now, oldest, free, drift),
            heartbeats=seen,
            links=_served(seen, known, now),
            disk=Disk(free, _floor_bytes(seen, now), counts.received_bytes) if free is not None else None,
            bundle=bundle,
            chosen=chosen,
            labels=labels,
            compared=self._comparison(shadow, now) if shadow is not None else None,
            drift=drift,
            counts=counts,
        )

    def look_ahead(self, now: datetime) -> None:
        """Count once before anybody asks: at a large site the first pages of a process would wait for it.

        A database that does not answer is left to those who ask.
        """
        try:
            self.operations(now)
            self._ledger.statistics(max(WINDOWS_DAYS), now)
        except StoreUnavailable as exc:
            log.warning("not_looked_ahead", why=str(exc))

    def _comparison(self, shadow: ChosenBundle, now: datetime) -> Compared:
        found = self._compared.get(lambda: _compare(self._db, shadow, now))
        if found.shadow != shadow:
            self._compared.forget()
            found = self._compared.get(lambda: _compare(self._db, shadow, now))
        return found


def _labels(tx: Transaction, chosen: Iterable[ChosenBundle]) -> dict[str, str]:
    found = [bundles.on_record(tx, digest=choice.digest) for choice in chosen]
    return {bundle.digest: bundle.label for bundle in found if bundle is not None}


def _compare(db: Database, shadow: ChosenBundle, now: datetime) -> Compared:
    with db.read() as tx:
        return Compared(shadow, now, bundle_slots.shadow_comparison(tx, shadow.chosen_at))


def _count(db: Database, now: datetime) -> Counts:
    with db.read() as tx:
        times = operations.flag_times(tx, now - WEEK)
        return Counts(
            at=now,
            queue=operations.queue(tx, now - DAY),
            sent=operations.sent(tx),
            errors=operations.last_errors(tx),
            flag_times=[_flag_times("24 hours", times, now - DAY), _flag_times("7 days", times, now - WEEK)],
            studies=operations.status_counts(tx, now - DAY),
            origins=operations.intake_mix(tx, now - WEEK, MOST_ORIGINS),
            refusals=operations.refusals(tx, now - DAY),
            received_bytes=operations.bytes_received(tx, now - DAY),
        )


def _flag_times(span: str, times: Sequence[Flagged], since: datetime) -> FlagTimes:
    within = [one for one in times if one.received_seconds >= since.timestamp()]
    suspected = np.asarray([one.seconds for one in within if one.suspected], np.float64)
    return FlagTimes(span, waiting(suspected), waiting(np.asarray([one.seconds for one in within], np.float64)))


def _alarms(
    seen: Sequence[Heartbeat],
    known: Sequence[Link],
    now: datetime,
    oldest_queued_at: datetime | None,
    free_bytes: int | None,
    drift: Drift | None,
) -> list[Alarm]:
    return alarms(
        seen,
        _served(seen, known, now),
        now,
        oldest_queued_at=oldest_queued_at,
        free_bytes=free_bytes,
        floor_bytes=_floor_bytes(seen, now),
        drift=drift,
    )


def _speaking(seen: Sequence[Heartbeat], role: str, now: datetime) -> list[Heartbeat]:
    """Who says how a role is set: the processes that run, or else the last one that did."""
    of_role = sorted((beat for beat in seen if beat.role == role), key=lambda beat: beat.at)
    return [beat for beat in of_role if beat.alive(now)] or of_role[-1:]


def _served(seen: Sequence[Heartbeat], known: Sequence[Link], now: datetime) -> list[Link]:
    """The links of destinations that a sender has: one that was taken out of the settings is nobody's trouble."""
    lists = [beat.detail.get("destinations") for beat in _speaking(seen, "send", now)]
    named = {name for found in lists if isinstance(found, list) for name in found}
    return [link for link in known if link.destination in named]


def _floor_bytes(seen: Sequence[Heartbeat], now: datetime) -> int:
    floors = [beat.detail.get("min_free_bytes") for beat in _speaking(seen, "listen", now)]
    return max((floor for floor in floors if isinstance(floor, int)), default=0)


def _free_bytes(blobs: FileArea) -> int | None:
    """Room in the file area; None where it has no bound, or this process cannot see it."""
    try:
        return blobs.free_bytes()
    except (StoreUnavailable, OutOfSpace):
        return None
