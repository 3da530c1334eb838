"""The architectures that a protocol can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from trainer.nets.munet import MUNet
from trainer.nets.slice_classifier import SliceClassifier

NETS: Mapping[str, Callable[..., nn.Module]] = {"munet": MUNet, "slice_classifier": SliceClassifier}


def build_net(architecture: str, options: Mapping[str, Any]) -> nn.Module:
    """Build a net by its registered name.

    Raises
    ------
    ValueError
        If no net has that name.
    """
    if architecture not in NETS:
        raise ValueError(f"no net is called {architecture!r}; there are {', '.join(NETS)}")
    return NETS[architecture](**options)


def parameter_count(net: nn.Module) -> int:
    """How many numbers training can change."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
