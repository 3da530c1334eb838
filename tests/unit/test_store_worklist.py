"""The worklist row follows its series, and every time that it becomes suspected is stamped once."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select, update

from tests.stores import (
    DIGEST,
    NOW,
    SERIES,
    STUDY,
    analysed,
    at,
    batch,
    claim,
    finish,
    logged,
    receive,
    result,
    running,
)
from triage.domain.audit import AuditAction
from triage.domain.errors import NotFound
from triage.domain.finding import ReasonCode, Urgency, WorklistStatus
from triage.domain.lifecycle import SeriesState
from triage.domain.reading import Verdict
from triage.domain.study import FrameGeometry
from triage.domain.work import ClaimedJob
from triage.domain.worklist import ObjectState, WorklistRow
from triage.store import deliveries, escalations, jobs, reading_list, readings, results, schema, series, worklist
from triage.store.db import Database


def _refresh(db: Database, seconds: float = 0) -> WorklistRow:
    with db.transaction() as tx:
        return worklist.refresh(tx, STUDY, at(seconds))


def _row(db: Database) -> WorklistRow:
    with db.read() as tx:
        found = worklist.row(tx, STUDY)
    assert found is not None
    return found


def _provisional(db: Database, job: ClaimedJob, score: float) -> None:
    with db.transaction() as tx:
        given = result(score, provisional=True)
        results.put_provisional(tx, job, given, bundle_digest=DIGEST, bundle="demo 1", now=at(2))


def test_a_study_that_is_coming_in_is_pending(database: Database) -> None:
    with database.transaction() as tx:
        receive(tx, accession_number="A1")
    row = _refresh(database)
    assert row == _row(database)
    assert (row.status, row.accession_number, row.series_instance_uid) == (WorklistStatus.PENDING, "A1", SERIES)
    assert (row.received_at, row.flagged_at, row.score, row.subtypes) == (NOW, None, None, {})


def test_a_provisional_flag_stands_at_once_and_is_audited_once(database: Database) -> None:
    job = running(database)
    _provisional(database, job, 0.7)
    row = _refresh(database, 2)
    assert row == _row(database)
    assert (row.status, row.provisional, row.urgency) == (WorklistStatus.SUSPECTED, True, Urgency.URGENT)
    assert (row.flagged_at, row.bundle) == (at(2), "demo 1")
    finish(database, job, now=at(5), score=0.95)
    final = _row(database)
    assert (final.status, final.provisional, final.urgency) == (WorklistStatus.SUSPECTED, False, Urgency.EMERGENT)
    assert final.flagged_at == at(2)
    assert (final.score, final.total_volume_ml, final.key_slice) == (0.95, 12.25, result().key_slice)
    assert final.subtypes == result(0.95).subtypes
    (flagged,) = logged(database, AuditAction.STUDY_FLAGGED)
    assert (flagged.event.at, flagged.event.actor) == (at(2), "worker")
    assert flagged.event.study_instance_uid == STUDY
    assert flagged.event.series_instance_uid == SERIES
    assert flagged.event.detail == {"urgency": "urgent", "score": 0.7, "provisional": True, "bundle": "demo 1"}


def test_a_flag_that_the_full_result_takes_back_keeps_its_time(database: Database) -> None:
    job = running(database)
    _provisional(database, job, 0.7)
    _refresh(database, 2)
    finish(database, job, now=at(5), score=0.1)
    row = _row(database)
    assert (row.status, row.flagged_at, row.urgency) == (WorklistStatus.NOT_SUSPECTED, at(2), Urgency.NONE)


def test_a_suspicion_that_comes_back_is_a_new_flag(database: Database) -> None:
    """Or nobody would hear of it: it was taken back, so those who were told believe it gone."""
    finish(database, running(database), now=at(5), score=0.9)
    with database.transaction() as tx:
        readings.mark_opened(tx, STUDY, reader="anna", now=at(6))
        unopened = escalations.Unopened(STUDY, SERIES, at(5))
        escalations.record(tx, unopened, name="chief", minutes=5, now=at(6), actor="sender")
    for number, (came, score) in enumerate(((60, 0.1), (100, 0.9)), start=2):
        with database.transaction() as tx:
            receive(tx, number, now=at(came))
            stable = series.move(tx, series.of_study(tx, STUDY)[0], SeriesState.STABLE, now=at(came), actor="clock")
            jobs.add(tx, stable, priority=1, deadline_at=at(came), now=at(came))
        finish(database, claim(database, now=at(came)), now=at(came + 5), score=score)
    with database.read() as tx:
        found = worklist.listed(tx, STUDY)
        waiting = escalations.unopened(tx, flagged_from=at(90), flagged_until=at(200))
    assert found is not None
    assert (found.row.status, found.row.flagged_at) == (WorklistStatus.SUSPECTED, at(105))
    assert (found.opened_at, found.escalated_at) == (None, None)
    assert [one.flagged_at for one in waiting] == [at(105)]
    assert [record.event.at for record in logged(database, AuditAction.STUDY_FLAGGED)] == [at(5), at(105)]


def test_a_provisional_negative_reads_as_pending(database: Database) -> None:
    job = running(database)
    _provisional(database, job, 0.1)
    assert _refresh(database, 2).status is WorklistStatus.PENDING


def test_a_late_slice_leaves_the_suspicion_standing_and_takes_back_the_negative(database: Database) -> None:
    finish(database, running(database), score=0.9)
    with database.transaction() as tx:
        receive(tx, 2, now=at(60))
    row = _refresh(database, 60)
    assert (row.status, row.provisional) == (WorklistStatus.SUSPECTED, True)
    with database.transaction() as tx:
        stable = series.move(tx, series.of_study(tx, STUDY)[0], SeriesState.STABLE, now=at(70), actor="clock")
        jobs.add(tx, stable, priority=1, deadline_at=at(70), now=at(70))
    finish(database, claim(database, now=at(70)), now=at(80), score=0.1)
    assert _row(database).status is WorklistStatus.NOT_SUSPECTED
    with database.transaction() as tx:
        receive(tx, 3, now=at(90))
    assert _refresh(database, 90).status is WorklistStatus.PENDING


def test_what_was_not_analysed_says_why(database: Database) -> None:
    with database.transaction() as tx:
        record = receive(tx)
        series.move(tx, record, SeriesState.UNUSABLE, now=NOW, actor="clock", reason=ReasonCode.LOCALIZER)
    row = _refresh(database)
    assert row == _row(database)
    assert (row.status, row.reason) == (WorklistStatus.NOT_ANALYSED, ReasonCode.LOCALIZER)


def test_the_row_speaks_of_the_suspected_series(database: Database) -> None:
    with database.transaction() as tx:
        for number in range(2, 6):
            large = receive(tx, number, series_uid="1.5")
        series.move(tx, large, SeriesState.UNUSABLE, now=NOW, actor="clock", reason=ReasonCode.CONTRAST)
    finish(database, running(database))
    assert _row(database).series_instance_uid == SERIES


def test_the_row_shows_where_each_object_is(database: Database) -> None:
    analysed(database, destinations=("pacs", "ward"))
    claimed = batch(database, destination="pacs")
    with database.transaction() as tx:
        deliveries.delivered(tx, claimed, claimed.objects[0].delivery_id, status=0, now=at(1))
    seg, sr = (item.sop_instance_uid for item in claimed.objects)
    assert _row(database).objects == (
        ObjectState("SEG", seg, "pacs", "delivered"),
        ObjectState("SEG", seg, "ward", "pending"),
        ObjectState("SR", sr, "pacs", "sending"),
        ObjectState("SR", sr, "ward", "pending"),
    )


def test_rows_of_several_studies_keep_their_own_objects(database: Database) -> None:
    for study in ("1.1", "1.2"):
        finish(database, running(database, study=study, series_uid=f"{study}.1"), kinds=("SR",))
    with database.read() as tx:
        rows = [study.row for study in reading_list.every(tx, NOW)]
        alone = [worklist.row(tx, row.study_instance_uid) for row in rows]
    assert sorted(row.study_instance_uid for row in rows) == ["1.1", "1.2"]
    assert alone == rows
    assert len({row.objects for row in rows}) == 2


def _origin(db: Database) -> tuple[str | None, float | None]:
    with db.read() as tx:
        found = worklist.listed(tx, STUDY)
    assert found is not None
    return found.scanner, found.slice_thickness_mm


def test_the_row_says_which_scanner_made_the_images_and_how_thick_they_are(database: Database) -> None:
    with database.transaction() as tx:
        receive(tx, manufacturer="SIEMENS ", model_name="SOMATOM  go.Top")
    _refresh(database)
    assert _origin(database) == ("SIEMENS SOMATOM go.Top", 5.0)


def test_scanner_and_thickness_are_those_of_the_series_that_the_row_speaks_of(database: Database) -> None:
    with database.transaction() as tx:
        receive(tx, manufacturer="GE", model_name="first", frames=())
    _refresh(database)
    assert _origin(database) == ("GE first", None)
    with database.transaction() as tx:
        for number in (2, 3):
            receive(tx, number, series_uid="1.5", manufacturer="GE", model_name="larger")
    _refresh(database)
    assert _origin(database) == ("GE larger", 5.0)


def test_a_thickness_that_is_no_number_is_left_out(database: Database) -> None:
    frame = FrameGeometry((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), float("nan"))
    with database.transaction() as tx:
        receive(tx, frames=(frame,))
    _refresh(database)
    assert _origin(database) == ("", None)


def test_who_looked_stays_when_the_row_is_made_anew(database: Database) -> None:
    analysed(database)
    looked = {"opened_at": at(30), "opened_by": "r.adler", "verdict": Verdict.AGREE, "escalated_at": at(20)}
    with database.transaction() as tx:
        tx.connection.execute(update(schema.worklist).values(**looked))
    _refresh(database, 60)
    with database.read() as tx:
        found = worklist.listed(tx, STUDY)
    assert found is not None
    assert {name: getattr(found, name) for name in looked} == looked
    assert found.updated_at == at(60)


def test_a_judgement_falls_off_the_list_with_the_status_that_was_judged(database: Database) -> None:
    analysed(database, score=0.1)
    with database.transaction() as tx:
        tx.connection.execute(update(schema.worklist).values(verdict=Verdict.AGREE))
        receive(tx, 2, now=at(30))
    assert _refresh(database, 30).status is WorklistStatus.PENDING
    with database.read() as tx:
        found = worklist.listed(tx, STUDY)
    assert found is not None
    assert found.verdict is None


def test_what_a_shadow_bundle_said_is_never_shown(database: Database) -> None:
    job = running(database)
    finish(database, job, score=0.1)
    with database.transaction() as tx:
        shadow = select(
            *(c for c in schema.results.columns if c.name not in ("id", "shadow", "bundle_digest", "score"))
        )
        (row,) = tx.connection.execute(shadow).mappings()
        values = {**row, "score": 0.99, "status": WorklistStatus.SUSPECTED, "bundle_digest": "cd" * 32, "shadow": True}
        tx.connection.execute(insert(schema.results), [values])
    assert _refresh(database, 60).status is WorklistStatus.NOT_SUSPECTED


def test_a_study_that_never_came_has_no_row(database: Database) -> None:
    with database.transaction() as tx:
        assert worklist.row(tx, STUDY) is None
        with pytest.raises(NotFound, match=STUDY):
            worklist.refresh(tx, STUDY, NOW)
