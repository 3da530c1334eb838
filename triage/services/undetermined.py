"""A study that could not be analysed is reported as Undetermined where a destination asks for it."""

from __future__ import annotations

import structlog

from triage.dicom.demographics import read_demographics
from triage.dicom.source import read_source
from triage.dicom.undetermined import encode_undetermined
from triage.domain.encoded import EncodedObject
from triage.domain.errors import NotFound, UnreadableInstance
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.domain.notice import Notice
from triage.services.analyse import Analyst
from triage.services.notify import messages
from triage.services.result_set import Addressed
from triage.store import deliveries, instances, results, series, worklist
from triage.store.db import Transaction
from triage.store.series import SeriesRecord

log = structlog.get_logger()


def report_next(analyst: Analyst) -> bool:
    """Report one series whose refusal has stood for a while; False when none is due.

    Only the series that the worklist shows speaks for its study, and only while the study is not analysed: the
    localizer of a study whose head was analysed is no news. Encoding happens within the transaction: these
    reports are small and rare, and the lock on the study keeps a late slice from coming in between.
    """
    now = analyst.clock()
    with analyst.db.read() as tx:
        if not series.any_unreported(tx, now):
            return False
    with analyst.db.transaction() as tx:
        record = series.claim_unreported(tx, now)
        if record is None:
            return False
        series.reported(tx, record)
        row = worklist.row(tx, record.study_instance_uid)
        shown = row is not None and row.status is WorklistStatus.NOT_ANALYSED
        asked = [profile.undetermined for profile in analyst.profiles.values()]
        wanted = any([*asked, *(notifier.undetermined for notifier in analyst.notifiers.values())])
        if wanted and shown and row is not None and row.series_instance_uid == record.series_instance_uid:
            _report(tx, analyst, record, record.reason or ReasonCode.FAILED)
    return True


def _report(tx: Transaction, analyst: Analyst, record: SeriesRecord, reason: ReasonCode) -> None:
    now, bundle = analyst.clock(), analyst.predictor.bundle
    try:
        reports = _reports(tx, analyst, record, reason)
    except (NotFound, UnreadableInstance) as exc:
        # The worklist says why the study was not analysed; what cannot be read cannot be reported on.
        log.error("undetermined_not_reported", code=exc.code, why=str(exc))
        return
    result_id = results.record_undetermined(
        tx, record, reason, bundle_digest=bundle.digest, bundle=analyst.bundle_label, now=now
    )
    for item in reports:
        blob_key = analyst.blobs.put(item.encoded.content)
        object_id = results.add_object(tx, result_id, item.encoded, blob_key, now)
        deliveries.add(tx, object_id, item.destinations, now)
    log.info("undetermined_reported", series_instance_uid=record.series_instance_uid, reason=reason.value)


def _reports(tx: Transaction, analyst: Analyst, record: SeriesRecord, reason: ReasonCode) -> list[Addressed]:
    """One report of each kind that is asked for, and one message for each list that wants to know."""
    contents = [analyst.blobs.read(stored.blob_key) for stored in instances.of_series(tx, record.id)]
    predecessors = results.predecessors(tx, record.id, record.revision)
    told_before = results.told_before(tx, record.id, record.revision)
    provenance = analyst.provenance(record.last_received_at)
    made: dict[str, Addressed] = {}
    for name, profile in analyst.profiles.items():
        if not profile.undetermined or profile.sr_kind is None:
            continue
        kind = profile.sr_kind
        if kind not in made:
            sentence = record.detail or reason.value
            encoded: EncodedObject = encode_undetermined(
                contents, reason, sentence, provenance, predecessor=predecessors.get(kind), kind=kind
            )
            made[kind] = Addressed(encoded, [])
        made[kind].destinations.append(name)
    notice = Notice(
        study_instance_uid=record.study_instance_uid,
        series_instance_uid=record.series_instance_uid,
        demographics=read_demographics(contents[0]),
        provenance=provenance,
        result=None,
        reason=reason,
        revision=record.revision - 1,
    )
    reports = list(made.values())
    return reports + messages(analyst.notifiers, notice, read_source(contents, None), reports, told_before)
