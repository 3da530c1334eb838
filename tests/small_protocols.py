"""Experiment protocols that train in a second on a made cache of 32 pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from trainer.experiment.protocol import (
    ExperimentProtocol,
    FitSpec,
    InputSpec,
    LossSpec,
    NetSpec,
    OptimiserSpec,
    SplitSpec,
)

SMALL_MUNET = NetSpec("munet", {"widths": [8, 8, 8, 16, 16], "hidden": 8, "dropout": 0.3})
SMALL_CLASSIFIER = NetSpec("slice_classifier", {"widths": [8, 8, 8, 8], "pyramid": 8})
SMALL_UNET = NetSpec("d_unet", {"widths": [8, 16], "bottleneck": 16})

_SMALL = ExperimentProtocol(
    name="small",
    title="A small protocol of the tests",
    paper="",
    variant="honest",
    datasets=("phantom",),
    classes="subtypes",
    seed=1,
    input=InputSpec(size=32, windows=((40.0, 80.0), (80.0, 200.0), (600.0, 2800.0))),
    split=SplitSpec("patient", test=0.2, validation=0.25),
    nets=(SMALL_MUNET,),
    loss=LossSpec(mask="dice_ce", label="focal", deep_supervision=True),
    optimiser=OptimiserSpec("adam", 1e-3),
    fit=FitSpec(epochs=2, batch=8),
)


def small_protocol(**changes: Any) -> ExperimentProtocol:
    """The small protocol with other parts."""
    return replace(_SMALL, **changes)
