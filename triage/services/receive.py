"""Keep one instance: file and row are durable before the sender hears success."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog

from triage.dicom.header import is_candidate, is_own_object, read_header
from triage.dicom.select import is_set_aside
from triage.domain.audit import AuditAction, AuditEvent, Outcome
from triage.domain.completeness import Timings
from triage.domain.errors import OutOfSpace, StaleState, UnreadableInstance
from triage.domain.study import InstanceHeader
from triage.net.scp import IncomingInstance, Peer
from triage.store import associations, instances, result_objects, retention, series, studies, worklist
from triage.store.db import Database, Transaction
from triage.store.file_area import FileArea

log = structlog.get_logger()


class Receipt(StrEnum):
    """What became of an instance that was answered with success."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # same UID, same bytes: nothing to do
    RESTORED = "restored"  # same UID, but the file of the first copy was lost: this one takes its place
    CONFLICT = "conflict"  # same UID, other bytes: the first copy stays in use, the other is kept aside
    IGNORED = "ignored"  # one of our own results, echoed back by the archive


@dataclass(frozen=True, slots=True)
class Door:
    """What receiving needs. ``name`` tells listeners apart, and is the same after a restart."""

    db: Database
    blobs: FileArea
    timings: Timings
    min_free_bytes: int
    name: str


@dataclass(frozen=True, slots=True)
class _Arrival:
    """One instance whose file is written and whose row is not; ``digest`` is that of its data set."""

    incoming: IncomingInstance
    header: InstanceHeader
    digest: str
    blob_key: str
    now: datetime


def keep(door: Door, incoming: IncomingInstance, now: datetime) -> Receipt:
    """Keep the bytes as sent and file them under their study and series.

    Raises
    ------
    OutOfSpace
        Before anything is written.
    UnreadableInstance
        The bytes cannot be filed; an audit row says so.
    StoreUnavailable
        The database or the file area did not answer.
    """
    header = _admit(door, incoming, now)
    digest = _digest(incoming)
    with door.db.read() as tx:
        own = is_own_object(header) or result_objects.owns(tx, header.sop_instance_uid)
        known = instances.find(tx, header.sop_instance_uid)
    if own:
        return _ignore(door, incoming, header, now)
    if known is not None and known.digest == digest and door.blobs.holds(known.blob_key):
        return Receipt.DUPLICATE
    blob_key = door.blobs.put(incoming.content)
    # When this fails the file stays: a commit whose answer was lost may have written the row. The clock
    # sets files aside that no row names.
    with door.db.transaction() as tx:
        receipt = _file(tx, door, _Arrival(incoming, header, digest, blob_key, now))
    if receipt is Receipt.DUPLICATE:
        door.blobs.remove(blob_key)
    return receipt


def _admit(door: Door, incoming: IncomingInstance, now: datetime) -> InstanceHeader:
    try:
        free = door.blobs.free_bytes()
        if free is not None and free < door.min_free_bytes:
            raise OutOfSpace(
                f"Only {free / 1e9:.1f} GB are free and storage.min_free_gb asks for "
                f"{door.min_free_bytes / 1e9:.1f} GB: free some space."
            )
        header = read_header(incoming.content)
        if header.sop_instance_uid != incoming.sop_instance_uid:
            raise UnreadableInstance("The SOP Instance UID of the data set is not the one of the C-STORE request.")
    except (OutOfSpace, UnreadableInstance) as exc:
        with door.db.transaction() as tx:
            detail = {"code": exc.code, "why": str(exc), "address": incoming.peer.address}
            tx.audit(_event(incoming, AuditAction.INSTANCE_REFUSED, now, detail, Outcome.MINOR_FAILURE))
        raise
    return header


def _digest(incoming: IncomingInstance) -> str:
    """SHA-256 of the transfer syntax and the data set as sent; our own file meta does not count."""
    digest = hashlib.sha256(incoming.transfer_syntax_uid.encode("ascii") + b"\0")
    digest.update(memoryview(incoming.content)[incoming.dataset_offset :])
    return digest.hexdigest()


def _file(tx: Transaction, door: Door, new: _Arrival) -> Receipt:
    header, incoming, now = new.header, new.incoming, new.now
    peer = incoming.peer
    associations.open(
        tx, incoming.association_id, door.name, peer.calling_ae_title, peer.called_ae_title, peer.address, now
    )
    studies.lock(tx, header.study_instance_uid, accession_number=header.accession_number, now=now)
    # Looked up again under the study's lock: another association may have brought it meanwhile.
    known = instances.find(tx, header.sop_instance_uid)
    if known is not None:
        return _again(tx, door, new, known)
    filed = _join_series(tx, door, new)
    stored = instances.add(
        tx,
        header,
        series=filed.series,
        digest=new.digest,
        blob_key=new.blob_key,
        size_bytes=len(incoming.content),
        association_id=incoming.association_id,
        now=now,
    )
    if not stored:
        raise StaleState("The same SOP Instance UID arrived under another study at this very moment.")
    if filed.news:
        worklist.refresh(tx, header.study_instance_uid, now)
    return Receipt.STORED


