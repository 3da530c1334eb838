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
from triage.store import associations, instances, result_objects, series, studies, worklist
from triage.store.blobs import BlobStore
from triage.store.db import Database, Transaction

log = structlog.get_logger()


class Receipt(StrEnum):
    """What became of an instance that was answered with success."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # same UID, same bytes: nothing to do
    RESTORED = "restored"  # same UID, same bytes, but the file of the first copy was lost: this one takes its place
    CONFLICT = "conflict"  # same UID, other bytes: the first copy stays in use, the other is kept aside
    IGNORED = "ignored"  # one of our own results, echoed back by the archive


@dataclass(frozen=True, slots=True)
class Door:
    """What receiving needs. ``name`` tells listeners apart, and is the same after a restart."""

    db: Database
    blobs: BlobStore
    timings: Timings
    min_free_bytes: int
    name: str


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
        receipt = _file(tx, door, incoming, header, digest, blob_key, now)
    if receipt is Receipt.DUPLICATE:
        door.blobs.remove(blob_key)
    return receipt


def _admit(door: Door, incoming: IncomingInstance, now: datetime) -> InstanceHeader:
    try:
        free = door.blobs.free_bytes()
        if free < door.min_free_bytes:
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


def _file(
    tx: Transaction,
    door: Door,
    incoming: IncomingInstance,
    header: InstanceHeader,
    digest: str,
    blob_key: str,
    now: datetime,
) -> Receipt:
    peer = incoming.peer
    associations.open(
        tx, incoming.association_id, door.name, peer.calling_ae_title, peer.called_ae_title, peer.address, now
    )
    studies.lock(tx, header.study_instance_uid, accession_number=header.accession_number, now=now)
    # Looked up again under the study's lock: another association may have brought it meanwhile.
    known = instances.find(tx, header.sop_instance_uid)
    if known is not None:
        return _again(tx, door.blobs, incoming, header, digest, blob_key, known, now)
    filed = series.receive(
        tx,
        header,
        candidate=is_candidate(header),
        set_aside=is_set_aside(header),
        now=now,
        timings=door.timings,
    )
    stored = instances.add(
        tx,
        header,
        series=filed.series,
        digest=digest,
        blob_key=blob_key,
        size_bytes=len(incoming.content),
        association_id=incoming.association_id,
        now=now,
    )
    if not stored:
        raise StaleState("The same SOP Instance UID arrived under another study at this very moment.")
    if filed.news:
        worklist.refresh(tx, header.study_instance_uid, now)
    return Receipt.STORED


def _again(
    tx: Transaction,
    blobs: BlobStore,
    incoming: IncomingInstance,
    header: InstanceHeader,
    digest: str,
    blob_key: str,
    known: instances.StoredInstance,
    now: datetime,
) -> Receipt:
    if known.digest == digest:
        if blobs.holds(known.blob_key):
            return Receipt.DUPLICATE
        instances.replace_blob(tx, known.id, blob_key=blob_key, size_bytes=len(incoming.content))
        detail = {"lost_blob": known.blob_key, "blob": blob_key}
        tx.audit(_event(incoming, AuditAction.INSTANCE_RESTORED, now, detail, header=header))
        return Receipt.RESTORED
    new = instances.add_conflict(
        tx,
        sop_instance_uid=header.sop_instance_uid,
        digest=digest,
        blob_key=blob_key,
        association_id=incoming.association_id,
        now=now,
    )
    if not new:
        return Receipt.DUPLICATE
    detail = {"first_digest": known.digest, "other_digest": digest, "other_blob": blob_key}
    tx.audit(_event(incoming, AuditAction.INSTANCE_CONFLICT, now, detail, Outcome.MINOR_FAILURE, header))
    return Receipt.CONFLICT


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
