"""Weights and the state of a training on disk: plain tensors and values, written whole or not at all."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trainer.experiment.files import write_atomically

WEIGHTS, LAST, HISTORY, CHECKPOINTS = "weights.pt", "last.pt", "history.jsonl", "checkpoints"


def save_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    write_atomically(path, buffer.getvalue())


def load_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save_tensors` wrote; code that a file may hold is never run.

    Raises
    ------
    ValueError
        The file is none of ours.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as exc:
        raise ValueError(f"{path} holds no weights that this release can read") from exc
    return content


def read_history(folder: Path, epochs: int | None = None) -> list[dict[str, Any]]:
    """One entry per epoch that ended, the first ``epochs`` of them or all."""
    path = folder / HISTORY
    if not path.is_file():
        return []
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    return entries if epochs is None else entries[:epochs]


def write_history(folder: Path, entries: list[dict[str, Any]]) -> None:
    """Replace the history."""
    write_atomically(folder / HISTORY, "".join(json.dumps(entry) + "\n" for entry in entries).encode())
