"""How far a slice lies from those that a classifier learned from, in what the classifier itself sees.

A net answers as confidently about a body, a phantom or a wrong rescale as about a head. Its deepest features, averaged
over the slice, tell them apart: their Mahalanobis distance from the training slices (Lee et al., NeurIPS 2018, there
for each class) becomes a second output of the ONNX file, which the daemon compares with a limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.measures.interval import Numbers

OUTPUTS = ("logits", "distance")
"""What the outputs of the ONNX file are called."""

SHRINKAGE = 0.05
"""How much of the covariance is replaced by its diagonal, and how much of its mean variance is added to that.

Some channels hardly vary over made heads; without a floor their noise in a real one would decide the distance.
"""

FARTHEST = 2.0
"""The limit, in units of the farthest calibration exam: real heads differ from made ones, and must not be refused."""


class DeepNet(Protocol):
    """A slice classifier that shows its deepest features."""

    def __call__(self, image: Tensor) -> Tensor:
        """Logits (slice, class) of ``image``, float32 (slice, channel, row, column)."""
        ...

    def deep(self, image: Tensor) -> Tensor:
        """Features (slice, width, row / 16, column / 16)."""
        ...


class FamiliarClassifier(nn.Module):
    """A trained classifier and, beside its logits, how unfamiliar each slice is.

    Parameters
    ----------
    net : DeepNet
        Trained.
    mean : ndarray of float64, shape (width,)
        Of the pooled features of training slices.
    precision : ndarray of float64, shape (width, width)
        Inverse of their covariance, see `statistics`.
    """

    mean: Tensor
    root: Tensor

    def __init__(self, net: DeepNet, mean: Numbers, precision: Numbers) -> None:
        super().__init__()
        self.net = net
        root = np.linalg.cholesky(precision) / np.sqrt(len(mean))
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("root", torch.from_numpy(root.astype(np.float32)))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (slice, class) and distances (slice, 1), about 1 for slices like those of training."""
        return self.net(image), self.distance(image)

    def distance(self, image: Tensor) -> Tensor:
        """Root of the mean square of the whitened features, (slice, 1)."""
        offset = _pooled(self.net, image) - self.mean
        # A product as a sum, since smaller precisions spare sums: with 8 bits what nearly cancels would be noise.
        whitened = (offset[:, :, None] * self.root[None]).sum(dim=1)
        return whitened.square().sum(dim=1, keepdim=True).sqrt()


def familiar(net: DeepNet, stacks: Iterable[NDArray[np.float32] | Tensor]) -> FamiliarClassifier:
    """Wrap a trained classifier with what it sees in slices like those that it learned from.

    Parameters
    ----------
    net : DeepNet
        On any device, where the stacks are brought to; it is put into evaluation mode.
    stacks : iterable of ndarray or Tensor, each float32 (slice, channel, row, column)
        Net input of training scans.

    Raises
    ------
    ValueError
        Fewer than two slices.
    """
    return FamiliarClassifier(net, *statistics(net, stacks))


def statistics(net: DeepNet, stacks: Iterable[NDArray[np.float32] | Tensor]) -> tuple[Numbers, Numbers]:
    """Mean (width,) and shrunken precision (width, width) of the pooled features of all slices.

    The precision is scaled so that the distances of these slices have a root mean square of 1, whatever was shrunk.

    Raises
    ------
    ValueError
        Fewer than two slices, or all alike.
    """
    module = cast(nn.Module, net).eval()
    device = next(module.parameters()).device
    count, total, products = 0, 0.0, 0.0
    with torch.no_grad():
        for stack in stacks:
            seen = _pooled(net, torch.as_tensor(stack, device=device)).double().cpu().numpy()
            count += len(seen)
            total = total + seen.sum(axis=0)
            products = products + seen.T @ seen
    if count < 2:
        raise ValueError(f"the features of {count} slices have no covariance; two or more are needed")
    mean: Numbers = np.asarray(total / count)
    covariance = np.asarray(products / count) - np.outer(mean, mean)
    precision = np.asarray(np.linalg.inv(_shrunken(covariance)), dtype=np.float64)
    return mean, precision * (len(mean) / np.trace(covariance @ precision))


def familiar_limit(distances: Sequence[float]) -> float:
    """``familiar_within`` from the distances of calibration exams that passed the other checks.

    Raises
    ------
    ValueError
        None has one.
    """
    known = [one for one in distances if np.isfinite(one)]
    if not known:
        raise ValueError("no calibration exam has a distance")
    return FARTHEST * max(known)


def _pooled(net: DeepNet, image: Tensor) -> Tensor:
    """Deepest features averaged over all places, (slice, width)."""
    return net.deep(image).mean(dim=(2, 3))


def _shrunken(covariance: Numbers) -> Numbers:
    variances = np.diagonal(covariance)
    if not variances.mean() > 0.0:
        raise ValueError("the slices show the net all the same; there is nothing to be familiar with")
    floor = np.diag(variances + variances.mean())
    return np.asarray((1.0 - SHRINKAGE) * covariance + SHRINKAGE * floor)
