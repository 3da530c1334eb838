"""Instances as received, and the second copies that said something else under the same UID."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, Select, select, union

from triage.domain.study import InstanceHeader
from triage.store.codec import header_json, header_of
from triage.store.schema import conflicts, instances, result_objects
from triage.store.transaction import Transaction

if TYPE_CHECKING:
    from triage.store.series import SeriesRecord


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """An instance that was acknowledged; ``digest`` tells whether another copy has the same content."""

    id: int
    sop_instance_uid: str
    digest: str
    blob_key: str
    header: InstanceHeader
    received_at: datetime
    size_bytes: int


def find(tx: Transaction, sop_instance_uid: str) -> StoredInstance | None:
    """The instance of this UID, if it was ever acknowledged."""
    row = tx.connection.execute(_stored().where(instances.c.sop_instance_uid == sop_instance_uid)).one_or_none()
    return None if row is None else _instance(row)


def add(
    tx: Transaction,
    header: InstanceHeader,
    *,
    series: SeriesRecord,
    digest: str,
    blob_key: str,
    size_bytes: int,
    association_id: str,
    now: datetime,
) -> bool:
    """File an instance under the current revision of its series.

    Returns
    -------
    bool
        False when another transaction stored this UID first (under another study: the lock of the study
        rules out the rest); this transaction should then be given up.
    """
    added = tx.insert_new(
        instances,
        sop_instance_uid=header.sop_instance_uid,
        series_id=series.id,
        revision=series.revision,
        digest=digest,
        blob_key=blob_key,
        size_bytes=size_bytes,
        header=header_json(header),
        association_id=association_id,
        received_at=now,
    )
    return added is not None


def of_series(tx: Transaction, series_id: int) -> list[StoredInstance]:
    """Every instance of a series, all revisions, in the order received."""
    mine = _stored().where(instances.c.series_id == series_id).order_by(instances.c.id)
    return [_instance(row) for row in tx.connection.execute(mine)]


def add_conflict(
    tx: Transaction, *, sop_instance_uid: str, digest: str, blob_key: str, association_id: str, now: datetime
) -> bool:
    """Keep a copy that differs from the one that was acknowledged first; False when the same copy came before."""
    added = tx.insert_new(
        conflicts,
        sop_instance_uid=sop_instance_uid,
        digest=digest,
        blob_key=blob_key,
        association_id=association_id,
        received_at=now,
    )
    return added is not None


def blob_keys_known(tx: Transaction, keys: Collection[str]) -> set[str]:
    """Which of these files any row names: instances, conflicts and result objects."""
    named = union(
        *(
            select(table.c.blob_key).where(table.c.blob_key.in_(keys))
            for table in (instances, conflicts, result_objects)
        )
    )
    return set(tx.connection.execute(named).scalars())


def _stored() -> Select[Any]:
    return select(*(instances.columns[name] for name in StoredInstance.__dataclass_fields__))


def _instance(row: Row[Any]) -> StoredInstance:
    values = row._asdict()
    return StoredInstance(**{**values, "header": header_of(values["header"])})
