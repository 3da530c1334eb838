"""Confusion matrices of several classes, and the figures of a paper recomputed from its own matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.measures.interval import Interval, exact_interval


@dataclass(frozen=True, slots=True, eq=False)
class ConfusionMatrix:
    """How often what was called what.

    Attributes
    ----------
    classes : tuple of str
    table : ndarray of int64, shape (true, said)
    """

    classes: tuple[str, ...]
    table: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.table.shape != (len(self.classes),) * 2 or (self.table < 0).any():
            raise ValueError("a confusion matrix is square, one row and column per class, of numbers of 0 or more")

    @property
    def accuracy(self) -> Interval:
        """Share on the diagonal, with its exact interval."""
        return exact_interval(int(np.trace(self.table)), int(self.table.sum()))

    def sensitivity(self, name: str) -> Interval:
        """Share of the truly ``name`` that is called so."""
        index = self.classes.index(name)
        return exact_interval(int(self.table[index, index]), int(self.table[index].sum()))

    def precision(self, name: str) -> Interval:
        """Share of what is called ``name`` that truly is."""
        index = self.classes.index(name)
        return exact_interval(int(self.table[index, index]), int(self.table[:, index].sum()))

    def f1(self, name: str) -> float:
        """Harmonic mean of the two."""
        index = self.classes.index(name)
        below = self.table[index].sum() + self.table[:, index].sum()
        if not below:
            raise ValueError(f"{name} neither is nor is called anything")
        return float(2 * self.table[index, index] / below)


def confusion_matrix(classes: Sequence[str], truth: NDArray[np.intp], said: NDArray[np.intp]) -> ConfusionMatrix:
    """Count pairs of class numbers."""
    size = len(classes)
    if truth.shape != said.shape or (truth.size and max(truth.max(), said.max()) >= size):
        raise ValueError("truth and answer are class numbers of the same cases")
    table = np.bincount(truth * size + said, minlength=size * size).reshape(size, size)
    return ConfusionMatrix(tuple(classes), table.astype(np.int64))
