"""Slice classifiers that paper 000 compares with: DenseNet and ResNet as MONAI has them, and a U-Net.

MONAI is imported only when such a net is built: it takes seconds, and the demonstration's nets need none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn

from trainer.nets.evidence import MapClassifier
from trainer.nets.unet import UNet


def densenet(*, in_channels: int, classes: int, blocks: Sequence[int], dropout: float = 0.0) -> nn.Module:
    """DenseNet of growth 32 and 64 first channels; the paper does not say which one, so there are two."""
    from monai.networks.nets.densenet import DenseNet

    return DenseNet(
        spatial_dims=2, in_channels=in_channels, out_channels=classes, block_config=tuple(blocks), dropout_prob=dropout
    )


def resnet(*, in_channels: int, classes: int, block: str, layers: Sequence[int]) -> nn.Module:
    """ResNet with the parameters of the published one: stride 2 in the stem and no bias beside a batch norm.

    MONAI's own defaults for both serve volumes.
    """
    from monai.networks.nets.resnet import ResNet

    return ResNet(
        block=block,
        layers=list(layers),
        block_inplanes=[64, 128, 256, 512],
        spatial_dims=2,
        n_input_channels=in_channels,
        conv1_t_stride=2,
        num_classes=classes,
        bias_downsample=False,
    )


densenet121 = partial(densenet, blocks=(6, 12, 24, 16))
densenet169 = partial(densenet, blocks=(6, 12, 32, 32))
resnet18 = partial(resnet, block="basic", layers=(2, 2, 2, 2))
resnet34 = partial(resnet, block="basic", layers=(3, 4, 6, 3))
resnet50 = partial(resnet, block="bottleneck", layers=(3, 4, 6, 3))


def unet_classifier(
    *,
    in_channels: int,
    classes: int,
    widths: Sequence[int] = (64, 128, 256, 512),
    bottleneck: int = 1024,
    norm: bool = True,
    dropout: float = 0.0,
    sharpness: float = 4.0,
) -> nn.Module:
    """The classic U-Net as a classifier, its map pooled as that of `trainer.nets.dense_unet.denseunet`.

    The paper's data has no masks and its text does not say how its U-Net answers for an image, nor how wide it is.
    """
    body = UNet(widths, bottleneck, in_channels=in_channels, classes=classes, norm=norm, dropout=dropout)
    return MapClassifier(body, sharpness)
