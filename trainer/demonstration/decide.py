"""From calibration exams to the limits that the daemon decides by, with the daemon's own scoring functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.bundles.exam_fit import fit_exam, harmless_gate
from trainer.demonstration.exams import LADDER, ExamRecord
from trainer.demonstration.familiar import familiar_limit
from trainer.demonstration.protocol import DecisionPlan
from trainer.measures.calibration import temperature_of
from trainer.measures.interval import Flags, Numbers
from triage.inference.manifest import Calibration, ExamCalibration, GateCalibration, Scoring, Thresholds
from triage.inference.postprocess import (
    exam_evidence,
    final_probability,
    lit_slices,
    logit,
    sigmoid,
)

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
        Exams with and without blood, run with temperatures of 1 and every slice segmented.

    Raises
    ------
    ValueError
        All of them bleed, or none.
    """
    bleeding = np.array([r.bleeding for r in records])
    if bleeding.all() or not bleeding.any():
        raise ValueError("calibration needs exams with blood and exams without")
    temperatures = _temperatures(records)
    gated = [sigmoid(logit(r.probabilities) / np.array(temperatures)) for r in records]
    from_gate = np.array([exam_evidence(g, scoring)[0] for g in gated])
    weight, bias = fit_exam(logit(from_gate), bleeding)
    provisional = GateCalibration(gate_weight=weight, bias=bias)
    gate = harmless_gate(_gate(records, gated, plan), provisional, plan.suspected)
    from_mask = np.array(
        [
            exam_evidence(r.evidence * lit_slices(g[:, 0], gate)[:, None], scoring)[0]
            for r, g in zip(records, gated, strict=True)
        ]
    )
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


def _temperatures(records: Sequence[ExamRecord]) -> tuple[float, ...]:
    logits = np.concatenate([logit(r.probabilities) for r in records])
    shown = np.concatenate([r.shown for r in records])
    return tuple(_temperature(logits[:, i], shown[:, i]) for i in range(logits.shape[1]))


def _temperature(logits: Numbers, shown: Flags) -> float:
    """1, which changes nothing, for a class that no calibration exam shows, or that every slice of them shows."""
    return temperature_of(logits, shown) if shown.any() and not shown.all() else 1.0


def _gate(records: Sequence[ExamRecord], gated: Sequence[Numbers], plan: DecisionPlan) -> float:
    """The slice limit that lights the asked-for share of the slices with a fair area of blood."""
    fair = np.concatenate([r.true_mm2[:, 0] >= plan.gate_area_mm2 for r in records])
    values = np.concatenate([g[:, 0] for g in gated])[fair]
    wanted = float(np.quantile(values, 1.0 - plan.gate_sensitivity)) if values.size else plan.gate_range[0]
    return float(np.clip(wanted, *plan.gate_range))
