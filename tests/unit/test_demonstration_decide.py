from dataclasses import replace

import numpy as np
import pytest

from trainer.demonstration.decide import decide, mask_limit
from trainer.demonstration.exams import LADDER, ExamRecord
from trainer.demonstration.protocol import DecisionPlan
from triage.inference.manifest import Scoring
from triage.inference.postprocess import exam_evidence, final_probability, logit, provisional_probability, sigmoid

PLAN = DecisionPlan(
    gate_sensitivity=0.95,
    gate_area_mm2=100.0,
    gate_range=(0.02, 0.5),
    gate_share=0.25,
    suspected=0.5,
    emergent_sensitivity=0.5,
    emergent_ml=5.0,
    mask_probability=0.5,
    minimum_component_ml=0.1,
)
SLICES = 20


def exam(seed: int, bleeding: bool, strength: float = 2.5, ml: float = 12.0, sharp: float = 1.0) -> ExamRecord:
    """An exam whose slices with blood answer ``strength`` higher in logit; ``sharp`` makes the classifier too sure."""
    rng = np.random.default_rng(seed)
    true = np.zeros((SLICES, 6))
    if bleeding:
        true[8:14, [0, 2]] = 300.0
    logits = (sharp * (rng.normal(-2.5, 0.7, (SLICES, 6)) + strength * (true > 0))).astype(np.float32)
    evidence = sigmoid(rng.normal(-4.0, 0.8, (SLICES, 6)) + 2.5 * strength * (true > 0))
    volumes = np.where(true.any(axis=0), ml, 0.0)
    return ExamRecord(
        seed=seed,
        bleeding=bleeding,
        template=True,
        score=0.0,
        provisional_score=0.0,
        suspected=False,
        slices_segmented=SLICES,
        logits=logits,
        probabilities=sigmoid(logits),
        evidence=evidence,
        true_mm2=true,
        true_ml=volumes,
        marked_ml=volumes,
        overlap_ml=volumes,
        refused="",
    )


@pytest.fixture(scope="module")
def records() -> list[ExamRecord]:
    return [exam(seed, seed % 2 == 0) for seed in range(40)]


def test_separable_exams_are_separated_by_the_limit(records: list[ExamRecord]) -> None:
    decision = decide(records, PLAN, Scoring())
    scoring, calibration = Scoring(), decision.calibration
    for record in records:
        gated = sigmoid(record.logits / np.array(calibration.classifier_temperature))
        score = final_probability(
            exam_evidence(record.evidence, scoring),
            exam_evidence(gated, scoring),
            calibration.final,
        )[0]
        assert bool(score >= decision.thresholds.suspected) is record.bleeding


def test_a_classifier_that_is_too_sure_is_decided_on_as_it_is_served(records: list[ExamRecord]) -> None:
    """Its logits lie beyond 9.21, where `logit` cuts off: divided by their temperature they are those of the others."""
    modest = decide(records, PLAN, Scoring())
    sure = decide([exam(seed, seed % 2 == 0, sharp=8.0) for seed in range(40)], PLAN, Scoring())
    taught = [0, 2]
    ratios = np.divide(sure.calibration.classifier_temperature, modest.calibration.classifier_temperature)
    np.testing.assert_allclose(ratios[taught], 8.0, rtol=1e-3)
    assert sure.thresholds.gate == pytest.approx(modest.thresholds.gate, rel=1e-3)
    assert sure.calibration.final.bias == pytest.approx(modest.calibration.final.bias, rel=1e-3)


def test_the_mask_carries_the_final_score(records: list[ExamRecord]) -> None:
    final = decide(records, PLAN, Scoring()).calibration.final
    assert final.gate_weight == pytest.approx(0.25 * final.mask_weight)


def test_a_classifier_that_knows_made_heads_too_well_does_not_outweigh_the_mask() -> None:
    sure = [replace(exam(i, i % 2 == 0), evidence=exam(i, i % 2 == 0, strength=0.6).evidence) for i in range(40)]
    final = decide(sure, PLAN, Scoring()).calibration.final
    assert final.gate_weight < final.mask_weight


