"""Options of the tests that kill processes."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def kill_rounds() -> int:
    """Rounds for each death; ``KILL_ROUNDS=50 make test`` asks for more than the usual five."""
    return int(os.environ.get("KILL_ROUNDS", "5"))
