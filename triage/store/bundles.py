"""Bundles on record: what a result's ``bundle_digest`` stood for, also after the folder is gone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select

from triage.domain.audit import AuditAction, AuditEvent
from triage.store import heartbeats
from triage.store.schema import bundles
from triage.store.transaction import Transaction


class BundleOnRecord(NamedTuple):
    """A bundle that was loaded once, with the content of its ``bundle.json``."""

    digest: str
    label: str
    manifest: dict[str, Any]
    recorded_at: datetime

    @property
    def demonstration(self) -> bool:
        """Whether its manifest, of whichever release, marks it as being for demonstration only."""
        return is_demonstration(self.manifest)


def record(
    tx: Transaction,
    *,
    digest: str,
    name: str,
    version: str,
    manifest: Mapping[str, Any],
    now: datetime,
    actor: str = "worker",
) -> None:
    """Keep the manifest of a bundle, with an audit row the first time its digest is seen."""
    new = tx.insert_new(bundles, digest=digest, name=name, version=version, manifest=dict(manifest), recorded_at=now)
    if new is not None:
        detail = {"digest": digest, "name": name, "version": version}
        tx.audit(AuditEvent(at=now, actor=actor, action=AuditAction.BUNDLE_RECORDED, detail=detail))


def on_record(tx: Transaction, *, digest: str | None = None) -> BundleOnRecord | None:
    """The bundle of this digest, or the one that was recorded last."""
    wanted = select(bundles).order_by(bundles.c.recorded_at.desc()).limit(1)
    if digest is not None:
        wanted = wanted.where(bundles.c.digest == digest)
    row = tx.connection.execute(wanted).one_or_none()
    if row is None:
        return None
    return BundleOnRecord(row.digest, f"{row.name} {row.version}", dict(row.manifest), row.recorded_at)


def in_use(tx: Transaction) -> BundleOnRecord | None:
    """The bundle that a worker loaded last, whether it still runs or not; else the one that was recorded last."""
    workers = [beat for beat in heartbeats.seen(tx) if beat.role == "work"]
    newest = max(workers, key=lambda beat: beat.at, default=None)
    digest = newest.detail.get("digest") if newest else None
    found = on_record(tx, digest=str(digest)) if digest else None
    return found or on_record(tx)


def demonstrations(tx: Transaction, digests: Collection[str]) -> frozenset[str]:
    """Those of the bundles that are for demonstration only."""
    wanted = select(bundles.c.digest, bundles.c.manifest).where(bundles.c.digest.in_(digests))
    return frozenset(row.digest for row in tx.connection.execute(wanted) if is_demonstration(row.manifest))


def is_demonstration(manifest: Mapping[str, Any]) -> bool:
    """Whether the manifest of a bundle, of whichever release, marks it as being for demonstration only."""
    return bool(manifest.get("provenance", {}).get("demonstration"))
