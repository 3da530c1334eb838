"""What training minimises: masks by cross-entropy and Dice at every scale, slices and evidence by focal loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader expects

from trainer.data import SHOWN_FROM_MM2
from trainer.nets.munet import MUNet, combine_levels
from trainer.nets.slice_classifier import SliceClassifier

_CLASS_WEIGHTS = (1.0, 2.0, 2.0, 2.0, 2.0, 2.0)
_WHOLE = 1.0
_FINEST = 0.5
"""Weight of the combined mask and of the finest level; every coarser level counts half of the finer one."""


def slice_targets(labels: Tensor) -> Tensor:
    """Which of any, EDH, IPH, IVH, SAH, SDH a slice of 1 mm pixels shows.

    int64 (slice, row, column) -> float32 (slice, 6).
    """
    counts = torch.stack([(labels == index).sum(dim=(1, 2)) for index in range(1, 6)], dim=1)
    shown = counts >= SHOWN_FROM_MM2
    some = counts.sum(dim=1, keepdim=True) >= SHOWN_FROM_MM2
    return torch.cat([some, shown], dim=1).float()


def focal_loss(logits: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """Mean focal binary cross-entropy; easy answers count little."""
    plain = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    sureness = torch.exp(-plain)
    return ((1.0 - sureness) ** gamma * plain).mean()


def mask_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Weighted cross-entropy plus soft Dice loss over the batch.

    Parameters
    ----------
    logits : Tensor, shape (slice, 6, row, column)
        Background first.
    labels : Tensor of int64, shape (slice, row, column)

    Notes
    -----
    Dice pools the batch and leaves subtypes out that the batch does not show, because most slices are empty;
    false marks of an absent subtype are paid for by the cross-entropy and by the Dice of any blood.
    """
    weights = logits.new_tensor(_CLASS_WEIGHTS)
    entropy = F.cross_entropy(logits, labels, weight=weights)
    shares = torch.softmax(logits, dim=1)[:, 1:]
    truth = torch.stack([(labels == index) for index in range(1, 6)], dim=1).float()
    overlap = (shares * truth).sum(dim=(0, 2, 3))
    size = shares.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3))
    present = truth.sum(dim=(0, 2, 3)) > 0
    dice = (2.0 * overlap + 1.0) / (size + 1.0)
    named = (1.0 - dice[present]).mean() if bool(present.any()) else dice.new_zeros(())
    either = (shares.sum(dim=1) * truth.sum(dim=1)).sum()
    any_dice = (2.0 * either + 1.0) / (size.sum() + 1.0)
    loss: Tensor = entropy + 0.5 * named + 0.5 * (1.0 - any_dice)
    return loss


def munet_loss(net: MUNet, image: Tensor, labels: Tensor) -> Tensor:
    """Masks at all levels and combined, plus the slice head."""
    levels, logits = net.levels(image)
    total = _WHOLE * mask_loss(combine_levels(levels), labels)
    for weight, level in zip(_level_weights(len(levels)), levels, strict=True):
        total = total + weight * mask_loss(level, _shrunk(labels, level.shape[-1]))
    return total + focal_loss(logits, slice_targets(labels))


def classifier_loss(net: SliceClassifier, image: Tensor, labels: Tensor) -> Tensor:
    """Slice logits, and the map they come from supervised by the masks at its own size."""
    evidence = net.evidence(image)
    places = evidence_targets(labels, evidence.shape[-1])
    shares = torch.sigmoid(evidence)
    dice = 1.0 - (2.0 * (shares * places).sum() + 1.0) / (shares.sum() + places.sum() + 1.0)
    hard = F.binary_cross_entropy_with_logits(evidence, places, pos_weight=evidence.new_tensor(3.0))
    loss: Tensor = hard + 0.5 * dice + 2.0 * focal_loss(net.pool(evidence), slice_targets(labels))
    return loss


def evidence_targets(labels: Tensor, columns: int) -> Tensor:
    """Where a quarter of a place is blood: any, then each subtype, float32 (slice, 6, row, column)."""
    factor = labels.shape[-1] // columns
    maps = torch.stack([labels > 0, *(labels == index for index in range(1, 6))], dim=1).float()
    return (F.avg_pool2d(maps, factor) >= 0.25).float()


def _shrunk(labels: Tensor, columns: int) -> Tensor:
    """The label of the middle of each larger pixel."""
    factor = labels.shape[-1] // columns
    return labels[:, factor // 2 :: factor, factor // 2 :: factor]


def _level_weights(count: int) -> Sequence[float]:
    """Coarsest first."""
    return [_FINEST / 2 ** (count - 1 - index) for index in range(count)]
