"""Which bundle people have chosen: one whose results count, and perhaps one that is run beside it and compared."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import and_, delete, func, select, update

from triage.domain.audit import AuditAction, AuditEvent, Detail, Outcome
from triage.domain.finding import WorklistStatus
from triage.store.bundles import demonstrations
from triage.store.schema import bundle_slots, results
from triage.store.transaction import Transaction


class Slot(StrEnum):
    """What a bundle is chosen for."""

    ACTIVE = "active"  # makes the results that count
    SHADOW = "shadow"  # run beside it, when nothing else is to be done; only recorded


class ChosenBundle(NamedTuple):
    """What a person chose. ``path`` counts from the root of the file area."""

    slot: Slot
    digest: str
    path: str
    chosen_at: datetime
    chosen_by: str


class ShadowComparison(NamedTuple):
    """How often two bundles said the same of a series revision that both have analysed.

    ``failed``: the shadow could not say anything where the other did; those are in no other number.
    The last two say which of them is not for use in care.
    """

    active: str
    shadow: str
    both: int
    only_active: int
    only_shadow: int
    neither: int
    failed: int
    active_demonstration: bool = False
    shadow_demonstration: bool = False

    @property
    def n(self) -> int:
        """How many both have analysed."""
        return self.both + self.only_active + self.only_shadow + self.neither


def chosen(tx: Transaction) -> dict[Slot, ChosenBundle]:
    """What is chosen now; an active one may be missing, and the settings then say which is used."""
    rows = tx.connection.execute(select(*(bundle_slots.columns[name] for name in ChosenBundle._fields)))
    return {Slot(row.slot): ChosenBundle(Slot(row.slot), *row[1:]) for row in rows}


def choose(tx: Transaction, choice: ChosenBundle, detail: Mapping[str, Detail]) -> None:
    """Put a bundle into a slot, in place of what was there; ``detail`` goes into the audit row as well."""
    values = choice._asdict()
    changed = update(bundle_slots).where(bundle_slots.c.slot == choice.slot.value).values(**values)
    if tx.connection.execute(changed.returning(bundle_slots.c.slot)).first() is None:
        tx.insert_new(bundle_slots, **values)
    told = {"slot": choice.slot.value, "digest": choice.digest, **detail}
    tx.audit(AuditEvent(choice.chosen_at, choice.chosen_by, AuditAction.BUNDLE_CHOSEN, detail=told))


def clear(tx: Transaction, slot: Slot, *, now: datetime, actor: str) -> bool:
    """Take a bundle out of a slot; False when there was none."""
    gone = delete(bundle_slots).where(bundle_slots.c.slot == slot.value).returning(bundle_slots.c.digest)
    digest = tx.connection.execute(gone).scalar_one_or_none()
    if digest is None:
        return False
    detail: dict[str, Detail] = {"slot": slot.value, "digest": None, "previous": digest}
    tx.audit(AuditEvent(now, actor, AuditAction.BUNDLE_CHOSEN, detail=detail))
    return True


def not_loaded(tx: Transaction, choice: ChosenBundle, *, why: str, now: datetime, actor: str) -> None:
    """Put on record that a worker could not load what was chosen."""
    detail: dict[str, Detail] = {"slot": choice.slot.value, "digest": choice.digest, "reason": why}
    tx.audit(AuditEvent(now, actor, AuditAction.BUNDLE_CHOSEN, Outcome.SERIOUS_FAILURE, detail=detail))


def shadow_comparison(tx: Transaction, since: datetime | None = None) -> list[ShadowComparison]:
    """What shadow bundles said beside those that counted, by pair of bundles, the latest pair first.

    Parameters
    ----------
    since : datetime or None
        Only what a shadow has said from then on.
    """
    counted, shadow = results.alias("counted"), results.alias("shadow")
    suspected = counted.c.status == WorklistStatus.SUSPECTED, shadow.c.status == WorklistStatus.SUSPECTED
    answered = shadow.c.reason.is_(None)
    pairs = counted.join(
        shadow, and_(shadow.c.series_id == counted.c.series_id, shadow.c.revision == counted.c.revision)
    )
    compared = (
        select(
            counted.c.bundle.label("active"),
            shadow.c.bundle.label("shadow"),
            func.count().filter(answered, suspected[0], suspected[1]).label("both"),
            func.count().filter(answered, suspected[0], ~suspected[1]).label("only_active"),
            func.count().filter(answered, ~suspected[0], suspected[1]).label("only_shadow"),
            func.count().filter(answered, ~suspected[0], ~suspected[1]).label("neither"),
            func.count().filter(~answered).label("failed"),
            counted.c.bundle_digest,
            shadow.c.bundle_digest,
        )
        .select_from(pairs)
        .where(
            shadow.c.shadow,
            ~counted.c.shadow,
            ~counted.c.provisional,
            counted.c.reason.is_(None),
            *([shadow.c.created_at >= since] if since is not None else []),
        )
        .group_by(counted.c.bundle_digest, counted.c.bundle, shadow.c.bundle_digest, shadow.c.bundle)
        .order_by(func.max(shadow.c.id).desc())
    )
    rows = tx.connection.execute(compared).all()
    marked = demonstrations(tx, {digest for row in rows for digest in row[-2:]})
    return [ShadowComparison._make((*row[:-2], *(digest in marked for digest in row[-2:]))) for row in rows]
