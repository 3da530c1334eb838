"""From calibration exams to the limits that the daemon decides by, with the daemon's own scoring functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.bundles.exam_fit import (
    fit_exam,
    gate_evidence,
    gated_by,
    harmless_gate,
    mask_evidence,
    slice_limit,
    temperatures_of,
)
from trainer.demonstration.exams import LADDER, ExamRecord
from trainer.demonstration.familiar import familiar_limit
from trainer.demonstration.protocol import DecisionPlan
from triage.inference.manifest import Calibration, ExamCalibration, GateCalibration, Scoring, Thresholds
from triage.inference.postprocess import final_probability, logit

HIGHEST_LIMIT = 0.995
"""No limit of a score is set higher: there scores crowd, and a limit could not be told from 1."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a bundle needs besides its weights."""

    thresholds: Thresholds
    calibration: Calibration
    familiar_within: float | None = None


def decide(records: Sequence[ExamRecord], plan: DecisionPlan, scoring: Scoring) -> Decision:
    """Fit temperatures and exam calibrations, then choose the limits.

    How much the classifier adds to the mask is given, not fitted: a fit on few made heads gives the classifier nearly
    all of the weight, while the one real head at hand lights it up more than the mask. Since half of the calibration
    exams bleed, a suspected limit of one half on the fitted curve weighs misses and false alarms alike.

    Parameters
    ----------
    records : sequence of ExamRecord
        Exams with and without blood, every slice segmented.

    Raises
    ------
    ValueError
        All of them bleed, or none.
    """
    bleeding = np.array([r.bleeding for r in records])
    if bleeding.all() or not bleeding.any():
        raise ValueError("calibration needs exams with blood and exams without")
    temperatures = temperatures_of(records, [r.shown.astype(np.int8) for r in records])
    gated = gated_by(records, temperatures)
    from_gate = gate_evidence(gated, scoring)
    weight, bias = fit_exam(logit(from_gate), bleeding)
    provisional = GateCalibration(gate_weight=weight, bias=bias)
    fair = [r.true_mm2[:, 0] >= plan.gate_area_mm2 for r in records]
    asked = slice_limit(gated, fair, plan.gate_sensitivity, plan.gate_range)
    gate = harmless_gate(asked, provisional, plan.suspected)
    from_mask = mask_evidence(records, gated, scoring, gate)
    weight, bias = fit_exam(logit(from_mask) + plan.gate_share * logit(from_gate), bleeding)
    final = ExamCalibration(mask_weight=weight, gate_weight=plan.gate_share * weight, bias=bias)
    scores = final_probability(from_mask, from_gate, final)
    large = np.array([r.true_ml[0] >= plan.emergent_ml for r in records])
    emergent = float(np.quantile(scores[large], 1.0 - plan.emergent_sensitivity)) if large.any() else plan.suspected
    thresholds = Thresholds(
        gate=gate,
        suspected=plan.suspected,
        emergent=float(np.clip(emergent, plan.suspected, max(HIGHEST_LIMIT, plan.suspected))),
        mask_probability=mask_limit(records, plan),
        minimum_component_ml=plan.minimum_component_ml,
    )
    distances = [r.distance for r in records if not r.refused]
    known = bool(np.isfinite(distances).any())
    return Decision(
        thresholds, Calibration(temperatures, 1.0, provisional, final), familiar_limit(distances) if known else None
    )


def mask_limit(records: Sequence[ExamRecord], plan: DecisionPlan) -> float:
    """The probability from which outlines give large bleeds their volume in the median.

    ``plan.mask_probability`` where no calibration exam holds ``plan.emergent_ml``.
    """
    ratios = [r.ladder_ml / r.true_ml[0] for r in records if r.true_ml[0] >= plan.emergent_ml]
    if not ratios:
        return plan.mask_probability
    return LADDER[int(np.abs(np.median(ratios, axis=0) - 1.0).argmin())]
