"""Settings of record: under which settings the daemon ran, secrets left out by the caller."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from triage.domain.audit import AuditAction, AuditEvent
from triage.store.schema import settings_of_record
from triage.store.transaction import Transaction


def record(tx: Transaction, settings: Mapping[str, Any], now: datetime, *, actor: str = "service") -> str:
    """Keep settings, with an audit row the first time they are seen; return their SHA-256.

    ``settings`` is what JSON can hold. The order of the keys makes no difference.
    """
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode("ascii")).hexdigest()
    if tx.insert_new(settings_of_record, digest=digest, settings=json.loads(text), recorded_at=now) is not None:
        tx.audit(AuditEvent(at=now, actor=actor, action=AuditAction.SETTINGS_RECORDED, detail={"digest": digest}))
    return digest
