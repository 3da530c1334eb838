"""Made head CT at full realism, 512 x 512 pixels, every slice scanned: processor seconds of one core."""

from __future__ import annotations

import time
from pathlib import Path

from tests.benchmarks.harness import Contender, Figures, Limit
from tests.conftest import SHARED_DATA

PROCEDURAL, TEMPLATE = "procedural heads", "heads of the template"
SPENT = "CPU s for 10 slices"
SEEDS = (81_001, 81_002, 81_003)

LIMITS = [Limit(PROCEDURAL, SPENT, 2.0), Limit(TEMPLATE, SPENT, 2.0)]


def contenders() -> list[Contender]:
    """Both anatomy sources."""
    return [Contender(PROCEDURAL, lambda: _made(None)), Contender(TEMPLATE, lambda: _made(SHARED_DATA / "ct_template"))]


def _made(anatomy: Path | None) -> Figures:
    """Three heads, two of which bleed, after one that is not counted: it loads what they share."""
    from trainer.phantom.exam import study
    from triage.domain.finding import WorklistStatus

    study(SEEDS[0] - 1, status=WorklistStatus.NOT_SUSPECTED, anatomy=anatomy)
    began, slices = time.process_time(), 0
    for seed in SEEDS:
        status = WorklistStatus.SUSPECTED if seed % 2 else WorklistStatus.NOT_SUSPECTED
        slices += len(study(seed, status=status, anatomy=anatomy).hu)
    return {SPENT: 10 * (time.process_time() - began) / slices}
