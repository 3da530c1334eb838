"""Instances as received, and the second copies that said something else under the same UID."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, Select, func, select, union, update

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


def restore(
    tx: Transaction, instance_id: int, header: InstanceHeader, *, digest: str, blob_key: str, size_bytes: int
) -> None:
    """Another copy stands for an instance whose file was lost: same study, same series, and its own content.

    When and by whom the first copy was brought stays. The caller holds the study's lock.
    """
    mine = update(instances).where(instances.c.id == instance_id)
    copy = {"header": header_json(header), "digest": digest, "blob_key": blob_key, "size_bytes": size_bytes}
    tx.connection.execute(mine.values(copy))


def of_series(tx: Transaction, series_id: int, *, up_to_revision: int | None = None) -> list[StoredInstance]:
    """Every instance of a series in the order received: all revisions, or those that a revision consists of."""
    mine = _stored().where(instances.c.series_id == series_id).order_by(instances.c.id)
    if up_to_revision is not None:
        mine = mine.where(instances.c.revision <= up_to_revision)
    return [_instance(row) for row in tx.connection.execute(mine)]


def first_of_series(tx: Transaction, series_id: int) -> StoredInstance:
    """The instance of a series that came first; every series has one."""
    mine = _stored().where(instances.c.series_id == series_id).order_by(instances.c.id).limit(1)
    return _instance(tx.connection.execute(mine).one())


def count(tx: Transaction, series_id: int) -> int:
    """How many instances of a series have come in."""
    mine = select(func.count()).where(instances.c.series_id == series_id)
    return int(tx.connection.execute(mine).scalar_one())


def last_number(tx: Transaction, series_id: int, revision: int) -> int:
    """A number that changes whenever a revision of a series has got another instance; 0 while it has none."""
    mine = instances.c.series_id == series_id, instances.c.revision <= revision
    last = tx.connection.execute(select(func.max(instances.c.id)).where(*mine)).scalar_one()
    return int(last or 0)


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
