"""From a map of logits to the logits of the whole slice, where no mask says which place was meant."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class MapClassifier(nn.Module):
    """A net that gives a map, and the slice logits that its map adds up to.

    Parameters
    ----------
    body : nn.Module
        Gives logits (slice, class, row, column).
    sharpness : float
        Towards 0 a slice is the mean of its places, towards infinity the highest of them. The logit is
        ``log(mean(exp(sharpness * place))) / sharpness``.
    """

    def __init__(self, body: nn.Module, sharpness: float = 4.0) -> None:
        super().__init__()
        if not sharpness > 0.0:
            raise ValueError(f"sharpness must be above 0, not {sharpness}")
        self.body = body
        self.sharpness = sharpness

    def evidence(self, image: Tensor) -> Tensor:
        """The map, at the size of the input."""
        out: Tensor = self.body(image)
        return out

    def pool(self, evidence: Tensor) -> Tensor:
        """Slice logits (slice, class) of a map."""
        places = evidence.flatten(2)
        return torch.logsumexp(self.sharpness * places, dim=2) / self.sharpness - (
            math.log(places.shape[2]) / self.sharpness
        )

    def forward(self, image: Tensor) -> Tensor:
        """Logits (slice, class) of float32 (slice, channel, row, column)."""
        return self.pool(self.evidence(image))
