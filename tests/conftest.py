"""Fixtures for every test: real inputs, both databases, a real archive, the DICOM command-line tools.

A missing component skips the test with the command that brings it; with ``CI=true`` it fails instead.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest

from tests.services import MissingProgramError, OrthancServer, PostgresCluster, Programs
from tests.web import administrator, anonymous, app, clock, desk, radiologist, service  # noqa: F401 - fixtures
from triage.store.db import Database, upgrade

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

# A job that a shell runs in the background ignores SIGINT, and so would our servers, which are ended by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Threads of torch that wait for each other collapse on a busy machine, and how many there are changes the last bits of
# what is trained. Read when torch is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no failure; in CI the same examples run every time.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)


def in_ci() -> bool:
    """Whether nothing may be skipped."""
    return os.environ.get("CI", "").lower() in {"1", "true"}


hypothesis.settings.load_profile("ci" if in_ci() else "here")


def unavailable(reason: str) -> NoReturn:
    """Skip the test for a missing component, or fail it in CI."""
    if in_ci():
        pytest.fail(f"{reason} (with CI=true nothing is skipped)")
    pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse test names that differ from process to process: pytest-xdist can run nothing then."""
    for item in items:
        if re.search(r" at 0x[0-9a-f]", item.nodeid):
            raise pytest.UsageError(f"the name of {item.nodeid} holds an address: give the parameter an id")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real inputs, ``../shared/data`` beside the repository."""
    if not SHARED_DATA.is_dir():
        unavailable("the real inputs are absent: put them at ../shared/data beside the repository")
    return SHARED_DATA


@pytest.fixture(scope="session")
def dcmtk() -> Programs:
    """Programs of dcmtk: ``dcmtk.path("storescu")``, ``dcmtk.run("dsrdump", file)``."""
    return _programs("dcmtk", "storescu", "storescp", "dsrdump", "dcmdump")


@pytest.fixture(scope="session")
def dicom3tools() -> Programs:
    """Programs of dicom3tools: ``dicom3tools.conformance_errors(file) == []``."""
    return _programs("dicom3tools", "dciodvfy", "dcentvfy")


@pytest.fixture(scope="session")
def orthanc_server() -> Iterator[OrthancServer]:
    """The archive of this session; tests take ``orthanc``, which is empty."""
    try:
        server = OrthancServer()
    except MissingProgramError as missing:
        unavailable(str(missing))
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def orthanc(orthanc_server: OrthancServer) -> OrthancServer:
    """A running, empty Orthanc; a test may stop and start it."""
    orthanc_server.empty()
    return orthanc_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """The PostgreSQL cluster of this session."""
    cluster = PostgresCluster()
    try:
        cluster.start()
        yield cluster
    except MissingProgramError as missing:
        unavailable(str(missing))
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresCluster) -> str:
    """Name of a migrated database that is only ever copied."""
    postgres.create("migrated")
    upgrade(postgres.url("migrated"))
    postgres.seal("migrated")
    return "migrated"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file that is only ever copied."""
    file = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a migrated database without rows; the test runs once on each engine."""
    if request.param == "sqlite":
        file = tmp_path / "triage.db"
        copy_sqlite(request.getfixturevalue("sqlite_template"), file)
        yield f"sqlite:///{file}"
    else:
        yield from _postgres_database(request.getfixturevalue("postgres"), request.getfixturevalue("postgres_template"))


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """URL of a migrated SQLite database without rows, for tests of what no engine makes a difference to."""
    file = tmp_path / "triage.db"
    copy_sqlite(sqlite_template, file)
    return f"sqlite:///{file}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The migrated database, opened."""
    opened = Database(database_url)
    yield opened
    opened.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without any table, for tests of the migrations themselves."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        yield from _postgres_database(request.getfixturevalue("postgres"), "template0")


@pytest.fixture(scope="session")
def kill_rounds() -> int:
    """Rounds for each death; ``KILL_ROUNDS=50 make test`` asks for more than the usual five."""
    return int(os.environ.get("KILL_ROUNDS", "5"))


def _postgres_database(cluster: PostgresCluster, template: str) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex}"
    cluster.create(name, template)
    yield cluster.url(name)
    cluster.drop(name)


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy by SQLite itself, which sees what may still lie in the write-ahead log."""
    reading, writing = sqlite3.connect(source), sqlite3.connect(target)
    try:
        reading.backup(writing)
    finally:
        reading.close()
        writing.close()


def _programs(package: str, *needed: str) -> Programs:
    try:
        return Programs(package, *needed)
    except MissingProgramError as missing:
        unavailable(str(missing))
