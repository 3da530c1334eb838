"""From slices to scans, by the daemon's own rule."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.experiment.predictions import Predictions
from trainer.measures.interval import Flags, Numbers
from triage.inference.manifest import Scoring
from triage.inference.postprocess import exam_evidence


@dataclass(frozen=True, slots=True, eq=False)
class Scans:
    """One entry per study; columns as in `Predictions`.

    Attributes
    ----------
    probability : ndarray of float64, shape (scan, c)
        Smoothed mean of the strongest slices (docs/bundle.md); nan where the net gives no probability.
    label : ndarray of int8, shape (scan, c)
        1 where the study or one of its slices is known to show it; 0 where the study, or every slice, is known not
        to; else -1.
    drawn : ndarray of bool
        Whether every slice has a true mask: only then has the scan a Dice and a volume.
    true_px, marked_px, overlap_px : ndarray of int64, shape (scan, c)
    true_ml, marked_ml : ndarray of float64, shape (scan, c)
        nan where pixel size or slice extent is not known.
    """

    patient: NDArray[Any]
    study: NDArray[Any]
    probability: Numbers
    label: NDArray[np.int8]
    drawn: Flags
    true_px: NDArray[np.int64]
    marked_px: NDArray[np.int64]
    overlap_px: NDArray[np.int64]
    true_ml: Numbers
    marked_ml: Numbers


def scans_of(predictions: Predictions, scoring: Scoring | None = None) -> Scans:
    """Put the slices of each study together."""
    rule = scoring or Scoring()
    studies, first, which = np.unique(predictions.study, return_index=True, return_inverse=True)
    order = np.lexsort((predictions.position_mm, which))
    bounds = np.concatenate([[0], np.cumsum(np.bincount(which, minlength=len(studies)))])
    groups = [order[low:high] for low, high in pairwise(bounds)]
    voxel_ml = (predictions.pixel_mm.astype(np.float64) ** 2 * predictions.extent_mm / 1000.0)[:, None]

    def summed(values: NDArray[Any]) -> NDArray[Any]:
        return np.array([values[group].sum(axis=0) for group in groups])

    return Scans(
        patient=predictions.patient[first],
        study=studies,
        probability=np.array([exam_evidence(predictions.probability[g].astype(np.float64), rule) for g in groups]),
        label=np.array([_label(predictions.label[g], predictions.study_label[g[0]]) for g in groups], dtype=np.int8),
        drawn=np.array([bool(predictions.drawn[g].all()) for g in groups]),
        true_px=summed(predictions.true_px),
        marked_px=summed(predictions.marked_px),
        overlap_px=summed(predictions.overlap_px),
        true_ml=summed(predictions.true_px * voxel_ml),
        marked_ml=summed(predictions.marked_px * voxel_ml),
    )


def _label(slices: NDArray[np.int8], study: NDArray[np.int8]) -> NDArray[np.int8]:
    """Labels of a scan from those of its slices, shape (slice, c), and of itself, shape (c,)."""
    shown = (slices == 1).any(axis=0) | (study == 1)
    absent = (slices == 0).all(axis=0) | (study == 0)
    return np.where(shown, 1, np.where(absent, 0, -1)).astype(np.int8)
