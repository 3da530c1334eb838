"""How long to wait before trying again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.work import RetryPolicy


def test_the_wait_doubles_until_the_cap() -> None:
    policy = RetryPolicy(base_seconds=2, cap_seconds=30, max_attempts=50)
    assert [policy.delay_seconds(n, jitter=1.0) for n in range(1, 7)] == [2, 4, 8, 16, 30, 30]


def test_jitter_halves_at_most() -> None:
    policy = RetryPolicy(base_seconds=8, cap_seconds=8)
    assert policy.delay_seconds(1, jitter=0.0) == 4
    assert policy.delay_seconds(1, jitter=0.5) == 6
    assert policy.delay_seconds(1, jitter=1.0) == 8


@given(st.integers(1, 1_000_000), st.floats(0, 1))
def test_no_number_of_attempts_breaks_the_sum(attempt: int, jitter: float) -> None:
    policy = RetryPolicy()
    assert policy.base_seconds / 2 <= policy.delay_seconds(attempt, jitter) <= policy.cap_seconds


@given(st.integers(1, 100))
def test_waiting_never_gets_shorter(attempt: int) -> None:
    policy = RetryPolicy()
    assert policy.delay_seconds(attempt, 0.3) <= policy.delay_seconds(attempt + 1, 0.3)


@pytest.mark.parametrize("values", [{"base_seconds": 0}, {"base_seconds": -1}, {"cap_seconds": 1}, {"max_attempts": 0}])
def test_a_policy_that_cannot_work_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="retry policy"):
        RetryPolicy(**values)  # type: ignore[arg-type]
