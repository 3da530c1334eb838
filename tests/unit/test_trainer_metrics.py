import numpy as np
import pytest

from trainer.metrics import (
    auc,
    bootstrap_interval,
    exact_interval,
    fit_temperature,
    mean_dice,
    pooled_dice,
)


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    positive = np.array([False, False, True, True])
    assert auc(scores, positive) == pytest.approx(0.75)


def test_auc_counts_ties_half_and_refuses_one_class() -> None:
    assert auc(np.array([0.5, 0.5]), np.array([True, False])) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="positive and negative"):
        auc(np.array([0.5, 0.6]), np.array([True, True]))


def test_pooled_dice_weighs_large_cases_more_than_the_mean_over_cases() -> None:
    overlap, true, marked = np.array([90.0, 0.0]), np.array([100.0, 10.0]), np.array([100.0, 10.0])
    assert pooled_dice(overlap, true + marked) == pytest.approx(180 / 220)
    assert mean_dice(overlap, true + marked, true) == pytest.approx(0.45)


def test_empty_cases_are_stated_not_rewarded() -> None:
    nothing = np.zeros(3)
    assert pooled_dice(nothing, nothing) == 1.0
    with pytest.raises(ValueError, match="no case holds blood"):
        mean_dice(nothing, nothing, nothing)
    marked_in_vain = np.array([0.0, 40.0])
    true = np.array([20.0, 0.0])
    assert mean_dice(np.array([10.0, 0.0]), true + marked_in_vain, true) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(4, 4, 0.398, 1.0), (0, 20, 0.0, 0.168), (48, 50, 0.863, 0.995)],
)
def test_exact_interval_agrees_with_published_tables(successes: int, n: int, low: float, high: float) -> None:
    found = exact_interval(successes, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))
    assert found.value == successes / n
    assert found.n == n


def test_exact_interval_refuses_more_successes_than_trials() -> None:
    with pytest.raises(ValueError, match="5 of 4"):
        exact_interval(5, 4)


def test_bootstrap_holds_the_value_and_is_the_same_for_the_same_seed() -> None:
    values = np.random.default_rng(1).normal(3.0, 1.0, 200)
    first = bootstrap_interval(lambda chosen: float(values[chosen].mean()), len(values), seed=7)
    again = bootstrap_interval(lambda chosen: float(values[chosen].mean()), len(values), seed=7)
    assert first == again
    assert first.low < first.value < first.high
    assert first.high - first.low == pytest.approx(2 * 1.96 / np.sqrt(200), rel=0.2)


def test_bootstrap_leaves_out_draws_without_both_classes() -> None:
    scores, positive = np.array([0.9, 0.1, 0.2]), np.array([True, False, False])
    found = bootstrap_interval(lambda chosen: auc(scores[chosen], positive[chosen]), 3, seed=1)
    assert (found.low, found.value, found.high) == (1.0, 1.0, 1.0)


def test_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(3)
    honest = rng.normal(0.0, 2.0, 20_000)
    positive = rng.random(20_000) < 1 / (1 + np.exp(-honest))
    assert fit_temperature(honest * 3.0, positive) == pytest.approx(3.0, rel=0.1)
    assert fit_temperature(honest, positive) == pytest.approx(1.0, rel=0.1)


def test_temperature_stays_in_bounds_when_the_classes_are_separate() -> None:
    assert fit_temperature(np.array([-1.0, 1.0]), np.array([False, True])) == pytest.approx(0.1)
