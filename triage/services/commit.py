"""Storage commitment: ask an archive to take responsibility, hear its report, or look up what it has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from triage.domain.errors import DeliveryRefused, StaleState, TriageError
from triage.domain.work import RetryPolicy
from triage.services.deliver import RETRY, fault
from triage.store import commitments
from triage.store.commitments import CommitmentDue
from triage.store.db import Database, Transaction

log = structlog.get_logger()

WAIT_SECONDS = 60.0
"""So long the archive may take to report; then it is asked what it has."""

ASK = RetryPolicy(base_seconds=10.0, cap_seconds=600.0, max_attempts=100)
"""Some sixteen hours of asking, as long as delivering is tried; then it stays delivered, and not confirmed."""

FOUND = "Found by query; the archive gave no commitment report."
NEVER = "Never confirmed, and not asked again"

Reference = tuple[str, str]
"""SOP Class UID and SOP Instance UID."""

Request = Callable[[str, Sequence[Reference]], None]
"""Asks an archive to commit to objects, under a Transaction UID."""


@dataclass(frozen=True, slots=True)
class Witness:
    """What asking one destination for commitment needs.

    ``request`` sends the N-ACTION for a transaction, whose report comes to the listener; None where the protocol
    has no such thing. ``look_up`` says which SOP Instance UIDs of a study the archive has. Both raise
    ``DeliveryUnconfirmed`` or ``DeliveryRefused``. ``policy`` says how often what was lost is sent again, ``asking``
    how often a question without an answer is put.
    """

    db: Database
    destination: str
    request: Request | None
    look_up: Callable[[str, Collection[str]], set[str]]
    clock: Callable[[], datetime]
    wait_seconds: float = WAIT_SECONDS
    policy: RetryPolicy = RETRY
    asking: RetryPolicy = ASK


def confirm_next(witness: Witness) -> bool:
    """Ask about one delivered result; False when none is due.

    The first time commitment is requested. When that is refused, or no report came in time, the archive is asked
    which objects it has. A refusal of that may pass: asking ends when it was asked often enough without an answer, and
    a report counts also after that.
    """
    now = witness.clock()
    with witness.db.read() as tx:
        if not commitments.any_due(tx, destination=witness.destination, now=now):
            return False
    with witness.db.transaction() as tx:
        answer_by = now + timedelta(seconds=witness.wait_seconds)
        due = commitments.claim(tx, destination=witness.destination, now=now, answer_by=answer_by)
    if due is None:
        return False
    with structlog.contextvars.bound_contextvars(
        destination=witness.destination, study_instance_uid=due.study_instance_uid, attempt=due.attempt
    ):
        try:
            if due.attempt == 1 and witness.request is not None:
                _request(witness, due, witness.request)
            else:
                _look_up(witness, due)
        except TriageError as exc:
            _ask_again(witness, due, exc)
        except Exception as exc:  # as in deliver_next
            log.exception("commitment_failed")
            _ask_again(witness, due, fault(exc))
    return True


def take_report(
    db: Database,
    transaction_uid: str,
    kept: Collection[str],
    lost: Mapping[str, str],
    *,
    now: datetime,
    policy: RetryPolicy = RETRY,
) -> bool:
    """An archive has reported: ``kept`` SOP Instance UIDs, and why others are ``lost``.

    False when nothing of this transaction is without an answer: a repeated report changes nothing.
    """
    with db.transaction() as tx:
        due = commitments.of_transaction(tx, transaction_uid)
        if due is None:
            return False
        _settle(tx, due, kept, lost, now=now, policy=policy)
    log.info("commitment_reported", destination=due.destination, kept=len(kept), lost=len(lost))
    return True


def _request(witness: Witness, due: CommitmentDue, request: Request) -> None:
    references = [(item.sop_class_uid, item.sop_instance_uid) for item in due.objects]
    try:
        request(due.transaction_uid, references)
    except DeliveryRefused as exc:
        log.warning("commitment_refused", why=str(exc))
        _look_up(witness, due)
    else:
        log.info("commitment_requested", objects=len(references))


def _look_up(witness: Witness, due: CommitmentDue) -> None:
    wanted = {item.sop_instance_uid for item in due.objects}
    there = witness.look_up(due.study_instance_uid, wanted)
    lost = dict.fromkeys(wanted - there, "the archive does not find it")
    now = witness.clock()
    try:
        with witness.db.transaction() as tx:
            _settle(tx, due, there, lost, now=now, policy=witness.policy, note=FOUND)
    except StaleState:
        log.info("commitment_reported_meanwhile")
        return
    log.info("commitment_looked_up", found=len(wanted & there), lost=len(lost))


def _settle(
    tx: Transaction,
    due: CommitmentDue,
    kept: Collection[str],
    lost: Mapping[str, str],
    *,
    now: datetime,
    policy: RetryPolicy,
    note: str | None = None,
) -> None:
    """Objects of which nothing is said stay as they are, and come up again at their deadline."""
    for item in due.objects:
        why = lost.get(item.sop_instance_uid)
        if item.sop_instance_uid in kept and why is None:
            commitments.committed(tx, due, item.delivery_id, note=note, now=now)
        elif why is not None:
            wait = timedelta(seconds=policy.delay_seconds(item.attempt, 1.0))
            commitments.not_kept(
                tx,
                due,
                item.delivery_id,
                error=f"The archive accepted this object and does not keep it ({why}); it is sent again.",
                again_at=now + wait if item.attempt < policy.max_attempts else None,
                now=now,
            )


def _ask_again(witness: Witness, due: CommitmentDue, exc: TriageError) -> None:
    if due.attempt >= witness.asking.max_attempts:
        _give_up(witness, due, exc)
        return
    wait = witness.asking.delay_seconds(due.attempt, 1.0)
    log.warning("commitment_unanswered", code=exc.code, why=str(exc), again_in_seconds=wait)
    with witness.db.transaction() as tx:
        commitments.ask_again(tx, due, witness.clock() + timedelta(seconds=wait))


def _give_up(witness: Witness, due: CommitmentDue, exc: TriageError) -> None:
    now = witness.clock()
    try:
        with witness.db.transaction() as tx:
            for item in due.objects:
                commitments.given_up(tx, due, item.delivery_id, why=f"{NEVER}: {exc}", now=now)
    except StaleState:
        log.info("commitment_reported_meanwhile")
        return
    log.error("commitment_given_up", code=exc.code, why=str(exc))
