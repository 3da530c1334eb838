"""Training slices in memory, made by worker processes; the same for the same seed, however many workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.phantom.batches import SliceBatch, slices
from trainer.protocol import DataPlan
from triage.inference.preprocess import PreprocessSpec, window_slices

Progress = Callable[[str], None]

SHOWN_FROM_MM2 = 12
"""A slice shows a subtype from this area on; a few pixels are no evidence in either direction."""


@dataclass(frozen=True, slots=True)
class Order:
    """One worker's task: ``count`` slices of one seed."""

    count: int
    seed: int
    anatomy: Path | None
    spec: PreprocessSpec


def orders(plan: DataPlan, seed: int, anatomy: Path | None, spec: PreprocessSpec) -> list[Order]:
    """Split a plan into tasks, each with its own seed; without a template all heads are procedural."""
    wanted = [(plan.template_slices, anatomy), (plan.procedural_slices, None)]
    tasks: list[Order] = []
    for count, folder in wanted:
        for start in range(0, count, plan.slices_per_seed):
            size = min(plan.slices_per_seed, count - start)
            tasks.append(Order(size, seed * 100_000 + len(tasks), folder, spec))
    return tasks


def make_slices(tasks: list[Order], workers: int, tell: Progress) -> SliceBatch:
    """Make all slices; heads are numbered through.

    Parameters
    ----------
    workers : int
        Processes; 0 makes them in this one.
    """
    batches: list[SliceBatch] = []
    wanted = sum(task.count for task in tasks)
    for batch in _made(tasks, workers):
        batches.append(batch)
        done = sum(len(b.hu) for b in batches)
        if len(batches) % 10 == 0 or done == wanted:
            tell(f"made {done} of {wanted} slices")
    offsets = np.cumsum([0] + [int(b.head.max()) + 1 for b in batches[:-1]])
    return SliceBatch(
        hu=np.concatenate([b.hu for b in batches]),
        labels=np.concatenate([b.labels for b in batches]),
        head=np.concatenate([b.head + np.int32(o) for b, o in zip(batches, offsets, strict=True)]),
    )


def net_input(hu: NDArray[np.number], spec: PreprocessSpec) -> NDArray[np.float32]:
    """Slices on the net raster (slice, row, column) in HU as the nets see them: (slice, window, row, column)."""
    return window_slices(hu.astype(np.float32), spec)


def _made(tasks: list[Order], workers: int) -> Iterator[SliceBatch]:
    if workers == 0:
        yield from map(_make, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_make, tasks)


def _make(task: Order) -> SliceBatch:
    return slices(task.count, task.seed, anatomy=task.anatomy, size=task.spec.size, pixel_mm=task.spec.pixel_mm)
