"""Limits, gate and temperatures of a bundle, on hand-made scans of which all is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.bundles.limits import EMERGENT_SHARE, GATE_RANGE, LIMIT_RANGE, Limits, limits_of
from trainer.bundles.scans import ScanSaid
from trainer.datasets.case import NO, UNKNOWN, YES
from triage.inference.manifest import Scoring
from triage.inference.postprocess import (
    exam_evidence,
    final_probability,
    lit_slices,
    provisional_probability,
    sigmoid,
)

SLICES = 12
SCORING = Scoring()


def logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(p / (1 - p))


def scan(seed: int, bleeding: bool, *, classifier: float = 3.0, mask: float = 4.0, sharp: float = 1.0) -> ScanSaid:
    """A scan whose slices with blood answer so much higher in logit; ``sharp`` makes the classifier too sure."""
    rng = np.random.default_rng(seed)
    truth = np.full((SLICES, 6), NO, np.int8)
    if bleeding:
        truth[4:8, [0, 1 + seed % 5]] = YES
    shown = truth == YES
    logits = (sharp * (rng.normal(-2.0, 0.8, (SLICES, 6)) + classifier * shown)).astype(np.float32)
    evidence = sigmoid(rng.normal(-4.0, 0.8, (SLICES, 6)) + mask * shown)
    return ScanSaid(
        patient=f"p{seed}",
        study=f"s{seed}",
        logits=logits,
        probabilities=sigmoid(logits),
        evidence=evidence,
        truth=truth,
        label=YES if bleeding else NO,
        score=0.0,
        overlap_px=0,
        true_px=0,
        marked_px=0,
    )


def scans(count: int = 40, **how: float) -> list[ScanSaid]:
    return [scan(seed, seed % 2 == 0, **how) for seed in range(count)]


def limits(
    said: list[ScanSaid],
    wanted: float = 0.95,
    *,
    outlines: bool = True,
    gate_speaks: bool = True,
    names_subtypes: bool = True,
) -> Limits:
    return limits_of(
        said,
        SCORING,
        wanted,
        7,
        outlines=outlines,
        gate_speaks=gate_speaks,
        names_subtypes=names_subtypes,
        mask_probability=0.5,
    )


def score(one: ScanSaid, found: Limits) -> float:
    """As the daemon makes it, apart from the code under test."""
    gated = sigmoid(one.logits / np.array(found.calibration.classifier_temperature))
    from_gate = exam_evidence(gated, SCORING)
    lit = lit_slices(gated[:, 0], found.thresholds.gate)
    if not lit.any():
        return float(provisional_probability(from_gate, found.calibration.provisional)[0])
    from_mask = exam_evidence(one.evidence * lit[:, None], SCORING)
    return float(final_probability(from_mask, from_gate, found.calibration.final)[0])


@pytest.mark.parametrize("how", [
    {"outlines": True, "gate_speaks": True}, {"outlines": True, "gate_speaks": False},
    {"outlines": False, "gate_speaks": True},
], ids=["both", "masks", "labels"])  # fmt: skip
@pytest.mark.parametrize("wanted", [0.7, 0.95, 1.0])
@pytest.mark.parametrize("sharp", [1.0, 10.0], ids=["modest", "too sure"])
def test_the_limit_reaches_the_wanted_sensitivity_with_the_daemons_own_scores(
    sharp: float, wanted: float, how: dict[str, bool]
) -> None:
    """Logits beyond 9.21, which `logit` cuts off, are served as they are."""
    said = scans(classifier=2.0, mask=2.5, sharp=sharp)
    found = limits(said, wanted, **how)
    scores = np.array([score(one, found) for one in said])
    np.testing.assert_allclose(scores, found.scores)
    suspected = scores >= found.thresholds.suspected
    reached = suspected[found.bleeding].mean()
    assert reached >= wanted
    assert reached == found.sensitivity.value
    assert found.specificity.value == (~suspected)[~found.bleeding].mean()
    assert found.sensitivity.low <= reached <= found.sensitivity.high
    assert (found.sensitivity.n, found.sensitivity.method) == (20, "Clopper-Pearson")
    assert found.wanted == wanted


def test_more_sensitivity_costs_specificity() -> None:
    said = scans(classifier=1.0, mask=1.0)
    few, many = limits(said, 0.5), limits(said, 1.0)
    assert few.thresholds.suspected > many.thresholds.suspected
    assert few.specificity.value > many.specificity.value


def test_half_of_the_scans_with_blood_are_emergent() -> None:
    found = limits(scans(classifier=1.0, mask=1.0))
    emergent = found.scores[found.bleeding] >= found.thresholds.emergent
    assert emergent.mean() == pytest.approx(EMERGENT_SHARE, abs=0.05)
    assert found.thresholds.emergent >= found.thresholds.suspected


def test_a_scan_below_the_gate_can_never_be_suspected() -> None:
    """The manifest refuses a bundle that would; so every choice must be one that it takes."""
    for wanted in (0.5, 0.9, 1.0):
        for how in (0.0, 0.3, 5.0):
            found = limits(scans(classifier=how, mask=how), wanted)
            provisional = found.calibration.provisional
            highest = provisional.gate_weight * logit(np.array(found.thresholds.gate)) + provisional.bias
            assert sigmoid(highest) < found.thresholds.suspected


def test_limits_stay_away_from_certainty() -> None:
    found = limits(scans(classifier=20.0, mask=20.0))
    assert LIMIT_RANGE[0] <= found.thresholds.suspected <= LIMIT_RANGE[1]
    assert found.thresholds.gate <= GATE_RANGE[1]
    assert (found.sensitivity.value, found.specificity.value) == (1.0, 1.0)


def test_a_classifier_that_is_too_sure_gets_a_temperature() -> None:
    modest = np.array(limits(scans(classifier=2.0)).calibration.classifier_temperature)
    for sharp in (3.0, 8.0):
        sure = limits(scans(classifier=2.0, sharp=sharp)).calibration.classifier_temperature
        np.testing.assert_allclose(np.array(sure) / modest, sharp, rtol=1e-3)


def test_what_was_not_taught_or_is_not_known_has_no_temperature() -> None:
    said = scans(classifier=2.0)
    assert limits(said, names_subtypes=False).calibration.classifier_temperature[1:] == (1.0,) * 5
    for one in said:
        one.truth[:, 2] = UNKNOWN
        one.truth[:, 3] = NO
    temperatures = limits(said).calibration.classifier_temperature
    assert temperatures[2:4] == (1.0, 1.0)
    assert temperatures[0] != 1.0


def test_without_masks_the_classifier_alone_decides() -> None:
    final = limits(scans(), outlines=False).calibration.final
    assert (final.mask_weight, final.gate_weight > 0) == (0.0, True)


def test_a_classifier_made_of_masks_does_not_speak_beside_them() -> None:
    final = limits(scans(), gate_speaks=False).calibration.final
    assert (final.mask_weight > 0, final.gate_weight) == (True, 0.0)


def test_scans_of_which_nothing_is_known_are_left_out() -> None:
    said = scans()
    unknown = [replace(scan(seed, seed % 3 == 0), label=UNKNOWN) for seed in range(100, 120)]
    assert limits([*said, *unknown]).thresholds == limits(said).thresholds
    assert len(limits([*said, *unknown]).scores) == len(said)


@pytest.mark.parametrize(("kinds", "counted"), [
    ([True] * 3, "of 3 scans 3 are known to show blood and 0"), ([False] * 4, "of 4 scans 0 are known"), ([], "of 0"),
])  # fmt: skip
def test_one_kind_of_scan_alone_allows_no_limit(kinds: list[bool], counted: str) -> None:
    with pytest.raises(ValueError, match=f"scans with blood and scans without; {counted}"):
        limits([scan(seed, bleeding) for seed, bleeding in enumerate(kinds)])
