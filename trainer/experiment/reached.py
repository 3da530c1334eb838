"""How good the weights are that a training kept, for whoever chooses between trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.experiment.protocol import FitSpec


@dataclass(frozen=True, slots=True)
class Reached:
    """A figure of a training's history.

    Attributes
    ----------
    figure : str
        Its key there: ``validation_loss`` and the like, or ``loss`` where nothing was set apart for validation.
    value : float
        Infinitely bad where it is not known.
    """

    figure: str
    value: float

    @property
    def cost(self) -> float:
        """Lower is better, whatever the figure."""
        return self.value if self.figure.endswith("loss") else -self.value


def reached(history: Sequence[Mapping[str, Any]], fit: FitSpec) -> Reached:
    """The figure of the epoch whose weights are the result: the best one's, or with ``fit.keep = "last"`` the last's.

    Parameters
    ----------
    history : sequence of mapping
        See `trainer.experiment.checkpoint.read_history`.
    """
    monitored = f"validation_{fit.monitor}"
    figure = monitored if any(monitored in epoch for epoch in history) else "loss"
    epochs = history[-1:] if fit.keep == "last" else history
    seen = [float(epoch[figure]) for epoch in epochs if epoch.get(figure) is not None]
    if figure.endswith("loss"):
        return Reached(figure, min(seen, default=float("inf")))
    return Reached(figure, max(seen, default=float("-inf")))
