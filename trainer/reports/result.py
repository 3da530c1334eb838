"""A run folder, read for a report; no net is asked here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.datasets.registry import dataset_named
from trainer.experiment.checkpoint import read_history
from trainer.experiment.predictions import Predictions
from trainer.experiment.run_folder import GRID, Run
from trainer.reports.content import Cost, ExperimentResult, NetResult, PartCount
from trainer.reports.evaluation import Evaluation, external_predictions, load_evaluation

SYNTHETIC = ("phantom",)
"""Data sets that a program made."""


def finished_nets(run: Run) -> list[str]:
    """Nets whose folds are all trained.

    Raises
    ------
    ValueError
        There is none.
    """
    folds = len(run.split().folds)
    nets = [net for net in run.nets if len(run.finished_folds(net)) == folds]
    if not nets:
        raise ValueError(f"{run.folder} holds no net whose folds are all trained; run trainer train again, it goes on")
    return nets


def experiment_result(run: Run) -> ExperimentResult:
    """Everything of a run that stands in its folder, but no gallery.

    Raises
    ------
    ValueError
        No net is finished.
    """
    evaluation = load_evaluation(run)
    names = finished_nets(run)
    nets = tuple(_net(run, net, evaluation) for net in names)
    outside = {name: net.parts[name] for net in nets for name in evaluation.externals if name in net.parts}
    return ExperimentResult(
        name=run.protocol.name,
        protocol=run.protocol,
        facts=facts_of(run, evaluation, names),
        split=(*evaluation.split, *(_counted(f"external set {name}", said) for name, said in outside.items())),
        split_remarks=run.record.remarks,
        nets=nets,
        synthetic=run.record.dataset in SYNTHETIC,
        digests={
            "validation": run.record.digest,
            "test": run.record.digest,
            **{name: external.digest for name, external in evaluation.externals.items()},
        },
    )


def facts_of(run: Run, evaluation: Evaluation, nets: list[str]) -> dict[str, str]:
    """What made the figures, in words."""
    record, protocol = run.record, run.protocol
    folds = len(run.split().folds)
    changed = ", ".join(f"{key} = {value}" for key, value in record.overrides.items())
    facts = {
        "data set": record.dataset,
        "licence": record.licence,
        "cache": f"SHA-256 {record.digest}",
        "input": _input(run),
        "protocol": f"{protocol.name}; {f'changed for a try: {changed}' if changed else 'as it ships or was given'}",
        "seed": str(protocol.seed),
        "training": f"began {record.began_at} on {record.device}",
        "software": ", ".join(f"{name} {version}" for name, version in record.software.items()),
        "threshold": f"{protocol.threshold:g} for labels and for outlines",
        "locked test part": _opened(evaluation),
    }
    if folds > 1:
        facts["who answers"] = (
            f"Validation: each of the {folds} folds by the net that did not train on it. Test and external sets: the "
            f"{folds} nets together, the mean of their probabilities, pixel by pixel and slice by slice."
        )
    missing = [name for name in run.nets if name not in nets]
    if missing:
        facts["not trained"] = ", ".join(missing)
    for net in nets:
        chosen = _grid(run, net)
        if chosen:
            facts[f"grid search of {net}"] = f"chose {', '.join(f'{key} = {value:g}' for key, value in chosen.items())}"
    for name, external in evaluation.externals.items():
        facts[f"external set {name}"] = f"{external.dataset}; {external.licence}; SHA-256 {external.digest}"
    return facts


def _net(run: Run, net: str, evaluation: Evaluation) -> NetResult:
    parts = {"validation": run.predictions(net)} if any(len(fold.validation) for fold in run.split().folds) else {}
    tested = run.test_predictions(net)
    if tested is not None:
        parts["test"] = tested
    for name in evaluation.externals:
        answers = external_predictions(run, net, name)
        if answers is not None:
            parts[name] = answers
    histories = {
        f"fold {fold + 1}": [_numbers(epoch) for epoch in read_history(run.fold_folder(net, fold))]
        for fold in run.finished_folds(net)
    }
    return NetResult(
        name=net,
        cost=evaluation.costs.get(net) or Cost(),
        parts=parts,
        history=histories,
        checkpoints=run.checkpoint_predictions(net),
    )


def _counted(name: str, said: Predictions) -> PartCount:
    patients = None if (said.patient == "").any() else len(np.unique(said.patient))
    known = said.label[:, 0] >= 0
    return PartCount(name, patients, len(said), int((said.label[:, 0] == 1).sum()) if known.any() else None)


def _numbers(epoch: Mapping[str, Any]) -> dict[str, float]:
    """What an epoch logged; nan for what could not be told."""
    return {key: math.nan if value is None else float(value) for key, value in epoch.items()}


def _grid(run: Run, net: str) -> dict[str, float]:
    path = run.folder / net / GRID
    return dict(json.loads(path.read_bytes())["chosen"]) if path.is_file() else {}


def _input(run: Run) -> str:
    spec = run.protocol.input
    geometry = spec.geometry_of(pictures=dataset_named(run.record.dataset).pictures)
    windows = ", ".join(f"{centre:g}/{width:g}" for centre, width in spec.windows)
    extras = [name for name, on in (("bone removed", spec.bone_removal), ("CLAHE", spec.clahe)) if on]
    return ", ".join([f"{spec.size} x {spec.size}, {geometry}", f"windows {windows} HU (of CT)", *extras])


def _opened(evaluation: Evaluation) -> str:
    if not evaluation.opened_at:
        return "never opened"
    first, *later = evaluation.opened_at
    if not later:
        return f"opened once, at {first}"
    return f"opened {len(evaluation.opened_at)} times, first at {first}, last at {later[-1]}"
