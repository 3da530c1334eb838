"""What a report says, before it is a page: values that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.experiment.predictions import Predictions
from trainer.experiment.protocol import ExperimentProtocol
from trainer.measures.measure import Measure
from trainer.measures.paired import Anova, PairedTest
from trainer.papers.paper import Paper


@dataclass(frozen=True, slots=True)
class Cost:
    """What a net costs; None where it was not measured."""

    parameters: int
    gflop_per_slice: float | None = None
    ms_per_slice: float | None = None
    training_seconds: float | None = None
    machine: str = ""


@dataclass(frozen=True, slots=True)
class PartCount:
    """One part of a split."""

    name: str
    patients: int
    slices: int
    positive: int


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of the gallery: a PNG, and what there is to see."""

    png: bytes
    caption: str


@dataclass(frozen=True, slots=True)
class NetResult:
    """One net of an experiment.

    Attributes
    ----------
    parts : mapping of str to Predictions
        ``validation`` (all folds joined), ``test``, and external sets by their names.
    history : mapping of str to list of mapping
        Per fold what each epoch logged.
    """

    name: str
    cost: Cost
    parts: Mapping[str, Predictions]
    history: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    gallery: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """A finished experiment, read from its run folder.

    Attributes
    ----------
    facts : mapping of str to str
        What made it: data set, licence, digest, software, seed, overrides.
    synthetic : bool
        Whether the data set was made by a program.
    """

    name: str
    protocol: ExperimentProtocol
    facts: Mapping[str, str]
    split: tuple[PartCount, ...]
    split_remarks: tuple[str, ...]
    nets: tuple[NetResult, ...]
    synthetic: bool


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


def beside(paper: Paper, measures: Mapping[tuple[str, str], Sequence[Measure]], part: str) -> list[Row]:
    """Set our figures beside every cell of a paper.

    Parameters
    ----------
    measures : mapping of (net, part) to measures
    part : str
        The part that answers: ``test`` where there is one, else ``validation``.
    """
    rows: list[Row] = []
    for cell in paper.cells:
        found = measures.get((cell.net, part))
        ours = next(
            (m for m in found or () if (m.name, m.of, m.level) == (cell.measure, cell.of, cell.level)),
            None,
        )
        why = "" if ours else "net not trained here" if found is None else "not measurable on these data"
        rows.append(
            Row(cell.table, cell.net, cell.measure, cell.of, cell.value, cell.deviation, cell.note, ours, part, why)
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


def plain(value: Any) -> Any:
    """A value as JSON can hold it; nan, which JSON cannot, as None."""
    if isinstance(value, float):
        return None if value != value else value
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
