"""Evidence and scores from arrays small enough to check by hand."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.inference.manifest import ExamCalibration, GateCalibration, Scoring
from triage.inference.postprocess import (
    as_bytes,
    drop_small_components,
    exam_evidence,
    final_probability,
    isolate,
    lesion_probabilities,
    lit_slices,
    logit,
    provisional_probability,
    sigmoid,
    slice_evidence,
    smooth,
)

KERNEL = (0.25, 0.5, 0.25)


def test_sigmoid_does_not_overflow() -> None:
    assert sigmoid(np.array([-1e4, 0.0, 1e4])) == pytest.approx([0.0, 0.5, 1.0])


def test_lesion_probabilities_are_a_softmax_without_background() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (6, 4, 3)).astype(np.float32)
    exact = np.exp(logits.astype(np.float64) / 2.0)
    expected = exact[1:] / exact.sum(axis=0)
    assert lesion_probabilities(logits, 2.0) == pytest.approx(expected, abs=1e-6)


def test_lesion_probabilities_leave_the_logits_alone() -> None:
    logits = np.full((6, 2, 2), 3.0, np.float32)
    lesion_probabilities(logits, 1.0)
    assert (logits == 3.0).all()


def test_large_logits_stay_finite() -> None:
    logits = np.zeros((6, 1, 1), np.float32)
    logits[2] = 1e4
    assert lesion_probabilities(logits, 1.0)[:, 0, 0] == pytest.approx([0, 1, 0, 0, 0])


def test_evidence_is_the_mean_of_the_highest_pixels() -> None:
    lesions = np.zeros((5, 10, 10), np.float32)
    lesions[1, 0, :4] = 0.8
    lesions[4, 0, 0] = 0.2
    found = slice_evidence(lesions, 4)
    assert found == pytest.approx([(1.0 + 3 * 0.8) / 4, 0.0, 0.8, 0.0, 0.0, 0.05], abs=1e-6)


def test_evidence_of_fewer_pixels_than_asked_for() -> None:
    assert slice_evidence(np.full((5, 2, 2), 0.1, np.float32), 36)[0] == pytest.approx(0.5)


def test_smoothing_takes_neighbours_and_normalises_at_the_ends() -> None:
    values = np.array([[1.0], [0.0], [0.0], [1.0]])
    assert smooth(values, KERNEL)[:, 0] == pytest.approx([2 / 3, 0.25, 0.25, 2 / 3])
    assert smooth(np.array([[0.7]]), KERNEL)[0, 0] == pytest.approx(0.7)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40),
    st.integers(1, 5),
    st.sampled_from([("probabilities", 1e-12), ("logits", 1.001e-4)]),
)
def test_an_exam_is_never_more_than_its_brightest_slice(
    values: list[float], top_k: int, means: tuple[Literal["probabilities", "logits"], float]
) -> None:
    """Before their logit, probabilities are kept 0.0001 from 0 and 1."""
    column, scoring = np.array(values)[:, None], Scoring(KERNEL, top_k, means=means[0])
    exam = exam_evidence(column, scoring)[0]
    assert min(values) - means[1] <= exam <= max(values) + means[1]
    assert exam_evidence(column[::-1], scoring)[0] == pytest.approx(exam)


def test_one_bright_slice_counts_less_than_three_in_a_row() -> None:
    lonely, run = np.zeros((30, 1)), np.zeros((30, 1))
    lonely[10], run[10:13] = 1.0, 1.0
    assert exam_evidence(lonely, Scoring(KERNEL, 3))[0] == pytest.approx(1 / 3)
    assert exam_evidence(run, Scoring(KERNEL, 3))[0] == pytest.approx((1.0 + 0.75 + 0.75) / 3)


def test_of_logits_neighbours_that_deny_count_for_as_much_as_neighbours_that_agree() -> None:
    """Means of probabilities would hardly tell 0.1 beside a certain slice from 0.001."""
    sure, logits = np.log(0.9999 / 0.0001), Scoring(KERNEL, 1, means="logits")
    for beside, expected in ((0.1, np.log(0.1 / 0.9)), (0.001, np.log(0.001 / 0.999))):
        values = np.full((9, 1), beside)
        values[4] = 1.0
        assert logit(exam_evidence(values, logits))[0] == pytest.approx(0.5 * sure + 0.5 * expected)
        assert exam_evidence(values, Scoring(KERNEL, 1))[0] == pytest.approx(0.5 + 0.5 * beside)
    run = np.zeros((30, 1))
    run[10:13] = 1.0
    three = Scoring(KERNEL, 3, means="logits")
    assert logit(exam_evidence(run, three))[0] == pytest.approx((1.0 + 0.5 + 0.5) / 3 * sure)


def test_probabilities_are_logistic_in_the_evidence() -> None:
    gate, mask = np.array([0.5, 0.9]), np.array([0.8, 0.5])
    assert provisional_probability(gate, GateCalibration(1.0, 0.0)) == pytest.approx(gate)
    odds = (0.8 / 0.2) ** 2 * (0.5 / 0.5) ** 0.5 * np.exp(-1.0)
    found = final_probability(mask, gate, ExamCalibration(2.0, 0.5, -1.0))
    assert found[0] == pytest.approx(odds / (1 + odds))


def test_certain_evidence_stays_finite() -> None:
    found = final_probability(np.array([0.0, 1.0]), np.array([1.0, 1.0]), ExamCalibration(1.0, 1.0, 0.0))
    assert np.isfinite(found).all()
    assert found[0] < found[1] < 1.0


@settings(max_examples=100, deadline=None)
@given(
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 3.0),
    st.floats(0.01, 3.0),
    st.floats(-5, 5),
)
def test_more_evidence_never_lowers_the_score(
    low: float, high: float, gate: float, gate_weight: float, mask_weight: float, bias: float
) -> None:
    low, high = sorted((low, high))
    scores = final_probability(
        np.array([low, high]), np.array([gate, gate]), ExamCalibration(mask_weight, gate_weight, bias)
    )
    assert scores[0] <= scores[1]


def test_neighbours_of_lit_slices_are_lit() -> None:
    lit = lit_slices(np.array([0.9, 0.0, 0.0, 0.0, 0.2, 0.0]), 0.2)
    assert lit.tolist() == [True, True, False, True, True, True]
    assert not lit_slices(np.array([0.1, 0.19]), 0.2).any()


def test_small_pieces_go_and_large_ones_stay() -> None:
    mask = np.zeros((3, 20, 20), bool)
    mask[0, 2:6, 2:6] = True
    mask[2, 15, 15] = True
    kept = drop_small_components(mask, np.full(3, 0.01), 0.1)
    assert kept[0].sum() == 16
    assert not kept[2].any()


def test_pieces_are_joined_through_slices() -> None:
    mask = np.zeros((4, 20, 20), bool)
    mask[:, 5:7, 5:8] = True
    assert drop_small_components(mask, np.full(4, 0.01), 0.239).sum() == 24
    assert not drop_small_components(mask, np.full(4, 0.01), 0.25).any()


def test_pieces_that_meet_only_in_another_slice_are_one() -> None:
    """Two legs of a U: apart below, joined above."""
    mask = np.zeros((2, 20, 20), bool)
    mask[0, 5, 2:5] = True
    mask[0, 5, 10:13] = True
    mask[1, 5, 2:13] = True
    assert drop_small_components(mask, np.full(2, 0.01), 0.169).sum() == 17


def test_pieces_that_do_not_overlap_are_apart() -> None:
    mask = np.zeros((3, 20, 20), bool)
    mask[0, 5, 5:10] = True
    mask[1, 15, 5:10] = True
    mask[2, 5, 5:10] = True
    assert not drop_small_components(mask, np.full(3, 0.01), 0.06).any()


def test_diagonal_neighbours_touch() -> None:
    mask = np.zeros((1, 5, 5), bool)
    mask[0, [0, 1, 2], [0, 1, 2]] = True
    assert drop_small_components(mask, np.ones(1), 3.0).sum() == 3


def test_thick_slices_weigh_more() -> None:
    mask = np.zeros((2, 5, 5), bool)
    mask[0, 0, 0] = mask[1, 4, 4] = True
    assert drop_small_components(mask, np.array([0.01, 0.05]), 0.05)[:, [0, 4], [0, 4]].tolist() == [
        [False, False],
        [False, True],
    ]


def test_components_agree_with_a_plain_flood() -> None:
    mask = np.random.default_rng(5).random((6, 16, 16)) < 0.25
    kept = drop_small_components(mask, np.ones(6), 9.0)
    seen = np.zeros_like(mask)
    expected = np.zeros_like(mask)
    for start in zip(*np.nonzero(mask), strict=True):
        if seen[start]:
            continue
        piece, front = [], [start]
        seen[start] = True
        while front:
            z, y, x = front.pop()
            piece.append((z, y, x))
            around = [(z, y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)] + [(z - 1, y, x), (z + 1, y, x)]
            for near in around:
                if all(0 <= c < n for c, n in zip(near, mask.shape, strict=True)) and mask[near] and not seen[near]:
                    seen[near] = True
                    front.append(near)
        if len(piece) >= 9:
            expected[tuple(np.array(piece).T)] = True
    assert np.array_equal(kept, expected)


def test_without_a_minimum_nothing_is_dropped() -> None:
    mask = np.zeros((1, 5, 5), bool)
    mask[0, 2, 2] = True
    assert drop_small_components(mask, np.ones(1), 0.0) is mask


def test_isolation_keeps_the_rim_and_forgets_the_rest() -> None:
    lesions = np.full((5, 9, 9), 0.02, np.float32)
    lesions[1, 2, 2] = lesions[1, 2, 4] = 0.9
    kept = np.zeros((9, 9), bool)
    kept[2, 2] = True
    alone = isolate(lesions, kept, np.float32(0.5), reach=2)
    assert alone[1, 2, 2] == np.float32(0.9)
    assert alone[0, 0, 0] == np.float32(0.02)
    assert alone[:, 2, 4].sum() == 0.0
    assert not alone[:, 5:, :].any()


def test_probabilities_become_bytes_by_rounding_and_never_wrap() -> None:
    given = np.array([-0.1, 0.0, 0.5, 0.998, 1.0, 1.2], dtype=np.float32)
    assert as_bytes(given).tolist() == [0, 0, 128, 254, 255, 255]
    assert as_bytes(given).dtype == np.uint8
