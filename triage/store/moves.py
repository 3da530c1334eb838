"""The one way in which a state changes: a guarded update, allowed by the lifecycle tables."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, Table, update

from triage.domain.errors import StaleState
from triage.store.transaction import Transaction

S = TypeVar("S", bound=StrEnum)


def move(
    tx: Transaction,
    table: Table,
    row_id: int,
    start: S,
    to: S,
    allowed: Mapping[S, frozenset[S]],
    *guards: ColumnElement[bool],
    **values: Any,
) -> Row[Any]:
    """Move one row from ``start`` to ``to`` and return it as it is now.

    ``guards`` are further conditions that must still hold: the revision, or the lease.

    Raises
    ------
    ValueError
        The lifecycle does not allow this move.
    StaleState
        The row is not in ``start`` any more, or a guard does not hold.
    """
    if to not in allowed[start]:
        raise ValueError(f"no {table.name} row moves from {start} to {to}")
    statement = update(table).where(table.c.id == row_id, table.c.state == start, *guards)
    row = tx.connection.execute(statement.values(state=to, **values).returning(*table.columns)).one_or_none()
    if row is None:
        raise StaleState(f"Row {row_id} of {table.name} was moved on by somebody else, away from {start}.")
    return row
