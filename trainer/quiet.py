"""Limits that keep real series without blood below them: made heads alone would set them too low."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainer.data import Progress
from trainer.decide import logit
from trainer.real_series import copies_of, read_series
from triage.inference.bundle import Bundle
from triage.inference.manifest import Thresholds
from triage.inference.postprocess import sigmoid
from triage.inference.predict import Predictor

_MARGIN = 0.25
"""In logits, above the highest score of a series without blood."""

_HIGHEST = 0.995


def quiet_on(bundle: Bundle, series: Sequence[Path], tell: Progress) -> Thresholds:
    """The thresholds of a bundle, with the suspected limit raised above every copy of each series.

    The copies are shifted in HU, turned, resampled and noisier, see `trainer.real_series`: what holds for one scan
    of one person must not hang on its very pixels.
    """
    predictor = Predictor.load(bundle.path, "cpu", threads=2)
    thresholds = bundle.manifest.thresholds
    highest = 0.0
    for folder in series:
        for name, volume in copies_of(read_series(folder)).items():
            gate = predictor.gate(volume)
            scores = (gate.result.score, predictor.segment(volume, gate).result.score)
            tell(f"{folder.name}, {name}: score {scores[1]:.3f}, provisional {scores[0]:.3f}")
            highest = max(highest, *scores)
    wanted = float(sigmoid(logit(np.array(highest)) + _MARGIN))
    suspected = min(max(thresholds.suspected, wanted), _HIGHEST)
    return replace(thresholds, suspected=suspected, emergent=max(thresholds.emergent, suspected))