def _join_series(tx: Transaction, door: Door, new: _Arrival) -> series.Filed:
    candidate, set_aside = is_candidate(new.header), is_set_aside(new.header)
    return series.receive(tx, new.header, candidate=candidate, set_aside=set_aside, now=new.now, timings=door.timings)


def _again(tx: Transaction, door: Door, new: _Arrival, known: instances.StoredInstance) -> Receipt:
    held = door.blobs.holds(known.blob_key)
    if held and known.digest == new.digest:
        return Receipt.DUPLICATE
    if not held and _is_filed_alike(new.header, known.header):
        _restore(tx, door, new, known)
        return Receipt.RESTORED
    added = instances.add_conflict(
        tx,
        sop_instance_uid=new.header.sop_instance_uid,
        digest=new.digest,
        blob_key=new.blob_key,
        association_id=new.incoming.association_id,
        now=new.now,
    )
    if not added:
        return Receipt.DUPLICATE
    detail = {"first_digest": known.digest, "other_digest": new.digest, "other_blob": new.blob_key}
    action, outcome = AuditAction.INSTANCE_CONFLICT, Outcome.MINOR_FAILURE
    tx.audit(_event(new.incoming, action, new.now, detail, outcome, new.header))
    return Receipt.CONFLICT


def _restore(tx: Transaction, door: Door, new: _Arrival, known: instances.StoredInstance) -> None:
    """Let a copy take the place of one whose file was lost, also one in which the sender has put something right."""
    size_bytes = len(new.incoming.content)
    instances.restore(tx, known.id, new.header, digest=new.digest, blob_key=new.blob_key, size_bytes=size_bytes)
    retention.mark_restored(tx, new.header.study_instance_uid, new.now)
    detail = {"lost_blob": known.blob_key, "blob": new.blob_key}
    if new.digest != known.digest:
        detail |= {"first_digest": known.digest, "other_digest": new.digest}
    tx.audit(_event(new.incoming, AuditAction.INSTANCE_RESTORED, new.now, detail, header=new.header))
    # What was said of a series is said slice by slice, in the order in which its images lay.
    if new.header.frames != known.header.frames and _join_series(tx, door, new).news:
        worklist.refresh(tx, new.header.study_instance_uid, new.now)


def _is_filed_alike(one: InstanceHeader, other: InstanceHeader) -> bool:
    """Whether two copies belong to the same series of the same study."""
    return (one.study_instance_uid, one.series_instance_uid) == (other.study_instance_uid, other.series_instance_uid)


def _ignore(door: Door, incoming: IncomingInstance, header: InstanceHeader, now: datetime) -> Receipt:
    with door.db.transaction() as tx:
        detail = {"why": "one of our own result objects came back"}
        tx.audit(_event(incoming, AuditAction.INSTANCE_IGNORED, now, detail, header=header))
    return Receipt.IGNORED


def _event(
    incoming: IncomingInstance,
    action: AuditAction,
    now: datetime,
    detail: Mapping[str, str],
    outcome: Outcome = Outcome.SUCCESS,
    header: InstanceHeader | None = None,
) -> AuditEvent:
    """What is recorded of one instance; ``header`` is None when it could not be read."""
    return AuditEvent(
        at=now,
        actor=incoming.peer.calling_ae_title,
        action=action,
        outcome=outcome,
        study_instance_uid=header.study_instance_uid if header else None,
        series_instance_uid=header.series_instance_uid if header else None,
        sop_instance_uid=incoming.sop_instance_uid,
        detail=detail,
    )


def association_ended(door: Door, association_id: str, *, released: bool, now: datetime) -> None:
    """Record how an association ended; a clean release lets its series settle instead of waiting."""
    with door.db.transaction() as tx:
        carried = associations.end(tx, association_id, how="released" if released else "aborted", now=now)
        if released:
            series.pull_deadline(tx, carried, now + timedelta(seconds=door.timings.settle_seconds))


def association_refused(db: Database, peer: Peer, why: str, now: datetime) -> None:
    """Leave an audit row about a caller that was turned away."""
    log.warning("association_refused", calling_ae_title=peer.calling_ae_title, address=peer.address, why=why)
    with db.transaction() as tx:
        tx.audit(
            AuditEvent(
                at=now,
                actor=peer.calling_ae_title or peer.address,
                action=AuditAction.ASSOCIATION_REFUSED,
                outcome=Outcome.MINOR_FAILURE,
                detail={"why": why, "address": peer.address, "called_ae_title": peer.called_ae_title},
            )
        )


def request_refused(db: Database, peer: Peer, why: str, now: datetime) -> None:
    """Leave an audit row about a C-STORE request that carried no instance; nothing in it names one."""
    detail = {"code": UnreadableInstance.code, "why": why, "address": peer.address}
    with db.transaction() as tx:
        tx.audit(
            AuditEvent(
                at=now,
                actor=peer.calling_ae_title,
                action=AuditAction.INSTANCE_REFUSED,
                outcome=Outcome.MINOR_FAILURE,
                detail=detail,
            )
        )
