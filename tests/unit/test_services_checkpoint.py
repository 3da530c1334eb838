"""Checkpoints find what the chain alone cannot: a tail that somebody with the whole database computed anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from tests.signed_logs import EVERY, proof, run, sign, signed_log, write
from tests.stores import NOW, at, logged
from triage.domain.audit import AuditAction, AuditEvent, chain_digest
from triage.domain.errors import AuditBroken, ConfigurationError
from triage.services.checkpoint import (
    EVERY_ROWS,
    Signer,
    earlier_keys,
    key_id,
    make_key,
    public_pem,
    read_public_key,
    read_signer,
    remembered,
)
from triage.services.verify_audit import Proof, verify_log
from triage.store import audit, checkpoints
from triage.store.db import Database
from triage.store.schema import audit as audit_table


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return make_key(tmp_path / "keys" / "audit.key")


def elsewhere(signer: Signer) -> Proof:
    """What an auditor knows, who has the public key alone."""
    return Proof(keys=(signer.public_key,))


def forge(db: Database, first: int, change: Callable[[AuditEvent], AuditEvent | None]) -> None:
    """Compute the log anew from one row on, with the head: a forger with the database and this code."""
    with db.read() as tx:
        rows = [row for row in audit.rows_after(tx, first - 1, 10**6) if isinstance(row, audit.AuditRecord)]
        previous = audit.digest_at(tx, first - 1) or "0" * 64
    sequence = first - 1
    with db.transaction() as tx:
        tx.connection.execute(text("DELETE FROM audit WHERE sequence >= :first"), {"first": first})
        for row in rows:
            event = change(row.event)
            if event is None:
                continue
            sequence += 1
            digest = chain_digest(previous, sequence, event)
            tx.connection.execute(
                audit_table.insert().values(
                    sequence=sequence,
                    at=event.at,
                    actor=event.actor,
                    action=event.action,
                    outcome=event.outcome,
                    detail=json.dumps(dict(event.detail), sort_keys=True),
                    previous=previous,
                    digest=digest,
                )
            )
            previous = digest
        tx.connection.execute(text("UPDATE audit_head SET sequence = :s, digest = :d"), {"s": sequence, "d": previous})


def test_a_checkpoint_is_signed_when_it_is_time_and_something_is_new(database: Database, signer: Signer) -> None:
    assert sign(database, signer, 0) is None  # an empty log
    write(database, 3)
    first = sign(database, signer, 0)
    assert first is not None
    assert (first.sequence, first.key_id) == (3, key_id(signer.public_key))
    assert sign(database, signer, 60) is None  # only the row about the checkpoint is new
    write(database, 1)
    assert sign(database, signer, 4) is None
    second = sign(database, signer, 5)
    assert second is not None
    assert second.sequence == 5
    assert [r.event.detail["sequence"] for r in logged(database, AuditAction.CHECKPOINT_SIGNED)] == [3, 5]


def test_many_rows_are_signed_before_it_is_time(database: Database, signer: Signer) -> None:
    write(database, 1)
    assert sign(database, signer, 0)
    write(database, EVERY_ROWS - 1)
    assert sign(database, signer, 1) is None
    write(database, 1)
    assert sign(database, signer, 1)


def test_a_whole_log_verifies_with_the_key_or_its_public_half(database: Database, signer: Signer) -> None:
    signed_log(database, signer)
    for known in (proof(signer), elsewhere(signer)):
        found = verify_log(database, known, at(420))
        assert (found.rows, found.checkpoints, found.covered) == (25, 2, 21)
        assert found.sentence().startswith("The audit chain is whole: 25 rows. 2 signed checkpoints agree")
        assert "last 4 rows" in found.sentence()
        assert "overdue" not in found.sentence()


def test_without_a_key_it_is_said_what_cannot_be_found(database: Database, signer: Signer) -> None:
    signed_log(database, signer)
    assert "a tail that somebody computed anew cannot be found" in verify_log(database, Proof(), NOW).sentence()


def test_an_overdue_checkpoint_is_said(database: Database, signer: Signer) -> None:
    signed_log(database, signer)
    assert "overdue" in verify_log(database, proof(signer), at(3600)).sentence()
    assert "overdue" in verify_log(database, Proof((signer.public_key,), every=EVERY), at(3600)).sentence()


INSERTED = """
    INSERT INTO audit (sequence, at, actor, action, outcome, detail, previous, digest)
    SELECT 26, at, actor, action, outcome, detail, digest, digest FROM audit WHERE sequence = 25
