"""Lesions of training slices in other training slices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.datasets.case import NO, YES
from trainer.experiment.batches import Indices, Slices
from trainer.experiment.truth import mask_labels

_RIM = 3
"""Pixels over which a lesion fades into the brain around it."""


@dataclass(frozen=True, slots=True, eq=False)
class Paster:
    """Pastes a lesion into slices without blood, where it lay in its own head.

    Parameters
    ----------
    train : ndarray of int64
        Rows of the training part; lesions come from nowhere else.
    share : float
        Of the slices without blood that get one.
    """

    slices: Slices
    train: Indices
    share: float
    donors: Indices = field(init=False)

    def __post_init__(self) -> None:
        table = self.slices.cache.table
        object.__setattr__(
            self, "donors", self.train[table["drawn"][self.train] & (self.slices.truth[self.train, 0] == YES)]
        )

    def __call__(
        self, pixels: NDArray[Any], masks: NDArray[np.uint8], labels: NDArray[np.int8], random: np.random.Generator
    ) -> None:
        """Change a batch in place."""
        if not len(self.donors):
            return
        for index in np.flatnonzero(labels[:, 0] == NO):
            if random.random() >= self.share:
                continue
            images, drawn, _, _ = self.slices.raw(self.donors[random.integers(len(self.donors))][None])
            if not drawn[0].any():
                continue
            soft = cv2.GaussianBlur((drawn[0] > 0).astype(np.float32), (0, 0), _RIM / 2)
            # Full inside, fading outside: blood keeps its values, its edge no longer jumps.
            weight = np.where(drawn[0] > 0, 1.0, np.clip(2.0 * np.asarray(soft), 0.0, 1.0))
            mixed = weight * images[0] + (1.0 - weight) * pixels[index]
            pixels[index] = np.round(mixed).astype(pixels.dtype)
            masks[index] = drawn[0]
            labels[index] = mask_labels(drawn[0])
