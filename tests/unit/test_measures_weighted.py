"""Figures against scikit-learn, MONAI and scipy on random entries, and against cases worked out by hand."""

import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric, MeanIoU
from scipy import stats
from sklearn import metrics

from trainer.measures import weighted
from trainer.measures.weighted import counts, value_of

ENTRIES = 400


def _entries(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(ENTRIES) < 0.3
    scores = np.clip(np.round(rng.normal(0.4 + 0.2 * positive, 0.2), 2), 0.01, 0.99)  # rounded: ties
    return scores, positive, rng.integers(0, 4, ENTRIES).astype(np.float64)


def _repeated(weight: np.ndarray, *columns: np.ndarray) -> list[np.ndarray]:
    return [np.repeat(column, weight.astype(int), axis=0) for column in columns]


@pytest.mark.parametrize("seed", range(5))
def test_figures_of_weights_are_those_of_repeated_entries_by_scikit_learn(seed: int) -> None:
    scores, positive, weight = _entries(seed)
    again, truth = _repeated(weight, scores, positive)
    assert value_of(weighted.auc_of(scores, positive), weight) == pytest.approx(metrics.roc_auc_score(truth, again))
    assert value_of(weighted.log_loss_of(scores, positive), weight) == pytest.approx(metrics.log_loss(truth, again))
    said, alarms = again >= 0.5, scores >= 0.5
    found = counts(said, truth)
    assert [[found.tn, found.fp], [found.fn, found.tp]] == metrics.confusion_matrix(truth, said).tolist()
    for share, expected in (
        (weighted.accuracy_of, metrics.accuracy_score(truth, said)),
        (weighted.sensitivity_of, metrics.recall_score(truth, said)),
        (weighted.specificity_of, metrics.recall_score(~truth, ~said)),
        (weighted.precision_of, metrics.precision_score(truth, said)),
        (weighted.f1_of, metrics.f1_score(truth, said)),
    ):
        assert value_of(share(alarms, positive), weight) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_dice_and_iou_are_those_of_monai(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random((12, 1, 16, 16)) < 0.2
    said = rng.random((12, 1, 16, 16)) < 0.3
    truth[0] = said[0] = False  # both empty
    said[1] = False  # missed
    overlap, true, marked = (x.sum(axis=(2, 3))[:, 0] for x in (truth & said, truth, said))
    tensors = torch.from_numpy(said).float(), torch.from_numpy(truth).float()
    for ours, theirs in (
        (weighted.dice_per_entry(overlap, true, marked), DiceMetric(ignore_empty=False, reduction="none")),
        (weighted.iou_per_entry(overlap, true, marked), MeanIoU(ignore_empty=False, reduction="none")),
    ):
        expected = theirs(*tensors).numpy()[:, 0]
        assert np.isnan(ours[0])
        assert ours[1] == 0.0
        np.testing.assert_allclose(ours[1:], expected[1:], rtol=1e-6)
        assert expected[0] == 1.0  # MONAI counts both empty as 1 when told not to leave them out


def test_the_median_of_weights_is_the_lower_middle_of_repeated_entries() -> None:
    values = np.array([5.0, 1.0, np.nan, 3.0])
    assert value_of(weighted.median_of(values), np.array([1.0, 1.0, 9.0, 1.0])) == 3.0
    assert value_of(weighted.median_of(values), np.array([1.0, 1.0, 9.0, 0.0])) == 1.0
    assert value_of(weighted.median_of(values), np.array([5.0, 1.0, 0.0, 1.0])) == 5.0


def test_a_calibration_error_by_hand() -> None:
    probabilities = np.array([0.1, 0.1, 0.9, 0.9])
    positive = np.array([False, True, True, True])
    error = weighted.calibration_error_of(probabilities, positive, bins=2)
    assert value_of(error) == pytest.approx((2 * 0.4 + 2 * 0.1) / 4)
    assert value_of(error, np.array([1.0, 0.0, 1.0, 1.0])) == pytest.approx(0.1)


def test_icc_of_the_first_example_of_shrout_and_fleiss() -> None:
    """Four judges of six subjects; of judges 1 and 4 the figure worked out by their formulas from the mean squares."""
    first = np.array([9.0, 6, 8, 7, 10, 6])
    second = np.array([8.0, 2, 6, 4, 8, 3])
    table = np.stack([first, second], axis=1)
    n, k = table.shape
    subjects = k * ((table.mean(axis=1) - table.mean()) ** 2).sum() / (n - 1)
    judges = n * ((table.mean(axis=0) - table.mean()) ** 2).sum() / (k - 1)
    rest = ((table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()) ** 2).sum()
    error = rest / ((n - 1) * (k - 1))
    expected = (subjects - error) / (subjects + (k - 1) * error + k * (judges - error) / n)
    assert value_of(weighted.agreement_of(first, second), np.ones(6)) == pytest.approx(expected)


def test_icc_is_one_for_equals_low_for_a_shift_and_follows_weights() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(10, 3, 50)
    assert value_of(weighted.agreement_of(values, values), np.ones(50)) == pytest.approx(1.0)
    shifted = value_of(weighted.agreement_of(values, values + 6), np.ones(50))
    assert shifted < 0.5 < stats.pearsonr(values, values + 6).statistic
    weight = rng.integers(0, 3, 50).astype(float)
    noisy = values + rng.normal(0, 1, 50)
    again = [np.repeat(v, weight.astype(int)) for v in (values, noisy)]
    assert value_of(weighted.agreement_of(values, noisy), weight) == pytest.approx(
        value_of(weighted.agreement_of(*again), np.ones(len(again[0])))
    )
    holes = np.where(np.arange(50) < 3, np.nan, noisy)
    assert value_of(weighted.agreement_of(values, holes), np.ones(50)) == pytest.approx(
        value_of(weighted.agreement_of(values[3:], noisy[3:]), np.ones(47))
    )


def test_what_cannot_be_said_is_refused_not_zero() -> None:
    none = np.zeros(3, dtype=bool)
    scores = np.array([0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="both classes"):
        value_of(weighted.auc_of(scores, none), np.ones(3))
    for share in (weighted.sensitivity_of, weighted.precision_of, weighted.f1_of):
        with pytest.raises(ValueError, match="needs"):
            value_of(share(none, none))
    assert value_of(weighted.specificity_of(none, none)) == value_of(weighted.accuracy_of(none, none)) == 1.0
    with pytest.raises(ValueError, match="needs values"):
        value_of(weighted.mean_of(np.full(3, np.nan)), np.ones(3))
    with pytest.raises(ValueError, match="needs values"):
        value_of(weighted.median_of(np.full(3, np.nan)), np.ones(3))
    with pytest.raises(ValueError, match="two cases"):
        value_of(weighted.agreement_of(scores, np.array([np.nan, np.nan, 1.0])), np.ones(3))
