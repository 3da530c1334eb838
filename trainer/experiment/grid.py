"""A grid search on the first fold, judged by its validation part if it has one; what wins trains every fold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from trainer.experiment.files import write_atomically
from trainer.experiment.protocol import ExperimentProtocol
from trainer.experiment.ranks import Ranks
from trainer.experiment.reached import Reached
from trainer.experiment.run_folder import GRID
from trainer.tell import Tell

Try = Callable[[ExperimentProtocol, Path], Reached]
"""Trains a protocol's net in a folder and says what it reached; every rank hears the same."""

_ADAPTER: TypeAdapter[ExperimentProtocol] = TypeAdapter(ExperimentProtocol)


def with_value(protocol: ExperimentProtocol, key: str, value: float) -> ExperimentProtocol:
    """The protocol with another value at a dotted key such as ``optimiser.learning_rate``.

    Raises
    ------
    ValueError
        There is no such key, or it cannot have the value.
    """
    content: dict[str, Any] = _ADAPTER.dump_python(protocol)
    *path, last = key.split(".")
    place = content
    for part in path:
        place = place.get(part, {})
    if not isinstance(place, dict) or last not in place:
        raise ValueError(f"grid: the protocol has no key {key}")
    place[last] = int(value) if isinstance(place[last], int) and float(value).is_integer() else value
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as exc:
        raise ValueError(f"grid: {key} cannot be {value}: {exc.errors()[0]['msg']}") from exc


def combinations(protocol: ExperimentProtocol) -> Iterator[tuple[dict[str, float], ExperimentProtocol]]:
    """Every combination of the grid's values, and the protocol that has them."""
    for values in product(*protocol.grid.values()):
        chosen = dict(zip(protocol.grid, values, strict=True))
        plan = protocol
        for key, value in chosen.items():
            plan = with_value(plan, key, value)
        yield chosen, plan


def search(protocol: ExperimentProtocol, folder: Path, attempt: Try, tell: Tell, ranks: Ranks) -> ExperimentProtocol:
    """Try every combination and give the protocol of the best; what was tried stands in ``grid.json``."""
    tried: list[tuple[dict[str, float], ExperimentProtocol, Reached]] = []
    for number, (values, plan) in enumerate(combinations(protocol)):
        one = attempt(plan, folder / "grid" / str(number))
        tried.append((values, plan, one))
        tell(f"grid: {', '.join(f'{key} {value:g}' for key, value in values.items())}: {one.value:.4f}")
    chosen, best, judged = min(tried, key=lambda one: one[2].cost)
    if ranks.first:
        figures = [{"values": values, "figure": one.value} for values, _, one in tried]
        content = {"figure": judged.figure, "tried": figures, "chosen": chosen}
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / GRID, (json.dumps(content, indent=1) + "\n").encode())
    return best
