"""Signed checkpoints: what a forger who can write to the database cannot make.

The chain alone shows every careless change. Whoever can write to the database can also compute the whole chain anew;
then a checkpoint signed earlier (Ed25519) still says which digest a row had. Each signature is over the one before
it as well, so that none can be left out, and the last one is remembered in a file beside the key.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from triage.domain.audit import AuditAction, AuditEvent, Checkpoint, Detail
from triage.domain.errors import AuditBroken, ConfigurationError
from triage.store import audit, checkpoints
from triage.store.db import Database, Transaction

log = structlog.get_logger()

EVERY_ROWS = 1000
"""A checkpoint is signed at once when so many rows have come since the last."""


@dataclass(frozen=True)
class Signer:
    """The private key, and the file beside it that remembers what was signed last."""

    key: Ed25519PrivateKey
    file: Path

    @property
    def public_key(self) -> Ed25519PublicKey:
        """What anybody may have, to check the signatures."""
        return self.key.public_key()

    @property
    def memory(self) -> Path:
        """The file of the last checkpoint."""
        return self.file.with_name(f"{self.file.name}.last")


def make_key(file: Path) -> Signer:
    """Make a key in a new file that only its owner may read.

    Raises
    ------
    ConfigurationError
        The file exists, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(pem)
    except OSError as exc:
        raise ConfigurationError(f"The key cannot be written to {file} ({exc.strerror}).") from exc
    return Signer(key, file)


def read_signer(file: Path) -> Signer:
    """Read the private key.

    Raises
    ------
    ConfigurationError
        There is no such file, others may read it, or it holds no Ed25519 key.
    """
    try:
        pem, mode = file.read_bytes(), file.stat().st_mode
    except OSError as exc:
        raise ConfigurationError(
            f"audit.checkpoint_key {file} cannot be read ({exc.strerror}): make it with triage audit key."
        ) from exc
    if mode & 0o077:
        raise ConfigurationError(f"audit.checkpoint_key {file} can be read by others: chmod 600 it.")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise ConfigurationError(f"audit.checkpoint_key {file} is no private key in PEM.") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"audit.checkpoint_key {file} is no Ed25519 key: make one with triage audit key.")
    return Signer(key, file)


def read_public_key(file: Path) -> Ed25519PublicKey:
    """Read a public key, as ``triage audit key`` printed it.

    Raises
    ------
    ConfigurationError
        There is no such file, or it holds no Ed25519 public key.
    """
    try:
        key = serialization.load_pem_public_key(file.read_bytes())
    except OSError as exc:
        raise ConfigurationError(f"The public key {file} cannot be read ({exc.strerror}).") from exc
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise ConfigurationError(f"{file} is no public key in PEM.") from exc
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(f"{file} is no Ed25519 public key.")
    return key


def earlier_keys(file: Path) -> tuple[Ed25519PublicKey, ...]:
    """The public halves of earlier keys, which lie beside the key as ``audit.key.*.pub``: they signed what is old.

    Raises
    ------
    ConfigurationError
        One of the files holds no Ed25519 public key.
    """
    return tuple(read_public_key(kept) for kept in sorted(file.parent.glob(f"{glob.escape(file.name)}.*.pub")))


