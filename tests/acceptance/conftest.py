"""Fixtures of the acceptance tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import copy_sqlite


@pytest.fixture
def sqlite_copies(sqlite_template: Path, tmp_path: Path) -> list[str]:
    """URLs of two migrated, empty SQLite databases, for what does not depend on the engine."""
    urls = []
    for number in range(2):
        file = tmp_path / f"triage-{number}.db"
        copy_sqlite(sqlite_template, file)
        urls.append(f"sqlite:///{file}")
    return urls


@pytest.fixture
def worker_seed(request: pytest.FixtureRequest) -> int:
    """A seed that differs from test to test, and is the same every time."""
    return sum(map(ord, request.node.name))
