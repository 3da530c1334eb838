"""What ``trainer evaluate`` leaves in a run folder beside predictions: ``evaluation.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from trainer.experiment.files import write_atomically
from trainer.experiment.predictions import Predictions, load_predictions
from trainer.experiment.run_folder import Run
from trainer.reports.content import Cost, PartCount

EVALUATION = "evaluation.json"


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class External:
    """A data set that no net of the run was trained on."""

    dataset: str
    digest: str
    licence: str


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured besides predictions.

    Attributes
    ----------
    opened_at : tuple of str
        UTC of every time that nets were asked about the locked test part, the first one first. It is written before
        they are asked: a look that was broken off is a look.
    split : tuple of PartCount
    costs : mapping of str to Cost
        By net.
    externals : mapping of str to External
        By the name that the report uses.
    """

    opened_at: tuple[str, ...] = ()
    split: tuple[PartCount, ...] = ()
    costs: dict[str, Cost] = field(default_factory=dict)
    externals: dict[str, External] = field(default_factory=dict)

    def opened(self, now: str) -> Evaluation:
        """The same after one more look at the test part."""
        return replace(self, opened_at=(*self.opened_at, now))


_ADAPTER: TypeAdapter[Evaluation] = TypeAdapter(Evaluation)


def load_evaluation(run: Run) -> Evaluation:
    """Read what stands in a run folder; an empty one where ``trainer evaluate`` never ran.

    Raises
    ------
    ValueError
        The file was written by another release, or by hand.
    """
    path = run.folder / EVALUATION
    if not path.is_file():
        return Evaluation()
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except ValidationError as exc:
        raise ValueError(f"{path} cannot be read by this release") from exc


def save_evaluation(run: Run, evaluation: Evaluation) -> None:
    """Write ``evaluation.json``."""
    content: Any = _ADAPTER.dump_python(evaluation, mode="json")
    write_atomically(run.folder / EVALUATION, (json.dumps(content, indent=1) + "\n").encode())


def external_file(name: str) -> str:
    """Of the predictions of an external set, in the folder of each net."""
    return f"external-{name}.npz"


def external_predictions(run: Run, net: str, name: str) -> Predictions | None:
    """Of an external set, if this net was asked about it."""
    path = run.folder / net / external_file(name)
    return load_predictions(path) if path.is_file() else None
