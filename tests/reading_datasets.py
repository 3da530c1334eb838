"""What an adapter finds and reads in a tree of the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.datasets.case import Case, Dataset, SlicePixels, Unusable


def found(dataset: Dataset, root: Path, work: Path) -> tuple[list[Case], list[Unusable]]:
    """Cases, and what could not be used."""
    everything = list(dataset.find(root, work, lambda line: None))
    cases = [one for one in everything if isinstance(one, Case)]
    return cases, [one for one in everything if isinstance(one, Unusable)]


def read(dataset: Dataset, case: Case) -> list[SlicePixels]:
    """Slices of a case of which all can be read."""
    slices = []
    for one in dataset.read(case):
        assert isinstance(one, SlicePixels), one
        slices.append(one)
    return slices


def said_of(unusable: Sequence[Unusable]) -> dict[str, str]:
    """Reasons by the last part of the place."""
    return {one.where.rpartition("/")[2]: one.reason for one in unusable}
