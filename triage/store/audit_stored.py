"""The columns of the audit log as they stand in the database, whatever that is.

Reading must not stop at a byte that was flipped on the disk, or at what a forger wrote: SQLite keeps text that is no
UTF-8, and PostgreSQL instants that no calendar of ours has, and the drivers raise on both.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Dialect, Integer, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from triage.store.types import UtcDateTime


class _StoredText(TypeDecorator[str]):
    """Text whose broken bytes come back as U+FFFD, so that it differs from what was written."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Decode what SQLite gives as bytes."""
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class _AsText(FunctionElement[str]):
    inherit_cache = True
    type = _StoredText()


class _InstantAsText(_AsText):
    inherit_cache = True


@compiles(_AsText)
def _plain(element: _AsText, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_InstantAsText)
def _formatted(element: _InstantAsText, compiler: SQLCompiler, **options: Any) -> str:
    return f"to_char({compiler.process(element.clauses, **options)} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US BC')"


@compiles(_AsText, "sqlite")
@compiles(_InstantAsText, "sqlite")
def _bytes(element: _AsText, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS BLOB)"


def stored(columns: Iterable[Column[Any]]) -> list[ColumnElement[Any]]:
    """Columns to select: numbers as they are, all else as text under the same names."""
    return [column if isinstance(column.type, Integer) else stored_text(column) for column in columns]


def stored_text(column: Column[Any]) -> ColumnElement[Any]:
    """One column as text, under its name."""
    kind = _InstantAsText if isinstance(column.type, UtcDateTime) else _AsText
    return kind(column).label(column.name)


def instant(text: str) -> datetime:
    """The instant that a stored text says; ValueError when it says none."""
    at = datetime.fromisoformat(text.removesuffix(" AD"))
    if at.tzinfo is not None:
        raise ValueError("a stored instant has no zone: it is in UTC")
    return at.replace(tzinfo=UTC)
