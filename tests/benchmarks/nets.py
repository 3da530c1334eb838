"""Both nets of the shipped bundles over a made head of 30 slices, all of them segmented, on two threads."""

from __future__ import annotations

import time
from functools import cache, partial
from pathlib import Path

import triage
from tests.benchmarks.harness import Aim, Contender, Figures, Limit
from triage.domain.volume import Volume

SINGLE, SMALL = "single precision", "8 bits"
SPENT = "s for 30 slices"
BUNDLES = {SINGLE: "demo", SMALL: "demo-int8"}

LIMITS: list[Aim | Limit] = [Limit(SMALL, SPENT, 1.2)]


def contenders() -> list[Contender]:
    """The bundle in single precision and the one in 8 bits."""
    return [Contender(name, partial(_analysed, folder)) for name, folder in BUNDLES.items()]


def _analysed(folder: str) -> Figures:
    """From the volume in memory to the result; the first run, which warms up, is not counted."""
    from triage.inference.predict import Predictor

    predictor = Predictor.load(Path(triage.__file__).parent / "bundles" / folder, "cpu", threads=2)
    for _ in range(2):
        began = time.perf_counter()
        predictor.segment(_head(), predictor.gate(_head()), every_slice=True)
        spent = time.perf_counter() - began
    return {SPENT: spent}


@cache
def _head() -> Volume:
    from trainer.demonstration.exams import volume_of
    from trainer.phantom.exam import ScanGeometry, study

    return volume_of(study(82_001, geometry=ScanGeometry(slice_count=30)))
