"""Limits that keep real series without blood below them: made heads alone would set them too low."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainer.demonstration.decide import HIGHEST_LIMIT
from trainer.real_series import copies_of, gate_of, read_series
from trainer.tell import Tell
from triage.domain.errors import UnusableSeries
from triage.inference.bundle import Bundle
from triage.inference.manifest import Thresholds
from triage.inference.postprocess import logit, sigmoid
from triage.inference.predict import Predictor

_MARGIN = 0.25
"""In logits, above the highest score of a series without blood."""

_THREADS = 2


def quiet_on(bundle: Bundle, series: Sequence[Path], tell: Tell) -> Thresholds:
    """The thresholds of a bundle, with the suspected limit raised above every copy of each series.

    The copies are shifted in HU, turned, resampled and noisier, see `trainer.real_series`: what holds for one scan
    of one person must not hang on its very pixels. A copy that the daemon would refuse raises nothing, and no limit is
    raised above `trainer.demonstration.decide.HIGHEST_LIMIT`; both are told.

    Raises
    ------
    ValueError
        A folder holds no DICOM instance.
    UnusableSeries
        Its instances make no volume.
    """
    predictor = Predictor.load(bundle.path, "cpu", threads=_THREADS)
    highest = max(_highest(predictor, folder, tell) for folder in series)
    thresholds = bundle.manifest.thresholds
    wanted = float(sigmoid(logit(np.array(highest)) + _MARGIN))
    suspected = max(thresholds.suspected, min(wanted, HIGHEST_LIMIT))
    if highest >= suspected:
        tell(f"a score of {highest:.4f} stays suspected: no limit is set above {HIGHEST_LIMIT}")
    return replace(thresholds, suspected=suspected, emergent=max(thresholds.emergent, suspected))


def remark_on(before: Thresholds, after: Thresholds, series: Sequence[Path]) -> str:
    """What whoever reads the figures of these series must know."""
    names = " and ".join(folder.name for folder in series)
    raised = after.suspected > before.suspected
    how = f"was raised from {before.suspected:.3f}" if raised else "did not have to be raised"
    return (
        f"The suspected limit of {after.suspected:.3f} {how} so that {names} and copies of it stay below: that they "
        "are not suspected is no finding."
    )


def _highest(predictor: Predictor, folder: Path, tell: Tell) -> float:
    """The highest score of any copy, provisional or final; 0 where all are refused."""
    highest = 0.0
    for name, volume in copies_of(read_series(folder)).items():
        try:
            gate = gate_of(predictor, volume)
        except UnusableSeries as exc:
            tell(f"{folder.name}, {name}: not analysed. {exc}")
            continue
        final, provisional = predictor.segment(volume, gate).result.score, gate.result.score
        tell(f"{folder.name}, {name}: score {final:.3f}, provisional {provisional:.3f}")
        highest = max(highest, final, provisional)
    return highest
