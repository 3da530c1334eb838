"""Experiment protocols that train in a second on a made cache of 32 pixels."""

from __future__ import annotations

from collections.abc import Mapping
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

_UNET = {"widths": [4, 8], "bottleneck": 8}
NARROW: Mapping[str, dict[str, Any]] = {
    "munet": {"widths": [4, 4, 8, 8, 8], "hidden": 8},
    "munet_flat": {"widths": [4, 4, 8, 8, 8], "hidden": 8},
    "denseunet": {"growth": 4, "depth": 2, "layers": 1, "stem": 4},
    "densenet121": {"blocks": [1, 1, 1, 1]},
    "densenet169": {"blocks": [1, 1, 2, 1]},
    "unet": _UNET,
    "resnet18": {"layers": [1, 1, 1, 1]},
    "resnet34": {"layers": [1, 2, 1, 1]},
    "resnet50": {"layers": [1, 1, 1, 1]},
    "light_unet": _UNET,
    "light_classifier": _UNET,
    "d_unet": _UNET,
    "unet_classic": _UNET,
    "dr_unet": {"width": 4, "levels": 3, "stem": 4},
    "unet_dr": {"width": 4, "levels": 3, "stem": 4},
    "dense_unet": {"growth": 2, "blocks": [1, 1, 1, 1], "decoder": [8, 8, 4, 4]},
    "gate_2p5d": {"widths": [8, 8, 16, 16], "width": 16, "heads": 2},
    "slice_classifier": {"widths": [4, 4, 8, 8], "pyramid": 4},
}
"""Options that make every net of the registry as small as it goes."""

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
