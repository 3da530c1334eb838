"""A verification of the audit log is on record, runs one at a time, and says why when it comes to no end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import copy_sqlite
from tests.signed_logs import proof, run, sign, signed_log, write
from tests.stores import NOW, at, logged
from triage.domain.audit import AuditAction, AuditEvent, Outcome
from triage.domain.errors import AuditBroken
from triage.services.checkpoint import Signer, make_key
from triage.services.verify_audit import Proof, Verifier, verify_and_record, verify_log
from triage.store.audit import PROGRESS_ROWS
from triage.store.db import Database


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return make_key(tmp_path / "keys" / "audit.key")


def test_a_verification_is_audited_good_or_bad(database: Database, signer: Signer) -> None:
    signed_log(database, signer)
    verify_and_record(database, proof(signer), lambda: at(420), "ada", "192.0.2.7")
    run(database, "UPDATE audit SET actor = 'x' WHERE sequence = 2")
    with pytest.raises(AuditBroken):
        verify_and_record(database, proof(signer), lambda: at(421), "ada")
    good, bad = (record.event for record in logged(database, AuditAction.AUDIT_READ))
    assert (good.outcome, good.detail["how"], good.detail["address"]) == (Outcome.SUCCESS, "verified", "192.0.2.7")
    assert (bad.outcome, bad.actor) == (Outcome.SERIOUS_FAILURE, "ada")
    assert "row 2" in str(bad.detail["why"])


def test_a_verification_in_the_background_is_one_at_a_time(database: Database, signer: Signer) -> None:
    signed_log(database, signer)
    verifier = Verifier(database, proof(signer), lambda: at(420))
    with database.read() as tx:
        assert verifier.last(tx) is None
    thread = verifier.start("ada", "192.0.2.7")
    assert thread is not None
    thread.join(30)
    assert not verifier.progress.running
    with database.read() as tx:
        last = verifier.last(tx)
        assert last is not None
        assert (last.actor, last.outcome) == ("ada", Outcome.SUCCESS)
    write(database, 2)
    with database.read() as tx:
        assert verifier.last(tx) == last
    assert verifier.progress.problem == ""
    another = Verifier(database, proof(signer), lambda: at(430))
    assert another._lock.acquire()
    assert another.start("bob", "") is None


def test_a_row_that_only_claims_to_be_a_verification_is_passed_over(database: Database) -> None:
    with database.transaction() as tx:
        tx.audit(AuditEvent(at=NOW, actor="x", action=AuditAction.AUDIT_READ, detail={"how": "verified"}))
    with database.read() as tx:
        assert Verifier(database, Proof(), lambda: NOW).last(tx) is None


def test_a_verification_in_the_background_that_comes_to_no_end_says_why(database: Database, signer: Signer) -> None:
    signed_log(database, signer)
    verifier = Verifier(database, proof(signer), lambda: at(420))
    signer.memory.write_text("{}")
    thread = verifier.start("ada", "192.0.2.7")
    assert thread is not None
    thread.join(30)
    assert not verifier.progress.running
    assert "last checkpoint" in verifier.progress.problem
    with database.read() as tx:
        assert verifier.last(tx) is None


def test_a_checkpoint_that_is_signed_meanwhile_is_not_missed(database: Database, signer: Signer) -> None:
    """SQLite shows one moment to the whole verification, and what is remembered must not be newer."""
    write(database, 10)
    sign(database, signer, 0)
    write(database, PROGRESS_ROWS, 10)
    signed = []
    found = verify_log(database, proof(signer), at(420), lambda _: signed.append(sign(database, signer, 6)))
    assert [checkpoint is not None for checkpoint in signed] == [True]
    assert (found.rows, found.covered) == (PROGRESS_ROWS + 11, 10)


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_verified(tmp_path: Path, sqlite_template: Path) -> None:
    copy_sqlite(sqlite_template, tmp_path / "a.db")
    db = Database(f"sqlite:///{tmp_path / 'a.db'}")
    write(db, 100_000)
    seen: list[int] = []
    assert verify_log(db, Proof(), NOW, seen.append).rows == 100_000
    assert seen == list(range(10_000, 100_001, 10_000))
    db.dispose()
