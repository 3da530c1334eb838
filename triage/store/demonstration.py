"""Which studies the list says of that only a demonstration bundle has looked at them, or will."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import and_, or_, select

from triage.domain.finding import WorklistStatus
from triage.store import bundles
from triage.store.schema import results, series, worklist
from triage.store.transaction import Transaction


def only_demonstrated(tx: Transaction, study_instance_uids: Collection[str]) -> frozenset[str]:
    """Those of the studies whose row a demonstration bundle speaks in.

    It is the bundle of the result that the row shows, or of the refusal that it reports. A row without either is
    one that the bundle in use will speak in, or has had no reason to.
    """
    digests = _bundles_of(tx, study_instance_uids)
    silent = frozenset(study_instance_uids) - digests.keys()
    in_use = bundles.in_use(tx) if silent else None
    if in_use is not None:
        digests |= dict.fromkeys(silent, in_use.digest)
    marked = bundles.demonstrations(tx, frozenset(digests.values()))
    return frozenset(study for study, digest in digests.items() if digest in marked)


def _bundles_of(tx: Transaction, study_instance_uids: Collection[str]) -> dict[str, str]:
    """By study, the digest of the bundle whose result or refusal its row shows; none for a row that shows neither."""
    spoken_of = and_(
        series.c.study_instance_uid == worklist.c.study_instance_uid,
        series.c.series_instance_uid == worklist.c.series_instance_uid,
    )
    analysed = worklist.c.status.in_((WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED))
    refused = worklist.c.status == WorklistStatus.NOT_ANALYSED
    said = (
        select(worklist.c.study_instance_uid, results.c.revision, results.c.id, results.c.bundle_digest)
        .select_from(worklist.join(series, spoken_of).join(results, results.c.series_id == series.c.id))
        .where(
            worklist.c.study_instance_uid.in_(study_instance_uids),
            results.c.shadow.is_(False),
            or_(and_(analysed, results.c.reason.is_(None)), and_(refused, results.c.reason.is_not(None))),
        )
    )
    # Sorted here, so that the newest comes last: a series has few results, and the database then sorts nothing.
    newest_last = sorted(tx.connection.execute(said), key=lambda row: (row.revision, row.id))
    return {row.study_instance_uid: row.bundle_digest for row in newest_last}
