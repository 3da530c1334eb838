"""Arithmetic with instants in SQL, the same on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer, cast, func
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION

from triage.store.transaction import Transaction


def epoch_seconds(tx: Transaction, instant: ColumnElement[Any]) -> ColumnElement[float]:
    """Seconds since 1970; on SQLite, where an instant is text, to some 40 microseconds."""
    if tx.connection.dialect.name == "postgresql":
        return cast(func.extract("epoch", instant), DOUBLE_PRECISION)
    return (func.julianday(instant) - 2440587.5) * 86400.0


def whole(tx: Transaction, number: ColumnElement[float]) -> ColumnElement[int]:
    """Cut a number of 0 or more to its whole part."""
    # SQLite cuts by itself and may lack floor(); PostgreSQL would round.
    return cast(func.floor(number) if tx.connection.dialect.name == "postgresql" else number, Integer)
