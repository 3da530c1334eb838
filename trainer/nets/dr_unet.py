"""DR-UNet and the plain U-Net of the same skeleton: the two nets whose parameters paper 003 counts.

The paper takes both from Yu et al. 2022. Its own text does not fix them; the reading below gives both counts to
the parameter, 10,953,249 and 31,114,305: a 1x1 stem of 16 channels, six levels of 32 to 1024, every convolution
with bias and batch norm, ELU, and batch norm with ELU after each concatenation. The "vanilla U-Net equivalent"
is therefore not the classic U-Net (31,030,593), and the U-Net that the paper trained ("five blocks") is neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from trainer.nets.starting_weights import ELU_POWER, start_he

Level = Callable[[int, int], nn.Module]


class NormedConv(nn.Sequential):
    """Convolution with bias, batch norm, and ELU unless it is one of two branches that are added up.

    The norm of a branch starts at the root of a half: at 1, the spread would double at each of the 22 blocks.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, branch: bool = False) -> None:
        norm = nn.BatchNorm2d(outputs)
        parts: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), norm]
        if branch:
            nn.init.constant_(norm.weight, math.sqrt(0.5))
        else:
            parts.append(nn.ELU(inplace=True))
        super().__init__(*parts)


class Reduced(nn.Module):
    """1x1, 3x3 and 3x3 convolutions around a 1x1 side branch; all but the last have ``inner`` channels."""

    def __init__(self, inputs: int, inner: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            NormedConv(inputs, inner, 1), NormedConv(inner, inner, 3), NormedConv(inner, outputs, 3, branch=True)
        )
        self.side = NormedConv(inputs, outputs, 1, branch=True)
        self.act = nn.ELU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Same rows and columns."""
        out: Tensor = self.act(self.body(x) + self.side(x))
        return out


def reduced_level(inputs: int, outputs: int) -> nn.Module:
    """Two blocks on a quarter of the channels, the second of which restores them."""
    inner = outputs // 4
    return nn.Sequential(Reduced(inputs, inner, inner), Reduced(inner, inner, outputs))


def plain_level(inputs: int, outputs: int) -> nn.Module:
    """Two 3x3 convolutions."""
    return nn.Sequential(NormedConv(inputs, outputs, 3), NormedConv(outputs, outputs, 3))


class SixLevelUNet(nn.Module):
    """Mask logits of one slice whose sides 32 divides.

    Parameters
    ----------
    level : callable
        ``level(inputs, outputs)`` makes what stands at each level: `reduced_level` or `plain_level`.
    width : int
        Channels of the finest level; each coarser one has twice as many. Divides by 4.
    """

    def __init__(
        self, level: Level, *, in_channels: int = 1, classes: int = 1, width: int = 32, levels: int = 6, stem: int = 16
    ) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(levels)]
        self.stem = NormedConv(in_channels, stem, 1)
        self.down = nn.ModuleList(level(i, o) for i, o in pairwise([stem, *widths]))
        self.pool = nn.MaxPool2d(2)
        upwards = list(pairwise(widths[::-1]))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in upwards)
        self.join = nn.ModuleList(nn.Sequential(nn.BatchNorm2d(2 * fine), nn.ELU(inplace=True)) for _, fine in upwards)
        self.up = nn.ModuleList(level(2 * fine, fine) for _, fine in upwards)
        self.head = nn.Conv2d(width, classes, 1)
        start_he(self, ELU_POWER)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (slice, class, row, column) of float32 (slice, channel, row, column)."""
        x = self.stem(image)
        skips: list[Tensor] = []
        for level in self.down:
            x = level(self.pool(x) if skips else x)
            skips.append(x)
        for enlarge, join, level, skip in zip(self.enlarge, self.join, self.up, skips[-2::-1], strict=True):
            x = level(join(torch.cat([enlarge(x), skip], dim=1)))
        out: Tensor = self.head(x)
        return out


def dr_unet(*, in_channels: int = 1, classes: int = 1, width: int = 32, levels: int = 6, stem: int = 16) -> nn.Module:
    """DR-UNet."""
    return SixLevelUNet(reduced_level, in_channels=in_channels, classes=classes, width=width, levels=levels, stem=stem)


def unet_dr(*, in_channels: int = 1, classes: int = 1, width: int = 32, levels: int = 6, stem: int = 16) -> nn.Module:
    """The U-Net of DR-UNet's skeleton."""
    return SixLevelUNet(plain_level, in_channels=in_channels, classes=classes, width=width, levels=levels, stem=stem)
