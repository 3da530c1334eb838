"""Which slices an epoch shows, in which order, in which batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cache import Cache
from trainer.datasets.case import YES
from trainer.experiment.batches import Indices
from trainer.experiment.protocol import BalanceSpec
from trainer.experiment.truth import UNKNOWN_STRATUM, strata

Step = tuple[Indices, ...]
"""What one step of the optimiser sees: one batch, or one scan after the other."""


def epoch_entries(
    entries: Indices, labels: NDArray[np.int8], spec: BalanceSpec, wanted: int, random: np.random.Generator
) -> Indices:
    """The slices of one epoch, shuffled.

    Parameters
    ----------
    entries : ndarray of int64
        Of the training part.
    labels : ndarray of int8, shape (entry, 6)
        Of everything that entries can point at.
    wanted : int
        How many; 0: as many as there are, and each of them once unless classes are drawn.
    """
    known = labels[entries]
    if spec.kind == "replicate":
        shown = entries[known[:, 0] == YES]
        entries = np.concatenate([entries, *[shown] * (spec.factor - 1)])
    if spec.kind == "sampler":
        return _drawn(entries, strata(known), wanted or len(entries), random)
    count = wanted or len(entries)
    rounds = -(-count // len(entries))
    return np.concatenate([random.permutation(entries) for _ in range(rounds)])[:count]


def _drawn(entries: Indices, kinds: NDArray[np.int64], count: int, random: np.random.Generator) -> Indices:
    """Classes equally often, slices of a class as often as chance has it."""
    present = [kind for kind in np.unique(kinds) if kind != UNKNOWN_STRATUM] or [UNKNOWN_STRATUM]
    members = [entries[kinds == kind] for kind in present]
    of = random.integers(len(members), size=count)
    drawn = np.empty(count, np.int64)
    for number, member in enumerate(members):
        chosen = of == number
        drawn[chosen] = random.choice(member, int(chosen.sum()))
    return drawn


def steps_of(entries: Indices, batch: int) -> list[Step]:
    """Cut an epoch into batches; one slice left over joins the batch before it, for batch norm needs two."""
    cuts = [entries[start : start + batch] for start in range(0, len(entries), batch)]
    if len(cuts) > 1 and len(cuts[-1]) == 1:
        last = cuts.pop()
        cuts[-1] = np.concatenate([cuts[-1], last])
    return [(cut,) for cut in cuts]


def scans_of(cache: Cache, entries: Indices) -> list[Indices]:
    """The entries of each scan, from the feet up."""
    ordered = np.sort(entries)
    ordered = ordered[np.argsort(cache.table["study"][ordered], kind="stable")]
    study = cache.table["study"][ordered]
    return np.split(ordered, np.flatnonzero(np.diff(study)) + 1)


def scan_steps(scans: list[Indices], batch: int, wanted: int, random: np.random.Generator) -> list[Step]:
    """Whole scans in random order, ``batch`` of them a step, ``wanted`` steps or (0) every scan once."""
    count = wanted * batch or len(scans)
    rounds = -(-count // len(scans))
    order = np.concatenate([random.permutation(len(scans)) for _ in range(rounds)])[:count]
    return [tuple(scans[number] for number in order[start : start + batch]) for start in range(0, count, batch)]
