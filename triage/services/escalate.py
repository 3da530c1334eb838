"""Tell again of a suspected study that nobody has opened: once for each study and each list that asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from triage import __version__
from triage.dicom.demographics import read_demographics
from triage.dicom.source import read_source
from triage.dicom.uids import escalation_uid
from triage.domain.encoded import MESSAGE_KINDS, EncodedObject, ObjectReference
from triage.domain.errors import NotFound, StaleState, StoreUnavailable, TriageError
from triage.domain.finding import WorklistStatus
from triage.domain.notice import Escalation, Notice
from triage.domain.provenance import Provenance
from triage.services.notify import Notifier
from triage.services.place import placed
from triage.store import deliveries, escalations, instances, result_objects, results, series, studies
from triage.store.db import Database
from triage.store.escalations import Unopened
from triage.store.file_area import FileArea
from triage.store.results import ShownResult

log = structlog.get_logger()

ACTOR = "clock"
STALE_AFTER = timedelta(hours=4)
"""What has been due for longer, because the daemon or its mail server was down, is not told any more: who comes
back to hundreds of old alarms no longer sees the new one. The worklist shows all of them."""


def escalate_due(db: Database, blobs: FileArea, notifiers: Mapping[str, Notifier], now: datetime) -> int:
    """Put a message into the outbox for each study and list that is due, the newest first; return how many.

    Message, mark on the worklist and audit row are one transaction, and the identifier of the message is derived:
    whoever is killed in between, and any number of clocks, make it once.
    """
    due = [
        (study, name, escalate_after)
        for name, escalate_after in ((name, n.escalate_after) for name, n in notifiers.items())
        if escalate_after is not None
        for study in _unopened(db, name, escalate_after, now)
    ]
    told = 0
    for study, name, escalate_after in sorted(due, key=lambda one: one[0].flagged_at, reverse=True):
        try:
            told += _tell(db, blobs, study, name, notifiers[name], escalate_after, now)
        except StoreUnavailable:
            raise
        except TriageError as exc:
            # An image that cannot be read any more must not keep the other studies waiting.
            log.error("study_not_escalated", study_instance_uid=study.study_instance_uid, code=exc.code, why=str(exc))
    return told


def _unopened(db: Database, name: str, escalate_after: timedelta, now: datetime) -> list[Unopened]:
    with db.read() as tx:
        waiting = escalations.unopened(
            tx, flagged_from=now - escalate_after - STALE_AFTER, flagged_until=now - escalate_after
        )
        known = escalations.known(tx, [_identifier(study, name) for study in waiting])
    return [study for study in waiting if _identifier(study, name) not in known]


def _identifier(study: Unopened, name: str) -> str:
    return escalation_uid(study.study_instance_uid, name, study.flagged_at)


def _tell(
    db: Database,
    blobs: FileArea,
    study: Unopened,
    name: str,
    notifier: Notifier,
    escalate_after: timedelta,
    now: datetime,
) -> bool:
    minutes = round(escalate_after / timedelta(minutes=1))
    escalation = Escalation(minutes, study.flagged_at + escalate_after)
    result_id, message = _message(db, blobs, study, name, notifier, escalation)
    with placed(db, blobs, [message.content]) as (blob_key,), db.transaction() as tx:
        studies.lock(tx, study.study_instance_uid, now=now)
        if not escalations.still_unopened(tx, study.study_instance_uid):
            return False
        object_id = result_objects.add(tx, result_id, message, blob_key, now)
        if not deliveries.add(tx, object_id, [name], now):
            return False  # another clock was first
        escalations.record(tx, study, name=name, minutes=minutes, now=now, actor=ACTOR)
    log.warning("study_escalated", study_instance_uid=study.study_instance_uid, told=name, minutes=minutes)
    return True


def _message(
    db: Database, blobs: FileArea, study: Unopened, name: str, notifier: Notifier, escalation: Escalation
) -> tuple[int, EncodedObject]:
    """The message, and the number of the result that it is about."""
    with db.read() as tx:
        record = next(
            one
            for one in series.of_study(tx, study.study_instance_uid)
            if one.series_instance_uid == study.series_instance_uid
        )
        shown = results.shown(tx, record.id)
        stored = instances.of_series(tx, record.id)
        made = result_objects.of_study(tx, study.study_instance_uid)
    if shown is None or not stored:
        raise NotFound(f"Study {study.study_instance_uid} is suspected, but its result or its images are gone.")
    if shown.result.status is not WorklistStatus.SUSPECTED:
        raise StaleState(f"Study {study.study_instance_uid} is no longer suspected.")
    content = blobs.read(stored[0].blob_key)
    notice = Notice(
        study_instance_uid=study.study_instance_uid,
        series_instance_uid=study.series_instance_uid,
        demographics=read_demographics(content),
        provenance=_provenance(shown, record.last_received_at),
        result=shown.result,
        objects=tuple(
            (
                one.kind,
                ObjectReference(
                    study.study_instance_uid, one.series_instance_uid, one.sop_class_uid, one.sop_instance_uid
                ),
            )
            for one in made
            if one.result_id == shown.result_id and one.kind not in MESSAGE_KINDS
        ),
        revision=shown.revision - 1,
        escalation=escalation,
    )
    source = read_source([content], None)
    return shown.result_id, notifier.encode(notice, source, _identifier(study, name))


def _provenance(shown: ShownResult, content_at: datetime) -> Provenance:
    bundle, _, version = shown.bundle.rpartition(" ")
    return Provenance(bundle, version, shown.bundle_digest, __version__, shown.demonstration, content_at)
