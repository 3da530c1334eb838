"""How long a login must wait."""

from __future__ import annotations

import pytest

from triage.domain.lockout import FREE_BY_ADDRESS, FREE_BY_NAME, LONGEST_SECONDS, delay_seconds


@pytest.mark.parametrize("failures", range(FREE_BY_NAME))
def test_a_few_mistakes_cost_nothing(failures: int) -> None:
    assert delay_seconds(failures, FREE_BY_NAME) == 0


def test_the_delay_grows_and_ends_growing() -> None:
    delays = [delay_seconds(failures, FREE_BY_NAME) for failures in range(FREE_BY_NAME, 60)]
    assert delays[:4] == [5, 10, 20, 40]
    assert delays == sorted(delays)
    assert max(delays) == delays[-1] == LONGEST_SECONDS


def test_a_day_of_guessing_is_a_hundred_guesses() -> None:
    seconds = guesses = 0
    while seconds < 24 * 3600:
        guesses += 1
        seconds += delay_seconds(guesses, FREE_BY_NAME)
    assert guesses < 120


def test_a_reading_room_behind_one_address_has_more_room() -> None:
    assert FREE_BY_ADDRESS > FREE_BY_NAME
