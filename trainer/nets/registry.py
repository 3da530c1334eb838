"""Every net that a protocol can name: the papers' own, what they compare with, and ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from trainer.nets.baselines import (
    densenet121,
    densenet169,
    resnet18,
    resnet34,
    resnet50,
    unet_classifier,
)
from trainer.nets.dense_unet import DenseUNet, denseunet
from trainer.nets.dr_unet import dr_unet, unet_dr
from trainer.nets.gate import Gate25D
from trainer.nets.munet import MUNet
from trainer.nets.slice_classifier import SliceClassifier
from trainer.nets.unet import LightClassifier, UNet

Task = Literal["masks", "labels", "both", "scan"]
"""What a net gives, always logits.

``masks`` (slice, class, row, column); ``labels`` (slice, class); ``both``: a pair of these; ``scan``: labels too, but
the batch is the slices of one scan in order.
"""

CLASSES = (1, 6)
"""Any blood alone, or six: masks have background first, labels have any first, then both the five subtypes."""


@dataclass(frozen=True, slots=True)
class NetEntry:
    """One net of the registry.

    Attributes
    ----------
    name, title : str
        What protocols and what people call it.
    paper : str
        Number of the paper, 000 to 004; empty where none of the five stands behind it.
    task : str
        See `Task`.
    size, in_channels, classes : int
        Rows and columns, channels and classes at which the paper uses it. Other channels and both numbers of
        ``CLASSES`` can be built. Paper 000 gives no size for its images; 256 is ours.
    build : callable
        Takes ``in_channels``, ``classes`` and options by keyword and gives the net.
    options : mapping
        Options that make the net the paper's.
    multiple : int
        Divides the rows and the columns of whatever the net is shown, unless options change its depth.
    """

    name: str
    title: str
    paper: str
    task: Task
    size: int
    in_channels: int
    classes: int
    build: Callable[..., nn.Module]
    options: Mapping[str, Any] = field(default_factory=dict)
    multiple: int = 16


_LIGHT = {"widths": (32, 64, 128, 256), "bottleneck": 256}
_D_UNET = {"widths": (32, 64, 128, 256), "bottleneck": 512, "norm": True, "dropout": 0.2}
_FLAT = {"pyramid": False}

_ENTRIES = (
    NetEntry("munet", "MUNet (IHSNet)", "004", "both", 256, 3, 6, MUNet, multiple=32),
    NetEntry("munet_flat", "MUNet without feature pyramid", "004", "both", 256, 3, 6, MUNet, _FLAT, multiple=32),
    NetEntry("denseunet", "DenseUNet, map pooled to the slice", "000", "labels", 256, 1, 1, denseunet),
    NetEntry("densenet121", "DenseNet-121", "000", "labels", 256, 1, 1, densenet121, multiple=32),
    NetEntry("densenet169", "DenseNet-169", "000", "labels", 256, 1, 1, densenet169, multiple=32),
    NetEntry("unet", "U-Net, map pooled to the slice", "000", "labels", 256, 1, 1, unet_classifier),
    NetEntry("resnet18", "ResNet-18", "000", "labels", 256, 1, 1, resnet18, multiple=32),
    NetEntry("resnet34", "ResNet-34", "000", "labels", 256, 1, 1, resnet34, multiple=32),
    NetEntry("resnet50", "ResNet-50", "000", "labels", 256, 1, 1, resnet50, multiple=32),
    NetEntry("light_unet", "Light U-Net", "001", "masks", 512, 1, 1, UNet, _LIGHT),
    NetEntry("light_classifier", "Light U-Net's first stage", "001", "labels", 512, 1, 1, LightClassifier),
    NetEntry("d_unet", "D-Unet", "002", "masks", 256, 1, 1, UNet, _D_UNET),
    NetEntry("unet_classic", "Classic U-Net", "002", "masks", 256, 1, 1, UNet),
    NetEntry("dr_unet", "Dimension Reduction U-Net", "003", "masks", 256, 1, 1, dr_unet, multiple=32),
    NetEntry("unet_dr", "U-Net of DR-UNet's skeleton", "003", "masks", 256, 1, 1, unet_dr, multiple=32),
    NetEntry("dense_unet", "Dense U-Net", "003", "masks", 256, 1, 1, DenseUNet),
    NetEntry("gate_2p5d", "Slices in their scan", "", "scan", 256, 3, 6, Gate25D),
    NetEntry("slice_classifier", "Evidence at every place", "", "labels", 256, 3, 6, SliceClassifier),
)
NETS: Mapping[str, NetEntry] = {entry.name: entry for entry in _ENTRIES}


def entry_of(name: str) -> NetEntry:
    """The net of that name.

    Raises
    ------
    ValueError
        There is none.
    """
    if name not in NETS:
        raise ValueError(f"no net is called {name!r}; there are {', '.join(NETS)}")
    return NETS[name]


def build_net(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    in_channels: int | None = None,
    classes: int | None = None,
) -> nn.Module:
    """Build a net with random weights; ``torch.manual_seed`` before it fixes them.

    Parameters
    ----------
    options : mapping
        Options that differ from those of the registry.
    in_channels, classes : int
        As the registry has them when not given.

    Raises
    ------
    ValueError
        There is no such net, it has no such option, or it cannot be built so.
    """
    entry = entry_of(name)
    channels = entry.in_channels if in_channels is None else in_channels
    wanted = entry.classes if classes is None else classes
    if channels < 1 or wanted not in CLASSES:
        raise ValueError(f"{name} takes 1 or more channels and gives 1 or 6 classes, not {channels} and {wanted}")
    given = {**entry.options, **(options or {})}
    taken = [option for option in inspect.signature(entry.build).parameters if option not in ("in_channels", "classes")]
    unknown = sorted(set(given) - set(taken))
    if unknown:
        raise ValueError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(taken)}")
    return entry.build(in_channels=channels, classes=wanted, **given)


def check_side(name: str, size: int) -> None:
    """Refuse a side of the input that the net's halvings do not divide.

    Raises
    ------
    ValueError
        With the number that must divide it.
    """
    multiple = entry_of(name).multiple
    if size < multiple or size % multiple:
        raise ValueError(f"{name} takes slices whose sides {multiple} divides, not {size}")


def parameter_count(net: nn.Module) -> int:
    """How many numbers training can change."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
