"""Leases are renewed while the work goes on, and no longer."""

from __future__ import annotations

import threading
import time

import pytest

from triage.domain.errors import StaleState
from triage.services.lease import kept_alive


class Renewals:
    """Counts renewals, and can be waited for."""

    def __init__(self, error: Exception | None = None) -> None:
        self.count = 0
        self._error = error
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()
        if self._error is not None:
            raise self._error

    def wait_for(self, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.count >= count, timeout=10)


def test_it_is_renewed_while_the_block_runs() -> None:
    renewals = Renewals()
    with kept_alive(renewals, 0.01, 10.0):
        assert renewals.wait_for(3)


def test_it_is_not_renewed_afterwards() -> None:
    renewals = Renewals()
    with kept_alive(renewals, 0.01, 10.0):
        assert renewals.wait_for(1)
    count = renewals.count
    time.sleep(0.1)
    assert renewals.count == count


def test_work_that_hangs_loses_its_lease() -> None:
    renewals = Renewals()
    with kept_alive(renewals, 0.01, 0.03):
        assert renewals.wait_for(3)
        time.sleep(0.1)
        assert renewals.count == 3


def test_a_lost_lease_does_not_end_the_block() -> None:
    renewals = Renewals(StaleState("SYNTHETIC: somebody else has it."))
    with kept_alive(renewals, 0.01, 10.0):
        assert renewals.wait_for(2)


def test_what_the_block_raises_comes_out() -> None:
    with pytest.raises(RuntimeError, match="work"), kept_alive(Renewals(), 0.01, 10.0):
        raise RuntimeError("work")
    assert not [t for t in threading.enumerate() if t.name == "lease"]
