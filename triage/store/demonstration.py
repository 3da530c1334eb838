"""Which studies the list says of that only a demonstration bundle has looked at them, or will."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import and_, or_, select

from triage.domain.finding import ReasonCode, WorklistStatus
from triage.store import bundles
from triage.store.results import spoken
from triage.store.schema import results, series, worklist
from triage.store.transaction import Transaction


def only_demonstrated(tx: Transaction, study_instance_uids: Collection[str]) -> frozenset[str]:
    """Those of the studies whose row a demonstration bundle speaks in."""
    digests = speaking(tx, study_instance_uids)
    marked = bundles.demonstrations(tx, frozenset(digests.values()))
    return frozenset(study for study, digest in digests.items() if digest in marked)


def speaking(tx: Transaction, study_instance_uids: Collection[str]) -> dict[str, str]:
    """By study, the digest of the bundle that speaks in its row; a study without one is left out.

    It is the bundle of the result that the row shows, or of the refusal that it reports. A row without either is
    one that the bundle in use will speak in, or has had no reason to.
    """
    digests = _heard(tx, study_instance_uids)
    silent = frozenset(study_instance_uids) - digests.keys()
    in_use = bundles.in_use(tx) if silent else None
    return digests | (dict.fromkeys(silent, in_use.digest) if in_use is not None else {})


def _heard(tx: Transaction, study_instance_uids: Collection[str]) -> dict[str, str]:
    """By study, the digest of the bundle whose result or refusal its row shows; none for a row that shows neither."""
    spoken_of = and_(
        series.c.study_instance_uid == worklist.c.study_instance_uid,
        series.c.series_instance_uid == worklist.c.series_instance_uid,
    )
    said = (
        select(worklist.c.study_instance_uid, worklist.c.status, results.c.id, results.c.revision)
        .add_columns(results.c.reason, results.c.bundle_digest)
        .select_from(worklist.join(series, spoken_of).join(results, results.c.series_id == series.c.id))
        .where(worklist.c.study_instance_uid.in_(study_instance_uids), results.c.shadow.is_(False))
        .where(or_(results.c.reason.is_not(None), spoken()))
    )
    # Chosen and sorted here: asked for a status too, SQLite goes through all studies of it, rather than through a few.
    newest_last = sorted(tx.connection.execute(said), key=lambda row: (row.revision, row.id))
    return {row.study_instance_uid: row.bundle_digest for row in newest_last if _shows(row.status, row.reason)}


def _shows(status: WorklistStatus, reason: ReasonCode | None) -> bool:
    """Whether a row of this status speaks of a result with this reason, or of one without any."""
    if status is WorklistStatus.NOT_ANALYSED:
        return reason is not None
    return reason is None and status is not WorklistStatus.PENDING
