"""One training: what it needs, and where it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from trainer.experiment.batches import Change, Indices
from trainer.experiment.predict import Asking
from trainer.experiment.ranks import Ranks
from trainer.tell import Tell


@dataclass(frozen=True, slots=True)
class Saving:
    """How often the state is written: after so many steps, or (0) after so many seconds."""

    steps: int = 0
    seconds: float = 60.0

    def due(self, step: int, since: float) -> bool:
        """Whether the state is written after this step, the last time being ``since`` seconds ago."""
        return step % self.steps == 0 if self.steps else since > self.seconds


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One training.

    Attributes
    ----------
    name : str
        For people.
    description : mapping
        Plain values that go into ``weights.pt`` beside the weights.
    asking : Asking
        Slices, protocol, device, threads.
    entries : ndarray of int64
        What is trained on, made slices included.
    validation : ndarray of int64
        Rows that choose the epoch; without any, the training loss does.
    seed : int
        Of this net and fold.
    change : callable, or None
        See `trainer.experiment.batches.Change`.
    on_checkpoint : callable
        ``on_checkpoint(module, epoch)`` judges the weights that ``fit.checkpoint_every`` keeps.
    """

    name: str
    description: dict[str, Any]
    asking: Asking
    entries: Indices
    validation: Indices
    folder: Path
    seed: int
    tell: Tell
    change: Change | None = None
    saving: Saving = field(default_factory=Saving)
    ranks: Ranks = field(default_factory=Ranks)
    on_checkpoint: Callable[[nn.Module, int], None] = lambda module, epoch: None


@dataclass(slots=True)
class Progress:
    """Where a training is; what a checkpoint holds besides tensors."""

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = -1
    waited: int = 0
    seconds: float = 0.0
    slices: int = 0
    finished: bool = False