def public_pem(key: Ed25519PublicKey) -> str:
    """The public key as text, to be kept where the database's administrators cannot change it."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def key_id(key: Ed25519PublicKey) -> str:
    """A short name of a key."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def sign_when_due(db: Database, signer: Signer, every: timedelta, now: datetime) -> Checkpoint | None:
    """Sign where the log stands, when it is time to and something was written since; None when not.

    Raises
    ------
    AuditBroken
        What was signed last is no longer what the database says: the log was rewritten, or another database was
        put in its place. Nothing is signed until a person has looked.
    """
    with db.read() as tx:
        if not _due(audit.head(tx)[0], checkpoints.latest(tx), every, now):
            return None
    with db.transaction() as tx:
        sequence, digest = checkpoints.lock_head(tx)
        last = checkpoints.latest(tx)
        if not _due(sequence, last, every, now):
            return None
        _still_there(tx, signer, last)
        unsigned = Checkpoint(sequence, digest, now, key_id(signer.public_key), "")
        signature = signer.key.sign(unsigned.signed_text(last.signature if last else "")).hex()
        checkpoint = Checkpoint(sequence, digest, now, unsigned.key_id, signature)
        checkpoints.add(tx, checkpoint)
        tx.audit(_signed(checkpoint))
    _remember(signer, checkpoint)
    log.info(
        "audit_checkpoint",
        sequence=sequence,
        digest=digest,
        at=now.isoformat(),
        key_id=checkpoint.key_id,
        signature=signature,
    )
    return checkpoint


def remembered(signer: Signer) -> Checkpoint | None:
    """The last checkpoint that was signed on this machine; None before the first.

    Raises
    ------
    ConfigurationError
        The file cannot be read.
    """
    try:
        told = json.loads(signer.memory.read_text("ascii"))
        return Checkpoint(
            int(told["sequence"]),
            str(told["digest"]),
            datetime.fromisoformat(told["at"]),
            str(told["key_id"]),
            str(told["signature"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigurationError(f"{signer.memory} cannot be read: it should hold the last checkpoint.") from exc


def require_remembered(tx: Transaction, last: Checkpoint) -> None:
    """Make sure that the database still has the checkpoint that was signed last, and the row that it was of.

    Raises
    ------
    AuditBroken
        It has not.
    """
    found = checkpoints.find(tx, last.sequence)
    if found != last or audit.digest_at(tx, last.sequence) != last.digest:
        kept = checkpoints.before(tx, last.sequence)
        raise AuditBroken(
            f"The audit log is broken at row {(kept.sequence if kept else 0) + 1} or after: the checkpoint of row "
            f"{last.sequence}, signed at {last.at.isoformat(timespec='seconds')}, is no longer in the database. "
            "The log was rewritten, or an older database was put in its place."
        )


def _due(sequence: int, last: Checkpoint | None, every: timedelta, now: datetime) -> bool:
    if last is None:
        return sequence > 0
    new = sequence - last.sequence - 1  # the row about the last checkpoint itself does not count
    return new >= EVERY_ROWS or (new > 0 and now - last.at >= every)


def _still_there(tx: Transaction, signer: Signer, last: Checkpoint | None) -> None:
    memory = remembered(signer)
    if memory is not None:
        require_remembered(tx, memory)
    if last is not None and audit.digest_at(tx, last.sequence) != last.digest:
        raise AuditBroken(f"The audit log is broken: row {last.sequence} is not the one whose digest was signed.")


def _signed(checkpoint: Checkpoint) -> AuditEvent:
    detail: dict[str, Detail] = {
        "sequence": checkpoint.sequence,
        "digest": checkpoint.digest,
        "key_id": checkpoint.key_id,
        "signature": checkpoint.signature,
    }
    return AuditEvent(at=checkpoint.at, actor="clock", action=AuditAction.CHECKPOINT_SIGNED, detail=detail)


def _remember(signer: Signer, checkpoint: Checkpoint) -> None:
    told = {
        "sequence": checkpoint.sequence,
        "digest": checkpoint.digest,
        "at": checkpoint.at.isoformat(),
        "key_id": checkpoint.key_id,
        "signature": checkpoint.signature,
    }
    draft = signer.memory.with_name(f"{signer.memory.name}.new")
    try:
        with draft.open("w", encoding="ascii") as opened:
            opened.write(json.dumps(told))
            opened.flush()
            os.fsync(opened.fileno())  # a power cut must not leave an empty memory: nothing more would be signed
        draft.replace(signer.memory)
    except OSError as exc:
        log.warning("audit_checkpoint_not_remembered", file=str(signer.memory), why=exc.strerror)
