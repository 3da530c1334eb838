"""Assembling: when a series counts as complete, what is refused, and which series of a study is analysed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import ColumnElement, select, text, update
from structlog.testing import capture_logs

from tests.builders import localizer
from tests.fakes import FixedPredictor
from tests.integration.site import Site, head
from triage.domain.audit import AuditAction
from triage.domain.errors import StoreUnavailable, UnusableSeries
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.domain.lifecycle import JobState, SeriesState
from triage.store.schema import instances


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(database_url, tmp_path / "blobs")
    yield made
    made.db.dispose()


def states(site: Site, study: str) -> list[SeriesState]:
    return [record.state for record in site.series(study)]


def test_released_and_gap_free_settles_quickly(site: Site) -> None:
    series = head()
    site.send(series)
    site.wait(1.4)
    assert site.assemble() == 0
    site.wait(0.2)
    assert site.assemble() == 1
    assert states(site, series[0].StudyInstanceUID) == [SeriesState.STABLE]


def test_an_open_association_is_waited_for_until_it_is_quiet(site: Site) -> None:
    series = head()
    for ds in series:
        site.keep(ds)
    site.wait(9.9)
    assert site.assemble() == 0
    site.wait(0.2)
    assert site.assemble() == 1


def test_an_aborted_association_does_not_count_as_the_end(site: Site) -> None:
    series = head()
    site.send(series, released=False)
    site.wait(2)
    assert site.assemble() == 0
    site.wait(8.1)
    assert site.assemble() == 1


def test_a_gap_is_waited_for_and_then_named(site: Site) -> None:
    series = head()
    study = series[0].StudyInstanceUID
    site.send(series[:5] + series[8:])
    site.wait(2)
    assert site.assemble() == 0
    site.wait(8.1)
    assert site.assemble() == 1
    (record,) = site.series(study)
    assert (record.state, record.reason) == (SeriesState.UNUSABLE, ReasonCode.GAP)
    row = site.row(study)
    assert (row.status, row.reason) == (WorklistStatus.NOT_ANALYSED, ReasonCode.GAP)


def test_the_log_says_what_came_of_a_series_and_why(site: Site) -> None:
    series = head()
    with capture_logs() as events:
        site.send(series[:5] + series[8:])
        site.wait(11)
        site.assemble()
        site.send(series[5:8], "a2")
        site.settle()
    said = [event for event in events if event["event"] == "series_assembled"]
    assert [event["reason"] for event in said] == ["gap", None]
    (record,) = site.series(series[0].StudyInstanceUID)
    assert [event["revision"] for event in said] == [record.revision - 1, record.revision]
    assert [event["instances"] for event in said] == [len(series) - 3, len(series)]
    refused, taken = (event["why"] for event in said)
    assert "mm" in refused
    assert refused.endswith(".")
    assert taken is None


def test_the_missing_slices_heal_it(site: Site) -> None:
    series = head()
    site.send(series[:5] + series[8:])
    site.wait(11)
    site.assemble()
    site.send(series[5:8], "a2")
    site.settle()
    (record,) = site.series(series[0].StudyInstanceUID)
    assert (record.state, record.revision, record.reason) == (SeriesState.STABLE, 2, None)


def test_a_steady_trickle_ends_at_the_longest_wait(site: Site) -> None:
    series = head(30)
    for ds in series[:14]:
        site.keep(ds)
        site.wait(9)
        if site.assemble():
            break
    waited = (site.now - site.series(series[0].StudyInstanceUID)[0].received_at).total_seconds()
    assert 120 <= waited < 130


def test_two_halves_over_two_associations_are_one_revision(site: Site) -> None:
    series = head()
    for ds in series[::2]:
        site.keep(ds, "a1")
    for ds in series[1::2]:
        site.keep(ds, "a2")
    from triage.services.receive import association_ended

    association_ended(site.door, "a1", released=True, now=site.now)
    site.wait(3)
    assert site.assemble() == 0
    association_ended(site.door, "a2", released=True, now=site.now)
    assert site.settle() == 1
    assert site.series(series[0].StudyInstanceUID)[0].revision == 1


def bone_and_brain(site: Site) -> tuple[list, list, str]:
    brain = head(ConvolutionKernel="H31s", SeriesDescription="brain")
    study = str(brain[0].StudyInstanceUID)
    bone = head(ConvolutionKernel="H70h", SeriesDescription="bone", StudyInstanceUID=study)
    return brain, bone, study


def test_the_worse_series_is_passed_over_with_its_reason(site: Site) -> None:
    brain, bone, study = bone_and_brain(site)
    site.send(brain, "a1")
    site.send(bone, "a2")
    site.settle()
    by_uid = {r.series_instance_uid: r for r in site.series(study)}
    assert by_uid[brain[0].SeriesInstanceUID].state is SeriesState.STABLE
    other = by_uid[bone[0].SeriesInstanceUID]
    assert other.state is SeriesState.PASSED_OVER
    assert other.detail is not None
    assert "better for analysis" in other.detail


@pytest.mark.parametrize("bone_first", [True, False])
def test_the_choice_does_not_depend_on_the_order(site: Site, bone_first: bool) -> None:
    brain, bone, study = bone_and_brain(site)
    for number, series in enumerate((bone, brain) if bone_first else (brain, bone)):
        site.send(series, f"a{number}")
        site.settle()
    chosen = [r.series_instance_uid for r in site.series(study) if r.state is SeriesState.STABLE]
    assert chosen == [brain[0].SeriesInstanceUID]
    assert sum(j.state is JobState.QUEUED for j in site.jobs(study)) == 1


def test_a_better_series_after_the_analysis_is_analysed_too(site: Site) -> None:
    brain, bone, study = bone_and_brain(site)
    site.send(bone, "a1")
    site.settle()
    assert site.analyse()
    site.send(brain, "a2")
    site.settle()
    assert site.analyse()
    assert states(site, study) == [SeriesState.ANALYSED, SeriesState.ANALYSED]


def test_the_next_best_is_taken_up_when_the_chosen_one_fails(site: Site) -> None:
    """The chosen series turns out to be no head; the one that was passed over is analysed instead."""
    brain, bone, study = bone_and_brain(site)
    site.send(brain, "a1")
    site.send(bone, "a2")
    site.settle()

    def refuse() -> None:
        raise UnusableSeries(ReasonCode.OUT_OF_DISTRIBUTION, "SYNTHETIC: not this one.")

    site.predictor = FixedPredictor(at_gate=refuse)
    assert site.analyse()
    assert site.row(study).status is WorklistStatus.PENDING
    site.predictor = FixedPredictor(score=0.1)
    assert site.analyse()
    row = site.row(study)
    assert row.status is WorklistStatus.NOT_SUSPECTED
    assert row.series_instance_uid == bone[0].SeriesInstanceUID
    assert sorted(states(site, study)) == [SeriesState.ANALYSED, SeriesState.UNUSABLE]
    assert not site.analyse()
    moves = [r.event for r in site.audit() if r.event.action is AuditAction.SERIES_MOVED]
    (taken_up,) = [e for e in moves if e.detail["from"] == SeriesState.PASSED_OVER.value]
    assert taken_up.actor == "worker"  # the one that refused the better series


def test_a_series_that_cannot_be_looked_at_is_in_nobody_s_way(site: Site) -> None:
    bad, good = head(), head()
    site.send(bad)
    site.wait(0.1)
    site.send(good, "a2")
    spoilt = str(bad[3].SOPInstanceUID)
    with site.db.read() as tx:
        kept = tx.connection.execute(select(instances.c.header).where(_is(spoilt))).scalar_one()
    _set_header(site, spoilt, {})
    with capture_logs() as events:
        assert site.settle() == 1
    assert states(site, str(good[0].StudyInstanceUID)) == [SeriesState.STABLE]
    (told,) = [event for event in events if event["event"] == "series_not_assembled"]
    assert (told["log_level"], told["series_instance_uid"]) == ("error", bad[0].SeriesInstanceUID)
    assert isinstance(told["exc_info"], TypeError)
    (record,) = site.series(str(bad[0].StudyInstanceUID))
    assert record.state is SeriesState.RECEIVING
    assert record.assemble_at == site.now + timedelta(seconds=30)
    assert site.assemble() == 0
    _set_header(site, spoilt, kept)
    site.wait(30)
    assert site.assemble() == 1
    assert states(site, str(bad[0].StudyInstanceUID)) == [SeriesState.STABLE]


def _is(sop_instance_uid: str) -> ColumnElement[bool]:
    return instances.c.sop_instance_uid == sop_instance_uid


def _set_header(site: Site, sop_instance_uid: str, header: object) -> None:
    with site.db.transaction() as tx:
        tx.connection.execute(update(instances).where(_is(sop_instance_uid)).values(header=header))


def test_a_database_that_does_not_answer_is_no_fault_of_a_series(site: Site) -> None:
    site.send(head())
    site.wait(2)
    with site.db.transaction() as tx:
        tx.connection.execute(text("ALTER TABLE worklist RENAME TO elsewhere"))
    with pytest.raises(StoreUnavailable):
        site.assemble()
    with site.db.transaction() as tx:
        tx.connection.execute(text("ALTER TABLE elsewhere RENAME TO worklist"))
    assert site.assemble() == 1


def test_what_is_no_head_ct_is_not_waited_for(site: Site) -> None:
    views = [localizer(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4") for _ in range(2)]
    site.send(views)
    assert site.settle() == 1
    (record,) = site.series("1.2.3")
    assert (record.state, record.reason) == (SeriesState.UNUSABLE, ReasonCode.LOCALIZER)


def test_a_localizer_among_the_slices_is_set_aside(site: Site) -> None:
    series = head()
    study, uid = str(series[0].StudyInstanceUID), str(series[0].SeriesInstanceUID)
    site.send([*series, localizer(StudyInstanceUID=study, SeriesInstanceUID=uid)])
    site.settle()
    assert site.analyse()
    assert states(site, study) == [SeriesState.ANALYSED]
