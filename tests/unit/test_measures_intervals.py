import numpy as np
import pytest

from trainer.measures.bootstrap import bootstrapped, clusters_of, difference
from trainer.measures.calibration import temperature_of, threshold_for
from trainer.measures.interval import exact_interval
from trainer.measures.weighted import auc_of, mean_of


def _names(*names: str) -> np.ndarray:
    return np.array(names, dtype=str)


def test_clusters_are_patients_where_all_are_known_else_studies_else_slices() -> None:
    studies = _names("s1", "s1", "s2")
    assert clusters_of(_names("p", "p", "q"), studies).unit == "patients"
    unknown = clusters_of(_names("p", "", "q"), studies)
    assert (unknown.unit, unknown.count, unknown.index.tolist()) == ("studies", 2, [0, 0, 1])
    assert clusters_of(_names("", ""), _names("", "")).unit == "slices"
    part = clusters_of(_names("p", "q", "q", "r"), _names("a", "b", "c", "d")).only(np.array([False, True, True, True]))
    assert (part.count, part.index.tolist()) == (2, [0, 0, 1])


def test_slices_of_one_patient_widen_the_interval() -> None:
    rng = np.random.default_rng(3)
    of_patient = np.repeat(rng.normal(0, 1, 20), 30)
    values = of_patient + rng.normal(0, 0.1, 600)
    patients = np.repeat([f"p{i}" for i in range(20)], 30)
    studies = np.array([f"s{i}" for i in range(600)])
    together = bootstrapped(mean_of(values), clusters_of(patients, studies), 1)
    apart = bootstrapped(mean_of(values), clusters_of(np.full(600, ""), studies), 1)
    assert (together.n, apart.n) == (20, 600)
    assert together.value == apart.value
    assert together.high - together.low > 3 * (apart.high - apart.low)
    assert together.low < 0 < together.high or abs(together.value) > 0.1


def test_an_interval_covers_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        values = rng.normal(0.0, 1.0, 40)
        interval = bootstrapped(mean_of(values), clusters_of(np.full(40, ""), np.arange(40).astype(str)), trial, 400)
        covered += interval.low <= 0.0 <= interval.high
    assert 86 <= covered <= 100


def test_draws_without_a_figure_are_left_out_and_the_same_seed_draws_the_same() -> None:
    scores, positive = np.array([0.1, 0.2, 0.9, 0.8]), np.array([False, False, True, True])
    people = clusters_of(_names("a", "b", "c", "d"), _names("a", "b", "c", "d"))
    interval = bootstrapped(auc_of(scores, positive), people, 5)
    assert (interval.value, interval.low, interval.high, interval.n) == (1.0, 1.0, 1.0, 4)
    values = np.random.default_rng(1).normal(size=4)
    assert bootstrapped(mean_of(values), people, 5) == bootstrapped(mean_of(values), people, 5)
    alone = bootstrapped(mean_of(values[:1]), clusters_of(_names("a"), _names("s")), 1)
    assert alone.low == alone.value == alone.high
    with pytest.raises(ValueError, match="both classes"):
        bootstrapped(auc_of(scores, np.ones(4, dtype=bool)), people, 5)


def test_a_difference_is_drawn_on_the_same_patients() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(0, 5, 50)
    people = clusters_of(np.arange(50).astype(str), np.arange(50).astype(str))
    interval = bootstrapped(difference(mean_of(values + 1), mean_of(values)), people, 1)
    assert interval.low == pytest.approx(1.0)
    assert interval.high == pytest.approx(1.0)


def test_a_temperature_undoes_what_was_multiplied() -> None:
    rng = np.random.default_rng(7)
    logits = rng.normal(0, 2, 20_000)
    positive = rng.random(20_000) < 1 / (1 + np.exp(-logits))
    assert temperature_of(logits * 3.0, positive) == pytest.approx(3.0, rel=0.05)
    assert temperature_of(logits / 2.0, positive) == pytest.approx(0.5, rel=0.05)
    assert temperature_of(np.where(positive, 5.0, -5.0), positive) == pytest.approx(0.1, rel=0.01)
    with pytest.raises(ValueError, match="positive and negative"):
        temperature_of(logits, np.ones(20_000, dtype=bool))


def test_a_threshold_finds_at_least_the_wanted_share_and_no_lower_one_is_taken() -> None:
    rng = np.random.default_rng(4)
    positive = rng.random(500) < 0.3
    scores = np.clip(rng.normal(0.35 + 0.3 * positive, 0.15), 0, 1)
    chosen = threshold_for(scores, positive, 0.95)
    found = scores[positive]
    assert (found >= chosen).mean() >= 0.95
    assert (found > chosen).mean() < 0.95
    assert threshold_for(scores, positive, 1.0) == found.min()
    with pytest.raises(ValueError, match="wanted sensitivity"):
        threshold_for(scores, positive, 0.0)


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


def test_draws_without_both_classes_are_left_out() -> None:
    scores, positive = np.array([0.9, 0.1, 0.2]), np.array([True, False, False])
    found = bootstrapped(auc_of(scores, positive), clusters_of(_names("a", "b", "c"), _names("a", "b", "c")), 1)
    assert (found.low, found.value, found.high) == (1.0, 1.0, 1.0)
