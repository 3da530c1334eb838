"""A study that could not be analysed is reported as Undetermined where a destination asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum

import structlog

from triage.dicom.demographics import read_demographics
from triage.dicom.key_objects import encode_rejection
from triage.dicom.source import read_source
from triage.dicom.undetermined import encode_undetermined
from triage.domain.encoded import Addressed, ObjectReference
from triage.domain.errors import NotFound, OutOfSpace, StaleState, StoreUnavailable, UnreadableInstance
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.domain.notice import Notice
from triage.domain.provenance import Provenance
from triage.services.analyse import Analyst
from triage.services.notify import messages
from triage.services.place import placed
from triage.store import deliveries, instances, result_objects, results, series, studies, worklist
from triage.store.db import Transaction
from triage.store.series import SeriesRecord

log = structlog.get_logger()


class _Standing(Enum):
    """What the worklist makes of a study with a refused series."""

    SPEAKS = "not analysed, and this series says why"
    TAKES_BACK = "not analysed, and another series says why, but this one was reported or told before"
    SILENT = "not analysed, and another series says why"
    OPEN = "another series may still be analysed"
    WITHDRAWS = "another series was analysed, but this one was negative before"
    DECIDED = "another series was analysed"


def report_next(analyst: Analyst) -> bool:
    """Report one series whose refusal has stood for a while; False when none is due.

    Only the series that the worklist shows speaks for its study, and only while the study is not analysed: the
    localizer of a study whose head was analysed is no news. A series of which an earlier revision was reported or told
    takes that back, whichever series the worklist shows; where another one was analysed, only a negative report is
    taken back, and archives alone hear of it, since reading lists are told of studies. While another series is still in
    work the refusal waits on: should that one end unusable as well, somebody must be told. Nothing is locked while
    files are read and written; whoever reported it meanwhile, or a late slice, makes what was encoded nobody's.

    Raises
    ------
    StoreUnavailable, OutOfSpace
        It is still due then. Whatever else goes wrong, it is tried once: the worklist says why the study was not
        analysed, and one study must not keep the worker from all others.
    """
    with analyst.db.read() as tx:
        record = series.next_unreported(tx, analyst.clock())
        if record is None:
            return False
        standing = _standing(tx, record)
    try:
        _report(analyst, record, standing)
    except StaleState:
        log.info("undetermined_superseded", series_instance_uid=record.series_instance_uid)
    except (StoreUnavailable, OutOfSpace):
        raise
    except Exception as exc:  # one row that trips over a fault of ours must not end the worker, again and again
        log.error("undetermined_not_reported", series_instance_uid=record.series_instance_uid, exc_info=exc)
        with suppress(StaleState), analyst.db.transaction() as tx:
            studies.lock(tx, record.study_instance_uid, now=analyst.clock())
            series.reported(tx, record)
    return True


def _standing(tx: Transaction, record: SeriesRecord) -> _Standing:
    row = worklist.row(tx, record.study_instance_uid)
    if row is None:
        return _Standing.DECIDED
    if row.status is WorklistStatus.PENDING:
        return _Standing.OPEN
    if row.status is not WorklistStatus.NOT_ANALYSED:
        said = results.latest(tx, record.id)
        negative = said is not None and said.result.status is WorklistStatus.NOT_SUSPECTED
        return _Standing.WITHDRAWS if negative else _Standing.DECIDED  # a suspicion stays, here as on the worklist
    if row.series_instance_uid == record.series_instance_uid:
        return _Standing.SPEAKS
    spoken_of = result_objects.any_before(tx, record.id, record.revision)
    return _Standing.TAKES_BACK if spoken_of else _Standing.SILENT


def _report(analyst: Analyst, record: SeriesRecord, standing: _Standing) -> None:
    """Make what is to be sent, if the series speaks or takes back, and end the waiting or begin it again."""
    reason = record.reason or ReasonCode.FAILED
    if standing in (_Standing.SPEAKS, _Standing.TAKES_BACK, _Standing.WITHDRAWS):
        reports = _reports(analyst, record, reason, of_study=standing is not _Standing.WITHDRAWS)
    else:
        reports = []
    now = analyst.clock()
    with (
        placed(analyst.db, analyst.blobs, [item.encoded.content for item in reports]) as keys,
        analyst.db.transaction() as tx,
    ):
        studies.lock(tx, record.study_instance_uid, now=now)
        if _standing(tx, record) is not standing:
            raise StaleState(f"Study {record.study_instance_uid} has moved on meanwhile.")
        waits = standing is _Standing.OPEN
        series.reported(tx, record, again_at=now + series.REPORT_AFTER if waits else None)
        if standing in (_Standing.SILENT, _Standing.TAKES_BACK):
            series.report_speaker(tx, record.study_instance_uid, now)
        if keys:
            _record(tx, analyst, record, reason, list(zip(reports, keys, strict=True)))


def _record(
    tx: Transaction,
    analyst: Analyst,
    record: SeriesRecord,
    reason: ReasonCode,
    files: Sequence[tuple[Addressed, str]],
) -> None:
    now = analyst.clock()
    digest, label = analyst.predictor.bundle.digest, analyst.bundle_label
    result_id = results.record_undetermined(tx, record, reason, bundle_digest=digest, bundle=label, now=now)
    worklist.refresh(tx, record.study_instance_uid, now)
    for item, blob_key in files:
        object_id = result_objects.add(tx, result_id, item.encoded, blob_key, now)
        deliveries.add(tx, object_id, item.destinations, now)
    log.info("undetermined_reported", series_instance_uid=record.series_instance_uid, reason=reason.value)


def _reports(analyst: Analyst, record: SeriesRecord, reason: ReasonCode, *, of_study: bool) -> list[Addressed]:
    """A report of each kind that is asked for, the rejection notes, and a message for each list that wants to know.

    Unless it is the study that was not analysed, only archives that hold something of an earlier revision hear of it.
    """
    with analyst.db.read() as tx:
        if results.refused_before(tx, record, reason, analyst.predictor.bundle.digest):
            return []  # a person had it analysed anew, and nothing has changed: the report would be the same one
        stored = instances.of_series(tx, record.id)
        predecessors = result_objects.predecessors(tx, record.id, record.revision)
        told_before = result_objects.told_before(tx, record.id, record.revision, analyst.pulling) if of_study else ()
        there = {name: result_objects.sent_before(tx, record.id, record.revision, name) for name in analyst.profiles}
    asking = {  # who holds an earlier revision gets the next
        name: p.sr_kind
        for name, p in analyst.profiles.items()
        if p.sr_kind is not None and (there[name] or (of_study and p.undetermined))
    }
    superseded = {name: there[name] for name, p in analyst.profiles.items() if p.reject_superseded and there[name]}
    notifiers = analyst.notifiers if of_study else {}
    undetermined = any(notifier.undetermined for notifier in notifiers.values())
    if not (asking or superseded or told_before or undetermined):
        return []
    provenance = analyst.provenance(record.last_received_at)
    try:
        contents = [analyst.blobs.read(one.blob_key) for one in stored]
        made = {
            kind: Addressed(
                encode_undetermined(
                    contents,
                    reason,
                    record.detail or reason.value,
                    provenance,
                    predecessor=predecessors.get(kind),
                    kind=kind,
                ),
                [name for name, wanted in asking.items() if wanted is kind],
            )
            for kind in dict.fromkeys(asking.values())
        }
        notice = Notice(
            study_instance_uid=record.study_instance_uid,
            series_instance_uid=record.series_instance_uid,
            demographics=read_demographics(contents[0]),
            provenance=provenance,
            result=None,
            reason=reason,
            revision=record.revision - 1,
        )
        reports = [*made.values(), *_rejections(contents, superseded, provenance)]
        return reports + messages(notifiers, notice, read_source(contents, None), reports, told_before)
    except (NotFound, UnreadableInstance) as exc:
        # The worklist says why the study was not analysed; what cannot be read cannot be reported on.
        log.error("undetermined_not_reported", code=exc.code, why=str(exc))
        return []


def _rejections(
    contents: Sequence[bytes], superseded: Mapping[str, Sequence[ObjectReference]], provenance: Provenance
) -> list[Addressed]:
    """The notes that reject what destinations were sent of earlier revisions, each made once."""
    notes: dict[str, Addressed] = {}
    for name, old in superseded.items():
        note = encode_rejection(contents, old, provenance)
        notes.setdefault(note.sop_instance_uid, Addressed(note, [])).destinations.append(name)
    return list(notes.values())
