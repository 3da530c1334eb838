"""Results that are valid once built, and the decision that follows from score and rule."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.finding import (
    SUBTYPES,
    DecisionRule,
    KeySlice,
    ReasonCode,
    Subtype,
    SubtypeFinding,
    TriageResult,
    Urgency,
    WorklistStatus,
)

RULE = DecisionRule(suspected_at=0.4, emergent_at=0.8)


def result(score: float, **changes: object) -> TriageResult:
    values: dict[str, object] = {
        "score": score,
        "rule": RULE,
        "subtypes": {subtype: SubtypeFinding(0.1, 0.0) for subtype in SUBTYPES},
        "total_volume_ml": 0.0,
        "key_slice": None,
        "provisional": False,
    }
    return TriageResult(**(values | changes))  # type: ignore[arg-type]


def test_subtypes_stand_in_the_order_of_the_model_outputs() -> None:
    assert [s.value for s in SUBTYPES] == ["EDH", "IPH", "IVH", "SAH", "SDH"]


def test_reason_codes_are_the_closed_set_of_the_contract() -> None:
    contract = (
        "not_ct not_head localizer contrast derived too_few_slices gap duplicate_positions mixed_orientation "
        "undecodable no_geometry not_original_hu timed_out model_unavailable out_of_distribution failed"
    )
    assert [code.value for code in ReasonCode] == contract.split()


def test_statuses_are_the_four_of_the_contract() -> None:
    assert {s.value for s in WorklistStatus} == {"suspected", "not_suspected", "not_analysed", "pending"}


@pytest.mark.parametrize(
    ("score", "status", "urgency"),
    [
        (0.0, WorklistStatus.NOT_SUSPECTED, Urgency.NONE),
        (math.nextafter(0.4, 0.0), WorklistStatus.NOT_SUSPECTED, Urgency.NONE),
        (0.4, WorklistStatus.SUSPECTED, Urgency.URGENT),
        (math.nextafter(0.8, 0.0), WorklistStatus.SUSPECTED, Urgency.URGENT),
        (0.8, WorklistStatus.SUSPECTED, Urgency.EMERGENT),
        (1.0, WorklistStatus.SUSPECTED, Urgency.EMERGENT),
    ],
)
def test_a_score_at_the_limit_counts(score: float, status: WorklistStatus, urgency: Urgency) -> None:
    assert (result(score).status, result(score).urgency) == (status, urgency)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_urgency_and_status_never_contradict(score: float, one: float, other: float) -> None:
    low, high = sorted((max(one, 1e-6), max(other, 1e-6)))
    made = result(score, rule=DecisionRule(low, high))
    assert (made.urgency is Urgency.NONE) == (made.status is WorklistStatus.NOT_SUSPECTED)
    assert made.status in (WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED)


@pytest.mark.parametrize("limits", [(0.0, 0.5), (0.6, 0.5), (0.5, 1.1), (math.nan, 0.5), (0.5, math.nan), (-0.1, 0.2)])
def test_a_rule_that_cannot_decide_is_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="suspected_at <= emergent_at"):
        DecisionRule(*limits)


@pytest.mark.parametrize("probability", [-0.01, 1.01, math.nan, math.inf])
def test_a_probability_outside_its_range_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        SubtypeFinding(probability, 0.0)
    with pytest.raises(ValueError, match="score"):
        result(probability)


@pytest.mark.parametrize("volume", [-0.001, math.nan, math.inf])
def test_a_volume_that_is_no_volume_is_refused(volume: float) -> None:
    with pytest.raises(ValueError, match="volume"):
        SubtypeFinding(0.5, volume)
    with pytest.raises(ValueError, match="volume"):
        result(0.5, total_volume_ml=volume)


def test_a_result_names_the_absent_subtypes_too() -> None:
    with pytest.raises(ValueError, match="every subtype"):
        result(0.5, subtypes={Subtype.SDH: SubtypeFinding(0.9, 12.0)})
    with pytest.raises(ValueError, match="every subtype"):
        result(0.5, subtypes={})


@pytest.mark.parametrize(("frame", "index"), [(0, 0), (-1, 0), (1, -1)])
def test_frames_count_from_one_and_slices_from_zero(frame: int, index: int) -> None:
    assert KeySlice("1.2.3", 1, 0).index == 0
    with pytest.raises(ValueError, match="counts from 1"):
        KeySlice("1.2.3", frame, index)


def test_results_do_not_change_after_they_were_made() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        result(0.5).score = 0.9  # type: ignore[misc]
