"""Proving that the audit log is whole: its chain, its signed checkpoints, and what cannot be proved."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from triage.domain.audit import AuditAction, AuditEvent, AuditRecord, Checkpoint, Detail, Outcome
from triage.domain.errors import AuditBroken, TriageError
from triage.services.checkpoint import Signer, key_id, remembered, require_remembered
from triage.store import audit, checkpoints
from triage.store.db import Database, Transaction

log = structlog.get_logger()

VERIFIED = "verified"
"""How the audit row about a verification says what it is about."""


@dataclass(frozen=True)
class Proof:
    """What the log is checked against: public keys, and the signer of this machine when it may be read.

    ``every`` is how often checkpoints are signed; None where they are not.
    """

    keys: tuple[Ed25519PublicKey, ...] = ()
    signer: Signer | None = None
    every: timedelta | None = None

    def all_keys(self) -> dict[str, Ed25519PublicKey]:
        """Every key by its name."""
        own = (self.signer.public_key,) if self.signer else ()
        return {key_id(key): key for key in (*self.keys, *own)}


@dataclass(frozen=True, slots=True)
class Verified:
    """A log that is whole: its rows, how many of them a signature covers, and what could not be proved."""

    rows: int
    checkpoints: int
    covered: int
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """The result in words."""
        told = f"The audit chain is whole: {self.rows} rows."
        if self.checkpoints:
            told += f" {self.checkpoints} signed checkpoints agree with it, the last of row {self.covered}."
        return " ".join((told, *self.notes))


def verify_log(db: Database, proof: Proof, now: datetime, progress: Callable[[int], None] = lambda _: None) -> Verified:
    """Check the whole log.

    Raises
    ------
    AuditBroken
        Names the first row that cannot be trusted.
    ConfigurationError
        What was signed last on this machine cannot be read.
    """
    keys = proof.all_keys()
    # Before the database: a checkpoint that is signed meanwhile is in the memory, and not in the moment that is read.
    memory = remembered(proof.signer) if proof.signer is not None else None
    with db.read() as tx:
        signed = list(checkpoints.every(tx))
        rows = audit.verify(tx, progress=progress)
        _require_agreement(tx)
        if not keys:
            note = "No key for its checkpoints was given: a tail that somebody computed anew cannot be found."
            return Verified(rows, 0, 0, (note,))
        _require_signatures(signed, keys)
        if memory is not None:
            require_remembered(tx, memory)
    covered = signed[-1].sequence if signed else 0
    return Verified(rows, len(signed), covered, tuple(_notes(rows, signed, proof, now)))


def _require_agreement(tx: Transaction) -> None:
    wrong = checkpoints.contradicted(tx)
    if wrong is None:
        return
    good = checkpoints.before(tx, wrong.sequence)
    first = (good.sequence if good else 0) + 1
    last, _ = audit.head(tx)
    if last < wrong.sequence:
        raise AuditBroken(
            f"The audit log is broken at row {last + 1}: it is missing. A checkpoint of "
            f"{wrong.at.isoformat(timespec='seconds')} says that there were {wrong.sequence} rows; rows from "
            f"{first} on may have been computed anew."
        )
    raise AuditBroken(
        f"The audit log is broken at row {first} or after: its rows up to {wrong.sequence} are not those of the "
        f"checkpoint of {wrong.at.isoformat(timespec='seconds')}. They were computed anew."
    )


def _require_signatures(signed: Sequence[Checkpoint], keys: dict[str, Ed25519PublicKey]) -> None:
    previous = ""
    for position, checkpoint in enumerate(signed):
        first = (signed[position - 1].sequence if position else 0) + 1
        key = keys.get(checkpoint.key_id)
        if key is None:
            raise AuditBroken(
                f"The audit log cannot be trusted from row {first} on: the checkpoint of row {checkpoint.sequence} is "
                f"signed with the key {checkpoint.key_id}, which was not given."
            )
        try:
            key.verify(bytes.fromhex(checkpoint.signature), checkpoint.signed_text(previous))
        except (InvalidSignature, ValueError) as exc:
            raise AuditBroken(
                f"The audit log cannot be trusted from row {first} on: the checkpoint of row {checkpoint.sequence} is "
                "forged, or one before it is missing."
            ) from exc
        previous = checkpoint.signature


def _notes(rows: int, signed: Sequence[Checkpoint], proof: Proof, now: datetime) -> list[str]:
    covered, since = (signed[-1].sequence, signed[-1].at) if signed else (0, None)
    uncovered = rows - covered
    if uncovered <= (1 if signed else 0):  # the row about the checkpoint itself
        return []
    told = [f"Nothing signed covers the last {uncovered} rows yet: there a tail that was computed anew is not found."]
    if proof.every is not None and (since is None or now - since > 2 * proof.every):
        told.append(
            "A checkpoint is overdue: the clock does not run, refuses to sign (its log says why), or checkpoints "
            "were removed."
        )
    return told


@dataclass(frozen=True, slots=True)
class Progress:
    """A verification that runs, or why the last one came to no end; one that came to its end stands in the log."""

    running: bool = False
    rows: int = 0
    of: int = 0
    problem: str = ""


@dataclass
class Verifier:
    """Verifies in the background, one at a time, and has the result audited in the name of who asked."""

    db: Database
    proof: Proof
    clock: Callable[[], datetime]
    progress: Progress = Progress()
    _known: tuple[int, AuditEvent | None] = (0, None)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def start(self, person: str, address: str) -> threading.Thread | None:
        """Begin, unless one is running; the thread that does it."""
        if not self._lock.acquire(blocking=False):
            return None
        self.progress = Progress(running=True)
        thread = threading.Thread(target=self._run, args=(person, address), name="verify-audit", daemon=True)
        thread.start()
        return thread

    def last(self, tx: Transaction) -> AuditEvent | None:
        """When somebody last had the log verified, and with which result: the log itself says so."""
        head, _ = audit.head(tx)
        seen, last = self._known
        for row in audit.rows_before(tx, head + 1, (AuditAction.AUDIT_READ,), above=seen):
            if isinstance(row, AuditRecord) and row.event.detail.get("how") == VERIFIED and "why" in row.event.detail:
                last = row.event
                break
        self._known = head, last  # in one piece: another request may be looking at the same time
        return last

    def _run(self, person: str, address: str) -> None:
        problem = "It ended in a way that nobody foresaw; the log of this role says how."
        try:
            with self.db.read() as tx:
                of, _ = audit.head(tx)
            verify_and_record(self.db, self.proof, self.clock, person, address, lambda n: self._advance(n, of))
            problem = ""
        except TriageError as exc:
            log.error("audit_not_verified", code=exc.code, why=str(exc))
            problem = str(exc)
        finally:
            self.progress = Progress(problem=problem)
            self._lock.release()

    def _advance(self, rows: int, of: int) -> None:
        self.progress = Progress(True, rows, of)


def verify_and_record(
    db: Database,
    proof: Proof,
    clock: Callable[[], datetime],
    person: str,
    address: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Verified:
    """Check the whole log, and have the result audited, good or bad.

    Raises
    ------
    AuditBroken
        Names the first row that cannot be trusted.
    """
    try:
        found = verify_log(db, proof, clock(), progress)
    except AuditBroken as exc:
        log.error("audit_broken", why=str(exc))
        _record(db, clock(), person, address, Outcome.SERIOUS_FAILURE, str(exc))
        raise
    _record(db, clock(), person, address, Outcome.SUCCESS, found.sentence())
    return found


def _record(db: Database, now: datetime, person: str, address: str | None, outcome: Outcome, why: str) -> None:
    detail: dict[str, Detail] = {"how": VERIFIED, "address": address, "why": why}
    with db.transaction() as tx:
        tx.audit(AuditEvent(at=now, actor=person, action=AuditAction.AUDIT_READ, outcome=outcome, detail=detail))
