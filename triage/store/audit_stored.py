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


class Spoilt(str):
    """What can be shown of a value that no release writes: broken bytes, or on SQLite another type than text.

    It may read like the text that was written, and no filter finds it: a row that holds one is not proved.
    """

    __slots__ = ()


class _StoredText(TypeDecorator[str]):
    """Text as it stands; what is none comes back as ``Spoilt``."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Decode what SQLite gives: bytes for text, and hexadecimal digits for what is no text."""
        if value is None:
            return None
        if dialect.name != "sqlite":
            return str(value)
        try:
            return str(value, "utf-8") if isinstance(value, bytes) else Spoilt(bytes.fromhex(value), "utf-8", "replace")
        except UnicodeDecodeError:
            return Spoilt(value, "utf-8", "replace")


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
    value = compiler.process(element.clauses, **options)
    return f"CASE typeof({value}) WHEN 'text' THEN CAST({value} AS BLOB) WHEN 'null' THEN NULL ELSE hex({value}) END"


def stored(columns: Iterable[Column[Any]]) -> list[ColumnElement[Any]]:
    """Columns to select: numbers as they are, all else as text under the same names."""
    return [column if isinstance(column.type, Integer) else stored_text(column) for column in columns]


def stored_text(column: Column[Any]) -> ColumnElement[Any]:
    """One column as text, under its name."""
    kind = _InstantAsText if isinstance(column.type, UtcDateTime) else _AsText
    return kind(column).label(column.name)


def instant(text: str) -> datetime:
    """The instant that a stored text says; ValueError when it says none, or says it in another form than ours.

    Filters compare what SQLite keeps as text: the same instant written otherwise would move out of their range.
    """
    told = text.removesuffix(" AD")
    at = datetime.fromisoformat(told)
    if at.isoformat(" ", "microseconds") != told or at.tzinfo is not None:
        raise ValueError("a stored instant is in UTC, to the microsecond and without a zone")
    return at.replace(tzinfo=UTC)
