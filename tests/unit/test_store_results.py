"""Results: provisional, then full, then for ever; and the objects made from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select, update

from tests.stores import DIGEST, NOW, STUDY, analysed, at, claim, encoded, finish, logged, receive, result, running
from triage.domain.audit import AuditAction
from triage.domain.encoded import EncodedObject, ObjectKind, ObjectReference
from triage.domain.errors import StaleState
from triage.domain.finding import ReasonCode, TriageResult, WorklistStatus
from triage.domain.lifecycle import SeriesState
from triage.domain.work import ClaimedJob
from triage.store import bundles, jobs, result_objects, results, schema, series
from triage.store.db import Database


def _provisional(db: Database, job: ClaimedJob, given: TriageResult) -> int:
    with db.transaction() as tx:
        return results.put_provisional(tx, job, given, bundle_digest=DIGEST, bundle="demo 1", now=at(1))


def _record(db: Database, job: ClaimedJob, given: TriageResult, digest: str = DIGEST) -> int:
    with db.transaction() as tx:
        return results.record(tx, job, given, bundle_digest=digest, bundle="demo 1", now=at(2))


def _next_revision(db: Database, number: int, seconds: float) -> ClaimedJob:
    with db.transaction() as tx:
        stable = series.move(
            tx, receive(tx, number, now=at(seconds)), SeriesState.STABLE, now=at(seconds), actor="clock"
        )
        jobs.add(tx, stable, priority=1, deadline_at=at(seconds), now=at(seconds))
    return claim(db, now=at(seconds))


def test_nothing_is_said_before_the_first_result(database: Database) -> None:
    job = running(database)
    with database.read() as tx:
        assert results.latest(tx, job.series_id) is None
        assert result_objects.of_study(tx, STUDY) == []


def test_the_provisional_result_is_there_at_once_and_the_full_one_replaces_it(database: Database) -> None:
    job = running(database)
    first = _provisional(database, job, result(0.7, provisional=True))
    with database.read() as tx:
        latest = results.latest(tx, job.series_id)
    assert latest == (result(0.7, provisional=True), 1, "demo 1", True)
    assert logged(database, AuditAction.RESULT_RECORDED) == []
    assert _record(database, job, result(0.9)) == first
    with database.read() as tx:
        assert results.latest(tx, job.series_id) == (result(0.9), 1, "demo 1", False)
    (record,) = logged(database, AuditAction.RESULT_RECORDED)
    assert record.event.detail["score"] == 0.9
    assert record.event.detail["bundle_digest"] == DIGEST
    assert record.event.detail["suspected_at"] == 0.5


def test_a_worker_that_starts_over_replaces_its_provisional_result(database: Database) -> None:
    job = running(database)
    first = _provisional(database, job, result(0.7, provisional=True))
    assert _provisional(database, job, result(0.6, provisional=True)) == first
    with database.read() as tx:
        assert results.latest(tx, job.series_id).result.score == 0.6


def test_the_probability_of_each_slice_is_kept_with_the_result_to_four_digits(database: Database) -> None:
    job = running(database)
    given = {"bundle_digest": DIGEST, "bundle": "demo 1"}
    with database.transaction() as tx:
        results.put_provisional(
            tx, job, result(0.7, provisional=True), now=at(1), slice_scores=[0.123456, 0.9], **given
        )
    with database.read() as tx:
        early = results.shown(tx, job.series_id)
    assert early is not None
    assert (early.slice_scores, early.result.provisional) == ((0.1235, 0.9), True)
    with database.transaction() as tx:
        results.record(tx, job, result(0.9), now=at(2), slice_scores=[0.2, 1.0], **given)
    with database.read() as tx:
        final = results.shown(tx, job.series_id)
    assert final is not None
    assert (final.slice_scores, final.result, final.result_id) == ((0.2, 1.0), result(0.9), early.result_id)
    assert (final.revision, final.bundle, final.bundle_digest, final.demonstration) == (1, "demo 1", DIGEST, False)


def test_a_result_without_slice_scores_is_shown_without(database: Database) -> None:
    job = running(database)
    with database.read() as tx:
        assert results.shown(tx, job.series_id) is None
    _record(database, job, result(0.9))
    with database.read() as tx:
        found = results.shown(tx, job.series_id)
    assert found is not None
    assert found.slice_scores is None


@pytest.mark.parametrize("demonstration", [True, False])
def test_a_page_knows_whether_the_bundle_is_for_demonstration_only(database: Database, demonstration: bool) -> None:
    job = running(database)
    _record(database, job, result(0.9))
    manifest = {"provenance": {"demonstration": demonstration}}
    with database.transaction() as tx:
        bundles.record(tx, digest=DIGEST, name="demo", version="1", manifest=manifest, now=at(0))
    with database.read() as tx:
        found = results.shown(tx, job.series_id)
    assert found is not None
    assert found.demonstration is demonstration


def test_a_full_result_is_never_replaced(database: Database) -> None:
    job = running(database)
    first = _record(database, job, result(0.9))
    assert _provisional(database, job, result(0.1, provisional=True)) == first
    assert _record(database, job, result(0.2)) == first
    with database.read() as tx:
        assert results.latest(tx, job.series_id).result == result(0.9)
    assert len(logged(database, AuditAction.RESULT_RECORDED)) == 1


def _undetermined(db: Database, job: ClaimedJob, reason: ReasonCode) -> int:
    with db.transaction() as tx:
        record = series.get(tx, job.series_id)
        return results.record_undetermined(tx, record, reason, bundle_digest=DIGEST, bundle="demo 1", now=at(3))


def _reason(db: Database, result_id: int) -> tuple[object, ...]:
    columns = schema.results.c
    asked = select(columns.status, columns.reason, columns.provisional, columns.shadow, columns.key_slice)
    with db.read() as tx:
        return tuple(tx.connection.execute(asked.where(columns.id == result_id)).one())


def test_the_last_reason_replaces_what_the_gate_said_and_the_reason_before(database: Database) -> None:
    job = running(database)
    first = _provisional(database, job, result(0.2, provisional=True))
    for reason in (ReasonCode.FAILED, ReasonCode.OUT_OF_DISTRIBUTION):
        assert _undetermined(database, job, reason) == first
        assert _reason(database, first) == (WorklistStatus.NOT_ANALYSED, reason, False, False, None)
    with database.read() as tx:
        assert results.latest(tx, job.series_id) is None
    assert _record(database, job, result(0.9)) == first


def test_what_a_bundle_said_beside_another_is_no_reason_yet(database: Database) -> None:
    job = running(database)
    first = _record(database, job, result(0.2))
    with database.transaction() as tx:
        tx.connection.execute(update(schema.results).values(shadow=True))
    assert _undetermined(database, job, ReasonCode.FAILED) == first
    assert _reason(database, first)[:4] == (WorklistStatus.NOT_ANALYSED, ReasonCode.FAILED, False, False)


def test_no_reason_replaces_a_full_result(database: Database) -> None:
    job = running(database)
    first = _record(database, job, result(0.9))
    assert _undetermined(database, job, ReasonCode.FAILED) == first
    assert _reason(database, first)[:2] == (WorklistStatus.SUSPECTED, None)


def test_another_bundle_gives_another_result(database: Database) -> None:
    job = running(database)
    first = _record(database, job, result(0.9))
    second = _record(database, job, result(0.3), digest="cd" * 32)
    assert first != second
    with database.read() as tx:
        assert results.latest(tx, job.series_id).result == result(0.3)


def test_a_result_without_a_key_slice_can_be_kept(database: Database) -> None:
    job = running(database)
    plain = result(0.1)
    _record(database, job, TriageResult(plain.score, plain.rule, plain.subtypes, 0.0, None, False))
    with database.read() as tx:
        assert results.latest(tx, job.series_id).result.key_slice is None


@pytest.mark.parametrize("act", [_provisional, _record])
def test_who_lost_the_lease_says_nothing(database: Database, act: object) -> None:
    job = running(database)
    with database.transaction() as tx:
        jobs.requeue_lapsed(tx, STUDY, now=at(60), max_attempts=3)
    with pytest.raises(StaleState, match="lease"):
        act(database, job, result())
    claim(database, now=at(61))
    with pytest.raises(StaleState, match="lease"):
        act(database, job, result())


def test_a_late_slice_takes_the_word_from_the_worker(database: Database) -> None:
    job = running(database)
    with database.transaction() as tx:
        receive(tx, 2, now=at(3))
    with pytest.raises(StaleState):
        _record(database, job, result())


def test_the_result_may_be_written_before_or_after_the_job_is_finished(database: Database) -> None:
    job = running(database)
    with database.transaction() as tx:
        jobs.succeed(tx, job, at(2))
        results.record(tx, job, result(), bundle_digest=DIGEST, bundle="demo 1", now=at(2))
    with database.read() as tx:
        assert results.latest(tx, job.series_id) is not None


def test_the_same_object_again_keeps_its_first_file(database: Database) -> None:
    analysed(database, kinds=("SR",))
    with database.transaction() as tx:
        (first,) = result_objects.of_study(tx, STUDY)
        again = encoded("SR", first.sop_instance_uid)
        assert result_objects.add(tx, first.result_id, again, "00/other", at(9)) == first.object_id
        assert result_objects.of_study(tx, STUDY) == [first]


def test_an_object_that_a_later_revision_makes_again_belongs_to_that(database: Database) -> None:
    finish(database, running(database), kinds=("SR",))
    second = _record(database, _next_revision(database, 2, 60), result(0.9))
    with database.transaction() as tx:
        (first,) = result_objects.of_study(tx, STUDY)
        result_objects.add(tx, second, encoded("SR", first.sop_instance_uid), "00/other", at(61))
        assert result_objects.of_study(tx, STUDY) == [replace(first, result_id=second, revision=2)]


def test_an_object_is_on_record_with_the_digest_of_its_bytes(database: Database) -> None:
    result_id = analysed(database, kinds=())
    made = EncodedObject(ObjectKind.SEG, "1.1", "1.2", "1.3", "1.4", b"content")
    with database.transaction() as tx:
        object_id = result_objects.add(tx, result_id, made, "00/x", at(1))
        (found,) = result_objects.of_study(tx, STUDY)
    assert (found.object_id, found.result_id, found.revision, found.created_at) == (object_id, result_id, 1, at(1))
    assert (found.kind, found.sop_class_uid, found.sop_instance_uid) == ("SEG", "1.1", "1.2")
    assert (found.series_instance_uid, found.transfer_syntax_uid, found.blob_key) == ("1.3", "1.4", "00/x")
    assert found.digest == "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"


def test_our_own_objects_are_known_again(database: Database) -> None:
    analysed(database)
    with database.read() as tx:
        (seg, sr) = result_objects.of_study(tx, STUDY)
        assert result_objects.owns(tx, seg.sop_instance_uid)
        assert result_objects.owns(tx, sr.sop_instance_uid)
        assert not result_objects.owns(tx, "1.2.3")


def test_a_report_names_the_report_of_the_revision_before_it(database: Database) -> None:
    job = running(database)
    finish(database, job)
    second = _next_revision(database, 2, 60)
    with database.read() as tx:
        assert result_objects.predecessors(tx, job.series_id, 1) == {}
        found = result_objects.predecessors(tx, job.series_id, 2)
        (_, sr) = result_objects.of_study(tx, STUDY)
    names = (STUDY, sr.series_instance_uid, sr.sop_class_uid, sr.sop_instance_uid)
    assert found == {ObjectKind.SR: ObjectReference(*names)}
    finish(database, second, now=at(60), kinds=("SEG",))
    _next_revision(database, 3, 120)
    with database.read() as tx:
        assert result_objects.predecessors(tx, job.series_id, 3) == found


def test_each_kind_of_report_has_its_own_predecessor(database: Database) -> None:
    job = running(database)
    finish(database, job, kinds=("SR", "SR_TEXT"))
    finish(database, _next_revision(database, 2, 60), now=at(60), kinds=("SR",))
    with database.read() as tx:
        first_sr, first_text, second_sr = result_objects.of_study(tx, STUDY)
        found = result_objects.predecessors(tx, job.series_id, 3)
    assert {kind: r.sop_instance_uid for kind, r in found.items()} == {
        ObjectKind.SR: second_sr.sop_instance_uid,
        ObjectKind.SR_TEXT: first_text.sop_instance_uid,
    }
    assert first_sr.sop_instance_uid != second_sr.sop_instance_uid


def test_what_a_destination_was_sent_of_the_revisions_before(database: Database) -> None:
    job = running(database)
    finish(database, job, kinds=("SEG", "SR", "ORU"))
    with database.read() as tx:
        made = result_objects.of_study(tx, STUDY)
        assert result_objects.sent_before(tx, job.series_id, 1, "pacs") == []
        assert result_objects.sent_before(tx, job.series_id, 2, "ward") == []
        there = result_objects.sent_before(tx, job.series_id, 2, "pacs")
    assert [r.sop_instance_uid for r in there] == [o.sop_instance_uid for o in made if o.kind != "ORU"]
    finish(database, _next_revision(database, 2, 60), now=at(60), kinds=("SR",))
    with database.read() as tx:
        *before, last = result_objects.sent_before(tx, job.series_id, 3, "pacs")
        assert before == there
        assert last.sop_instance_uid == result_objects.of_study(tx, STUDY)[-1].sop_instance_uid


def test_what_a_note_rejected_is_not_rejected_again(database: Database) -> None:
    finish(database, job := running(database), kinds=("SR",))
    finish(database, _next_revision(database, 2, 60), now=at(60), kinds=("SR", "KOS_REJECTED"))
    finish(database, _next_revision(database, 3, 120), now=at(120), kinds=("SR",))
    _next_revision(database, 4, 180)
    with database.read() as tx:
        (_, second, _, third) = result_objects.of_study(tx, STUDY)
        there = result_objects.sent_before(tx, job.series_id, 4, "pacs")
    assert [r.sop_instance_uid for r in there] == [second.sop_instance_uid, third.sop_instance_uid]


def test_a_revision_that_was_never_sent_does_not_hide_the_one_that_was(database: Database) -> None:
    finish(database, job := running(database))
    with database.read() as tx:
        first = result_objects.sent_before(tx, job.series_id, 2, "pacs")
    second = _next_revision(database, 2, 60)
    with database.transaction() as tx:
        results.put_provisional(tx, second, result(), bundle_digest=DIGEST, bundle="b", now=at(61))
    _next_revision(database, 3, 120)
    with database.read() as tx:
        assert result_objects.sent_before(tx, job.series_id, 3, "pacs") == first


def test_the_latest_result_is_that_of_the_latest_revision(database: Database) -> None:
    job = running(database)
    finish(database, job, score=0.9)
    finish(database, _next_revision(database, 2, 60), now=at(60), score=0.2)
    with database.read() as tx:
        latest = results.latest(tx, job.series_id)
    assert (latest.revision, latest.result.score) == (2, 0.2)


def test_what_a_gate_alone_says_takes_no_suspicion_back(database: Database) -> None:
    finish(database, job := running(database), score=0.9)
    second = _next_revision(database, 2, 60)
    _provisional(database, second, result(0.2, provisional=True))
    with database.read() as tx:
        assert results.latest(tx, job.series_id).revision == 1
        assert results.shown(tx, job.series_id).revision == 1
    _provisional(database, second, result(0.6, provisional=True))
    with database.read() as tx:
        assert results.latest(tx, job.series_id).revision == 2
        assert results.shown(tx, job.series_id).revision == 2


def test_objects_come_with_the_revision_they_were_made_for(database: Database) -> None:
    finish(database, running(database))
    finish(database, _next_revision(database, 2, 60), now=at(60))
    with database.read() as tx:
        found = result_objects.of_study(tx, STUDY)
    assert [(o.kind, o.revision) for o in found] == [("SEG", 1), ("SR", 1), ("SEG", 2), ("SR", 2)]


def test_results_of_one_revision_are_one_row(database: Database) -> None:
    from sqlalchemy.exc import IntegrityError

    from triage.store.codec import result_columns
    from triage.store.schema import results as table

    job = running(database)
    _record(database, job, result())
    twin = {"series_id": job.series_id, "revision": 1, "bundle_digest": DIGEST, "bundle": "b", "created_at": NOW}
    with pytest.raises(IntegrityError), database.transaction() as tx:
        tx.connection.execute(table.insert().values(**twin, **result_columns(result())))
