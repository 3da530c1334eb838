"""Bundles on record: what a result's ``bundle_digest`` stood for, also after the folder is gone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from triage.domain.audit import AuditAction, AuditEvent
from triage.store.schema import bundles
from triage.store.transaction import Transaction


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
