"""Procedure steps for those who ask: in reading order, over as many pages of the list as there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from tests.stores import DIGEST, SERIES, STUDY, at, encoded, logged, receive
from triage.domain.audit import AuditAction, Outcome
from triage.domain.encoded import ObjectKind
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.net.peer import Peer
from triage.net.ups_scp import Asked, Step, StepQuery
from triage.services.offer import find_steps, get_step, record_query
from triage.store import result_objects, results, retention, schema, worklist
from triage.store.db import Database
from triage.store.folder_area import FolderArea

STUDIES = 450
NOBODY = StepQuery()


@pytest.fixture
def blobs(tmp_path: Path) -> FolderArea:
    return FolderArea(tmp_path / "blobs")


def step(number: int, series: int = 1) -> str:
    return f"2.25.9.{number}.{series}"


def offered(db: Database, blobs: FolderArea, numbers: range, series: int = 1) -> None:
    """Studies that came in one after the other, each with a procedure step of one of its series."""
    with db.transaction() as tx:
        for number in numbers:
            study = f"{STUDY}.{number}"
            record = receive(tx, now=at(number), study=study, series_uid=f"{SERIES}.{number}.{series}")
            result_id = results.record_undetermined(
                tx, record, ReasonCode.GAP, bundle_digest=DIGEST, bundle="demo 1", now=at(number)
            )
            uid = step(number, series)
            result_objects.add(tx, result_id, encoded(ObjectKind.UPS, uid), blobs.put(uid.encode()), at(number))
            worklist.refresh(tx, study, at(number))


def test_every_step_is_found_over_all_pages_in_reading_order(database: Database, blobs: FolderArea) -> None:
    offered(database, blobs, range(STUDIES))
    found = list(find_steps(database, blobs, NOBODY, at(0)))
    assert found == [Step(step(number), step(number).encode()) for number in range(STUDIES)]


def test_a_study_that_moves_down_the_list_meanwhile_is_told_once(database: Database, blobs: FolderArea) -> None:
    offered(database, blobs, range(STUDIES))
    found = find_steps(database, blobs, NOBODY, at(0))
    first = next(found)
    moved = update(schema.worklist).where(schema.worklist.c.study_instance_uid == f"{STUDY}.0")
    with database.transaction() as tx:
        tx.connection.execute(moved.values(status=WorklistStatus.NOT_SUSPECTED))
    told = [one.sop_instance_uid for one in (first, *found)]
    assert sorted(told) == sorted(step(number) for number in range(STUDIES))


def test_a_step_whose_file_is_gone_keeps_no_other_from_being_found(database: Database, blobs: FolderArea) -> None:
    offered(database, blobs, range(3))
    with database.read() as tx:
        gone = result_objects.step(tx, step(1))
    assert gone is not None
    blobs.path(gone.blob_key).unlink()
    assert [one.sop_instance_uid for one in find_steps(database, blobs, NOBODY, at(0))] == [step(0), step(2)]


def test_a_study_whose_files_were_removed_for_their_age_is_not_offered(database: Database, blobs: FolderArea) -> None:
    offered(database, blobs, range(3))
    with database.transaction() as tx:
        retention.mark_removed(tx, f"{STUDY}.1", at(10))
        retention.mark_restored(tx, f"{STUDY}.1", at(15))  # images come again, a step does not
    with capture_logs() as events:
        assert [one.sop_instance_uid for one in find_steps(database, blobs, NOBODY, at(20))] == [step(0), step(2)]
    assert events == []


def test_of_a_study_the_newest_step_is_told(database: Database, blobs: FolderArea) -> None:
    offered(database, blobs, range(2), series=2)
    offered(database, blobs, range(2), series=1)
    one = StepQuery(study_instance_uid=f"{STUDY}.1")
    assert [found.sop_instance_uid for found in find_steps(database, blobs, one, at(0))] == [step(1, 1)]
    some = StepQuery(study_instance_uid=f"{STUDY}.*")
    assert [found.sop_instance_uid for found in find_steps(database, blobs, some, at(0))] == [step(0, 1), step(1, 1)]


def test_a_step_is_got_by_its_uid_of_whichever_series(database: Database, blobs: FolderArea) -> None:
    offered(database, blobs, range(1), series=2)
    offered(database, blobs, range(1), series=1)
    assert get_step(database, blobs, step(0, 2)) == Step(step(0, 2), step(0, 2).encode())
    assert get_step(database, blobs, "2.25.8") is None
    assert list(find_steps(database, blobs, StepQuery(study_instance_uid="2.25.8"), at(0))) == []


def test_who_reads_the_list_is_on_record_in_numbers_alone(database: Database) -> None:
    asked = Asked("1.2.840.10008.5.1.4.34.6.3", questions=2, answers=30)
    record_query(database, Peer("WORKSTATION", "ICHTRIAGE", "192.0.2.9", 40001), asked, at(5))
    (row,) = logged(database, AuditAction.WORKLIST_QUERIED)
    assert (row.event.actor, row.event.at, row.event.outcome) == ("WORKSTATION", at(5), Outcome.SUCCESS)
    assert row.event.detail == {
        "questions": 2, "answers": 30, "sop_class_uid": "1.2.840.10008.5.1.4.34.6.3",
        "address": "192.0.2.9", "called_ae_title": "ICHTRIAGE",
    }  # fmt: skip
