"""What a report says, before it is a page: values that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.experiment.predictions import Predictions
from trainer.experiment.protocol import ExperimentProtocol
from trainer.explain.drawing import Picture
from trainer.measures.measure import Measure
from trainer.measures.paired import Anova, PairedTest
from trainer.papers.paper import Paper


@dataclass(frozen=True, slots=True)
class Cost:
    """What a net costs; None where it was not measured."""

    parameters: int | None = None
    gflop_per_slice: float | None = None
    ms_per_slice: float | None = None
    training_seconds: float | None = None
    machine: str = ""


@dataclass(frozen=True, slots=True)
class PartCount:
    """One part of a split.

    ``patients`` is None where the data set does not name them all; ``positive``, its slices with blood, where it labels
    none.
    """

    name: str
    patients: int | None
    slices: int
    positive: int | None


@dataclass(frozen=True, slots=True)
class NetResult:
    """One net of an experiment.

    Attributes
    ----------
    parts : mapping of str to Predictions
        ``validation`` (all folds joined), ``test``, and external sets by their names.
    history : mapping of str to list of mapping
        Per fold what each epoch logged.
    checkpoints : mapping of int to Predictions
        Epoch to what its weights said of the validation parts, where the protocol kept them.
    """

    name: str
    cost: Cost
    parts: Mapping[str, Predictions]
    history: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    gallery: tuple[Picture, ...] = ()
    checkpoints: Mapping[int, Predictions] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """A finished experiment, read from its run folder.

    Attributes
    ----------
    facts : mapping of str to str
        What made it: data set, licence, digest, software, seed, overrides.
    synthetic : bool
        Whether the data set was made by a program.
    digests : mapping of str to str
        Part to the digest of the cache that its slices lie in.
    """

    name: str
    protocol: ExperimentProtocol
    facts: Mapping[str, str]
    split: tuple[PartCount, ...]
    split_remarks: tuple[str, ...]
    nets: tuple[NetResult, ...]
    synthetic: bool
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One printed cell beside ours; where this experiment gives none, ``ours`` is None and ``why`` says it."""

    table: str
    net: str
    measure: str
    of: str
    printed: float
    deviation: float | None
    note: str
    ours: Measure | None
    part: str
    why: str = ""


def beside(
    paper: Paper, measures: Mapping[tuple[str, str], Sequence[Measure]], nets: Collection[str], part: str, smote: bool
) -> list[Row]:
    """Set our figures beside every cell of a paper.

    Parameters
    ----------
    measures : mapping of (net, part) to measures
    nets : collection of str
        That were trained.
    part : str
        The part that answers where the cell does not name its own: ``test`` where there is one, else ``validation``.
    smote : bool
        Whether these nets were trained with it.
    """
    rows: list[Row] = []
    for cell in paper.cells:
        answering = cell.part or part
        found = measures.get((cell.net, answering))
        ours = next(
            (m for m in found or () if (m.name, m.of, m.level) == (cell.measure, cell.of, cell.level)),
            None,
        )
        why = ""
        if cell.net not in nets:
            why = "net not trained here"
        elif cell.smote not in (None, smote):
            ours, why = None, f"trained {'with' if smote else 'without'} SMOTE here"
        elif ours is None:
            why = "not measurable on these data" if found is not None else f"no {answering} part here"
        rows.append(
            Row(
                cell.table, cell.net, cell.measure, cell.of, cell.value, cell.deviation, cell.note, ours, answering, why
            )
        )
    return rows


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether the nets of one part differ in their Dice per slice, or in right answers where there are no masks."""

    part: str
    value: str
    anova: Anova | None
    anova_of_batches: Anova | None
    paired: tuple[PairedTest, ...]


@dataclass(frozen=True, slots=True)
class Across:
    """Nets of several experiments compared, and sentences about the parts where they cannot be."""

    comparisons: tuple[Comparison, ...]
    reasons: tuple[str, ...]


def plain(value: Any) -> Any:
    """A value as JSON can hold it; nan and infinity, which JSON cannot, as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
