"""What training minimises: masks by cross-entropy and Dice at every scale, slices and evidence by focal loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader expects

from trainer.datasets.labels import SHOWN_FROM_MM2
from trainer.nets.munet import MUNet, average_levels
from trainer.nets.slice_classifier import SliceClassifier

_WHOLE = 1.0
_FINEST = 0.5
"""Weight of the combined mask and of the finest level; every coarser level counts half of the finer one."""


def slice_targets(labels: Tensor) -> Tensor:
    """Which of any, EDH, IPH, IVH, SAH, SDH a slice shows.

    int64 (slice, row, column) -> float32 (slice, 6). Pixels count as 1 mm2, as on the raster of the demonstration; on
    the coarser one of an ablation a slice shows a subtype from a larger area on.
    """
    counts = torch.stack([(labels == index).sum(dim=(1, 2)) for index in range(1, 6)], dim=1)
    shown = counts >= SHOWN_FROM_MM2
    some = counts.sum(dim=1, keepdim=True) >= SHOWN_FROM_MM2
    return torch.cat([some, shown], dim=1).float()


def focal_loss(logits: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """Mean focal binary cross-entropy, in which easy answers count little (Lin et al. 2017, arXiv 1708.02002)."""
    plain = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    sureness = torch.exp(-plain)
    return ((1.0 - sureness) ** gamma * plain).mean()


def mask_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice losses.

    Parameters
    ----------
    logits : Tensor, shape (slice, 6, row, column)
        Background first.
    labels : Tensor of int64, shape (slice, row, column)

    Notes
    -----
    The overlap of each subtype pools the batch and leaves out those that it does not show, because most slices are
    empty; false marks of an absent subtype are paid for by the cross-entropy and by the pooled overlap of any blood.
    The overlap of any blood is also taken slice by slice, where a thin layer counts as much as a large clot. Missed and
    false blood weigh alike: when missed blood weighed more, a net of equal rank marked three times as much false blood.
    """
    entropy = F.cross_entropy(logits, labels)
    shares = torch.softmax(logits, dim=1)[:, 1:]
    truth = torch.stack([(labels == index) for index in range(1, 6)], dim=1).float()
    present = truth.sum(dim=(0, 2, 3)) > 0
    named = 1.0 - dice(shares.transpose(0, 1), truth.transpose(0, 1))
    any_share, any_truth = shares.sum(dim=1), truth.sum(dim=1)
    shown = any_truth.sum(dim=(1, 2)) > 0
    by_slice = 1.0 - dice(any_share, any_truth)
    pooled = 1.0 - dice(any_share[None], any_truth[None]).mean()
    loss: Tensor = entropy + 0.5 * _mean(named[present]) + 0.5 * _mean(by_slice[shown]) + 0.25 * pooled
    return loss


def dice(shares: Tensor, truth: Tensor) -> Tensor:
    """Soft Dice overlap of each first index (Milletari et al. 2016, arXiv 1606.04797), 1 where both are empty."""
    inner = tuple(range(1, shares.ndim))
    overlap = (shares * truth).sum(dim=inner)
    return (2.0 * overlap + 1.0) / (shares.sum(dim=inner) + truth.sum(dim=inner) + 1.0)


def _mean(values: Tensor) -> Tensor:
    return values.mean() if values.numel() else values.sum()


def munet_loss(net: MUNet, image: Tensor, labels: Tensor) -> Tensor:
    """Masks at all levels and combined, plus the slice head.

    Nothing is enlarged to the full side for it: that would cost as much as all convolutions together.
    """
    levels, logits = net.levels(image)
    levels = [level.float() for level in levels]
    total = _WHOLE * mask_loss(average_levels(levels), _shrunk(labels, levels[-1].shape[-1]))
    for weight, level in zip(_level_weights(len(levels)), levels, strict=True):
        total = total + weight * mask_loss(level, _shrunk(labels, level.shape[-1]))
    return total + focal_loss(logits.float(), slice_targets(labels))


def classifier_loss(net: SliceClassifier, image: Tensor, labels: Tensor) -> Tensor:
    """Slice logits, and the map they come from supervised by the masks at its own size."""
    evidence = net.evidence(image).float()
    places = evidence_targets(labels, evidence.shape[-1])
    shares = torch.sigmoid(evidence)
    apart = 1.0 - dice(shares.flatten()[None], places.flatten()[None]).mean()
    hard = F.binary_cross_entropy_with_logits(evidence, places, pos_weight=evidence.new_tensor(3.0))
    loss: Tensor = hard + 0.5 * apart + 2.0 * focal_loss(net.pool(evidence), slice_targets(labels))
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
