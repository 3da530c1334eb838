"""What a study's row says from where its series stand, and the order in which rows are read."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.finding import (
    SUBTYPES,
    DecisionRule,
    ReasonCode,
    SubtypeFinding,
    TriageResult,
    Urgency,
    WorklistStatus,
)
from triage.domain.lifecycle import SeriesState
from triage.domain.worklist import (
    PENDING_RISES_AFTER,
    READING_ORDER,
    SeriesOutcome,
    WorklistRow,
    in_reading_order,
    order_key,
    study_row,
)

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
CAME = NOW - timedelta(minutes=2)
RULE = DecisionRule(suspected_at=0.5, emergent_at=0.9)


def result(score: float, *, provisional: bool = False) -> TriageResult:
    subtypes = {subtype: SubtypeFinding(score, 2.0) for subtype in SUBTYPES}
    return TriageResult(score, RULE, subtypes, 10.0, None, provisional)


def series(
    state: SeriesState,
    *,
    uid: str = "1.2.1",
    candidate: bool = True,
    reason: ReasonCode | None = None,
    count: int = 30,
    found: TriageResult | None = None,
    current: bool = True,
) -> SeriesOutcome:
    bundle = "demo" if found else None
    return SeriesOutcome(uid, state, candidate, reason, count, found, current and found is not None, bundle)


def row_of(*outcomes: SeriesOutcome, flagged_at: datetime | None = None, now: datetime = NOW) -> WorklistRow:
    return study_row("1.2", "ACC", outcomes, CAME, flagged_at, now)


def analysed(score: float, **changes: object) -> SeriesOutcome:
    return series(SeriesState.ANALYSED, found=result(score), **changes)  # type: ignore[arg-type]


def unusable(reason: ReasonCode, **changes: object) -> SeriesOutcome:
    return series(SeriesState.UNUSABLE, reason=reason, **changes)  # type: ignore[arg-type]


def test_a_positive_result_flags_the_study_now() -> None:
    row = row_of(analysed(0.95))
    assert (row.status, row.urgency, row.score) == (WorklistStatus.SUSPECTED, Urgency.EMERGENT, 0.95)
    assert (row.flagged_at, row.provisional, row.reason) == (NOW, False, None)
    assert (row.bundle, row.total_volume_ml, set(row.subtypes)) == ("demo", 10.0, set(SUBTYPES))


def test_the_first_flag_keeps_its_time() -> None:
    earlier = NOW - timedelta(minutes=1)
    assert row_of(analysed(0.6), flagged_at=earlier).flagged_at == earlier
    assert row_of(analysed(0.1), flagged_at=earlier).flagged_at == earlier


def test_a_negative_result_shows_its_score_and_no_flag() -> None:
    row = row_of(analysed(0.1))
    assert (row.status, row.urgency, row.flagged_at) == (WorklistStatus.NOT_SUSPECTED, Urgency.NONE, None)
    assert (row.score, row.bundle) == (0.1, "demo")


def test_the_gate_alone_flags_provisionally() -> None:
    row = row_of(series(SeriesState.STABLE, found=result(0.7, provisional=True)))
    assert (row.status, row.provisional) == (WorklistStatus.SUSPECTED, True)


def test_a_provisional_negative_still_waits() -> None:
    row = row_of(series(SeriesState.STABLE, found=result(0.1, provisional=True)))
    assert (row.status, row.score, row.provisional) == (WorklistStatus.PENDING, None, False)


def test_a_suspicion_stands_while_a_later_revision_is_in_work() -> None:
    for state in (SeriesState.RECEIVING, SeriesState.STABLE):
        row = row_of(series(state, found=result(0.7), current=False))
        assert (row.status, row.provisional) == (WorklistStatus.SUSPECTED, True)


def test_a_suspicion_stands_when_the_later_revision_cannot_be_analysed() -> None:
    row = row_of(series(SeriesState.UNUSABLE, reason=ReasonCode.GAP, found=result(0.7), current=False))
    assert (row.status, row.provisional, row.reason) == (WorklistStatus.SUSPECTED, True, None)


def test_a_negative_counts_no_more_once_a_later_revision_came() -> None:
    row = row_of(series(SeriesState.RECEIVING, found=result(0.1), current=False))
    assert (row.status, row.score) == (WorklistStatus.PENDING, None)


def test_an_old_negative_is_not_shown_when_the_later_revision_cannot_be_analysed() -> None:
    row = row_of(series(SeriesState.UNUSABLE, reason=ReasonCode.GAP, found=result(0.1), current=False))
    assert (row.status, row.reason, row.score) == (WorklistStatus.NOT_ANALYSED, ReasonCode.GAP, None)


def test_an_analysed_series_without_a_result_is_never_negative() -> None:
    broken = SeriesOutcome("1.2.1", SeriesState.ANALYSED, True, None, 30, None, True, None)
    assert row_of(broken).status is not WorklistStatus.NOT_SUSPECTED


def test_the_highest_suspicion_speaks() -> None:
    row = row_of(analysed(0.6, uid="1.2.1"), analysed(0.95, uid="1.2.2"), analysed(0.1, uid="1.2.3"))
    assert (row.series_instance_uid, row.score) == ("1.2.2", 0.95)


def test_a_negative_waits_for_another_candidate_in_work() -> None:
    negative = analysed(0.1, uid="1.2.1")
    assert row_of(negative, series(SeriesState.RECEIVING, uid="1.2.2")).status is WorklistStatus.PENDING
    assert row_of(negative, series(SeriesState.STABLE, uid="1.2.2")).status is WorklistStatus.PENDING


def test_a_negative_does_not_wait_for_what_can_never_be_analysed() -> None:
    row = row_of(analysed(0.1), series(SeriesState.RECEIVING, uid="1.2.2", candidate=False))
    assert row.status is WorklistStatus.NOT_SUSPECTED


def test_a_series_passed_over_does_not_hold_up_the_study() -> None:
    row = row_of(analysed(0.1), series(SeriesState.PASSED_OVER, uid="1.2.2"))
    assert (row.status, row.series_instance_uid) == (WorklistStatus.NOT_SUSPECTED, "1.2.1")


def test_the_reason_is_that_of_the_series_that_came_closest() -> None:
    row = row_of(
        unusable(ReasonCode.LOCALIZER, uid="1.2.1", candidate=False, count=90),
        unusable(ReasonCode.GAP, uid="1.2.2", count=20),
        unusable(ReasonCode.TOO_FEW_SLICES, uid="1.2.3", count=2),
    )
    assert (row.status, row.reason, row.series_instance_uid) == (WorklistStatus.NOT_ANALYSED, ReasonCode.GAP, "1.2.2")
    assert (row.score, row.total_volume_ml, row.subtypes, row.bundle) == (None, None, {}, None)


def test_a_study_without_an_outcome_yet_is_pending() -> None:
    for outcome in (
        series(SeriesState.RECEIVING),
        series(SeriesState.RECEIVING, candidate=False),
        series(SeriesState.PASSED_OVER),
    ):
        assert row_of(outcome).status is WorklistStatus.PENDING


def test_a_study_without_series_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one series"):
        row_of()


RESULTS = [None, result(0.1), result(0.7), result(0.1, provisional=True), result(0.7, provisional=True)]
OUTCOMES = st.builds(
    SeriesOutcome,
    series_instance_uid=st.sampled_from(["1.2.1", "1.2.2", "1.2.3"]),
    state=st.sampled_from(SeriesState),
    candidate=st.booleans(),
    reason=st.sampled_from([None, ReasonCode.GAP, ReasonCode.FAILED]),
    instance_count=st.integers(1, 500),
    result=st.sampled_from(RESULTS),
    result_is_current=st.booleans(),
    bundle=st.just("demo"),
)


@given(st.lists(OUTCOMES, min_size=1, max_size=5))
def test_no_flag_never_reads_as_negative(outcomes: list[SeriesOutcome]) -> None:
    row = row_of(*outcomes)
    suspicions = [o for o in outcomes if o.result and o.result.status is WorklistStatus.SUSPECTED]
    assert (row.status is WorklistStatus.SUSPECTED) == bool(suspicions)
    if row.status is WorklistStatus.NOT_SUSPECTED:
        assert row.score is not None
        assert not [o for o in outcomes if o.candidate and o.in_progress]
        assert [o for o in outcomes if o.state is SeriesState.ANALYSED and o.result and o.result_is_current]
    if row.status in (WorklistStatus.PENDING, WorklistStatus.NOT_ANALYSED):
        assert (row.score, row.urgency, row.bundle) == (None, Urgency.NONE, None)
    assert row.status is WorklistStatus.NOT_ANALYSED or row.reason is None


@given(st.lists(OUTCOMES, min_size=1, max_size=4))
def test_the_status_does_not_depend_on_the_order_of_the_series(outcomes: list[SeriesOutcome]) -> None:
    assert len({row_of(*order).status for order in itertools.permutations(outcomes)}) == 1


def listed(name: str, outcome: SeriesOutcome, waiting: timedelta) -> WorklistRow:
    return study_row(name, "", [outcome], NOW - waiting, None, NOW)


def test_the_reading_order_of_the_contract() -> None:
    long, short = timedelta(hours=3), timedelta(minutes=1)
    emergent, urgent, negative = analysed(0.95), analysed(0.6), analysed(0.1)
    waiting, not_analysed = series(SeriesState.STABLE), unusable(ReasonCode.GAP)
    expected = [
        listed("emergent, waiting longer", emergent, long),
        listed("emergent", emergent, short),
        listed("pending for too long", waiting, long),
        listed("urgent, waiting longer", urgent, long),
        listed("urgent", urgent, short),
        listed("pending", waiting, short),
        listed("not analysed, waiting longer", not_analysed, long),
        listed("not analysed", not_analysed, short),
        listed("not suspected, waiting longer", negative, long),
        listed("not suspected", negative, short),
    ]
    shuffled = random.Random(7).sample(expected, len(expected))
    assert [r.study_instance_uid for r in in_reading_order(shuffled, NOW)] == [r.study_instance_uid for r in expected]


def test_a_pending_study_rises_only_after_its_time() -> None:
    row = listed("pending", series(SeriesState.STABLE), timedelta())
    assert order_key(row, row.received_at + PENDING_RISES_AFTER)[0] == 3
    assert order_key(row, row.received_at + PENDING_RISES_AFTER + timedelta(seconds=1))[0] == 1


def test_a_negative_never_rises() -> None:
    row = listed("negative", analysed(0.1), timedelta())
    assert order_key(row, NOW)[0] == order_key(row, NOW + timedelta(days=3))[0] == 5


@given(st.lists(OUTCOMES, min_size=1, max_size=4), st.integers(0, 1200))
def test_every_row_stands_in_exactly_one_segment(outcomes: list[SeriesOutcome], waited: int) -> None:
    row = row_of(*outcomes)
    now = row.received_at + timedelta(seconds=waited)
    standing = [rank for rank, segment in enumerate(READING_ORDER) if segment.holds(row, now)]
    assert standing == [order_key(row, now)[0]]


def test_studies_that_came_at_the_same_moment_have_an_order_too() -> None:
    rows = [listed(name, analysed(0.1), timedelta()) for name in ("1.3", "1.1", "1.2")]
    assert [row.study_instance_uid for row in in_reading_order(rows, NOW)] == ["1.1", "1.2", "1.3"]


def test_a_row_that_cannot_be_has_no_place() -> None:
    with pytest.raises(ValueError, match="pending cannot have the urgency urgent"):
        order_key(replace(listed("1.2", series(SeriesState.STABLE), timedelta()), urgency=Urgency.URGENT), NOW)
