"""What is wrong at this moment, and how the daemon is doing: for the banner, the operations page and the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from triage.domain.downtime import DATABASE_DOWN, Alarm, Drift, Heartbeat, Link, alarms
from triage.domain.errors import OutOfSpace, StoreUnavailable
from triage.domain.finding import WorklistStatus
from triage.domain.statistics import Waiting, waiting
from triage.services.figures import Ledger, bundle_in_use
from triage.store import figures, heartbeats, links, operations
from triage.store.blobs import BlobStore
from triage.store.db import Database
from triage.store.figures import BundleOnRecord, Slot
from triage.store.operations import Origin, Queued, Refused, Sent

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
MOST_ORIGINS = 20


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
class Operations:
    """Everything that the operations page shows and the metrics count."""

    at: datetime
    alarms: Sequence[Alarm]
    heartbeats: Sequence[Heartbeat]
    queue: Sequence[Queued]
    sent: Sequence[Sent]
    errors: Mapping[str, Refused]
    links: Sequence[Link]
    flag_times: Sequence[FlagTimes]
    disk: Disk | None
    bundle: BundleOnRecord | None
    slots: Sequence[Slot]
    studies: Mapping[WorklistStatus, int]
    origins: Sequence[Origin]
    refusals: Mapping[str, int]
    drift: Drift | None

    @property
    def demonstration(self) -> bool:
        """Whether the bundle in use is for demonstration only."""
        return self.bundle is not None and bool(self.bundle.manifest.get("provenance", {}).get("demonstration"))


def alarms_now(db: Database, blobs: BlobStore, ledger: Ledger, now: datetime) -> list[Alarm]:
    """Everything that is wrong, the worst first; a database that does not answer is one of the answers."""
    try:
        with db.read() as tx:
            seen, known = heartbeats.seen(tx), links.known(tx)
            oldest = operations.oldest_queued_at(tx)
        drift = ledger.drift(now)
    except StoreUnavailable:
        return [DATABASE_DOWN]
    return _alarms(seen, known, now, oldest, _free_bytes(blobs), drift)


def operations_now(db: Database, blobs: BlobStore, ledger: Ledger, now: datetime) -> Operations:
    """How the daemon is doing.

    Raises
    ------
    StoreUnavailable
        The database did not answer.
    """
    with db.read() as tx:
        seen, known = heartbeats.seen(tx), links.known(tx)
        oldest = operations.oldest_queued_at(tx)
        queue, sent = operations.queue(tx, now - DAY), operations.sent(tx)
        errors = operations.last_errors(tx)
        times = [("24 hours", operations.flag_times(tx, now - DAY)), ("7 days", operations.flag_times(tx, now - WEEK))]
        bundle, slots = bundle_in_use(tx), figures.slots(tx)
        studies, origins = operations.status_counts(tx, now - DAY), operations.intake_mix(tx, now - WEEK, MOST_ORIGINS)
        refusals, received = operations.refusals(tx, now - DAY), operations.bytes_received(tx, now - DAY)
    drift, free = ledger.drift(now), _free_bytes(blobs)
    return Operations(
        at=now,
        alarms=_alarms(seen, known, now, oldest, free, drift),
        heartbeats=seen,
        queue=queue,
        sent=sent,
        errors=errors,
        links=_served(seen, known),
        flag_times=[
            FlagTimes(span, waiting(np.asarray(found.suspected)), waiting(np.asarray(found.analysed)))
            for span, found in times
        ],
        disk=Disk(free, _floor_bytes(seen), received) if free is not None else None,
        bundle=bundle,
        slots=slots,
        studies=studies,
        origins=origins,
        refusals=refusals,
        drift=drift,
    )


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
        _served(seen, known),
        now,
        oldest_queued_at=oldest_queued_at,
        free_bytes=free_bytes,
        floor_bytes=_floor_bytes(seen),
        drift=drift,
    )


def _served(seen: Sequence[Heartbeat], known: Sequence[Link]) -> list[Link]:
    """The links of destinations that a sender has: one that was taken out of the settings is nobody's trouble."""
    lists = [beat.detail.get("destinations") for beat in seen if beat.role == "send"]
    named = {name for found in lists if isinstance(found, list) for name in found}
    return [link for link in known if link.destination in named]


def _floor_bytes(seen: Sequence[Heartbeat]) -> int:
    floors = [beat.detail.get("min_free_bytes") for beat in seen if beat.role == "listen"]
    return max((floor for floor in floors if isinstance(floor, int)), default=0)


def _free_bytes(blobs: BlobStore) -> int | None:
    """Room in the file area; None where this process cannot see it."""
    try:
        return blobs.free_bytes()
    except (StoreUnavailable, OutOfSpace):
        return None
