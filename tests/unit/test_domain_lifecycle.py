"""Every state against every event: what is allowed, what is final, and that nothing is a trap."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Mapping
from enum import StrEnum

import pytest

from triage.domain import lifecycle
from triage.domain.lifecycle import (
    DELIVERY_MOVES,
    JOB_MOVES,
    SERIES_MOVES,
    DeliveryState,
    JobState,
    SeriesState,
)

TABLES = [
    pytest.param(SeriesState, SERIES_MOVES, id="series"),
    pytest.param(JobState, JOB_MOVES, id="job"),
    pytest.param(DeliveryState, DELIVERY_MOVES, id="delivery"),
]
FIRST = {SeriesState: SeriesState.RECEIVING, JobState: JobState.QUEUED, DeliveryState: DeliveryState.PENDING}

ALLOWED = {
    SeriesState: {
        "receiving": "stable unusable passed_over",
        "stable": "analysed unusable passed_over receiving",
        "passed_over": "stable receiving",
        "unusable": "receiving stable",
        "analysed": "receiving stable",
    },
    JobState: {
        "queued": "running cancelled",
        "running": "succeeded queued failed cancelled",
        "succeeded": "",
        "failed": "queued",
        "cancelled": "",
    },
    DeliveryState: {
        "pending": "sending",
        "sending": "delivered pending failed",
        "delivered": "committed pending failed",
        "committed": "",
        "failed": "pending",
    },
}
"""Written out a second time, so that a change of a table is a decision and not a slip."""

Moves = Mapping[StrEnum, frozenset[StrEnum]]


def reachable(start: StrEnum, moves: Moves) -> set[StrEnum]:
    seen, ahead = {start}, [start]
    while ahead:
        ahead = [target for state in ahead for target in moves[state] if target not in seen]
        seen.update(ahead)
    return seen


@pytest.mark.parametrize(("states", "moves"), TABLES)
def test_the_product_of_states_and_moves(states: type[StrEnum], moves: Moves) -> None:
    for here, there in itertools.product(states, states):
        assert (there in moves[here]) == (there.value in ALLOWED[states][here.value].split()), f"{here} -> {there}"


@pytest.mark.parametrize(("states", "moves"), TABLES)
def test_the_table_is_total_and_nothing_moves_to_itself(states: type[StrEnum], moves: Moves) -> None:
    assert set(moves) == set(states)
    assert all(state not in targets for state, targets in moves.items())


@pytest.mark.parametrize(("states", "moves"), TABLES)
def test_every_state_can_be_reached(states: type[StrEnum], moves: Moves) -> None:
    assert reachable(FIRST[states], moves) == set(states)


@pytest.mark.parametrize(("states", "moves"), TABLES)
def test_a_table_cannot_be_changed(states: type[StrEnum], moves: Moves) -> None:
    with pytest.raises(TypeError):
        moves[next(iter(states))] = frozenset()  # type: ignore[index]


def test_a_late_instance_can_always_open_the_next_revision() -> None:
    for state in SeriesState:
        assert state is SeriesState.RECEIVING or SeriesState.RECEIVING in SERIES_MOVES[state]


def test_every_series_can_reach_an_end_from_anywhere() -> None:
    ends = {SeriesState.ANALYSED, SeriesState.UNUSABLE}
    for state in SeriesState:
        assert reachable(state, SERIES_MOVES) & ends


def test_what_a_person_may_try_again_is_what_failed() -> None:
    assert JOB_MOVES[JobState.FAILED] == {JobState.QUEUED}
    assert DELIVERY_MOVES[DeliveryState.FAILED] == {DeliveryState.PENDING}


def test_nothing_leaves_a_committed_delivery_nor_a_finished_job() -> None:
    assert not DELIVERY_MOVES[DeliveryState.COMMITTED]
    assert not JOB_MOVES[JobState.SUCCEEDED]
    assert not JOB_MOVES[JobState.CANCELLED]


def test_every_state_says_beside_itself_what_it_means() -> None:
    lines = re.findall(r'^    ([A-Z_]+ = "[a-z_]+".*)$', inspect.getsource(lifecycle), re.MULTILINE)
    assert len(lines) == len(SeriesState) + len(JobState) + len(DeliveryState)
    assert [line for line in lines if "  # " not in line] == []
