"""The two nets of the daemon's contract, made of any one net of the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from trainer.experiment.answers import Activation
from trainer.nets.registry import Task
from triage.domain.finding import SUBTYPES

NOTHING = -1e4
"""Logit of what a net cannot say: whatever temperature divides it, the share is 0; half precision holds it."""

_NAMED = len(SUBTYPES)


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What becomes ``slice_classifier.onnx`` and ``munet.onnx``; ``outlines`` false: the second finds nothing."""

    classifier: nn.Module
    segmenter: nn.Module
    outlines: bool


class ServedClassifier(nn.Module):
    """Six slice logits of three windows.

    Parameters
    ----------
    net : nn.Module
        Of the registry.
    task : str
        What the net was trained to give: of one that gives masks and labels it may be either alone.
    channels : int
        How many of the three windows it was trained with, the first ones.
    activation : str
        How its subtypes were trained, see `trainer.experiment.answers`.
    strongest : int
        Pixels whose mean speaks for the slice where the net gives masks alone: as many as the daemon's evidence takes.
    """

    def __init__(self, net: nn.Module, task: Task, channels: int, activation: Activation, strongest: int) -> None:
        super().__init__()
        self.net = net
        self.task, self.channels, self.activation, self.strongest = task, channels, activation, strongest

    def forward(self, image: Tensor) -> Tensor:
        """(slice, 3, row, column) -> (slice, 6): any, EDH, IPH, IVH, SAH, SDH."""
        answer = self.net(image[:, : self.channels])
        if self.task == "masks":
            return self._pooled(answer[0] if isinstance(answer, tuple) else answer)
        labels = cast(Tensor, answer[1] if isinstance(answer, tuple) else answer)
        if labels.shape[1] == 1:
            return torch.cat([labels, torch.full_like(labels, NOTHING).expand(-1, _NAMED)], dim=1)
        if self.activation == "softmax":
            return torch.cat([labels[:, :1], _one_of(labels[:, 1:])], dim=1)
        return labels

    def _pooled(self, masks: Tensor) -> Tensor:
        """From mask logits: the mean of the strongest pixels of blood, and of each subtype."""
        if masks.shape[1] == 1:
            found = torch.topk(masks.flatten(2), self.strongest, dim=2).values.mean(dim=2)
            return torch.cat([found, torch.full_like(found, NOTHING).expand(-1, _NAMED)], dim=1)
        shares = _one_of(masks)
        planes = torch.cat([-shares[:, :1], shares[:, 1:]], dim=1)
        return torch.topk(planes.flatten(2), self.strongest, dim=2).values.mean(dim=2)


class ServedSegmenter(nn.Module):
    """Six mask logits, background first, and six slice logits that decide nothing."""

    def __init__(self, net: nn.Module, task: Task, channels: int) -> None:
        super().__init__()
        self.net = net
        self.task, self.channels = task, channels

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(slice, 3, row, column) -> (slice, 6, row, column) and (slice, 6)."""
        answer = self.net(image[:, : self.channels])
        masks = cast(Tensor, answer[0] if isinstance(answer, tuple) else answer)
        if masks.shape[1] == 1:
            rest = torch.full_like(masks, NOTHING).expand(-1, _NAMED - 1, -1, -1)
            masks = torch.cat([torch.zeros_like(masks), masks, rest], dim=1)
        if self.task == "both" and answer[1].shape[1] == 1 + _NAMED:
            return masks, answer[1]
        return masks, masks.flatten(2).amax(dim=2)


class NoOutlines(nn.Module):
    """Stands for the segmenter where a net gives labels alone: everything is background."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(slice, 3, row, column) -> (slice, 6, row, column) and (slice, 6)."""
        background = torch.zeros_like(image[:, :1])
        masks = torch.cat([background, torch.full_like(background, NOTHING).expand(-1, _NAMED, -1, -1)], dim=1)
        return masks, masks.flatten(2).amax(dim=2)


def served(net: nn.Module, task: Task, channels: int, activation: Activation, strongest: int) -> Served:
    """Wrap a net; the parameters are those of `ServedClassifier`.

    Raises
    ------
    ValueError
        It sees more windows than the daemon shows.
    """
    if not 1 <= channels <= 3:
        raise ValueError(f"the daemon shows three windows, and this net was trained with {channels}")
    classifier = ServedClassifier(net, task, channels, activation, strongest)
    outlines = task in ("masks", "both")
    return Served(classifier, ServedSegmenter(net, task, channels) if outlines else NoOutlines(), outlines)


def _one_of(logits: Tensor) -> Tensor:
    """Logits of sigmoids that say what a softmax over dimension 1 says: each class against all others."""
    others = [
        torch.logsumexp(torch.cat([logits[:, :i], logits[:, i + 1 :]], dim=1), dim=1, keepdim=True)
        for i in range(logits.shape[1])
    ]
    return logits - torch.cat(others, dim=1)
