"""What is down, since when, and what that means for whoever reads the list. The absence of a flag is no finding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from triage.domain.worklist import PENDING_RISES_AFTER

SILENT_AFTER = timedelta(seconds=6)
"""A role whose last heartbeat is older than this does not run."""

CLOCKS_DIFFER = timedelta(minutes=1)
"""A heartbeat from further ahead was stamped before the clock was set back: it says nothing of this moment."""

ANALYSING_ROLES: Mapping[str, str] = {"listen": "the listener", "work": "the worker", "clock": "the clock"}
"""Without any one of these no new study is analysed."""

_READ_AS_USUAL = (
    "New studies are NOT being analysed: read in the usual order. A study without a flag is not a negative one."
)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last sign of life of one process. ``stopped`` is true when it said that it ends."""

    owner: str
    role: str
    started_at: datetime
    at: datetime
    stopped: bool = False
    detail: Mapping[str, object] = field(default_factory=dict)

    def alive(self, now: datetime) -> bool:
        """Whether the process counts as running."""
        return not self.stopped and -CLOCKS_DIFFER <= now - self.at <= SILENT_AFTER


@dataclass(frozen=True, slots=True)
class Link:
    """A destination as the senders last found it. ``since`` is when that began."""

    destination: str
    up: bool
    since: datetime
    error: str | None = None


class AlarmCode(StrEnum):
    """What can be wrong with the installation as a whole."""

    DATABASE = "database"
    ANALYSIS = "analysis"
    DISK = "disk"
    QUEUE = "queue"
    SENDER = "sender"
    LINK = "link"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One line of the banner: what is wrong, since when, and what it means for the reader.

    ``title`` reads on after the time: "AI off" since 14:02: "the worker does not run". ``blind`` is true when new
    studies go without analysis.
    """

    code: AlarmCode
    title: str
    reason: str
    meaning: str
    since: datetime | None = None
    blind: bool = False


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the scores are from their reference, and from where on that is no chance and no trifle."""

    index: float
    limit: float

    @property
    def exceeded(self) -> bool:
        """Whether somebody must look."""
        return self.index > self.limit


DATABASE_DOWN = Alarm(
    AlarmCode.DATABASE,
    "AI state unknown",
    "the database does not answer",
    "Nobody can see here what was analysed: read in the usual order.",
    blind=True,
)


def alarms(
    heartbeats: Sequence[Heartbeat],
    links: Iterable[Link],
    now: datetime,
    *,
    oldest_queued_at: datetime | None = None,
    free_bytes: int | None = None,
    floor_bytes: int = 0,
    drift: Drift | None = None,
) -> list[Alarm]:
    """Everything that is wrong, the worst first.

    Parameters
    ----------
    heartbeats
        Of every process that was seen lately, also of those that ended.
    links
        The destinations that the senders serve.
    oldest_queued_at : datetime or None
        Since when the longest waiting series waits for a worker.
    free_bytes, floor_bytes : int
        Room in the file area (None: not known), and below what instances are refused.
    """
    found = [_analysis(heartbeats, now), _disk(free_bytes, floor_bytes), _queue(oldest_queued_at, now)]
    found += [_sender(heartbeats, now), *(_link(link) for link in links if not link.up), _drift(drift)]
    return [alarm for alarm in found if alarm is not None]


def down_since(heartbeats: Iterable[Heartbeat], role: str, now: datetime) -> datetime | None:
    """When the last process of a role was heard last; None while one runs, or when none ever did."""
    mine = [beat for beat in heartbeats if beat.role == role]
    return None if not mine or any(beat.alive(now) for beat in mine) else min(now, max(beat.at for beat in mine))


def _runs(heartbeats: Iterable[Heartbeat], role: str, now: datetime) -> bool:
    return any(beat.role == role and beat.alive(now) for beat in heartbeats)


def _analysis(heartbeats: Sequence[Heartbeat], now: datetime) -> Alarm | None:
    down = [role for role in ANALYSING_ROLES if not _runs(heartbeats, role, now)]
    if not down:
        return None
    since = [at for role in down if (at := down_since(heartbeats, role, now)) is not None]
    names = [ANALYSING_ROLES[role] for role in down]
    reason = f"{_listed(names)} {'does' if len(names) == 1 else 'do'} not run"
    return Alarm(AlarmCode.ANALYSIS, "AI off", reason, _READ_AS_USUAL, min(since, default=None), blind=True)


def _sender(heartbeats: Sequence[Heartbeat], now: datetime) -> Alarm | None:
    since = down_since(heartbeats, "send", now)
    if since is None:
        return None
    meaning = "The archive and other reading lists are not told of new results; this page is up to date."
    return Alarm(AlarmCode.SENDER, "Results are not sent", "the sender does not run", meaning, since)


def _link(link: Link) -> Alarm:
    meaning = f"Results for {link.destination} wait and are sent when it answers again; this page is up to date."
    reason = (link.error or "it was not said why").rstrip(".")
    return Alarm(AlarmCode.LINK, f"No answer from {link.destination}", reason, meaning, link.since)


def _queue(oldest_queued_at: datetime | None, now: datetime) -> Alarm | None:
    if oldest_queued_at is None or now - oldest_queued_at <= PENDING_RISES_AFTER:
        return None
    meaning = "Studies shown as pending have NOT been analysed: do not wait for them."
    reason = "a series has waited for the worker all this time"
    return Alarm(AlarmCode.QUEUE, "AI behind", reason, meaning, oldest_queued_at, blind=True)


def _disk(free_bytes: int | None, floor_bytes: int) -> Alarm | None:
    if free_bytes is None or free_bytes >= floor_bytes:
        return None
    reason = f"{free_bytes / 1e9:.1f} GB are free and new images are refused below {floor_bytes / 1e9:.1f} GB"
    return Alarm(AlarmCode.DISK, "AI off: disk full", reason, _READ_AS_USUAL, blind=True)


def _drift(drift: Drift | None) -> Alarm | None:
    if drift is None or not drift.exceeded:
        return None
    reason = f"the population stability index is {drift.index:.2f}, and its limit {drift.limit:.2f}"
    meaning = "Flags may be more or less reliable than measured. The administrator should look at the statistics."
    return Alarm(AlarmCode.DRIFT, "Scores have drifted", reason, meaning)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
