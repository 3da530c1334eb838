"""U-Nets with dense blocks: the Dense U-Net of paper 003 and the DenseUNet of paper 000, which share little else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainer.nets.evidence import MapClassifier
from trainer.nets.starting_weights import start_he
from trainer.nets.unet import ConvPair


class BeforeConv(nn.Sequential):
    """Batch norm, ReLU, convolution without bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        )


class DenseBlock(nn.Module):
    """Layers that each see the output of all before them and add ``growth`` channels.

    Parameters
    ----------
    squeeze : int
        A 1x1 convolution to ``squeeze * growth`` channels comes before each 3x3 one; 0: none does.
    """

    def __init__(self, inputs: int, layers: int, growth: int, squeeze: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for index in range(layers):
            seen = inputs + index * growth
            inner = squeeze * growth
            self.layers.append(
                nn.Sequential(BeforeConv(seen, inner, 1), BeforeConv(inner, growth, 3))
                if squeeze
                else BeforeConv(seen, growth, 3)
            )
        self.outputs = inputs + layers * growth

    def forward(self, x: Tensor) -> Tensor:
        """(slice, inputs, row, column) -> (slice, inputs + layers * growth, row, column)."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x


class DenseUNet(nn.Module):
    """Mask logits of one slice whose sides 16 divides (paper 003, after Xu et al. 2021).

    Dense blocks of 3, 6, 12 and 8 layers come down from the full side to an eighth, each followed by a 1x1
    convolution and 2x2 max pooling; the decoder is a U-Net's. Growth 8 with squeezed layers is the paper's, for
    want of memory; 32 is the original. What share of the channels the 1x1 convolutions keep, how wide stem, bottom
    and decoder are, is stated nowhere: with the defaults there are 2.60 M parameters for growth 8 and 7.89 M for 32.
    """

    def __init__(
        self,
        growth: int = 8,
        *,
        in_channels: int = 1,
        classes: int = 1,
        blocks: Sequence[int] = (3, 6, 12, 8),
        kept: float = 0.5,
        squeeze: int = 4,
        decoder: Sequence[int] = (256, 128, 64, 32),
    ) -> None:
        super().__init__()
        if len(blocks) != len(decoder):
            raise ValueError(f"dense_unet needs as many decoder widths as blocks, not {len(decoder)} for {len(blocks)}")
        width = 2 * growth
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1)
        self.blocks, self.shrink = nn.ModuleList(), nn.ModuleList()
        skips: list[int] = []
        for layers in blocks:
            block = DenseBlock(width, layers, growth, squeeze)
            skips.append(block.outputs)
            width = int(block.outputs * kept)
            self.blocks.append(block)
            self.shrink.append(nn.Sequential(BeforeConv(block.outputs, width, 1), nn.MaxPool2d(2)))
        self.bottom = BeforeConv(width, skips[-1], 3)
        width = skips[-1]
        self.enlarge, self.decoder = nn.ModuleList(), nn.ModuleList()
        for fine, skip in zip(decoder, skips[::-1], strict=True):
            self.enlarge.append(nn.ConvTranspose2d(width, fine, 2, stride=2))
            self.decoder.append(ConvPair(fine + skip, fine, norm=True))
            width = fine
        self.head = nn.Conv2d(width, classes, 1)
        start_he(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (slice, class, row, column) of float32 (slice, channel, row, column)."""
        x = self.stem(image)
        skips: list[Tensor] = []
        for block, shrink in zip(self.blocks, self.shrink, strict=True):
            skips.append(block(x))
            x = shrink(skips[-1])
        x = self.bottom(x)
        for enlarge, level, skip in zip(self.enlarge, self.decoder, skips[::-1], strict=True):
            x = level(torch.cat([enlarge(x), skip], dim=1))
        out: Tensor = self.head(x)
        return out


class DenseMap(nn.Module):
    """The map of paper 000's DenseUNet: dense blocks down and up, transposed convolutions, skips.

    The paper shows a block of four layers and gives no growth rate, depth or width, so all are parameters here.
    """

    def __init__(
        self, *, in_channels: int, classes: int, growth: int, depth: int, layers: int, bottleneck: float, stem: int
    ) -> None:
        super().__init__()
        if not 0.0 < bottleneck <= 1.0 or depth < 1:
            raise ValueError("denseunet needs a depth of 1 or more and a bottleneck above 0 and up to 1")
        self.stem = nn.Conv2d(in_channels, stem, 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        width, skips = stem, []
        for _ in range(depth):
            block = DenseBlock(width, layers, growth, 0)
            skips.append(block.outputs)
            width = int(block.outputs * bottleneck)
            self.down.append(block)
            self.shrink.append(nn.Sequential(BeforeConv(block.outputs, width, 1), nn.MaxPool2d(2)))
        self.bottom = DenseBlock(width, layers, growth, 0)
        width = self.bottom.outputs
        self.enlarge, self.up = nn.ModuleList(), nn.ModuleList()
        for skip in skips[::-1]:
            fine = int(width * bottleneck)
            block = DenseBlock(fine + skip, layers, growth, 0)
            self.enlarge.append(nn.Sequential(BeforeConv(width, fine, 1), nn.ConvTranspose2d(fine, fine, 2, stride=2)))
            self.up.append(block)
            width = block.outputs
        self.head = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Conv2d(width, classes, 1))
        start_he(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (slice, class, row, column)."""
        x = self.stem(image)
        skips: list[Tensor] = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            skips.append(block(x))
            x = shrink(skips[-1])
        x = self.bottom(x)
        for enlarge, block, skip in zip(self.enlarge, self.up, skips[::-1], strict=True):
            x = block(torch.cat([enlarge(x), skip], dim=1))
        out: Tensor = self.head(x)
        return out


def denseunet(
    *,
    in_channels: int = 1,
    classes: int = 1,
    growth: int = 16,
    depth: int = 4,
    layers: int = 4,
    bottleneck: float = 0.5,
    stem: int = 32,
    sharpness: float = 4.0,
) -> nn.Module:
    """The DenseUNet of paper 000 as a classifier of slices.

    The paper ends in a 1x1 convolution and a sigmoid map "enabling precise classification", but its data has no
    masks and its table counts images. So the map is pooled to the logits of the slice (`MapClassifier`), and the
    sigmoid belongs to binary cross-entropy instead of the categorical one that the text names for two classes.

    Parameters
    ----------
    growth, layers : int
        Channels that a layer adds, and layers of a dense block.
    depth : int
        Times the side is halved.
    bottleneck : float
        Share of the channels that the 1x1 convolutions between blocks keep.
    """
    body = DenseMap(
        in_channels=in_channels,
        classes=classes,
        growth=growth,
        depth=depth,
        layers=layers,
        bottleneck=bottleneck,
        stem=stem,
    )
    return MapClassifier(body, sharpness)
