"""Nets that answer for a slice and for its mirror image: false blood that is seen from one side alone fades."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class Mirrored(nn.Module):
    """The mean of what a net says of a slice and of its mirror image, which shows the same blood on the other side.

    Parameters
    ----------
    net : nn.Module
        Gives one tensor or several, slice first; those of four dimensions are maps, (slice, class, row, column).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(slice, channel, row, column) -> what the net gives; in one batch, which is twice as long."""
        answer = self.net(torch.cat([image, image.flip(3)]))
        if isinstance(answer, tuple):
            return tuple(_both_ways(one) for one in answer)
        return _both_ways(cast(Tensor, answer))


def _both_ways(answer: Tensor) -> Tensor:
    """Mean over slices, the first half, and their mirror images, the second; maps of these are turned back."""
    straight, mirrored = answer.unflatten(0, (2, -1))
    return (straight + (mirrored.flip(3) if answer.ndim == 4 else mirrored)) / 2.0
