"""A grid search on the validation part of the first fold; the values that win train every fold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from trainer.experiment.files import write_atomically
from trainer.experiment.protocol import ExperimentProtocol
from trainer.experiment.run_folder import GRID
from trainer.tell import Tell

Try = Callable[[ExperimentProtocol, Path], float]
"""Trains a protocol's net in a folder and gives the best figure that its validation part saw, never nan."""

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


def search(protocol: ExperimentProtocol, folder: Path, attempt: Try, tell: Tell) -> ExperimentProtocol:
    """Try every combination and give the protocol of the best; what was tried stands in ``grid.json``."""
    tried: list[dict[str, Any]] = []
    plans: list[ExperimentProtocol] = []
    for number, (values, plan) in enumerate(combinations(protocol)):
        figure = attempt(plan, folder / "grid" / str(number))
        tried.append({"values": values, "figure": figure})
        plans.append(plan)
        tell(f"grid: {', '.join(f'{key} {value:g}' for key, value in values.items())}: {figure:.4f}")
    sign = 1.0 if protocol.fit.monitor == "loss" else -1.0
    best = min(range(len(tried)), key=lambda number: sign * float(tried[number]["figure"]))
    content = {"monitor": protocol.fit.monitor, "tried": tried, "chosen": tried[best]["values"]}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / GRID, (json.dumps(content, indent=1) + "\n").encode())
    return plans[best]