def test_no_study_below_the_gate_can_be_suspected(records: list[ExamRecord]) -> None:
    decision = decide(records, PLAN, Scoring())
    highest = provisional_probability(np.array([decision.thresholds.gate]), decision.calibration.provisional)
    assert highest[0] < decision.thresholds.suspected


def test_the_final_score_is_fitted_on_what_the_served_gate_has_segmented(records: list[ExamRecord]) -> None:
    """A gate that was lowered lights up more slices than the one that was asked for."""
    lowered = decide(records, replace(PLAN, gate_range=(0.9, 0.95)), Scoring())
    gate = lowered.thresholds.gate
    assert gate < 0.9
    asked = decide(records, replace(PLAN, gate_range=(gate, gate)), Scoring())
    assert (asked.thresholds, asked.calibration) == (lowered.thresholds, lowered.calibration)


def test_the_gate_lights_the_wanted_share_of_bloody_slices_within_its_range(records: list[ExamRecord]) -> None:
    decision = decide(records, PLAN, Scoring())
    temperature = decision.calibration.classifier_temperature[0]
    any_blood = np.concatenate([sigmoid(r.logits[8:14, 0] / temperature) for r in records if r.bleeding])
    assert (any_blood >= decision.thresholds.gate).mean() >= 0.94
    floor = decide(records, replace(PLAN, gate_sensitivity=1.0, gate_range=(0.3, 0.4)), Scoring())
    assert floor.thresholds.gate <= 0.4


def test_half_of_the_large_bleeds_are_emergent(records: list[ExamRecord]) -> None:
    limits = decide(records, PLAN, Scoring()).thresholds
    assert limits.suspected < limits.emergent <= 0.995


def test_without_large_bleeds_every_suspicion_is_emergent() -> None:
    small = [exam(seed, seed % 2 == 0, ml=1.0) for seed in range(20)]
    limits = decide(small, PLAN, Scoring()).thresholds
    assert limits.emergent == limits.suspected


def test_one_class_alone_cannot_calibrate(records: list[ExamRecord]) -> None:
    with pytest.raises(ValueError, match="with blood and exams without"):
        decide([r for r in records if r.bleeding], PLAN, Scoring())


def test_logit_is_finite_at_certainty() -> None:
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()
    np.testing.assert_allclose(sigmoid(logit(np.array([0.2, 0.7]))), [0.2, 0.7])


def laddered(true_ml: float, at_half: float) -> ExamRecord:
    """An exam whose outlined volume falls along the limits and is ``at_half`` of the true one at 0.5."""
    volumes = true_ml * at_half * (1.0 + 2.0 * (0.5 - np.array(LADDER)))
    return replace(exam(1, bleeding=True, ml=true_ml), ladder_ml=volumes)


def test_the_mask_limit_gives_large_bleeds_their_volume_in_the_median() -> None:
    assert mask_limit([laddered(20.0, 1.0), laddered(8.0, 0.9), laddered(30.0, 1.1)], PLAN) == 0.5
    assert mask_limit([laddered(20.0, 0.83)] * 3, PLAN) == pytest.approx(0.4)
    assert mask_limit([laddered(20.0, 0.83), laddered(1.0, 9.0), laddered(2.0, 9.0)], PLAN) == pytest.approx(
        0.4, abs=0.03
    )


def test_without_large_bleeds_the_mask_limit_is_that_of_the_protocol() -> None:
    assert mask_limit([laddered(1.0, 0.5)], replace(PLAN, mask_probability=0.45)) == 0.45


def test_what_is_familiar_reaches_to_twice_the_farthest_exam(records: list[ExamRecord]) -> None:
    assert decide(records, PLAN, Scoring()).familiar_within is None
    known = [replace(record, distance=0.5 + 0.01 * index) for index, record in enumerate(records)]
    known[-1] = replace(known[-1], distance=7.0, refused="no head")
    assert decide(known, PLAN, Scoring()).familiar_within == pytest.approx(2 * 0.88)
