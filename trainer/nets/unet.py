"""Plain U-Nets: two 3x3 convolutions a level, max pooling down, 2x2 transposed convolutions up, skips concatenated.

One class holds three of the papers' nets, which differ in numbers alone. Every parameter count is that of the
paper's own text or of the net it names, with "same" padding and biases everywhere:

- the light U-Net of paper 001 (512 x 512; 32-64-128-256, two convolutions of 256 below): 5,137,569. Its "about
  7 million" parameters fit no net with 256 below; with 512 below there are 7,759,521. No norm, no dropout.
- D-Unet of paper 002 (256 x 256; 32 to 512, batch norm, dropout of 0.2 after every pooling): 7,765,409. The text
  crops the skips; with "same" padding nothing is left to crop.
- the classic U-Net that paper 002 compares with (64 to 1024, no norm): 31,030,593.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from trainer.nets.starting_weights import start_he


class ConvPair(nn.Sequential):
    """Twice a 3x3 convolution with bias, batch norm if wanted, ReLU."""

    def __init__(self, inputs: int, outputs: int, *, norm: bool) -> None:
        parts: list[nn.Module] = []
        for channels in (inputs, outputs):
            parts.append(nn.Conv2d(channels, outputs, 3, padding=1))
            if norm:
                parts.append(nn.BatchNorm2d(outputs))
            parts.append(nn.ReLU(inplace=True))
        super().__init__(*parts)


class Encoder(nn.Module):
    """The way down: the features of every level, finest first, the bottleneck last."""

    def __init__(self, in_channels: int, widths: Sequence[int], bottleneck: int, *, norm: bool, dropout: float) -> None:
        super().__init__()
        outputs = (*widths, bottleneck)
        inputs = (in_channels, *widths)
        self.levels = nn.ModuleList(ConvPair(i, o, norm=norm) for i, o in zip(inputs, outputs, strict=True))
        self.shrink = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(dropout))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features at the input's side and at each half of the one before."""
        features: list[Tensor] = [self.levels[0](image)]
        for level in list(self.levels)[1:]:
            features.append(level(self.shrink(features[-1])))
        return features


class UNet(nn.Module):
    """Mask logits of one slice.

    Parameters
    ----------
    widths : sequence of int
        Channels of the levels that have skips, finest first.
    bottleneck : int
        Channels below them.
    dropout : float
        After every pooling.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256, 512),
        bottleneck: int = 1024,
        *,
        in_channels: int = 1,
        classes: int = 1,
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, widths, bottleneck, norm=norm, dropout=dropout)
        steps = list(pairwise((bottleneck, *widths[::-1])))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in steps)
        self.decoder = nn.ModuleList(ConvPair(2 * fine, fine, norm=norm) for _, fine in steps)
        self.head = nn.Conv2d(widths[0], classes, 1)
        start_he(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (slice, class, row, column) of float32 (slice, channel, row, column)."""
        *skips, x = self.encoder(image)
        for enlarge, level, skip in zip(self.enlarge, self.decoder, skips[::-1], strict=True):
            x = level(torch.cat([skip, enlarge(x)], dim=1))
        out: Tensor = self.head(x)
        return out


class LightClassifier(nn.Module):
    """The first stage of paper 001, which says whether a slice shows blood.

    The paper says "a lightweight convolutional classifier" and nothing more, and reports figures of thresholded
    masks. Read here as the light U-Net's own way down, its last features averaged over the slice and weighed by
    one linear layer. That is a choice of ours, not the paper's.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 256),
        bottleneck: int = 256,
        *,
        in_channels: int = 1,
        classes: int = 1,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, widths, bottleneck, norm=False, dropout=0.0)
        self.head = nn.Linear(bottleneck, classes)
        start_he(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (slice, class) of float32 (slice, channel, row, column)."""
        out: Tensor = self.head(self.encoder(image)[-1].mean(dim=(2, 3)))
        return out
