"""A destination that does not answer is left alone for a while, so that a thousand results do not each wait for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Lock

from triage.domain.work import Backoff

TRIES = 3
COOLDOWN = Backoff(base_seconds=5.0, cap_seconds=60.0)


class Circuit:
    """Shared by the senders of one destination in one process. It only saves time, so nothing of it is kept.

    Closed, everything passes. After ``TRIES`` batches in a row for which nobody answered it is open: nothing
    passes before the cooldown has ended, each failure then begins a longer one, and the first answer closes it.
    """

    def __init__(self, tries: int = TRIES, cooldown: Backoff = COOLDOWN) -> None:
        self._tries = tries
        self._cooldown = cooldown
        self._failures = 0
        self._next_probe_at: datetime | None = None
        self._lock = Lock()

    @property
    def is_open(self) -> bool:
        """Whether the destination counts as down."""
        return self._next_probe_at is not None

    def allows(self, now: datetime) -> bool:
        """Whether a batch may be claimed now."""
        with self._lock:
            return self._next_probe_at is None or now >= self._next_probe_at

    def unanswered(self, now: datetime) -> bool:
        """Count a batch for which nobody answered; True when this opened the circuit."""
        with self._lock:
            self._failures += 1
            if self._failures < self._tries:
                return False
            opened = self._next_probe_at is None
            wait = self._cooldown.delay_seconds(self._failures - self._tries + 1, jitter=1.0)
            self._next_probe_at = now + timedelta(seconds=wait)
            return opened

    def answered(self) -> bool:
        """Count a batch that was answered, whatever the answer; True when this closed the circuit."""
        with self._lock:
            closed = self._next_probe_at is not None
            self._failures, self._next_probe_at = 0, None
            return closed
