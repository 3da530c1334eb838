"""The modern answer to the papers' slice classifiers: look at each slice with its neighbours, then at the whole scan.

After what the best entries of the RSNA 2019 challenge share (a 2D encoder whose slice features meet in a
sequence model), in a size that two cores can serve. No paper of the five stands behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from trainer.nets.starting_weights import start_he


class GroupedConv(nn.Sequential):
    """3x3 convolution without bias, group norm, ReLU.

    Not batch norm: the batch is one patient's scan, whose statistics would tell the slices of a bleeding head
    apart in training and fail for another head.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.GroupNorm(8, outputs),
            nn.ReLU(inplace=True),
        )


class Stage(nn.Module):
    """Half the side, then two convolutions around an identity."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.enter = GroupedConv(inputs, outputs, stride=2)
        self.body = nn.Sequential(GroupedConv(outputs, outputs), GroupedConv(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(slice, channel, row, column) -> half the rows and columns."""
        x = self.enter(x)
        out: Tensor = x + self.body(x)
        return out


class ScanAttention(nn.Module):
    """Every slice asks every other one of its scan, near ones first: a pre-norm transformer layer.

    What a slice is told of another's place is how many slices lie between them, up to ``reach``; millimetres are
    unknown here. So the scan may have any number of slices.
    """

    def __init__(self, width: int, heads: int, reach: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"gate_2p5d: {heads} heads do not divide a width of {width}")
        self.heads, self.reach = heads, reach
        self.norm = nn.LayerNorm(width)
        self.ask = nn.Linear(width, 3 * width)
        self.distance = nn.Parameter(torch.zeros(heads, 2 * reach + 1))
        self.answer = nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(slice, width) -> (slice, width)."""
        count, width = x.shape
        query, key, value = (
            part.reshape(count, self.heads, width // self.heads).transpose(0, 1)
            for part in self.ask(self.norm(x)).chunk(3, dim=1)
        )
        place = torch.arange(count, device=x.device)
        apart = (place[None, :] - place[:, None]).clamp(-self.reach, self.reach) + self.reach
        scores = query @ key.transpose(1, 2) / math.sqrt(width // self.heads) + self.distance[:, apart]
        heard = (torch.softmax(scores, dim=2) @ value).transpose(0, 1).reshape(count, width)
        x = x + self.answer(heard)
        out: Tensor = x + self.think(x)
        return out


class Gate25D(nn.Module):
    """Logits of every slice of one scan.

    Parameters
    ----------
    widths : sequence of int
        Channels at 1/2, 1/4, 1/8 and 1/16 of the input's side; 8 divides each.
    width : int
        Features of a slice in the sequence part.
    layers, heads, reach : int
        Of the attention over the scan, see `ScanAttention`.
    dropout : float
        On the features of a slice.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 256),
        *,
        in_channels: int = 3,
        classes: int = 6,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        reach: int = 16,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.stem = GroupedConv(3 * in_channels, widths[0], stride=2)
        self.stages = nn.Sequential(*(Stage(i, o) for i, o in pairwise(widths)))
        start_he(self)
        self.slice_features = nn.Sequential(nn.Linear(2 * widths[-1], width), nn.Dropout(dropout))
        self.scan = nn.Sequential(*(ScanAttention(width, heads, reach) for _ in range(layers)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def features(self, scan: Tensor) -> Tensor:
        """What the encoder sees in each slice and its two neighbours, (slice, width)."""
        x = self.stages(self.stem(with_neighbours(scan)))
        out: Tensor = self.slice_features(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1))
        return out

    def forward(self, scan: Tensor) -> Tensor:
        """Logits (slice, class).

        ``scan`` is float32 (slice, channel, row, column): the slices of ONE scan in the order of their positions.
        """
        out: Tensor = self.head(self.scan(self.features(scan)))
        return out


def with_neighbours(scan: Tensor) -> Tensor:
    """Each slice between the one below and the one above, as channels; the ends of the scan stand for themselves.

    (slice, channel, row, column) -> (slice, 3 * channel, row, column).
    """
    place = torch.arange(scan.shape[0], device=scan.device)
    below, above = (place - 1).clamp(min=0), torch.minimum(place + 1, place[-1:])
    return torch.cat([scan[below], scan, scan[above]], dim=1)
