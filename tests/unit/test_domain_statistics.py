"""Formulas against published and hand-computed values, and what must hold for all inputs."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.statistics import (
    DRIFT_LIMIT,
    SMALLEST_SHARE,
    Proportion,
    drift_limit,
    histogram,
    index_by_chance,
    population_stability_index,
    shifts,
    waiting,
    wilson_interval,
)

COUNTS = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3 (score without continuity correction).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # By its symmetry.
        (20, 20, 0.8389, 1.0000),
    ],
)
def test_the_interval_is_that_of_the_literature(count: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(count, n) == pytest.approx((low, high), abs=5e-5)


def test_of_nothing_everything_is_possible() -> None:
    nothing = Proportion(0, 0)
    assert nothing.value is None
    assert nothing.interval == (0.0, 1.0)


def test_a_proportion_is_no_more_than_all() -> None:
    with pytest.raises(ValueError, match="count"):
        Proportion(3, 2)


@given(COUNTS)
def test_the_interval_holds_the_share_and_is_mirrored(counts: tuple[int, int]) -> None:
    count, n = counts
    low, high = wilson_interval(count, n)
    assert 0.0 <= low <= count / n <= high <= 1.0
    other_low, other_high = wilson_interval(n - count, n)
    assert (low, high) == pytest.approx((1 - other_high, 1 - other_low), abs=1e-12)


@given(COUNTS)
def test_more_studies_make_a_narrower_interval(counts: tuple[int, int]) -> None:
    count, n = counts
    low, high = wilson_interval(count, n)
    ten_low, ten_high = wilson_interval(10 * count, 10 * n)
    assert ten_high - ten_low < high - low


def test_the_stability_index_is_that_of_a_hand_calculation() -> None:
    # (0.3-0.2) ln(0.3/0.2) + (0.3-0.3) ln 1 + (0.4-0.5) ln(0.4/0.5) = 0.040547 + 0 + 0.022314
    assert population_stability_index([0.2, 0.3, 0.5], [30, 30, 40]) == pytest.approx(0.062861, abs=1e-6)


def test_an_empty_bin_counts_as_a_trifle_and_not_as_infinite() -> None:
    found = population_stability_index([50, 50], [100, 0])
    share = SMALLEST_SHARE / (1 + SMALLEST_SHARE)
    expected = (0.5 - share) * math.log(0.5 / share) + (0.5 - share) * math.log((1 - share) / 0.5)
    assert found == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=20))
def test_the_index_is_0_or_more_and_the_same_both_ways(bins: list[tuple[int, int]]) -> None:
    expected, actual = zip(*[(1 + a, 1 + b) for a, b in bins], strict=True)
    index = population_stability_index(expected, actual)
    assert index >= 0.0
    assert index == pytest.approx(population_stability_index(actual, expected))
    assert population_stability_index(expected, [7 * value for value in expected]) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("expected", "actual"), [([1, 2], [1, 2, 3]), ([0, 0], [1, 1]), ([1, 1], [0, 0])])
def test_what_cannot_be_compared_is_refused(expected: list[float], actual: list[float]) -> None:
    with pytest.raises(ValueError, match="distribution"):
        population_stability_index(expected, actual)


@pytest.mark.parametrize(("bins", "quantile"), [(5, 13.277), (10, 21.666), (20, 36.191)])
def test_chance_goes_by_chi_squared(bins: int, quantile: float) -> None:
    # 99 % quantiles of chi-squared with 4, 9 and 19 degrees of freedom.
    assert index_by_chance(bins, 200, 200) * 100 == pytest.approx(quantile, rel=0.005)


def test_samples_of_the_same_distribution_rarely_pass_the_limit_of_chance() -> None:
    chance = np.random.default_rng(4)
    shares = np.array([0.4, 0.2, 0.1, 0.1, 0.1, 0.1])
    limit = index_by_chance(len(shares), 300, 500)
    over = sum(
        population_stability_index(chance.multinomial(500, shares), chance.multinomial(300, shares)) > limit
        for _ in range(2000)
    )
    assert over <= 40  # twenty expected


def test_few_studies_raise_the_limit_and_many_leave_it() -> None:
    assert drift_limit(10, 50, 50) > DRIFT_LIMIT
    assert drift_limit(10, 5000, 5000) == DRIFT_LIMIT


def test_waiting_is_summed_up_without_what_is_not_known() -> None:
    found = waiting(np.array([1.0, math.nan, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]))
    assert (found.n, found.median_seconds, found.p90_seconds, found.p95_seconds) == (11, 6.0, 10.0, 10.5)
    nothing = waiting(np.array([]))
    assert (nothing.n, nothing.median_seconds, nothing.p90_seconds) == (0, None, None)


def test_the_last_bin_holds_its_end_and_unknown_values_fall_in_none() -> None:
    assert histogram(np.array([0.0, 0.5, 0.5, 1.0, math.nan]), (0.0, 0.5, 1.0)) == [1, 3]


def test_a_day_has_three_shifts() -> None:
    assert shifts(timedelta(days=2)) == 6.0
