"""Whether nets differ: those of one experiment, and those of several that saw the same slices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.experiment.predictions import Predictions
from trainer.measures.bootstrap import clusters_of
from trainer.measures.interval import Numbers
from trainer.measures.paired import Anova, anova, paired_tests, per_batch
from trainer.measures.weighted import dice_per_entry
from trainer.reports.content import Across, Comparison, ExperimentResult

_BATCH = 8
"""Of the ANOVA of paper 003."""

Seen = Mapping[str, tuple[Predictions, float]]
"""Net to what it said of one part, and the threshold of its labels."""


def within(result: ExperimentResult) -> list[Comparison]:
    """Every part that two nets or more have seen on the same rows."""
    found: list[Comparison] = []
    for part in dict.fromkeys(name for net in result.nets for name in net.parts):
        seen = {n.name: (n.parts[part], result.protocol.threshold) for n in result.nets if part in n.parts}
        comparison = compared(part, seen, result.protocol.seed) if len(seen) > 1 and same_rows(seen) else None
        if comparison is not None:
            found.append(comparison)
    return found


def across(results: Sequence[ExperimentResult]) -> Across | None:
    """Nets of several experiments, part by part; where they cannot be compared, one sentence why.

    Returns
    -------
    Across or None
        None for one experiment.
    """
    if len(results) < 2:
        return None
    names, found, reasons = labels_of(results), [], []
    for part in dict.fromkeys(name for result in results for net in result.nets for name in net.parts):
        holding = {label: r for label, r in zip(names, results, strict=True) if any(part in n.parts for n in r.nets)}
        if len(holding) < 2:
            reasons.append(f"{part}: only {next(iter(holding))} has this part.")
            continue
        if len({result.digests.get(part, "") for result in holding.values()}) > 1:
            reasons.append(f"{part}: the experiments used different caches, so none of their slices are the same.")
            continue
        seen = {
            f"{label}: {net.name}": (net.parts[part], result.protocol.threshold)
            for label, result in holding.items()
            for net in result.nets
            if part in net.parts
        }
        if not same_rows(seen):
            reasons.append(f"{part}: the experiments put different slices into this part, so nothing is paired.")
            continue
        comparison = compared(part, seen, results[0].protocol.seed)
        if comparison is None:
            reasons.append(f"{part}: too few slices have a figure of every net.")
        else:
            found.append(comparison)
    return Across(tuple(found), tuple(reasons))


def labels_of(results: Sequence[ExperimentResult]) -> list[str]:
    """One name per experiment, numbered where a protocol was run more than once."""
    often = Counter(result.name for result in results)
    seen: Counter[str] = Counter()
    labels: list[str] = []
    for result in results:
        seen[result.name] += 1
        labels.append(f"{result.name} ({seen[result.name]})" if often[result.name] > 1 else result.name)
    return labels


def same_rows(seen: Seen) -> bool:
    """Whether all saw the same slices of the cache, in whatever order."""
    rows = [np.sort(predictions.row) for predictions, _ in seen.values()]
    return all(np.array_equal(row, rows[0]) for row in rows)


def compared(part: str, seen: Seen, seed: int) -> Comparison | None:
    """ANOVA and paired tests of nets on the same slices; None where too few have a figure.

    By Dice where every net outlines, else by right answers, which a net that only outlines gives by any marked pixel.
    """
    masks = all(p.drawn.any() and p.marked_px.any() for p, _ in seen.values())
    first, _ = next(iter(seen.values()))
    order = np.argsort(first.row)
    values = {
        name: (_dice(p) if masks else _right(p, threshold))[np.argsort(p.row)] for name, (p, threshold) in seen.items()
    }
    by_slice = _anova(values, "slices")
    if by_slice is None:
        return None
    by_batch = _anova({name: _batches(p) for name, (p, _) in seen.items()}, "batches") if masks else None
    pairs = paired_tests(values, clusters_of(first.patient[order], first.study[order]), seed)
    what = "Dice per slice with true blood" if masks else "right answers per slice"
    return Comparison(part, what, by_slice, by_batch, tuple(pairs))


def _anova(values: Mapping[str, Numbers], entry: str) -> Anova | None:
    """None where a net has too few values."""
    try:
        return anova(values, entry)
    except ValueError:
        return None


def _dice(predictions: Predictions) -> Numbers:
    """Of slices with true blood; nan for others."""
    held = predictions.drawn & (predictions.true_px[:, 0] > 0)
    return np.where(held, _dice_of_all(predictions), np.nan)


def _batches(predictions: Predictions) -> Numbers:
    """Mean Dice of every batch of drawn slices: 0 where only the net marks something, 1 where neither does."""
    order = np.argsort(predictions.row)
    return per_batch(_dice_of_all(predictions)[order][predictions.drawn[order]], _BATCH)


def _dice_of_all(predictions: Predictions) -> Numbers:
    return dice_per_entry(*(getattr(predictions, name)[:, 0] for name in ("overlap_px", "true_px", "marked_px")))


def _right(predictions: Predictions, threshold: float) -> Numbers:
    label: NDArray[np.int8] = predictions.label[:, 0]
    said = predictions.probability[:, 0]
    positive = predictions.marked_px[:, 0] > 0 if np.isnan(said).all() else said >= threshold
    known = (label >= 0) & (np.isnan(said).all() | ~np.isnan(said))
    return np.where(known, positive == (label == 1), np.nan)
