"""``trainer evaluate`` of a run: the locked test part, external sets, cost, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cache import Cache
from trainer.experiment.batches import Slices
from trainer.experiment.checkpoint import WEIGHTS
from trainer.experiment.fold_training import Machine, load_net
from trainer.experiment.predict import Asking
from trainer.experiment.predictions import save_predictions
from trainer.experiment.run_folder import Run
from trainer.experiment.split import Split
from trainer.experiment.testing import check_external, predict_external, predict_test
from trainer.experiment.truth import slice_truth
from trainer.explain.drawing import Picture
from trainer.explain.gallery import gallery
from trainer.nets.registry import entry_of
from trainer.reports.content import PartCount
from trainer.reports.cost import measured_cost
from trainer.reports.evaluation import External, external_file, load_evaluation, save_evaluation
from trainer.reports.page import write_report
from trainer.reports.result import experiment_result, finished_nets
from trainer.tell import Tell


def evaluate_run(
    run: Run, cache: Cache, externals: Mapping[str, Cache], machine: Machine, now: str, tell: Tell
) -> Path:
    """Ask every finished net and write ``report.html`` and ``report.json`` into the run folder.

    Nets whose folds are not all trained are left out, and a line says so. A net that was asked about the test part
    before is not asked again: its stored answers stand. Time forward is measured anew.

    Parameters
    ----------
    externals : mapping of str to Cache
        Data sets that no training saw, by the names that the report uses.
    now : str
        UTC, for the record.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError
        The cache is not the one that trained, an external one is or does not fit, or no net is finished.
    """
    if cache.description.digest != run.record.digest:
        raise ValueError(f"{run.folder} was trained on another cache than {cache.folder}")
    for external in externals.values():
        check_external(run, cache, external)
    nets = finished_nets(run)
    for name in run.nets:
        if name not in nets:
            tell(f"{name} is left out: its folds are not all trained")
    split = run.split()
    _open_test(run, cache, nets, split, machine, now, tell)
    evaluation = load_evaluation(run)
    for name, external in externals.items():
        for net in nets:
            tell(f"{net}: asked about {name}")
            answers = predict_external(run, external, net, machine)
            save_predictions(run.folder / net / external_file(name), answers)
    described = {name: each.description for name, each in externals.items()}
    evaluation = replace(
        evaluation,
        split=tuple(part_counts(split, cache, slice_truth(cache, run.protocol.labels))),
        costs={net: measured_cost(run, net, cache.spec.pictures, machine) for net in nets},
        externals=evaluation.externals
        | {name: External(each.spec.dataset, each.digest, each.licence) for name, each in described.items()},
    )
    save_evaluation(run, evaluation)
    result = experiment_result(run)
    tell("drawing the worst cases")
    shown = tuple(replace(net, gallery=tuple(_gallery(run, cache, net.name, machine))) for net in result.nets)
    return write_report(run.folder, [replace(result, nets=shown)])


def _open_test(run: Run, cache: Cache, nets: list[str], split: Split, machine: Machine, now: str, tell: Tell) -> None:
    """Ask the nets that were never asked, after writing down that the test part is opened."""
    if not len(split.test):
        tell(f"{run.protocol.name} locks no test part away: its figures are those of validation")
        return
    evaluation = load_evaluation(run)
    waiting = [net for net in nets if run.test_predictions(net) is None]
    if evaluation.opened_at:
        tell(f"the locked test part was opened before, first at {evaluation.opened_at[0]}")
    if not waiting:
        return
    save_evaluation(run, evaluation.opened(now))
    tell(f"the locked test part is opened: {len(split.test)} slices")
    for net in waiting:
        tell(f"{net}: asked about the test part")
        predict_test(run, cache, net, machine)


def part_counts(split: Split, cache: Cache, truth: NDArray[np.int8]) -> list[PartCount]:
    """Patients, slices and slices with blood of each part; folds one by one."""

    def counted(name: str, rows: NDArray[np.int64]) -> PartCount:
        patients = np.unique(cache.table["patient"][rows])
        known = None if (patients < 0).any() else len(patients)
        return PartCount(name, known, len(rows), int((truth[rows, 0] == 1).sum()))

    parts = [counted("locked test", split.test)] if len(split.test) else []
    for number, fold in enumerate(split.folds):
        suffix = f", fold {number + 1}" if len(split.folds) > 1 else ""
        parts += [counted(f"training{suffix}", fold.train), counted(f"validation{suffix}", fold.validation)]
    return parts


def _gallery(run: Run, cache: Cache, net: str, machine: Machine) -> list[Picture]:
    """Of the test part where there is one, else of the validation parts."""
    protocol, tested = run.protocol, run.test_predictions(net)
    slices = Slices(
        cache, slice_truth(cache, protocol.labels), protocol.input, masks_wanted=protocol.loss.mask != "none"
    )
    scan = entry_of(run.nets[net].name).task == "scan"
    nets = [load_net(run.fold_folder(net, fold) / WEIGHTS, machine.device) for fold in run.finished_folds(net)]
    asking = Asking(slices, protocol, machine.device, machine.threads, scan)
    if tested is None:
        return gallery(nets, asking, run.predictions(net), "validation")
    return gallery(nets, asking, tested, "test")
