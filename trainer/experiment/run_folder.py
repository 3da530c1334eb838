"""The folder of one run: what was asked for, on which data, by which software, and what came of it.

========================================  ============================================================
``run.json``                              a `RunRecord`
``split.json``                            see `trainer.experiment.split`
``<net>/fold-<k>/weights.pt``             the weights that were kept
``<net>/fold-<k>/last.pt``                where training is, for going on
``<net>/fold-<k>/history.jsonl``          one line per epoch
``<net>/fold-<k>/predictions.npz``        of the validation part of that fold; there when the fold is done
``<net>/fold-<k>/checkpoints/``           weights and predictions of every ``fit.checkpoint_every`` epochs
``<net>/grid.json``                       what a grid search tried and chose
``<net>/test.npz``                        of the locked test part; written by ``trainer evaluate`` alone
``<net>/external-<name>.npz``             of a data set that trained no net; by ``trainer evaluate --external``
``evaluation.json``                       when the test part was opened, and what was measured; see `trainer.reports`
``report.html``, ``report.json``          by ``trainer evaluate``
========================================  ============================================================
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from trainer.datasets.cache import Cache, open_cache
from trainer.experiment.files import write_atomically
from trainer.experiment.predictions import Predictions, joined, load_predictions
from trainer.experiment.protocol import ExperimentProtocol, NetSpec
from trainer.experiment.split import Split, load_split
from triage import __version__

FORMAT = 1
RECORD, SPLIT, PREDICTIONS, TEST, GRID = "run.json", "split.json", "predictions.npz", "test.npz", "grid.json"

_SOFTWARE = ("torch", "monai", "numpy", "scikit-learn", "imbalanced-learn", "scipy", "opencv-python-headless")


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class RunRecord:
    """What ``run.json`` holds.

    Attributes
    ----------
    protocol : ExperimentProtocol
        As it was run.
    overrides : mapping
        Dotted keys that the command line changed for a try; empty for the protocol as it stands.
    dataset, digest, licence : str
        Of the cache.
    cache : str
        Where it lay.
    software : mapping
        Versions.
    began_at : str
        UTC.
    device : str
        On which it began.
    remarks : tuple of str
        Sentences of the split and of what balances it.
    """

    protocol: ExperimentProtocol
    overrides: dict[str, int]
    dataset: str
    digest: str
    licence: str
    cache: str
    software: dict[str, str]
    began_at: str
    device: str
    remarks: tuple[str, ...] = ()
    format: int = FORMAT


_ADAPTER: TypeAdapter[RunRecord] = TypeAdapter(RunRecord)


def software_versions() -> dict[str, str]:
    """What the figures of a run depend on."""
    return {"ich-triage": __version__, **{name: metadata.version(name) for name in _SOFTWARE}}


def net_folders(protocol: ExperimentProtocol) -> dict[str, NetSpec]:
    """Folder names of the nets of a protocol; a net that stands there again has a number behind its name."""
    seen: Counter[str] = Counter()
    folders: dict[str, NetSpec] = {}
    for net in protocol.nets:
        seen[net.name] += 1
        folders[net.name if seen[net.name] == 1 else f"{net.name}-{seen[net.name]}"] = net
    return folders


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """An opened run folder."""

    folder: Path
    record: RunRecord
    nets: dict[str, NetSpec] = field(init=False)
    """Folder name to net."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "nets", net_folders(self.record.protocol))

    @property
    def protocol(self) -> ExperimentProtocol:
        """As it was run."""
        return self.record.protocol

    def split(self) -> Split:
        """Who trained, validated and is locked."""
        return load_split(self.folder / SPLIT, self.record.digest)

    def fold_folder(self, net: str, fold: int) -> Path:
        """Where a fold of a net lies."""
        return self.folder / net / f"fold-{fold}"

    def finished_folds(self, net: str) -> list[int]:
        """Folds whose training ended and whose predictions are there."""
        count = len(self.split().folds)
        return [fold for fold in range(count) if (self.fold_folder(net, fold) / PREDICTIONS).is_file()]

    def predictions(self, net: str) -> Predictions:
        """Of the validation parts of all finished folds.

        Raises
        ------
        ValueError
            No fold is finished.
        """
        folds = self.finished_folds(net)
        if not folds:
            raise ValueError(f"{self.folder} holds no finished fold of {net}; run trainer train again, it goes on")
        return joined([load_predictions(self.fold_folder(net, fold) / PREDICTIONS) for fold in folds])

    def checkpoint_predictions(self, net: str) -> dict[int, Predictions]:
        """Epoch to predictions of all finished folds, where ``fit.checkpoint_every`` asked for them."""
        by_epoch: dict[int, list[Predictions]] = {}
        for fold in self.finished_folds(net):
            for path in sorted((self.fold_folder(net, fold) / "checkpoints").glob("epoch-*.npz")):
                by_epoch.setdefault(int(path.stem.removeprefix("epoch-")), []).append(load_predictions(path))
        return {epoch: joined(parts) for epoch, parts in sorted(by_epoch.items())}

    def test_predictions(self, net: str) -> Predictions | None:
        """Of the locked test part, if ``trainer evaluate`` opened it."""
        path = self.folder / net / TEST
        return load_predictions(path) if path.is_file() else None


def load_run(folder: Path) -> Run:
    """Open a run folder.

    Raises
    ------
    ValueError
        It is none, or one of another release.
    """
    path = folder / RECORD
    if not path.is_file():
        raise ValueError(f"{folder} is no folder that trainer train wrote: it has no {RECORD}")
    try:
        record = _ADAPTER.validate_json(path.read_bytes())
    except ValidationError as exc:
        raise ValueError(f"{path} cannot be read by this release; train into a new folder") from exc
    if record.format != FORMAT:
        raise ValueError(f"{path} has format {record.format}; this release reads {FORMAT}")
    return Run(folder, record)


def cache_of(run: Run, moved: Path | None = None) -> Cache:
    """Open the cache that trained a run.

    Parameters
    ----------
    moved : Path, or None
        Where it lies now, if not where it was.

    Raises
    ------
    ValueError
        It is not there, or is none. Whether it is the same is for who uses it to check, by its digest.
    """
    folder = moved or Path(run.record.cache)
    if not folder.is_dir():
        raise ValueError(f"the cache that trained {run.folder} is no longer at {folder}: say with --data where it is")
    return open_cache(folder)


def write_record(folder: Path, record: RunRecord) -> None:
    """Write ``run.json``."""
    content: Any = _ADAPTER.dump_python(record, mode="json")
    write_atomically(folder / RECORD, (json.dumps(content, indent=1) + "\n").encode())
