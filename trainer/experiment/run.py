"""All nets of a protocol on all folds of a cache, and their predictions; what is done is never done again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cache import Cache
from trainer.experiment.fold_data import balance_remarks, check_balance, fold_data
from trainer.experiment.fold_training import FoldTraining, Machine
from trainer.experiment.grid import search
from trainer.experiment.inputs import check_fits
from trainer.experiment.protocol import ExperimentProtocol, NetSpec
from trainer.experiment.run_folder import (
    PREDICTIONS,
    RECORD,
    SPLIT,
    Run,
    RunRecord,
    load_run,
    net_folders,
    software_versions,
    write_record,
)
from trainer.experiment.seeds import seed_of
from trainer.experiment.split import Split, draw_split, save_split
from trainer.experiment.truth import slice_truth
from trainer.nets.registry import check_side
from trainer.tell import Tell


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is made, besides its protocol.

    Attributes
    ----------
    net, fold : str, int, or None
        Only this one of them.
    epochs, steps : int, or None
        ``fit.epochs`` and ``fit.steps_per_epoch`` for a try; recorded.
    """

    machine: Machine = field(default_factory=Machine)
    net: str | None = None
    fold: int | None = None
    epochs: int | None = None
    steps: int | None = None

    def overrides(self) -> dict[str, int]:
        """Dotted keys and what they are for this try."""
        wanted = {"fit.epochs": self.epochs, "fit.steps_per_epoch": self.steps}
        return {key: value for key, value in wanted.items() if value is not None}

    def applied(self, protocol: ExperimentProtocol) -> ExperimentProtocol:
        """The protocol of this try; a grid does not search what the try fixes."""
        fit = protocol.fit
        if self.epochs is not None:
            fit = replace(fit, epochs=self.epochs)
        if self.steps is not None:
            fit = replace(fit, steps_per_epoch=self.steps)
        grid = {key: values for key, values in protocol.grid.items() if key not in self.overrides()}
        return replace(protocol, fit=fit, grid=grid)


def run_experiment(
    out: Path, protocol: ExperimentProtocol, cache: Cache, options: Options, began_at: str, tell: Tell
) -> Run:
    """Train and predict; a second call goes on where the first was.

    Parameters
    ----------
    began_at : str
        UTC, for the record of a run that begins.

    Raises
    ------
    ValueError
        Protocol and cache do not fit each other, or ``out`` holds a run of something else.
    """
    protocol = options.applied(protocol)
    check_fits(protocol.input, cache)
    check_balance(protocol)
    nets = net_folders(protocol)
    for net in nets.values():
        check_side(net.name, protocol.input.size)
    if options.net is not None and options.net not in nets:
        raise ValueError(f"{protocol.name} has no net {options.net}; it has {', '.join(nets)}")
    truth, ranks = slice_truth(cache, protocol.labels), options.machine.ranks
    if ranks.first:
        _begin(out, protocol, cache, truth, options, began_at)
    ranks.wait()
    run = load_run(out)
    split = run.split()
    if options.fold is not None and not 0 <= options.fold < len(split.folds):
        raise ValueError(f"{protocol.name} has folds 0 to {len(split.folds) - 1}, not {options.fold}")
    heard = tell if ranks.first else _nobody
    for remark in run.record.remarks:
        heard(remark)
    for name, net in nets.items():
        if options.net in (None, name):
            _train_net(run, name, net, cache, truth, split, options, heard)
    return run


def _train_net(
    run: Run,
    name: str,
    net: NetSpec,
    cache: Cache,
    truth: NDArray[np.int8],
    split: Split,
    options: Options,
    tell: Tell,
) -> None:
    """Every fold of one net that is wanted and not done; the grid is searched before the first of them."""
    wanted = range(len(split.folds)) if options.fold is None else [options.fold]
    missing = [fold for fold in wanted if not (run.fold_folder(name, fold) / PREDICTIONS).is_file()]
    protocol = run.protocol
    if protocol.grid and missing:
        protocol = search(
            protocol,
            run.folder / name,
            lambda plan, folder: _training(plan, name, net, cache, truth, split, 0, options, tell).tried(folder),
            tell,
            options.machine.ranks,
        )
    for fold in missing:
        _training(protocol, name, net, cache, truth, split, fold, options, tell).finish(run.fold_folder(name, fold))


def _training(
    protocol: ExperimentProtocol,
    name: str,
    net: NetSpec,
    cache: Cache,
    truth: NDArray[np.int8],
    split: Split,
    fold: int,
    options: Options,
    tell: Tell,
) -> FoldTraining:
    seed = seed_of(protocol.seed, fold)
    data = fold_data(cache, truth, protocol, split.folds[fold], seed)
    title = f"{name}, fold {fold + 1} of {len(split.folds)}" if len(split.folds) > 1 else name
    return FoldTraining(title, protocol, net, split.folds[fold], fold, data, seed, options.machine, tell)


def _begin(
    out: Path,
    protocol: ExperimentProtocol,
    cache: Cache,
    truth: NDArray[np.int8],
    options: Options,
    began_at: str,
) -> None:
    """Draw and record, or make sure that the folder holds this very run."""
    described = cache.description
    if (out / RECORD).is_file():
        before = load_run(out).record
        if before.digest != described.digest:
            raise ValueError(f"{out} holds a run on another cache; train into a new folder")
        if before.protocol != protocol:
            raise ValueError(f"{out} holds a run of another protocol, {before.protocol.name}; train into a new folder")
        return
    split = draw_split(cache, protocol.split, protocol.seed, truth)
    out.mkdir(parents=True, exist_ok=True)
    save_split(out / SPLIT, split, cache)
    record = RunRecord(
        protocol=protocol,
        overrides=options.overrides(),
        dataset=cache.spec.dataset,
        digest=described.digest,
        licence=described.licence,
        cache=str(cache.folder.absolute()),
        software=software_versions(),
        began_at=began_at,
        device=options.machine.device.type,
        remarks=split.remarks + balance_remarks(protocol),
    )
    write_record(out, record)


def _nobody(line: str) -> None:
    """Where only the first of several processes speaks."""
