"""The heartbeat of a role: a thread that says every few seconds that this process lives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from triage.domain.downtime import SILENT_AFTER, Heartbeat
from triage.domain.errors import TriageError
from triage.store import heartbeats
from triage.store.db import Database

log = structlog.get_logger()

BEAT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Heart:
    """Whose heart beats, and where.

    ``owner`` is host, process and role, as leases name it. ``detail`` may change: each beat says how it is then.
    """

    db: Database
    owner: str
    role: str
    clock: Callable[[], datetime]
    detail: Mapping[str, object] = field(default_factory=dict)
    every_seconds: float = BEAT_SECONDS


@contextmanager
def alive(heart: Heart) -> Iterator[None]:
    """Beat until the end of the block, and say then that it was a clean one.

    Each beat is a short transaction of its own. A database that does not answer never stops the role: whoever
    looks sees no heartbeat meanwhile.
    """
    now = heart.clock()
    first = Heartbeat(heart.owner, heart.role, now, now, detail=heart.detail)
    ended = threading.Event()
    thread = threading.Thread(target=_beat_until, args=(heart, first, ended), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
        clean = True
    except BaseException:
        clean = False
        raise
    finally:
        ended.set()
        thread.join(SILENT_AFTER.total_seconds())
        if clean:
            _beat(heart, replace(first, at=heart.clock(), stopped=True))


def _beat_until(heart: Heart, first: Heartbeat, ended: threading.Event) -> None:
    beats = _begin(heart, first)
    while not ended.wait(heart.every_seconds):
        came = _beat(heart, replace(first, at=heart.clock()))
        if came is not beats:
            beats = came
            (log.info if came else log.warning)("heartbeat_kept" if came else "heartbeat_not_kept")


def _begin(heart: Heart, first: Heartbeat) -> bool:
    host = heart.owner.split("/", 1)[0]
    try:
        with heart.db.transaction() as tx:
            heartbeats.forget(tx, role=heart.role, host=host, silent_since=first.at - SILENT_AFTER, now=first.at)
            heartbeats.beat(tx, first)
    except TriageError as exc:
        log.warning("heartbeat_not_kept", why=str(exc))
        return False
    return True


def _beat(heart: Heart, heartbeat: Heartbeat) -> bool:
    """Whether the beat was kept; why it was not is told by `log` where that begins."""
    try:
        with heart.db.transaction() as tx:
            heartbeats.beat(tx, heartbeat)
    except TriageError:
        return False
    return True
