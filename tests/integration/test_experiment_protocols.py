"""Every shipped experiment, in miniature: its own nets made narrow, its split, its balance, its loss."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.caches import Made, written_cache
from trainer.datasets.cache import Cache
from trainer.experiment.fold_training import Machine
from trainer.experiment.protocol import ExperimentProtocol, NetSpec, load_experiment, shipped_experiments
from trainer.experiment.run import Options, run_experiment
from trainer.experiment.testing import predict_test

NARROW = {
    "munet": {"widths": [8, 8, 8, 8, 16], "hidden": 8},
    "munet_flat": {"widths": [8, 8, 8, 8, 16], "hidden": 8},
    "light_unet": {"widths": [8, 16], "bottleneck": 16},
    "light_classifier": {"widths": [8, 16], "bottleneck": 16},
    "d_unet": {"widths": [8, 16], "bottleneck": 16},
    "unet_classic": {"widths": [8, 16], "bottleneck": 16},
    "dr_unet": {"width": 8},
    "unet_dr": {"width": 8},
    "dense_unet": {"blocks": [1, 1, 1, 1], "decoder": [8, 8, 8, 8]},
    "denseunet": {"depth": 2, "layers": 1, "growth": 4, "stem": 8},
    "densenet121": {"blocks": [1, 1, 1, 1]},
    "gate_2p5d": {"widths": [8, 8, 8, 8]},
    "slice_classifier": {"widths": [8, 8, 8, 8], "pyramid": 8},
}
"""Nets that are not named are as wide as the registry has them."""


def miniature(name: str) -> ExperimentProtocol:
    """The protocol on 32 pixels with two steps; its published list, which names real patients, is drawn instead."""
    protocol = load_experiment(name)
    nets = {net.name: NetSpec(net.name, NARROW.get(net.name, {})) for net in protocol.nets[:2]}
    return replace(
        protocol,
        input=replace(protocol.input, size=32),
        split=replace(protocol.split, named="", folds=min(protocol.split.folds, 2)),
        fit=replace(protocol.fit, epochs=1, batch=4, steps_per_epoch=2, freeze_at=0, checkpoint_every=0),
        nets=tuple(nets.values()),
        grid=dict(list(protocol.grid.items())[:1]),
    )


def made_for(protocol: ExperimentProtocol, folder: Path) -> Cache:
    made = Made(patients=12, slices=4, geometry=protocol.input.geometry, labelled=protocol.labels == "slice")
    return written_cache(folder, made)


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_experiments())
def test_every_shipped_experiment_runs_in_miniature(tmp_path: Path, name: str) -> None:
    protocol = miniature(name)
    cache = made_for(protocol, tmp_path / "cache")
    run = run_experiment(tmp_path / "run", protocol, cache, Options(Machine()), "2026-01-01T00:00:00Z", lambda _: None)
    split = run.split()
    for fold in split.folds:
        parts = [cache.table["patient"][rows] for rows in (fold.train, fold.validation, split.test)]
        if protocol.split.unit == "patient":
            assert sum(len(np.unique(part)) for part in parts) == len(np.unique(np.concatenate(parts)))
    for net in run.nets:
        assert len(run.finished_folds(net)) == len(split.folds)
        assert len(run.predictions(net)) == sum(len(fold.validation) for fold in split.folds)
        if len(split.test):
            assert len(predict_test(run, cache, net, Machine())) == len(split.test)
