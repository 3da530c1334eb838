"""From studies by day to what the statistics page says."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import numpy as np
import pytest

from triage.domain.figures import (
    FEWEST,
    OPENED_EDGES_MINUTES,
    SITE_EDGES,
    Day,
    compare_origins,
    compare_scores,
    origin,
    shares,
    site_figures,
)
from triage.domain.finding import WorklistStatus
from triage.domain.reading import Verdict

SUSPECTED, CLEAR = WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED
FIRST = date(2026, 11, 1)


def day(*studies: tuple[int, WorklistStatus, Verdict | None], **fields: object) -> Day:
    return Day(Counter(studies), **fields)  # type: ignore[arg-type]


def days(*found: Day) -> list[tuple[date, Day]]:
    return [(FIRST + timedelta(days=number), one) for number, one in enumerate(found)]


def test_the_predictive_value_counts_partly_as_true_and_leaves_out_what_nobody_judged() -> None:
    site = site_figures(
        days(
            day(
                *[(0, SUSPECTED, Verdict.AGREE)] * 6,
                *[(1, SUSPECTED, Verdict.PARTLY)] * 2,
                *[(2, SUSPECTED, Verdict.DISAGREE)] * 2,
                *[(0, SUSPECTED, None)] * 5,
                *[(0, CLEAR, Verdict.DISAGREE)] * 1,
                *[(0, CLEAR, Verdict.AGREE)] * 3,
                *[(0, CLEAR, None)] * 20,
                (0, WorklistStatus.NOT_ANALYSED, None),
            )
        ),
        timedelta(days=1),
    )
    assert (site.predictive_value.count, site.predictive_value.n) == (8, 10)
    assert (site.missed.count, site.missed.n) == (1, 4)
    assert (site.positive.count, site.positive.n) == (15, 39)
    assert site.studies == 40
    assert site.false_flags == 2
    assert site.false_flags_a_shift == pytest.approx(2 / 3)
    assert [(shift.flagged, shift.judged, shift.false) for shift in site.by_shift] == [(11, 6, 0), (2, 2, 0), (2, 2, 2)]


def test_shifts_count_from_the_first_day_that_had_a_study() -> None:
    false = (1, SUSPECTED, Verdict.DISAGREE)
    site = site_figures(days(Day(), Day(), day(false, false), day(false)), timedelta(days=3, hours=12))
    assert site.shift_count == pytest.approx(4.5)
    assert site.most_false == 2
    assert site.false_flags_a_shift == pytest.approx(3 / 4.5)


def test_the_first_minutes_of_a_site_count_as_one_shift() -> None:
    site = site_figures(days(Day(), day((0, SUSPECTED, Verdict.DISAGREE))), timedelta(days=1, minutes=2))
    assert site.false_flags_a_shift == 1.0


def test_a_window_without_studies_says_nothing() -> None:
    site = site_figures(days(Day(), Day()), timedelta(days=1, hours=8))
    assert site.studies == 0
    assert site.positive.value is None
    assert site.false_flags_a_shift is None
    assert site.opened[SUSPECTED].n == 0
    assert site.by_day[0][1].n == 0


def test_the_time_to_open_is_summed_up_over_all_days_and_put_into_bins() -> None:
    site = site_figures(
        days(
            day(opened_seconds={SUSPECTED: np.array([60.0, 119.9]), CLEAR: np.array([7200.0])}),
            day(opened_seconds={SUSPECTED: np.array([120.0, 9e9])}),
        ),
        timedelta(days=2),
    )
    assert site.opened[SUSPECTED].n == 4
    assert site.opened[CLEAR].median_seconds == 7200.0
    counts = site.opened_counts[SUSPECTED]
    assert len(counts) == len(OPENED_EDGES_MINUTES) - 1
    assert (counts[0], counts[1], counts[-1], sum(counts)) == (2, 1, 1, 4)


def test_scores_of_another_bundle_are_not_compared() -> None:
    one = day(scores={"a 1": np.full(FEWEST, 0.05), "b 1": np.full(FEWEST, 0.95)})
    expected = [0.5] + [0.0] * 8 + [0.5]
    found = compare_scores([one], "a 1", SITE_EDGES, expected, 500, "the reference")
    assert found.counts == [FEWEST] + [0] * 9
    assert found.index is not None
    assert found.exceeded


def test_too_few_scores_are_not_compared() -> None:
    one = day(scores={"a 1": np.full(FEWEST - 1, 0.05)})
    found = compare_scores([one], "a 1", SITE_EDGES, [1.0] + [0.0] * 9, 500, "the reference")
    assert found.index is None
    assert not found.exceeded
    assert found.n == FEWEST - 1
    assert compare_scores([], "a 1", SITE_EDGES, [1.0] + [0.0] * 9, 500, "the reference").index is None


def test_the_same_scores_have_not_drifted() -> None:
    values = np.linspace(0, 1, 501)
    found = compare_scores([day(scores={"a 1": values})], "a 1", SITE_EDGES, shares(values, SITE_EDGES), 501, "itself")
    assert found.index == pytest.approx(0.0, abs=1e-9)


def test_a_new_scanner_is_a_drift_of_the_mix() -> None:
    before = {"A, 5.0 mm": 500, "B, 1.0 mm": 500}
    same = compare_origins({"A, 5.0 mm": 98, "B, 1.0 mm": 102}, before, "the days before")
    assert not same.exceeded
    new = compare_origins({"A, 5.0 mm": 60, "C, 0.6 mm": 140}, before, "the days before")
    assert new.exceeded
    assert new.labels[0] == "C, 0.6 mm"
    assert new.shares == [0.0, 0.5, 0.5]


@pytest.mark.parametrize(("before", "now"), [({}, {"A": 900}), ({"A": 900}, {}), ({}, {}), ({"A": 900}, {"A": 900})])
def test_a_mix_that_cannot_be_compared_is_not(before: dict[str, int], now: dict[str, int]) -> None:
    assert compare_origins(now, before, "before").index is None


def test_an_origin_is_named_also_when_it_is_not_known() -> None:
    assert origin("Scanner X", 0.625) == "Scanner X, 0.6 mm"
    assert origin(None, None) == "not known, not known"
