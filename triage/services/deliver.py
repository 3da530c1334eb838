"""Send the objects of one result to one destination over one association, and remember every answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from triage.domain.errors import DeliveryUnconfirmed, StaleState, TriageError
from triage.domain.work import ClaimedBatch, OutboundObject, RetryPolicy
from triage.net.scu import OutgoingInstance, RemoteAe, SendOutcome, send
from triage.services.lease import kept_alive
from triage.store import deliveries
from triage.store.blobs import BlobStore
from triage.store.db import Database

log = structlog.get_logger()

LEASE_SECONDS = 15.0
SEND_LIMIT_SECONDS = 600.0
RETRY = RetryPolicy(base_seconds=2.0, cap_seconds=300.0, max_attempts=200)
"""Some sixteen hours of trying; a PACS that is down for a night gets everything in the morning."""

Send = Callable[[RemoteAe, Sequence[OutgoingInstance]], list[SendOutcome]]


@dataclass(frozen=True, slots=True)
class Courier:
    """What delivering to one destination needs. ``send`` is the Storage SCU; ``jitter`` draws from 0..1."""

    db: Database
    blobs: BlobStore
    destination: str
    remote: RemoteAe
    clock: Callable[[], datetime]
    owner: str
    policy: RetryPolicy = RETRY
    lease_seconds: float = LEASE_SECONDS
    send: Send = send
    jitter: Callable[[], float] = random.random


def deliver_next(courier: Courier) -> bool:
    """Send one result set that is due; False when there is none."""
    batch = _claim(courier)
    if batch is None:
        return False
    with (
        structlog.contextvars.bound_contextvars(
            destination=courier.destination, study_instance_uid=batch.study_instance_uid, attempt=batch.attempt
        ),
        kept_alive(lambda: _renew(courier, batch), courier.lease_seconds / 3, SEND_LIMIT_SECONDS),
    ):
        outcomes = _send(courier, batch)
        _settle(courier, batch, outcomes)
    return True


def _claim(courier: Courier) -> ClaimedBatch | None:
    now = courier.clock()
    with courier.db.read() as tx:
        if not deliveries.any_due(tx, destination=courier.destination, now=now):
            return None
    with courier.db.transaction() as tx:
        return deliveries.claim(
            tx,
            destination=courier.destination,
            owner=courier.owner,
            now=now,
            lease_seconds=courier.lease_seconds,
        )


def _renew(courier: Courier, batch: ClaimedBatch) -> None:
    with courier.db.transaction() as tx:
        deliveries.renew(tx, batch, courier.clock() + timedelta(seconds=courier.lease_seconds))


def _send(courier: Courier, batch: ClaimedBatch) -> dict[str, SendOutcome]:
    """Answer for every object of the batch, by SOP Instance UID."""
    outgoing = [
        OutgoingInstance(
            o.sop_class_uid, o.sop_instance_uid, o.transfer_syntax_uid, partial(courier.blobs.read, o.blob_key)
        )
        for o in batch.objects
    ]
    try:
        outcomes = courier.send(courier.remote, outgoing)
    except TriageError as exc:
        return {o.sop_instance_uid: SendOutcome(o.sop_instance_uid, exc, None) for o in batch.objects}
    return {outcome.sop_instance_uid: outcome for outcome in outcomes}


def _settle(courier: Courier, batch: ClaimedBatch, outcomes: dict[str, SendOutcome]) -> None:
    """Write all answers in one transaction; a lost lease leaves them to whoever holds it now."""
    now = courier.clock()
    try:
        with courier.db.transaction() as tx:
            for item in batch.objects:
                outcome = outcomes.get(item.sop_instance_uid) or SendOutcome(
                    item.sop_instance_uid, DeliveryUnconfirmed("The archive gave no answer for this object."), None
                )
                error = outcome.error
                if error is None:
                    deliveries.delivered(tx, batch, item.delivery_id, status=outcome.status, now=now)
                elif not error.retry or batch.attempt >= courier.policy.max_attempts:
                    deliveries.refused(tx, batch, item.delivery_id, error=str(error), status=outcome.status, now=now)
                else:
                    wait = courier.policy.delay_seconds(batch.attempt, courier.jitter())
                    deliveries.later(
                        tx,
                        batch,
                        item.delivery_id,
                        error=str(error),
                        status=outcome.status,
                        at=now + timedelta(seconds=wait),
                        now=now,
                    )
                _tell(item, outcome)
    except StaleState:
        log.warning("delivery_lease_lost")


def _tell(item: OutboundObject, outcome: SendOutcome) -> None:
    if outcome.error is None:
        log.info("object_delivered", kind=item.kind, sop_instance_uid=item.sop_instance_uid, status=outcome.status)
    else:
        log.warning(
            "object_not_delivered",
            kind=item.kind,
            sop_instance_uid=item.sop_instance_uid,
            status=outcome.status,
            code=outcome.error.code,
            why=str(outcome.error),
        )
