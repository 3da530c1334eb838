"""MUNet: a convolutional encoder without pooling, a feature pyramid, and a slice classifier on top of both.

After Ahmed & Prakasam (Sci Rep 2025), with the readings that the text leaves open fixed as follows: strided
3x3 convolutions with padding 1, two convolutions per encoder stage (26.68 M parameters at the paper's widths),
nearest-neighbour upsampling, and the "four mask branches" are the four pyramid levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader expects

PAPER_WIDTHS = (64, 128, 256, 512, 1024)


class ConvUnit(nn.Sequential):
    """Convolution without bias, batch norm, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, slope: float = 1e-3) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(slope, inplace=True),
        )


class MUNet(nn.Module):
    """Masks at four scales and slice logits from one CT slice.

    Parameters
    ----------
    widths : sequence of int
        Channels of the encoder stages, finest (1/2 of the input side) first.
    convs_per_stage : int
        Convolutions per encoder stage, the strided one included.
    pyramid : bool
        Masks at every level and their features in the slice head. Without it, the paper's ablation: one mask at
        the finest level, and a slice head on the last encoder stage alone.
    """

    def __init__(
        self,
        widths: Sequence[int] = PAPER_WIDTHS,
        *,
        in_channels: int = 3,
        classes: int = 6,
        convs_per_stage: int = 2,
        dropout: float = 0.5,
        hidden: int = 256,
        pyramid: bool = True,
    ) -> None:
        super().__init__()
        self.pyramid = pyramid
        stages: list[nn.Module] = []
        inputs = in_channels
        for width in widths:
            rest = [ConvUnit(width, width) for _ in range(convs_per_stage - 1)]
            stages.append(nn.Sequential(ConvUnit(inputs, width, stride=2), *rest))
            inputs = width
        self.stages = nn.ModuleList(stages)
        lateral = list(widths[-2::-1])
        self.steps = nn.ModuleList(
            nn.Sequential(ConvUnit(coarse + width, width, kernel=1), ConvUnit(width, width), ConvUnit(width, width))
            for coarse, width in zip(widths[:0:-1], lateral, strict=True)
        )
        shown = lateral if pyramid else lateral[-1:]
        self.mask_heads = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in shown)
        self.classifier = nn.Sequential(
            nn.Linear(widths[-1] + (sum(lateral) if pyramid else 0), hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )

    def levels(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Mask logits of each pyramid level, coarsest first and at its own size, and the slice logits.

        ``image`` is float32 (slice, channel, row, column) with sides that 32 divides. Without a pyramid there is
        one level, at half the side.
        """
        features: list[Tensor] = []
        x = image
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        rising: list[Tensor] = []
        for step, skip in zip(self.steps, features[-2::-1], strict=True):
            x = step(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
            rising.append(x)
        shown = rising if self.pyramid else rising[-1:]
        masks = [head(level) for head, level in zip(self.mask_heads, shown, strict=True)]
        seen = [features[-1], *(rising if self.pyramid else [])]
        return masks, self.classifier(torch.cat([level.mean(dim=(2, 3)) for level in seen], dim=1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits (slice, class, row, column) at the input's size, background first, and slice logits."""
        masks, logits = self.levels(image)
        return combine_levels(masks), logits


def combine_levels(masks: Sequence[Tensor]) -> Tensor:
    """Average the levels, coarsest first, at twice the size of the finest."""
    full: Tensor = F.interpolate(average_levels(masks), scale_factor=2.0, mode="bilinear", align_corners=False)
    return full


def average_levels(masks: Sequence[Tensor]) -> Tensor:
    """Average the levels, coarsest first, at the size of the finest.

    Level by level: a coarse map is doubled until it meets the next one, so no level is ever enlarged alone
    to the full size.
    """
    total = masks[0]
    for mask in masks[1:]:
        total = F.interpolate(total, scale_factor=2.0, mode="bilinear", align_corners=False) + mask
    return total / len(masks)
