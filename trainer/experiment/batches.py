"""Batches of slices, prepared by threads ahead of the net that trains on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cache import Cache
from trainer.experiment.inputs import net_input
from trainer.experiment.protocol import InputSpec
from trainer.experiment.truth import name_blood

Indices = NDArray[np.int64]
"""Places in `Slices`: rows of the cache, and after them the made ones."""

_AHEAD = 4
"""Batches that wait for the net."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step trains on.

    Attributes
    ----------
    image : ndarray of float32, shape (slice, channel, row, column)
    mask : ndarray of uint8, shape (slice, row, column)
        0 none, 1 to 5 a subtype, 6 blood of unknown type; empty where no mask is wanted.
    drawn : ndarray of bool, shape (slice,)
    labels : ndarray of int8, shape (slice, 6)
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]
    drawn: NDArray[np.bool_]
    labels: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True, slots=True, eq=False)
class MadeSlices:
    """Training slices that no file holds, such as those of SMOTE; always drawn."""

    pixels: NDArray[Any]
    masks: NDArray[np.uint8]
    labels: NDArray[np.int8]


Change = Callable[[NDArray[Any], NDArray[np.uint8], NDArray[np.int8], np.random.Generator], None]
"""Changes pixels, masks and labels of one batch in place, such as the pasting of lesions."""


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """Slices of a cache as net input, and made ones behind them.

    Attributes
    ----------
    truth : ndarray of int8, shape (row, 6)
        Labels of every row of the cache.
    masks_wanted : bool
        Whether masks are read at all.
    """

    cache: Cache
    truth: NDArray[np.int8]
    spec: InputSpec
    masks_wanted: bool = True
    made: MadeSlices | None = None

    @property
    def labels(self) -> NDArray[np.int8]:
        """Of every entry: rows of the cache, then made slices."""
        return self.truth if self.made is None else np.concatenate([self.truth, self.made.labels])

    def raw(self, indices: Indices) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.bool_], NDArray[np.int8]]:
        """Pixels, masks, whether they are drawn, and labels; copies that may be changed."""
        kept = indices < len(self.truth)
        rows = indices[kept]
        size = self.cache.spec.size
        pixels = np.empty((len(indices), size, size), self.cache.pixels.dtype)
        masks = np.zeros((len(indices), size, size) if self.masks_wanted else (len(indices), 0, 0), np.uint8)
        drawn, labels = np.ones(len(indices), np.bool_), np.empty((len(indices), 6), np.int8)
        pixels[kept], drawn[kept], labels[kept] = (
            self.cache.pixels[rows],
            self.cache.table["drawn"][rows],
            self.truth[rows],
        )
        if self.masks_wanted:
            masks[kept] = self.cache.masks[rows]
        if self.made is not None and not kept.all():
            others = indices[~kept] - len(self.truth)
            pixels[~kept], labels[~kept] = self.made.pixels[others], self.made.labels[others]
            if self.masks_wanted:
                masks[~kept] = self.made.masks[others]
        if self.masks_wanted:
            name_blood(masks, labels)
        return pixels, masks, drawn, labels

    def batch(self, indices: Indices, change: Change | None = None, seed: tuple[int, ...] = ()) -> Batch:
        """The slices as net input, after an optional change whose randomness comes from ``seed`` alone."""
        pixels, masks, drawn, labels = self.raw(indices)
        if change is not None:
            change(pixels, masks, labels, np.random.default_rng(seed))
        return Batch(net_input(pixels, self.spec), masks, drawn, labels)


def prepared(tasks: Iterable[Callable[[], Batch]], threads: int) -> Iterator[Batch]:
    """Batches in the order of their tasks, some of them ahead; threads are enough, numpy and OpenCV let go.

    Parameters
    ----------
    threads : int
        0 prepares every batch only when it is asked for.
    """
    if threads == 0:
        for task in tasks:
            yield task()
        return
    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="batch") as pool:
        try:
            for task in tasks:
                waiting.append(pool.submit(task))
                if len(waiting) >= _AHEAD + threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
