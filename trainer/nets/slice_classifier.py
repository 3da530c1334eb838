"""A small slice classifier that looks for evidence at every place before it speaks about the whole slice.

A global-average head learns slowly from few heads. Here a feature pyramid gives a map of evidence at a quarter
of the input's side, which training supervises with the masks, and the strongest places give the slice logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader expects

from trainer.nets.munet import ConvUnit


class Residual(nn.Module):
    """Two 3x3 convolution units around an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvUnit(width, width), ConvUnit(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        out: Tensor = x + self.body(x)
        return out


class SliceClassifier(nn.Module):
    """Logits of ``any`` and the five subtypes for every slice.

    Parameters
    ----------
    widths : sequence of int
        Channels at 1/2, 1/4, 1/8 and 1/16 of the input's side.
    pyramid : int
        Channels of the feature pyramid.
    strongest : int
        How many places of the evidence map are averaged into a slice logit.
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 24, 48, 96),
        *,
        in_channels: int = 3,
        classes: int = 6,
        pyramid: int = 24,
        strongest: int = 8,
    ) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = widths
        self.stem = ConvUnit(in_channels, half, stride=2)
        self.quarter = nn.Sequential(ConvUnit(half, quarter, stride=2), ConvUnit(quarter, quarter))
        self.eighth = nn.Sequential(ConvUnit(quarter, eighth, stride=2), Residual(eighth))
        self.sixteenth = nn.Sequential(ConvUnit(eighth, sixteenth, stride=2), Residual(sixteenth))
        self.lateral = nn.ModuleList(nn.Conv2d(width, pyramid, 1) for width in (quarter, eighth, sixteenth))
        self.smooth = ConvUnit(pyramid, pyramid)
        self.evidence_head = nn.Conv2d(pyramid, classes, 1)
        self.gain = nn.Parameter(torch.ones(classes))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.strongest = strongest

    def deep(self, image: Tensor) -> Tensor:
        """The deepest features, (slice, widths[3], row / 16, column / 16)."""
        deepest: Tensor = self._features(image)[-1]
        return deepest

    def evidence(self, image: Tensor) -> Tensor:
        """Logits per place, (slice, class, row / 4, column / 4); ``image`` is float32 (slice, channel, row, column)."""
        quarter, eighth, sixteenth = self._features(image)
        return self.places(quarter, eighth, sixteenth)

    def places(self, quarter: Tensor, eighth: Tensor, sixteenth: Tensor) -> Tensor:
        """Evidence from the features at 1/4, 1/8 and 1/16 of the side."""
        x = self.lateral[2](sixteenth)
        x = F.interpolate(x, scale_factor=2.0, mode="nearest") + self.lateral[1](eighth)
        x = F.interpolate(x, scale_factor=2.0, mode="nearest") + self.lateral[0](quarter)
        out: Tensor = self.evidence_head(self.smooth(x))
        return out

    def _features(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quarter = self.quarter(self.stem(image))
        eighth = self.eighth(quarter)
        return quarter, eighth, self.sixteenth(eighth)

    def pool(self, evidence: Tensor) -> Tensor:
        """Slice logits (slice, class) from the strongest places of each evidence map."""
        top = torch.topk(evidence.flatten(2), self.strongest, dim=2).values.mean(dim=2)
        return top * self.gain + self.bias

    def forward(self, image: Tensor) -> Tensor:
        """Logits (slice, class): any, then the subtypes."""
        return self.pool(self.evidence(image))
