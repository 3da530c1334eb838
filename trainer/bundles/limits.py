"""Temperatures, exam calibration and limits of a bundle, from validation scans alone."""

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
from trainer.bundles.scans import ScanSaid
from trainer.datasets.case import NO, UNKNOWN, YES
from trainer.measures.calibration import threshold_for
from trainer.measures.interval import Flags, Numbers
from trainer.measures.labels import label_measures
from trainer.measures.measure import Measure
from triage.inference.manifest import OUTPUTS, Calibration, ExamCalibration, GateCalibration, Scoring, Thresholds
from triage.inference.postprocess import final_probability, lit_slices, logit, provisional_probability

GATE_SENSITIVITY = 0.98
"""Share of the validation slices with blood that the gate must light up; a slice that stays dark is never outlined."""

GATE_RANGE = (0.02, 0.5)
LIMIT_RANGE = (0.01, 0.99)
EMERGENT_SHARE = 0.5
"""Share of the validation scans with blood that reach the emergent limit; no label tells which of them are emergent."""

_ROUNDS = 20
"""Of limit and gate, each of which moves the other; they stand still after two or three."""

GATE_SHARE = 1.0
"""Of the classifier beside the mask, where a net was trained for both: nothing speaks for either of the two."""


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """What a bundle needs besides its weights.

    Attributes
    ----------
    scores : ndarray of float64, shape (scan,)
        Final scores of the scans that these limits were chosen on.
    bleeding : ndarray of bool, shape (scan,)
    wanted : float
        Sensitivity that the suspected limit was chosen for.
    sensitivity, specificity : Measure
        What the limit does on these scans: optimistic, for it was chosen on them.
    """

    thresholds: Thresholds
    calibration: Calibration
    scores: Numbers
    bleeding: Flags
    wanted: float
    sensitivity: Measure
    specificity: Measure


def limits_of(
    said: Sequence[ScanSaid],
    scoring: Scoring,
    wanted: float,
    seed: int,
    *,
    outlines: bool,
    gate_speaks: bool,
    names_subtypes: bool,
    mask_probability: float,
) -> Limits:
    """Fit and choose.

    Parameters
    ----------
    said : sequence of ScanSaid
        Every slice segmented; scans of which nothing is known are left out.
    wanted : float
        Sensitivity of the suspected limit on scans with blood.
    outlines, gate_speaks : bool
        Whether the bundle has masks, and whether its classifier was trained as one: which of the two decides.
    names_subtypes : bool
        Whether more than any blood was taught; what was not has no temperature.

    Raises
    ------
    ValueError
        No scan with blood, or none without.
    """
    check_labels([one.label for one in said])
    known = [one for one in said if one.label != UNKNOWN]
    bleeding = np.array([one.label == YES for one in known], dtype=np.bool_)
    temperatures = temperatures_of(known, [one.truth for one in known], len(OUTPUTS) if names_subtypes else 1)
    gated = gated_by(known, temperatures)
    from_gate = gate_evidence(gated, scoring)
    weight, bias = fit_exam(logit(from_gate), bleeding)
    provisional = GateCalibration(weight, bias)
    patients = np.array([one.patient for one in known], dtype=np.str_)
    studies = np.array([one.study for one in known], dtype=np.str_)
    gate = slice_limit(gated, [one.truth[:, 0] == YES for one in known], GATE_SENSITIVITY, GATE_RANGE)
    calibration = Calibration(temperatures, 1.0, provisional, ExamCalibration(0.0, weight, bias))
    share = GATE_SHARE if gate_speaks else 0.0
    if outlines:
        early = mask_evidence(known, gated, scoring, gate)
        weight, bias = fit_exam(logit(early) + share * logit(from_gate), bleeding)
        final = ExamCalibration(mask_weight=weight, gate_weight=share * weight, bias=bias)
        calibration = Calibration(temperatures, 1.0, provisional, final)
    # A lower limit lowers the gate, and a lower gate has more slices segmented, which moves scores.
    suspected, before = LIMIT_RANGE[1], np.inf
    for _ in range(_ROUNDS):
        if gate == before:
            break
        scores = _scores(known, gated, scoring, gate, calibration)
        suspected = float(np.clip(threshold_for(scores, bleeding, wanted), *LIMIT_RANGE))
        before, gate = gate, harmless_gate(gate, provisional, suspected)
    scores = _scores(known, gated, scoring, gate, calibration)
    emergent = float(np.quantile(scores[bleeding], 1.0 - EMERGENT_SHARE))
    thresholds = Thresholds(
        gate=gate,
        suspected=suspected,
        emergent=float(np.clip(emergent, suspected, max(LIMIT_RANGE[1], suspected))),
        mask_probability=mask_probability,
    )
    reached = label_measures("any", "scan", scores, bleeding.astype(np.int8), patients, studies, suspected, seed)
    by_name = {one.name: one for one in reached}
    return Limits(thresholds, calibration, scores, bleeding, wanted, by_name["sensitivity"], by_name["specificity"])


def check_labels(labels: Sequence[int]) -> None:
    """Make sure, before anything is run, that scans of these labels allow limits.

    Raises
    ------
    ValueError
        No scan with blood, or none without.
    """
    bleeding, quiet = (sum(label == kind for label in labels) for kind in (YES, NO))
    if not bleeding or not quiet:
        raise ValueError(
            f"limits need validation scans with blood and scans without; of {len(labels)} scans {bleeding} are known "
            f"to show blood and {quiet} to show none"
        )


def _scores(
    said: Sequence[ScanSaid], gated: Sequence[Numbers], scoring: Scoring, gate: float, calibration: Calibration
) -> Numbers:
    """Final scores as `triage.inference.predict` gives them."""
    from_gate = gate_evidence(gated, scoring)
    final = final_probability(mask_evidence(said, gated, scoring, gate), from_gate, calibration.final)
    dark = np.array([not lit_slices(g[:, 0], gate).any() for g in gated])
    return np.where(dark, provisional_probability(from_gate, calibration.provisional), final)
