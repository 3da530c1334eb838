"""Remove the files of old studies, where the site wants that; what was found, and the audit log, stay."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from triage.domain.audit import AuditAction, AuditEvent
from triage.store import retention, studies
from triage.store.db import Database
from triage.store.file_area import FileArea

log = structlog.get_logger()


def remove_old_files(db: Database, blobs: FileArea, days: int, now: datetime) -> int:
    """Remove the files of studies that have been at rest for so many days; return how many studies.

    Files go before the row and its audit event are committed: a process that is killed between them leaves a study of
    which the next pass removes the rest.

    Raises
    ------
    StoreUnavailable
        The file area or the database does not answer; what was removed until then is on record.
    """
    before = now - timedelta(days=days)
    with db.read() as tx:
        old = retention.at_rest(tx, before)
    return sum(_remove(db, blobs, study_instance_uid, before, now) for study_instance_uid in old)


def _remove(db: Database, blobs: FileArea, study_instance_uid: str, before: datetime, now: datetime) -> bool:
    with db.transaction() as tx:
        studies.lock_known(tx, [study_instance_uid])
        if not retention.at_rest(tx, before, study_instance_uid=study_instance_uid):
            return False  # something came, or another clock was faster
        keys = retention.files(tx, study_instance_uid)
        for key in keys:
            blobs.remove(key)
        retention.mark_removed(tx, study_instance_uid, now)
        tx.audit(
            AuditEvent(
                at=now,
                actor="clock",
                action=AuditAction.FILES_REMOVED,
                study_instance_uid=study_instance_uid,
                detail={"files": len(keys)},
            )
        )
    log.info("files_removed", study_instance_uid=study_instance_uid, files=len(keys))
    return True
