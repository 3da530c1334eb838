"""All measures of a set of predictions."""

from __future__ import annotations

import numpy as np

from trainer.experiment.predictions import Predictions
from trainer.measures.labels import label_measures, marked_measures
from trainer.measures.masks import mask_measures
from trainer.measures.measure import Measure
from trainer.measures.scans import scans_of


def measures_of(predictions: Predictions, threshold: float, seed: int) -> list[Measure]:
    """Every figure that these predictions allow; what they do not allow is absent, never 0.

    Parameters
    ----------
    threshold : float
        Of slice and scan probabilities.
    seed : int
        Of the bootstrap; the same seed gives the same intervals.
    """
    scans = scans_of(predictions)
    drawn = bool(predictions.drawn.any())
    speaks = bool((~np.isnan(predictions.probability)).any())
    found: list[Measure] = []
    for column, name in enumerate(predictions.classes):
        of = str(name)
        slices = (predictions.label[:, column], predictions.patient, predictions.study)
        whole = (scans.label[:, column], scans.patient, scans.study)
        if speaks:
            said = predictions.probability[:, column].astype(np.float64)
            found += label_measures(of, "slice", said, *slices, threshold, seed)
            found += label_measures(of, "scan", scans.probability[:, column], *whole, threshold, seed)
        if bool(predictions.marked_px.any()) or drawn:
            found += marked_measures(of, "slice", predictions.marked_px[:, column] > 0, *slices, seed)
        if drawn:
            found += mask_measures(predictions, scans, column, seed)
    return found
