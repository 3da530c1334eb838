"""Column types that mean the same on SQLite and PostgreSQL, and refuse what would not come back as it went in."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Generic, TypeVar

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

E = TypeVar("E", bound=StrEnum)

Identifier: TypeEngine[int] = BigInteger().with_variant(Integer, "sqlite")
"""A row's own number. SQLite counts up by itself only in an INTEGER PRIMARY KEY."""


def clean(text: str) -> str:
    """Replace what UTF-8 or PostgreSQL cannot hold (lone surrogates, NUL) by a question mark."""
    return text.replace("\x00", "?").encode("utf-8", "replace").decode("utf-8")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant in UTC, to the microsecond. A naive value is a programming error."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive values; SQLite has no time zones and stores UTC without saying so."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"an instant needs a time zone, not {value!r}")
        instant = value.astimezone(UTC)
        return instant.replace(tzinfo=None) if dialect.name == "sqlite" else instant

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the instant back aware, in UTC whatever the session's zone is."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class CleanText(TypeDecorator[str]):
    """Text that came from a peer. Text in any character set never stops intake; the file holds it as sent."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace what UTF-8 or PostgreSQL refuses."""
        return None if value is None else clean(value)


class Named(TypeDecorator[E], Generic[E]):
    """A ``StrEnum`` stored as the text of its value and given back as the member."""

    impl = Text
    cache_ok = True

    def __init__(self, members: type[E]) -> None:
        super().__init__()
        self.members = members

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:
        """Take a member, or the text of one."""
        return None if value is None else self.members(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:
        """Give the member back; an unknown value means that a newer release wrote it."""
        return None if value is None else self.members(value)
