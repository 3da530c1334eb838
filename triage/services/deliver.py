"""Send the objects of one result to one destination together, and remember every answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog

from triage.domain.audit import AuditAction, AuditEvent, Outcome
from triage.domain.errors import ConfigurationError, DeliveryUnconfirmed, StaleState, TriageError
from triage.domain.work import ClaimedBatch, OutboundObject, RetryPolicy
from triage.net.outgoing import OutgoingInstance, SendOutcome
from triage.services.circuit import Circuit
from triage.services.lease import kept_alive
from triage.store import deliveries, links
from triage.store.db import Database
from triage.store.file_area import FileArea

log = structlog.get_logger()

LEASE_SECONDS = 15.0
SEND_LIMIT_SECONDS = 600.0
RETRY = RetryPolicy(base_seconds=2.0, cap_seconds=300.0, max_attempts=200)
"""Some sixteen hours of trying; a PACS that is down for a night gets everything in the morning."""

Send = Callable[[Sequence[OutgoingInstance]], list[SendOutcome]]
"""A way out: C-STORE, STOW-RS, a folder, or the driver of a list."""


@dataclass(frozen=True, slots=True)
class Courier:
    """What delivering to one destination needs.

    ``after`` names a destination that must have everything of a result first. ``commitment`` is whether the
    archive is asked to commit to what it accepted. ``jitter`` draws from 0..1.
    """

    db: Database
    blobs: FileArea
    destination: str
    send: Send
    clock: Callable[[], datetime]
    owner: str
    policy: RetryPolicy = RETRY
    lease_seconds: float = LEASE_SECONDS
    after: str | None = None
    commitment: bool = False
    jitter: Callable[[], float] = random.random
    circuit: Circuit = field(default_factory=Circuit)


def deliver_next(courier: Courier) -> bool:
    """Send one result set that is due; False when there is none, or the destination is left alone for now."""
    if not courier.circuit.allows(courier.clock()):
        return False
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
        _judge(courier, outcomes)
    return True


def _claim(courier: Courier) -> ClaimedBatch | None:
    now = courier.clock()
    with courier.db.read() as tx:
        if not deliveries.any_due(tx, destination=courier.destination, now=now, after=courier.after):
            return None
    with courier.db.transaction() as tx:
        return deliveries.claim(
            tx,
            destination=courier.destination,
            owner=courier.owner,
            now=now,
            lease_seconds=courier.lease_seconds,
            after=courier.after,
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
        answers = {outcome.sop_instance_uid: outcome for outcome in courier.send(outgoing)}
    except ConfigurationError as exc:
        # Certificates and secrets are read for each sending: these may be in the middle of being renewed.
        return _all_failed(batch, DeliveryUnconfirmed(str(exc)))
    except TriageError as exc:
        return _all_failed(batch, exc)
    except Exception as exc:  # as the worker loop: a peer found a fault of ours, and the sender goes on
        log.exception("sending_failed")
        return _all_failed(batch, fault(exc))
    silence = DeliveryUnconfirmed("The destination gave no answer for this object.")
    return {
        uid: answers.get(uid) or SendOutcome(uid, silence, None) for uid in (o.sop_instance_uid for o in batch.objects)
    }


def _all_failed(batch: ClaimedBatch, error: TriageError) -> dict[str, SendOutcome]:
    return {o.sop_instance_uid: SendOutcome(o.sop_instance_uid, error, None) for o in batch.objects}


def fault(exc: Exception) -> DeliveryUnconfirmed:
    """What is kept of an exception that nobody foresaw; its own text may quote what was sent or answered."""
    return DeliveryUnconfirmed(f"{type(exc).__name__} in the sender; its log tells more.")


def _settle(courier: Courier, batch: ClaimedBatch, outcomes: dict[str, SendOutcome]) -> None:
    """Write all answers in one transaction; a lost lease leaves them to whoever holds it now."""
    now = courier.clock()
    try:
        with courier.db.transaction() as tx:
            for item in batch.objects:
                outcome = outcomes[item.sop_instance_uid]
                error, status = outcome.error, outcome.status
                if error is None:
                    commit_at = now if courier.commitment else None
                    deliveries.delivered(tx, batch, item.delivery_id, status=status, now=now, commit_at=commit_at)
                elif not error.retry or batch.attempt >= courier.policy.max_attempts:
                    deliveries.refused(tx, batch, item.delivery_id, error=str(error), status=status, now=now)
                else:
                    at = now + timedelta(seconds=courier.policy.delay_seconds(batch.attempt, courier.jitter()))
                    deliveries.later(tx, batch, item.delivery_id, error=str(error), status=status, at=at, now=now)
                _tell(item, outcome)
    except StaleState:
        log.warning("delivery_lease_lost")


def _judge(courier: Courier, outcomes: dict[str, SendOutcome]) -> None:
    """Open or close the circuit, and say so on record; what waited for a destination that is back is due at once."""
    now = courier.clock()
    unanswered = [o.error for o in outcomes.values() if o.error is not None and o.error.retry and o.status is None]
    if len(unanswered) == len(outcomes):
        if courier.circuit.unanswered(now):
            log.error("destination_down", why=str(unanswered[0]))
            with courier.db.transaction() as tx:
                links.down(tx, courier.destination, str(unanswered[0]), now)
                tx.audit(_turn(courier, AuditAction.DESTINATION_DOWN, now, str(unanswered[0])))
    elif courier.circuit.answered() or _known_as_down(courier):
        log.info("destination_up")
        with courier.db.transaction() as tx:
            deliveries.hasten(tx, courier.destination, now)
            links.up(tx, courier.destination, now)
            tx.audit(_turn(courier, AuditAction.DESTINATION_UP, now, None))


def _known_as_down(courier: Courier) -> bool:
    """Whether a sender before this one, or beside it, found nobody there."""
    with courier.db.read() as tx:
        return links.is_down(tx, courier.destination)


def _turn(courier: Courier, action: AuditAction, now: datetime, why: str | None) -> AuditEvent:
    outcome = Outcome.MINOR_FAILURE if action is AuditAction.DESTINATION_DOWN else Outcome.SUCCESS
    detail = {"destination": courier.destination, "reason": why}
    return AuditEvent(at=now, actor=courier.owner, action=action, outcome=outcome, detail=detail)


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
