"""Made stacks for training, streamed from worker processes in blocks; the same blocks however many workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.demonstration.protocol import DataPlan
from trainer.phantom.stacks import StackBatch, stacks
from triage.inference.beam_hardening import evened
from triage.inference.preprocess import PreprocessSpec, Reads, net_input, shown_with

_PER_ORDER = 4
"""Stacks of one task: few, so that all workers end a block at nearly the same time."""

_BLOCK_SEEDS = 1_000
"""Seeds set apart for each block, and blocks for each protocol: no two tasks share one (`protocol`)."""


@dataclass(frozen=True, slots=True)
class Order:
    """One worker's task: ``count`` stacks of one seed."""

    count: int
    seed: int
    anatomy: Path | None
    plan: DataPlan
    spec: PreprocessSpec


def block_orders(plan: DataPlan, seed: int, block: int, anatomy: Path | None, spec: PreprocessSpec) -> list[Order]:
    """Split a block into tasks, each with its own seed; without a template all heads are procedural."""
    tasks: list[Order] = []
    other = anatomy if block < plan.template_first else None
    for wanted, folder in ((plan.template_stacks, anatomy), (plan.procedural_stacks, other)):
        for start in range(0, wanted, _PER_ORDER):
            number = (seed * 1_000 + block) * _BLOCK_SEEDS + len(tasks)
            tasks.append(Order(min(_PER_ORDER, wanted - start), number, folder, plan, spec))
    return tasks


def blocks(
    plan: DataPlan, seed: int, anatomy: Path | None, spec: PreprocessSpec, workers: int, first: int = 0
) -> Iterator[StackBatch]:
    """Blocks ``first`` (counted from 0) to the last, each made while the one before it is being learned from.

    Parameters
    ----------
    workers : int
        Processes; 0 makes the stacks in this one.
    """
    wanted = (block_orders(plan, seed, block, anatomy, spec) for block in range(first, plan.blocks))
    if workers == 0:
        for tasks in wanted:
            yield _joined([_make(task) for task in tasks])
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        ahead: deque[list[Future[StackBatch]]] = deque()
        for tasks in wanted:
            ahead.append([pool.submit(_make, task) for task in tasks])
            if len(ahead) > 1:
                yield _joined([made.result() for made in ahead.popleft()])
        while ahead:
            yield _joined([made.result() for made in ahead.popleft()])


def scan_input(stack: NDArray[np.number], reads: Reads, spec: PreprocessSpec) -> NDArray[np.float32]:
    """`net_input` of all slices of a made stack (slice, row, column)."""
    return net_input(stack[shown_of(len(stack), reads)], spec)


def shown_of(count: int, reads: Reads) -> NDArray[np.intp]:
    """`shown_with` of a made stack, whose slices touch and are nowhere thin."""
    return shown_with(np.arange(count, dtype=np.float64), 1.0, reads)


def _joined(batches: list[StackBatch]) -> StackBatch:
    return StackBatch(
        hu=np.concatenate([batch.hu for batch in batches]), labels=np.concatenate([batch.labels for batch in batches])
    )


def _make(task: Order) -> StackBatch:
    plan, spec = task.plan, task.spec
    made = stacks(
        task.count,
        task.seed,
        anatomy=task.anatomy,
        slices=plan.slices,
        size=spec.size,
        pixel_mm=spec.pixel_mm,
        larger=plan.larger,
        without=plan.without,
    )
    if not spec.even_brain:
        return made
    evener = [np.rint(evened(stack, spec.pixel_mm)).astype(np.int16) for stack in made.hu]
    return StackBatch(hu=np.stack(evener), labels=made.labels)
