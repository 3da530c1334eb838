"""What a finished bundle does on scans of a cache, as figures of its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from trainer.bundles.scans import ScanSaid
from trainer.measures.bootstrap import clusters_of
from trainer.measures.labels import label_measures
from trainer.measures.measure import Measure, Population
from trainer.measures.weighted import dice_per_entry, mean_of, ratio_of
from triage.inference.manifest import OUTPUTS, Figure

_OF_SCANS = ("AUC", "sensitivity", "specificity")


def figures_of(
    said: Sequence[ScanSaid], suspected: float, seed: int, *, outlines: bool, names_subtypes: bool
) -> tuple[Figure, ...]:
    """Scan, slice and mask figures with 95 % intervals; what the scans do not allow is absent.

    Parameters
    ----------
    said : sequence of ScanSaid
        Of the bundle with its own limits, segmenting what lights up.
    suspected : float
        Limit of the final score.
    """
    people = np.array([one.patient for one in said]), np.array([one.study for one in said])
    labels = np.array([one.label for one in said], np.int8)
    whole = label_measures("any", "scan", np.array([one.score for one in said]), labels, *people, suspected, seed)
    found = [_figure(f"scan {one.name}", one) for one in whole if one.name in _OF_SCANS]
    counts = [len(one.truth) for one in said]
    slices = np.repeat(people[0], counts), np.repeat(people[1], counts)
    probabilities = np.concatenate([one.probabilities for one in said])
    truth = np.concatenate([one.truth for one in said])
    for column, name in enumerate(OUTPUTS if names_subtypes else OUTPUTS[:1]):
        measures = label_measures(name, "slice", probabilities[:, column], truth[:, column], *slices, 0.5, seed)
        found += [_figure(f"slice AUC {name}, classifier", one) for one in measures if one.name == "AUC"]
    return (*found, *(_dice(said, seed) if outlines else []))


def _dice(said: Sequence[ScanSaid], seed: int) -> list[Figure]:
    """Of any blood, on slices with a true mask."""
    overlap, true, marked = (
        np.array([float(getattr(one, name)) for one in said]) for name in ("overlap_px", "true_px", "marked_px")
    )
    patients, studies = np.array([one.patient for one in said]), np.array([one.study for one in said])
    everybody = Population("any", "pooled", clusters_of(patients, studies), seed)
    held = true > 0
    pooled = everybody.drawn("Dice any, pooled over scans", ratio_of(2.0 * overlap, true + marked))
    inside = replace(everybody, level="scan").only(held)
    per_scan = mean_of(dice_per_entry(overlap[held], true[held], marked[held]))
    means = inside.drawn("Dice any, mean over scans that hold blood", per_scan)
    return [_figure(one.name, one) for one in (*pooled, *means)]


def _figure(name: str, one: Measure) -> Figure:
    return Figure(name, one.value, one.low, one.high, one.n, one.unit, one.method)
