"""How weights move."""

from __future__ import annotations

import torch
from torch import nn

from trainer.experiment.protocol import OptimiserSpec


def optimiser_of(net: nn.Module, spec: OptimiserSpec) -> torch.optim.Optimizer:
    """The optimiser of a protocol."""
    rate, decay = spec.learning_rate, spec.weight_decay
    if spec.name == "sgd":
        return torch.optim.SGD(net.parameters(), rate, momentum=0.9, weight_decay=decay)
    kind = torch.optim.Adam if spec.name == "adam" else torch.optim.AdamW
    return kind(net.parameters(), rate, weight_decay=decay)


def schedule_of(
    optimiser: torch.optim.Optimizer, spec: OptimiserSpec, epochs: int, *, falling: bool
) -> torch.optim.lr_scheduler.LRScheduler | None:
    """How the rate moves, epoch by epoch; None leaves it.

    Parameters
    ----------
    falling : bool
        Whether the figure that is watched gets better by getting smaller.
    """
    if spec.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, "min" if falling else "max", factor=spec.drop, patience=spec.patience
        )
    if spec.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    return None
