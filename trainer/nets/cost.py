"""What a net costs: parameters, and arithmetic for one slice, counted without doing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from trainer.nets.registry import build_net, check_side, entry_of, parameter_count


@dataclass(frozen=True, slots=True)
class NetCost:
    """Parameters, and 10^9 floating-point operations forward for one slice of ``size`` rows and columns.

    A multiplication with its addition counts as two. Convolutions and matrix products are counted; norms,
    activations and resizing are not.
    """

    parameters: int
    gflop: float
    in_channels: int
    size: int


def cost_of(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    in_channels: int | None = None,
    classes: int | None = None,
    size: int | None = None,
) -> NetCost:
    """Cost of a net of the registry, at the paper's input where nothing else is said.

    Built without memory for its weights (torch's ``meta`` device), so the largest takes a moment.
    """
    entry = entry_of(name)
    channels = entry.in_channels if in_channels is None else in_channels
    side = entry.size if size is None else size
    check_side(name, side)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        net = build_net(name, options, in_channels=channels, classes=classes).eval()
        net(torch.empty(1, channels, side, side))
    return NetCost(parameter_count(net), counter.get_total_flops() / 1e9, channels, side)
