import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from trainer.measures.bootstrap import clusters_of
from trainer.measures.confusion import ConfusionMatrix, confusion_matrix
from trainer.measures.curves import precision_recall_curve, reliability_curve, roc_curve
from trainer.measures.paired import anova, anova_from_moments, paired_tests, per_batch


def _values(seed: int = 0, n: int = 60) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    case = rng.normal(0.7, 0.2, n)
    return {name: case + shift + rng.normal(0, 0.02, n) for name, shift in (("a", 0.0), ("b", 0.03), ("c", 0.0))}


def test_anova_is_that_of_scipy_and_of_its_moments() -> None:
    values = _values()
    expected = stats.f_oneway(*values.values())
    found = anova(values, "slices")
    assert (found.f, found.p, found.groups, found.n) == (expected.statistic, expected.pvalue, 3, 180)
    means = np.array([v.mean() for v in values.values()])
    deviations = np.array([v.std(ddof=1) for v in values.values()])
    assert anova_from_moments(means, deviations, 60).p == pytest.approx(expected.pvalue)


def test_pairing_sees_what_the_anova_of_the_paper_cannot() -> None:
    values = _values()
    people = clusters_of(np.arange(60).astype(str), np.arange(60).astype(str))
    assert anova(values, "slices").p > 0.05
    tests = {(t.first, t.second): t for t in paired_tests(values, people, seed=1)}
    assert tests["a", "b"].p < 1e-6
    assert tests["a", "b"].difference.high < 0
    assert tests["a", "c"].difference.low < 0 < tests["a", "c"].difference.high
    assert tests["a", "b"].p == stats.wilcoxon(values["a"], values["b"]).pvalue


def test_slices_of_one_patient_are_one_case_of_wilcoxon() -> None:
    """Six patients of fifty slices: their slices alone would prove a difference that three of the patients deny."""
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(6), 50)
    shift = np.array([0.3, -0.1, 0.3, -0.1, 0.3, -0.1])[of]
    values = {"a": 0.5 + shift + rng.normal(0, 0.01, 300), "b": np.full(300, 0.5)}
    assert stats.wilcoxon(values["a"], values["b"]).pvalue < 1e-6
    (found,) = paired_tests(values, clusters_of(of.astype(str), of.astype(str)), seed=1)
    means = [(values["a"] - values["b"])[of == patient].mean() for patient in range(6)]
    assert found.p == pytest.approx(stats.wilcoxon(means).pvalue)
    assert found.p > 0.1
    assert (found.n, found.unit, found.entries) == (6, "patients", 300)
    (alone,) = paired_tests(values, clusters_of(np.full(300, "p"), of.astype(str)), seed=1)
    assert (alone.p, alone.n) == (1.0, 1)


def test_cases_without_a_value_are_left_out_of_pairs_and_equal_nets_do_not_differ() -> None:
    values = _values()
    values["a"][:10] = np.nan
    values["d"] = values["c"].copy()
    people = clusters_of(np.arange(60).astype(str), np.arange(60).astype(str))
    tests = {(t.first, t.second): t for t in paired_tests(values, people, seed=1)}
    assert tests["a", "b"].n == tests["a", "b"].difference.n == tests["a", "b"].entries == 50
    assert tests["c", "d"].p == 1.0
    assert anova({"c": np.ones(4), "d": np.ones(4)}, "slices").p == 1.0
    apart = anova({"c": np.ones(4), "d": np.zeros(4)}, "slices")
    assert (apart.f, apart.p) == (np.inf, 0.0)
    with pytest.raises(ValueError, match="two nets with two values"):
        anova({"c": np.ones(4), "d": np.array([1.0, np.nan])}, "slices")
    assert not paired_tests({"a": np.full(60, np.nan), "b": values["b"]}, people, seed=1)


def test_batches_are_means_of_eight_with_empty_counted_one() -> None:
    values = np.array([0.5] * 8 + [np.nan, 0.0])
    np.testing.assert_allclose(per_batch(values, 8), [0.5, 0.5])


def test_curves_are_those_of_scikit_learn_and_enclose_the_same_area() -> None:
    rng = np.random.default_rng(0)
    positive = rng.random(3000) < 0.4
    scores = np.clip(rng.normal(0.4 + 0.2 * positive, 0.2), 0, 1)
    roc = roc_curve(scores, positive)
    assert len(roc.x) <= 200
    assert metrics.auc(roc.x, roc.y) == pytest.approx(metrics.roc_auc_score(positive, scores), abs=2e-3)
    both = precision_recall_curve(scores, positive)
    assert (np.diff(both.x) >= 0).all()
    assert metrics.auc(both.x, both.y) == pytest.approx(metrics.average_precision_score(positive, scores), abs=5e-3)
    with pytest.raises(ValueError, match="positive and negative"):
        roc_curve(scores, np.ones(3000, dtype=bool))


def test_reliability_shows_only_bins_that_hold_entries() -> None:
    curve = reliability_curve(np.array([0.1, 0.3, 0.9, 1.0]), np.array([False, True, True, True]), bins=2)
    np.testing.assert_allclose(curve.x, [0.2, 0.95])
    np.testing.assert_allclose(curve.y, [0.5, 1.0])
    assert len(reliability_curve(np.array([0.9]), np.array([True]), bins=10).x) == 1


def test_a_confusion_matrix_counts_what_is_true_in_rows() -> None:
    truth, said = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 2, 0])
    matrix = confusion_matrix(("a", "b", "c"), truth, said)
    assert matrix.table.tolist() == metrics.confusion_matrix(truth, said).tolist()
    assert matrix.accuracy.value == 0.6
    assert matrix.sensitivity("c").value == 0.5
    assert matrix.precision("a").value == 0.5
    assert matrix.f1("b") == pytest.approx(metrics.f1_score(truth == 1, said == 1))
    with pytest.raises(ValueError, match="class numbers"):
        confusion_matrix(("a", "b"), truth, said)
    with pytest.raises(ValueError, match="neither is nor is called"):
        ConfusionMatrix(("a", "b"), np.array([[3, 0], [0, 0]])).f1("b")
    with pytest.raises(ValueError, match="square"):
        ConfusionMatrix(("a", "b"), np.zeros((2, 3), dtype=np.int64))
