"""``docs/lifecycle.md`` says what the code does: its tables are made from the lifecycle tables and the schema."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from triage.domain.completeness import Timings
from triage.domain.lifecycle import DELIVERY_MOVES, JOB_MOVES, SERIES_MOVES
from triage.services import analyse, deliver, recover, refuse
from triage.store.schema import metadata

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "lifecycle.md").read_text()


def described(moves: Mapping[Any, frozenset[Any]]) -> str:
    """The table of one machine: state, where it may go, and the comment beside it in the code."""
    machine = type(next(iter(moves)))
    comments = dict(re.findall(r'^    [A-Z_]+ = "([a-z_]+)"  # (.*)$', inspect.getsource(machine), re.MULTILINE))
    rows = [f"| `{state}` | {_listed(moves[state], machine)} | {comments[state.value]} |" for state in machine]
    return "\n".join(["| state | may become | what it means, what a crash leaves |", "|---|---|---|", *rows])


def _listed(states: frozenset[Any], machine: type[StrEnum]) -> str:
    return " ".join(f"`{state}`" for state in machine if state in states) or "–"


@pytest.mark.parametrize("moves", [SERIES_MOVES, JOB_MOVES, DELIVERY_MOVES], ids=["series", "job", "delivery"])
def test_the_table_of_states_is_that_of_the_code(moves: Mapping[Any, frozenset[Any]]) -> None:
    assert described(moves) in DOCUMENT, f"docs/lifecycle.md must contain:\n{described(moves)}"


def test_every_table_of_the_schema_is_described() -> None:
    rows = re.findall(r"^\| (`[a-z_` ]+`) \|", DOCUMENT.split("## Tables")[1].split("##")[0], re.MULTILINE)
    told = set(re.findall(r"[a-z_]+", " ".join(rows)))
    assert told == set(metadata.tables)


def test_the_waiting_times_are_those_of_the_code() -> None:
    timings = Timings()
    for name in ("settle_seconds", "quiet_seconds", "max_wait_seconds"):
        assert f"`{name}` ({getattr(timings, name):g} s)" in DOCUMENT
    assert f"lease of {analyse.LEASE_SECONDS:g} s" in DOCUMENT
    assert analyse.LEASE_SECONDS == deliver.LEASE_SECONDS
    assert f"after {refuse.RETRY.max_attempts} attempts" in DOCUMENT
    assert f"older than {recover.ORPHAN_AGE.total_seconds() / 3600:g} h" in DOCUMENT


def test_the_modules_it_names_exist() -> None:
    root = Path(__file__).resolve().parents[2]
    named = re.findall(r"`((?:triage|migrations)/[\w/.]+)`", DOCUMENT)
    assert named
    assert [name for name in named if not (root / name).exists()] == []