"""
TAMPERING = {
    "flipped byte": (["UPDATE audit SET actor = 'actor 4x' WHERE sequence = 5"], 5),
    "deleted row": (["DELETE FROM audit WHERE sequence = 7"], 7),
    "deleted row, numbers closed up": (
        ["DELETE FROM audit WHERE sequence = 25", "UPDATE audit_head SET sequence = 24"],
        25,
    ),
    "inserted row": (
        [
            "UPDATE audit_head SET sequence = 26",
            INSERTED,
        ],
        26,
    ),
    "reordered": (
        [
            "UPDATE audit SET sequence = 99 WHERE sequence = 4",
            "UPDATE audit SET sequence = 4 WHERE sequence = 6",
            "UPDATE audit SET sequence = 6 WHERE sequence = 99",
        ],
        4,
    ),
    "tail cut off": (["DELETE FROM audit WHERE sequence > 23"], 24),
    "tail cut off with the head put right": (
        [
            "DELETE FROM audit WHERE sequence > 15",
            "UPDATE audit_head SET sequence = 15, digest = (SELECT digest FROM audit WHERE sequence = 15)",
        ],
        16,
    ),
}


@pytest.mark.parametrize(("statements", "row"), TAMPERING.values(), ids=TAMPERING)
def test_each_kind_of_tampering_is_found_at_its_row(
    database: Database, signer: Signer, statements: list[str], row: int
) -> None:
    signed_log(database, signer)
    run(database, *statements)
    for known in (proof(signer), elsewhere(signer)):
        with pytest.raises(AuditBroken, match=f"row {row}[: ]"):
            verify_log(database, known, at(420))


@pytest.mark.parametrize(("first", "row"), [(3, 1), (10, 1), (11, 11), (21, 11)])
def test_a_tail_that_was_computed_anew_is_found(database: Database, signer: Signer, first: int, row: int) -> None:
    """The chain fits, the head fits: only the signature does not. What was signed before is known to be good."""
    signed_log(database, signer)
    forge(database, first, lambda event: replace(event, actor="nobody"))
    with database.read() as tx:
        assert audit.verify(tx) == 25
    for known in (proof(signer), elsewhere(signer)):
        with pytest.raises(AuditBroken, match=f"row {row} or after.*computed anew"):
            verify_log(database, known, at(420))


def test_rows_taken_out_of_a_tail_that_was_computed_anew_are_found(database: Database, signer: Signer) -> None:
    signed_log(database, signer)
    forge(database, 12, lambda event: None if event.actor in ("actor 13", "actor 14") else event)
    with pytest.raises(AuditBroken, match="computed anew"):
        verify_log(database, elsewhere(signer), at(420))


def test_what_came_after_the_last_checkpoint_can_be_forged_and_that_is_said(database: Database, signer: Signer) -> None:
    signed_log(database, signer)
    forge(database, 23, lambda event: replace(event, actor="nobody"))
    assert "there a tail that was computed anew is not found" in verify_log(database, proof(signer), at(420)).sentence()


def test_checkpoints_that_went_with_the_tail_are_missed_on_the_machine_of_the_key(
    database: Database, signer: Signer
) -> None:
    """The file beside the key is not in the database, and so not in the hands of who can write there."""
    signed_log(database, signer)
    run(database, "DELETE FROM audit_checkpoints WHERE sequence > 10")
    forge(database, 12, lambda event: replace(event, actor="nobody"))
    with pytest.raises(AuditBroken, match="row 11 or after: the checkpoint of row 21"):
        verify_log(database, proof(signer), at(420))
    # Who has the public key alone sees only that nothing has been signed for long.
    assert "last 15 rows" in verify_log(database, elsewhere(signer), at(420)).sentence()


def test_nothing_is_signed_over_a_tail_that_was_computed_anew(database: Database, signer: Signer) -> None:
    signed_log(database, signer)
    run(database, "DELETE FROM audit_checkpoints WHERE sequence > 10")
    forge(database, 12, lambda event: replace(event, actor="nobody"))
    with pytest.raises(AuditBroken, match="older database"):
        sign(database, signer, 60)
    with database.read() as tx:
        assert [c.sequence for c in checkpoints.every(tx)] == [10]


def test_nothing_is_signed_over_a_row_that_was_signed_otherwise(database: Database, signer: Signer) -> None:
    signed_log(database, signer)
    forge(database, 12, lambda event: replace(event, actor="nobody"))
    signer.memory.unlink()
    with pytest.raises(AuditBroken, match="row 21"):
        sign(database, signer, 60)


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("DELETE FROM audit_checkpoints WHERE sequence = 10", 1),
        ("UPDATE audit_checkpoints SET signature = 'oops' WHERE sequence = 21", 11),
        ("UPDATE audit_checkpoints SET key_id = 'mine' WHERE sequence = 21", 11),
    ],
)
def test_a_spoilt_list_of_checkpoints_is_found(database: Database, signer: Signer, statement: str, row: int) -> None:
    signed_log(database, signer)
    run(database, statement)
    with pytest.raises(AuditBroken, match=f"from row {row} on"):
        verify_log(database, elsewhere(signer), at(420))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit_checkpoints SET at = 'teatime' WHERE sequence = 10", "row 10 has no time any more"),
        ("UPDATE audit_checkpoints SET signature = CAST(X'E1' AS TEXT) WHERE sequence = 10", "from row 1 on"),
        ("UPDATE audit_checkpoints SET digest = CAST(X'E1' AS TEXT) WHERE sequence = 10", "row 1 or after"),
    ],
)
def test_a_checkpoint_that_sqlite_keeps_and_no_driver_reads_is_found(
    sqlite_url: str, signer: Signer, statement: str, said: str
) -> None:
    db = Database(sqlite_url)
    signed_log(db, signer)
    run(db, statement)
    with pytest.raises(AuditBroken, match=said):
        verify_log(db, elsewhere(signer), at(420))
    db.dispose()


def test_a_checkpoint_signed_by_the_forger_is_found(database: Database, signer: Signer, tmp_path: Path) -> None:
    signed_log(database, signer)
    run(database, "DELETE FROM audit_checkpoints WHERE sequence > 10")
    forge(database, 12, lambda event: replace(event, actor="nobody"))
    sign(database, Signer(Ed25519PrivateKey.generate(), tmp_path / "his.key"), 10)
    with pytest.raises(AuditBroken, match="which was not given"):
        verify_log(database, elsewhere(signer), at(700))


def test_a_new_key_takes_over_and_both_halves_verify(database: Database, signer: Signer, tmp_path: Path) -> None:
    signed_log(database, signer)
    new = make_key(tmp_path / "new.key")
    assert sign(database, new, 20)
    both = Proof(keys=(signer.public_key,), signer=new, every=EVERY)
    assert verify_log(database, both, at(1201)).checkpoints == 3
    with pytest.raises(AuditBroken, match="which was not given"):
        verify_log(database, proof(new), at(1201))


def test_the_public_halves_beside_the_key_stand_for_earlier_keys(tmp_path: Path, signer: Signer) -> None:
    assert earlier_keys(signer.file) == ()
    older = [Ed25519PrivateKey.generate().public_key() for _ in range(2)]
    for number, public in enumerate(older):
        signer.file.with_name(f"audit.key.{number}.pub").write_text(public_pem(public))
    assert list(earlier_keys(signer.file)) == older
    signer.file.with_name("audit.key.9.pub").write_text("oops")
    with pytest.raises(ConfigurationError, match=r"audit\.key\.9\.pub"):
        earlier_keys(signer.file)


def test_a_lost_memory_is_made_anew(database: Database, signer: Signer) -> None:
    signed_log(database, signer)
    signer.memory.unlink()
    assert remembered(signer) is None
    made = sign(database, signer, 60)
    assert remembered(signer) == made
    signer.memory.write_text("{}")
    with pytest.raises(ConfigurationError, match="last checkpoint"):
        remembered(signer)


def test_the_key_is_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "audit.key"
    made = make_key(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_signer(file).public_key == made.public_key
    with pytest.raises(ConfigurationError, match="exists"):
        make_key(file)
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        read_signer(file)


def test_what_is_no_key_is_said(tmp_path: Path, signer: Signer) -> None:
    public = tmp_path / "audit.pub"
    public.write_text(public_pem(signer.public_key))
    assert read_public_key(public) == signer.public_key
    for file, read in ((tmp_path / "none", read_signer), (tmp_path / "none", read_public_key)):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            read(file)
    public.chmod(0o600)
    with pytest.raises(ConfigurationError, match="no private key"):
        read_signer(public)
    with pytest.raises(ConfigurationError, match="no public key"):
        read_public_key(signer.file)
