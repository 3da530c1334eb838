"""Telling an audit repository what the log says: the log is the spool, one number says how far it was told.

Nothing waits for this, and nothing about it is audited: a repository that is down would otherwise fill the log
with rows about itself. What is wrong stands in the table ``audit_forward`` and in our own log.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import structlog

from triage.domain.audit import AuditRecord, LaterAction
from triage.domain.audit_message import encode
from triage.domain.errors import ConfigurationError, DeliveryUnconfirmed, StaleState, StoreUnavailable
from triage.domain.work import Backoff
from triage.net.syslog import SyslogLink, syslog_message
from triage.services.audit_messages import TOLD, Reporter, audit_messages
from triage.services.deliver import fault
from triage.store import audit, audit_forward
from triage.store.audit import UnreadableRow
from triage.store.db import Database

log = structlog.get_logger()

BATCH_ROWS = 200
LEASE_SECONDS = 60.0
RENEW_SECONDS = 20.0
IDLE_SECONDS = 0.5
TROUBLE_SECONDS = 2.0
PATIENCE = Backoff(base_seconds=1.0, cap_seconds=60.0)
"""How long a receiver that is down is left alone: for ever tried again, at least once a minute."""


@dataclass(frozen=True)
class Route:
    """What forwarding to one receiver needs. ``receiver`` is its name in ``audit_forward``."""

    db: Database
    receiver: str
    connect: Callable[[], SyslogLink]
    reporter: Reporter
    message_id: str
    clock: Callable[[], datetime]
    owner: str
    policy: Backoff = PATIENCE


class Forwarder:
    """One sender to one receiver: its link, and how far the receiver has the log.

    A row of mixed results has two messages, and a link may break between them: ``_ahead`` counts the messages of
    the row after the cursor that the receiver has already.
    """

    def __init__(self, route: Route) -> None:
        self.route = route
        self._link: SyslogLink | None = None
        self._failures = 0
        self._cursor: int | None = None
        self._claimed_at: datetime | None = None
        self._last_told: int | None = None
        self._ahead = 0

    def run(self, stop: threading.Event) -> None:
        """Forward until ``stop`` is set; a receiver that is down is waited for, longer each time."""
        while not stop.is_set():
            wait = IDLE_SECONDS
            try:
                if self.step():
                    wait = 0.0
            except (DeliveryUnconfirmed, ConfigurationError) as exc:
                wait = self._trouble(exc)
            except StaleState as exc:
                log.warning("audit_forwarding_taken_over", why=str(exc))
                self._forget()
            except StoreUnavailable as exc:
                log.error("step_failed", code=exc.code, why=str(exc))
                wait = TROUBLE_SECONDS
            except Exception as exc:  # a fault of ours must not end this thread while the role lives on
                log.exception("step_failed")
                wait = self._trouble(fault(exc))
            stop.wait(wait)
        self.hang_up()

    def step(self) -> bool:
        """Send what comes next and note how far the receiver has it; False when there is nothing to do.

        Raises
        ------
        DeliveryUnconfirmed, ConfigurationError
            The link broke, or there is none; what the receiver had taken before is noted.
        StaleState
            Somebody else forwards to this receiver now.
        StoreUnavailable
        """
        cursor = self._place()
        if cursor is None:
            return False
        with self.route.db.read() as tx:
            rows = audit.rows_after(tx, cursor, BATCH_ROWS)
        if not rows:
            if self._link is not None:
                self._link.check()
            return False
        parts = [self._messages(row) for row in rows]
        taken = self._ahead
        unsent = [content for part in parts for content in part][taken:]
        try:
            if unsent:
                link = self._connected()
                before = link.taken
                try:
                    link.send(unsent)
                finally:
                    taken += link.taken - before
        finally:
            self._note(cursor, rows, [len(part) for part in parts], taken)
        return True

    def hang_up(self) -> None:
        """Close the link, and let another sender go on."""
        if self._link is not None:
            self._link.close()
            self._link = None
        self._forget()
        with suppress(StoreUnavailable), self.route.db.transaction() as tx:
            audit_forward.release(tx, self.route.receiver, owner=self.route.owner)

    def _connected(self) -> SyslogLink:
        if self._link is None:
            self._link = self.route.connect()
            self._failures = 0
            log.info("audit_link_up", receiver=self.route.receiver)
        return self._link

    def _place(self) -> int | None:
        """The last row that the receiver has; None while another sender tells it."""
        route, now = self.route, self.route.clock()
        if self._claimed_at is None or (now - self._claimed_at).total_seconds() > RENEW_SECONDS:
            with route.db.transaction() as tx:
                cursor = audit_forward.claim(
                    tx, route.receiver, owner=route.owner, now=now, lease_seconds=LEASE_SECONDS
                )
            if cursor != self._cursor:
                self._forget()
            self._cursor, self._claimed_at = cursor, now
        return self._cursor

    def _messages(self, row: AuditRecord | UnreadableRow) -> list[bytes]:
        if isinstance(row, UnreadableRow):
            log.error("audit_row_not_forwarded", sequence=row.sequence, why="it is not as it was written")
            return []
        if isinstance(row.event.action, LaterAction):
            log.error(
                "audit_row_not_forwarded",
                sequence=row.sequence,
                why="a later release wrote it; after the upgrade, triage audit resend tells it",
            )
            return []
        route = self.route
        told = audit_messages(row, route.reporter, after=self._told_before(row.sequence))
        if told:
            self._last_told = row.sequence
        return [
            syslog_message(encode(message), at=message.at, host=route.reporter.node, message_id=route.message_id)
            for message in told
        ]

    def _told_before(self, sequence: int) -> int:
        """The last row before this one of which a receiver hears; 0 before the first."""
        if self._last_told is None:
            self._last_told = 0
            with self.route.db.read() as tx:
                for row in audit.rows_before(tx, sequence, TOLD):
                    if isinstance(row, AuditRecord) and audit_messages(row, self.route.reporter):
                        self._last_told = row.sequence
                        break
        return self._last_told

    def _note(self, cursor: int, rows: Sequence[AuditRecord | UnreadableRow], sizes: Sequence[int], taken: int) -> None:
        """Move the cursor over every row whose messages the receiver has all taken."""
        reached = cursor
        for row, size in zip(rows, sizes, strict=True):
            if taken < size:
                self._last_told = None
                break
            taken -= size
            reached = row.sequence
        route, now = self.route, self.route.clock()
        self._ahead = taken
        if reached == cursor:
            return
        with route.db.transaction() as tx:
            audit_forward.advance(tx, route.receiver, owner=route.owner, start=cursor, to=reached, now=now)
            audit_forward.claim(tx, route.receiver, owner=route.owner, now=now, lease_seconds=LEASE_SECONDS)
        self._cursor, self._claimed_at = reached, now

    def _trouble(self, exc: DeliveryUnconfirmed | ConfigurationError) -> float:
        """Drop the link and keep what is wrong; how long to wait before the next try."""
        if self._link is not None:
            self._link.close()
            self._link = None
        self._failures += 1
        wait = self.route.policy.delay_seconds(self._failures, jitter=1.0)
        log.warning("audit_link_down", receiver=self.route.receiver, why=str(exc), again_in_seconds=wait)
        with suppress(StoreUnavailable), self.route.db.transaction() as tx:
            audit_forward.failed(
                tx, self.route.receiver, owner=self.route.owner, error=str(exc), now=self.route.clock()
            )
        return wait

    def _forget(self) -> None:
        """Know nothing of how far the receiver is: the table does."""
        self._cursor, self._claimed_at, self._last_told, self._ahead = None, None, None, 0
