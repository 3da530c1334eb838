"""What training minimises, made of MONAI's losses; what nobody knows costs nothing.

A slice without a drawn mask has no mask loss, a label that is unknown no label loss. Blood of unknown type counts as
what it is, "any of the five": its cross-entropy is that of the sum of the five probabilities, its pixels are left
out of the Dice of every subtype, and a Dice of any blood is added to batches that hold such pixels.

Dice pools the batch (MONAI's ``batch``) and is smoothed by one pixel: slices without blood have no Dice of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses.dice import DiceLoss
from monai.losses.focal_loss import FocalLoss
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader expects

from trainer.datasets.case import BLOOD_OF_UNKNOWN_TYPE
from trainer.experiment.answers import Answer
from trainer.experiment.protocol import LossSpec

_SMOOTH = 1.0
"""Pixels; see the module."""


class ExperimentLoss:
    """The loss of one protocol.

    Parameters
    ----------
    spec : LossSpec
        ``bce_dice`` of six classes is ``dice_ce``: the classes of a pixel exclude each other.
    """

    def __init__(self, spec: LossSpec) -> None:
        self.spec = spec
        self._dice = DiceLoss(smooth_nr=_SMOOTH, smooth_dr=_SMOOTH, batch=True)
        self._focal = FocalLoss(gamma=spec.gamma, reduction="none")

    def __call__(self, answer: Answer, mask: Tensor, drawn: Tensor, labels: Tensor) -> Tensor:
        """Loss of one batch, float32.

        Parameters
        ----------
        mask : Tensor of uint8, shape (slice, row, column)
        drawn : Tensor of bool, shape (slice,)
        labels : Tensor of int8, shape (slice, 6)

        Raises
        ------
        ValueError
            The net gives no such output, and no other term is left.
        """
        terms: list[Tensor] = []
        if self.spec.mask != "none" and answer.masks is not None:
            terms.append(self.mask_loss(answer.masks, mask, drawn))
            for weight, level in zip(_level_weights(len(answer.levels)), answer.levels, strict=True):
                terms.append(weight * self.mask_loss(level, mask, drawn))
        if self.spec.label != "none" and answer.labels is not None:
            terms.append(self.spec.label_weight * self.label_loss(answer.labels, labels))
        if not terms:
            raise ValueError("the loss of the protocol wants masks or labels that the net does not give")
        return torch.stack(terms).sum()

    def mask_loss(self, logits: Tensor, mask: Tensor, drawn: Tensor) -> Tensor:
        """Loss of the drawn slices; ``mask`` is brought to the size of the logits, so that coarse levels learn too."""
        if not bool(drawn.any()):
            return logits.float().sum() * 0.0
        logits, truth = logits[drawn].float(), mask[drawn]
        if truth.shape[1:] != logits.shape[2:]:
            truth = F.interpolate(truth[:, None].float(), size=logits.shape[2:], mode="nearest-exact")[:, 0]
        truth = truth.long()
        return self._binary(logits, truth > 0) if logits.shape[1] == 1 else self._subtypes(logits, truth)

    def label_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of the labels that are known; ``logits`` have one column, any blood, or six."""
        logits, labels = logits.float(), labels[:, : logits.shape[1]]
        if self.spec.label != "cross_entropy" or logits.shape[1] == 1:
            return self._sigmoids(logits, labels)
        # As paper 004: one softmax over the five; slices of several subtypes count as a share of each.
        shown = (labels[:, 1:] == 1).float()
        named = shown.sum(dim=1) > 0
        total = self._sigmoids(logits[:, :1], labels[:, :1])
        if bool(named.any()):
            shares = shown[named] / shown[named].sum(dim=1, keepdim=True)
            total = total + F.cross_entropy(logits[named, 1:], shares)
        return total

    def _sigmoids(self, logits: Tensor, labels: Tensor) -> Tensor:
        known = labels >= 0
        if not bool(known.any()):
            return logits.sum() * 0.0
        truth = labels.clamp(min=0).float()
        if self.spec.label == "focal":
            return self._focal(logits, truth)[known].mean()
        return F.binary_cross_entropy_with_logits(logits[known], truth[known])

    def _binary(self, logits: Tensor, truth: Tensor) -> Tensor:
        blood = truth[:, None].float()
        terms = [self._dice(torch.sigmoid(logits), blood)]
        if self.spec.mask in ("bce_dice", "dice_ce"):
            terms.append(F.binary_cross_entropy_with_logits(logits, blood))
        elif self.spec.mask == "dice_focal":
            terms.append(self._focal(logits, blood).mean())
        return torch.stack(terms).sum()

    def _subtypes(self, logits: Tensor, truth: Tensor) -> Tensor:
        unnamed = truth == BLOOD_OF_UNKNOWN_TYPE
        some_unnamed = bool(unnamed.any())
        named = torch.where(unnamed, 0, truth)
        shares = torch.softmax(logits, dim=1)
        classes = F.one_hot(named, logits.shape[1]).movedim(-1, 1).float()
        known = (~unnamed)[:, None].float()
        terms = [self._dice(shares[:, 1:] * known, classes[:, 1:] * known)]
        if some_unnamed:
            terms.append(self._dice(1.0 - shares[:, :1], (truth > 0)[:, None].float()))
        if self.spec.mask in ("bce_dice", "dice_ce"):
            terms.append(_cross_entropy(logits, named, unnamed))
        elif self.spec.mask == "dice_focal":
            terms.append(self._focal_subtypes(logits, classes, unnamed))
        return torch.stack(terms).sum()

    def _focal_subtypes(self, logits: Tensor, classes: Tensor, unnamed: Tensor) -> Tensor:
        """MONAI's focal loss by sigmoids; of blood of unknown type only the background is known to be wrong."""
        known = torch.cat([torch.ones_like(unnamed[:, None]), (~unnamed)[:, None].expand(-1, 5, -1, -1)], dim=1)
        truth = torch.cat([torch.where(unnamed[:, None], 0.0, classes[:, :1]), classes[:, 1:]], dim=1)
        return self._focal(logits, truth)[known].mean()


def _cross_entropy(logits: Tensor, named: Tensor, unnamed: Tensor) -> Tensor:
    """Mean over all pixels; of blood of unknown type the five probabilities are added."""
    logs = torch.log_softmax(logits, dim=1)
    of_named = -logs.gather(1, named[:, None])[:, 0]
    if not bool(unnamed.any()):
        return of_named.mean()
    return torch.where(unnamed, -torch.logsumexp(logs[:, 1:], dim=1), of_named).mean()


def _level_weights(count: int) -> Sequence[float]:
    """Coarsest first: the finest counts half of the combined mask, each coarser one half of the finer."""
    return [0.5 ** (count - index) for index in range(count)]
