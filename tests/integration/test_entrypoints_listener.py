"""The role ``listen``: what it does to others when it starts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.stores import receive
from triage.domain.errors import ConfigurationError
from triage.entrypoints import listener
from triage.entrypoints.app import App
from triage.settings import Settings
from triage.settings.groups import ListenerSettings
from triage.store import associations
from triage.store.db import Database
from triage.store.folder_area import FolderArea
from triage.store.schema import AssociationEnd
from triage.store.schema import associations as rows


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def app(database: Database, folder: Path, port: int) -> App:
    return App(Settings(listener=ListenerSettings(port=port)), database, FolderArea(folder))


def open_association(made: App) -> None:
    with made.db.transaction() as tx:
        record = receive(tx)
        associations.open(tx, "open", made.door().name, "SENDER", "ICHTRIAGE", "127.0.0.1", record.received_at)


def end_of(database: Database) -> AssociationEnd | None:
    with database.read() as tx:
        return tx.connection.execute(select(rows.c.ended_how).where(rows.c.id == "open")).scalar_one()


def test_a_second_listener_ends_nothing_of_the_one_that_runs(
    database: Database, tmp_path: Path, taken: socket.socket
) -> None:
    second = app(database, tmp_path, taken.getsockname()[1])
    open_association(second)
    with pytest.raises(ConfigurationError, match=r"listener\.port"):
        listener.serve(second, threading.Event())
    assert end_of(database) is None


def test_what_a_killed_listener_left_open_is_lost_when_the_next_one_starts(
    database: Database, tmp_path: Path, taken: socket.socket
) -> None:
    port = taken.getsockname()[1]
    taken.close()
    first = app(database, tmp_path, port)
    open_association(first)
    stop = threading.Event()
    stop.set()
    listener.serve(first, stop)
    assert end_of(database) is AssociationEnd.LOST
