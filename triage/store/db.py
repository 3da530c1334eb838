"""The database: connections, transactions, and the version of the schema.

Locks are always taken in this order, so that no two transactions can wait for each other:

1. the row of the study (``studies.lock``); several at once only in the order of their UIDs,
2. its series, then jobs, results, result objects and deliveries,
3. the head of the audit chain, in the commit itself.

Claims look for rows that nobody holds (``FOR UPDATE SKIP LOCKED``) and therefore never wait. SQLite has one
writer at a time: every write transaction takes the whole database with ``BEGIN IMMEDIATE``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from triage.domain.errors import ConfigurationError, StoreUnavailable
from triage.store.transaction import Transaction

__all__ = ["Database", "Transaction", "current", "migrations_path", "require_current", "upgrade", "without_secrets"]

WAIT_SECONDS = 30
"""How long a transaction waits for a lock, or for a connection of the pool."""

CONNECTIONS = 32
"""Most connections of one process: the listener answers many associations at once."""

_OUR_MISTAKES = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
"""What a driver raises about a statement; everything else it raises is about the database."""

_SECRETS = {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
"""The parameters of libpq that are secrets themselves."""

_UPGRADE_LOCK = 0x1C4
"""Key of the PostgreSQL advisory lock under which one machine at a time migrates."""


class Database:
    """A pool of connections to SQLite (``sqlite:///file``) or PostgreSQL (``postgresql://...``).

    Safe to share between threads; a process that forks makes its own.
    """

    def __init__(self, url: str) -> None:
        self.url = _parse(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._engine = _sqlite_engine(self.url) if self.is_sqlite else _postgresql_engine(self.url)
        # Options of an engine are those of its connections; the pool is shared.
        self._reader = self._engine.execution_options(
            **({"reads": True} if self.is_sqlite else {"postgresql_readonly": True})
        )
        # SQLite lets waiting writers sleep and try again; waiting here first, they follow each other at once.
        self._writer = threading.Lock() if self.is_sqlite else None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One step: commits at the end of the block with its audit rows, rolls back on any exception.

        Raises
        ------
        StoreUnavailable
            The database did not answer, or a lock was not to be had in time. After an error in the commit
            itself the step may or may not have been made; every step can be repeated without harm.
        """
        with self._turn(), _translated(), self._engine.begin() as connection:
            tx = Transaction(connection)
            yield tx
            tx.append_audit()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Read without locking anything.

        Raises
        ------
        StoreUnavailable
            The database did not answer.
        """
        with _translated(), self._reader.connect() as connection:
            yield Transaction(connection, writes=False)

    def dispose(self) -> None:
        """Close the connections that are not in use."""
        self._engine.dispose()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._writer is None:
            yield
            return
        if not self._writer.acquire(timeout=WAIT_SECONDS):
            raise StoreUnavailable(f"Another write to the database did not end within {WAIT_SECONDS} s.")
        try:
            yield
        finally:
            self._writer.release()


def without_secrets(text: str) -> str:
    """The URL of a database with ``***`` for every password in it, those among its parameters too.

    Raises
    ------
    ConfigurationError
        It cannot be read.
    """
    url = _read(text)
    hidden = {name: "***" for name in url.query if name.lower() in _SECRETS}
    # The rest of a password with an @ in it is taken for the beginning of the host.
    host = url.host and url.host.rpartition("@")[2]
    shown = url.set(host=host, query={**url.query, **hidden}).render_as_string(hide_password=True)
    return shown.replace(quote("***"), "***")


def _read(text: str) -> URL:
    try:
        return make_url(text)
    except (ArgumentError, ValueError) as exc:  # the latter of a port that is no number
        raise ConfigurationError(
            "database.url cannot be read; write sqlite:///path/to/file or postgresql://user:password@host/name."
        ) from exc


def _parse(text: str) -> URL:
    url = _read(text)
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        return url.set(drivername="sqlite+pysqlite")
    if url.get_backend_name() in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise ConfigurationError(
        "database.url must be sqlite:///path/to/file or postgresql://user:password@host/name; "
        f"{url.drivername} without a file, or any other database, is not supported."
    )


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=8,
        max_overflow=CONNECTIONS - 8,
        pool_timeout=WAIT_SECONDS,
        connect_args={"timeout": WAIT_SECONDS, "isolation_level": None},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(raw: Any, _record: Any) -> None:
        cursor = raw.cursor()
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that wants to write later would fail at once where it should wait.
        reads = connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _postgresql_engine(url: URL) -> Engine:
    # A server set to answer before its disk does would break the promise of a C-STORE success.
    options = f"-c synchronous_commit=on -c lock_timeout={WAIT_SECONDS}s"
    return create_engine(
        url,
        pool_size=8,
        max_overflow=CONNECTIONS - 8,
        pool_timeout=WAIT_SECONDS,
        isolation_level="READ COMMITTED",  # each statement of a claim must see what was committed before it
        pool_pre_ping=True,
        connect_args={"options": options, "connect_timeout": 10, "application_name": "ich-triage"},
        hide_parameters=True,
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what the drivers raise about the database itself into StoreUnavailable."""
    try:
        yield
    except DBAPIError as exc:
        if isinstance(exc, _OUR_MISTAKES) and not _lacks_table(exc):
            raise
        raise StoreUnavailable(_sentence(exc)) from exc
    except PoolTimeout as exc:
        raise StoreUnavailable(f"No database connection became free within {WAIT_SECONDS} s.") from exc


def _lacks_table(exc: DBAPIError) -> bool:
    return "no such table" in str(exc.orig) or getattr(exc.orig, "sqlstate", None) == "42P01"


def _sentence(exc: DBAPIError) -> str:
    if _lacks_table(exc):
        return "The database has no tables of this release: run triage db upgrade."
    first_line = (str(exc.orig).strip().splitlines() or [type(exc.orig).__name__])[0]
    return f"The database did not do what was asked: {first_line}"


def migrations_path() -> Path:
    """Folder of the migrations: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def upgrade(url: str) -> str:
    """Bring the schema to the one of this release, in one transaction; return its revision.

    Does nothing to a schema that is current already. Several machines may ask at the same time.
    """
    database = Database(url)
    try:
        with database.transaction() as tx:
            if not database.is_sqlite:
                tx.connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
            config = _alembic_config()
            config.attributes["connection"] = tx.connection
            if not _is_newer(_revision(tx.connection)):
                command.upgrade(config, "head")
            revision = _revision(tx.connection)
    finally:
        database.dispose()
    assert revision is not None
    return revision


def current(database: Database) -> str | None:
    """The revision of the schema; None for a database without tables."""
    with database.read() as tx:
        return _revision(tx.connection)


def require_current(database: Database) -> None:
    """Make sure that this release can work on the schema.

    A schema that a later release has migrated is good: migrations only add, until the release after.

    Raises
    ------
    ConfigurationError
        The schema is missing or of an earlier release; the sentence names the command that helps.
    """
    found = current(database)
    head = ScriptDirectory.from_config(_alembic_config()).get_current_head()
    if found != head and not _is_newer(found):
        said = "has no tables yet" if found is None else f"has the schema {found}, and this release needs {head}"
        raise ConfigurationError(f"The database {said}: run triage db upgrade.")


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _is_newer(revision: str | None) -> bool:
    """Whether a revision is none that this release knows."""
    if revision is None:
        return False
    try:
        ScriptDirectory.from_config(_alembic_config()).get_revision(revision)
    except CommandError:
        return True
    return False
