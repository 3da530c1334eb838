"""When a destination is left alone, and when it is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from triage.domain.work import Backoff
from triage.services.circuit import Circuit

START = datetime(2026, 11, 21, 8, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def opened() -> Circuit:
    circuit = Circuit(tries=3, cooldown=Backoff(5.0, 60.0))
    assert [circuit.unanswered(START) for _ in range(3)] == [False, False, True]
    return circuit


def test_it_is_closed_at_first() -> None:
    circuit = Circuit()
    assert circuit.allows(START)
    assert not circuit.is_open


def test_it_opens_after_failures_in_a_row() -> None:
    circuit = opened()
    assert circuit.is_open
    assert not circuit.allows(after(4.9))
    assert circuit.allows(after(5))


def test_an_answer_in_between_begins_the_count_anew() -> None:
    circuit = Circuit(tries=3)
    circuit.unanswered(START)
    circuit.unanswered(START)
    assert not circuit.answered()
    assert not circuit.unanswered(START)
    assert not circuit.unanswered(START)
    assert circuit.allows(START)


def test_a_probe_that_fails_waits_longer_and_does_not_open_it_again() -> None:
    circuit = opened()
    assert not circuit.unanswered(after(5))
    assert not circuit.allows(after(14.9))
    assert circuit.allows(after(15))
    for probe in (15, 35, 75, 135, 195):
        assert circuit.allows(after(probe))
        assert not circuit.unanswered(after(probe))
    assert not circuit.allows(after(195 + 59.9)), "the wait does not grow beyond the cap"
    assert circuit.allows(after(195 + 60))


def test_the_first_answer_closes_it() -> None:
    circuit = opened()
    assert circuit.answered()
    assert circuit.allows(START)
    assert not circuit.is_open
    assert not circuit.answered(), "it was closed already"
