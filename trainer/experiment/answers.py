"""What a net answers, whichever kind it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from trainer.experiment.protocol import LossSpec
from trainer.nets.munet import combine_levels

Activation = Literal["sigmoid", "softmax"]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Logits.

    Attributes
    ----------
    masks : Tensor, shape (slice, class, row, column), or None
        One class, or background and five.
    labels : Tensor, shape (slice, class), or None
        Any blood alone, or any and five.
    levels : tuple of Tensor
        Masks of smaller sizes, coarsest first, from nets that are supervised at every level.
    """

    masks: Tensor | None
    labels: Tensor | None
    levels: tuple[Tensor, ...] = ()


class Answering(nn.Module):
    """Puts the outputs of every kind of net in one form.

    Parameters
    ----------
    deep : bool
        Ask for every level.

    Raises
    ------
    ValueError
        Levels are asked of a net that has none.
    """

    def __init__(self, net: nn.Module, *, deep: bool = False) -> None:
        super().__init__()
        if deep and not hasattr(net, "levels"):
            raise ValueError(f"loss.deep_supervision needs a net with levels, and {type(net).__name__} has none")
        self.net = net
        self.deep = deep

    def forward(self, image: Tensor) -> tuple[Tensor | None, Tensor | None, list[Tensor]]:
        """Masks, labels and levels of float32 (slice, channel, row, column); a tuple, for torch gathers no values."""
        if self.deep and self.training:
            levels, labels = self.net.levels(image)  # type: ignore[operator]  # torch types attributes as tensors
            return combine_levels(levels), labels, list(levels)
        out = self.net(image)
        if isinstance(out, tuple):
            masks, labels = out
            return masks, labels, []
        return (out, None, []) if out.ndim == 4 else (None, out, [])


def answer(module: nn.Module, image: Tensor) -> Answer:
    """Ask an `Answering`, or one that `torch.nn.parallel.DistributedDataParallel` holds."""
    masks, labels, levels = module(image)
    return Answer(masks, labels, tuple(levels))


def activation_of(loss: LossSpec) -> Activation:
    """What turns the slice logits of a net into shares, as it was trained."""
    return "softmax" if loss.label == "cross_entropy" else "sigmoid"


def blood_shares(masks: Tensor) -> Tensor:
    """Probability of blood per pixel: any alone, or any and the five subtypes, (slice, 1 or 6, row, column)."""
    if masks.shape[1] == 1:
        return torch.sigmoid(masks.float())
    shares = torch.softmax(masks.float(), dim=1)
    return torch.cat([1.0 - shares[:, :1], shares[:, 1:]], dim=1)


def label_shares(labels: Tensor, activation: Activation) -> Tensor:
    """Probability per label (slice, 1 or 6): sigmoids, or ``softmax`` over the five subtypes as paper 004 has it."""
    shares = torch.sigmoid(labels.float())
    if activation == "softmax" and labels.shape[1] > 1:
        return torch.cat([shares[:, :1], torch.softmax(labels[:, 1:].float(), dim=1)], dim=1)
    return shares
