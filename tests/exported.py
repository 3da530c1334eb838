"""Runs to make bundles of: some that look finished without having been trained, and one whose net found blood."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tests.builders import ct_series, ellipse_head
from tests.caches import BLOOD, Made
from tests.small_protocols import NARROW, small_protocol
from trainer.cli import main
from trainer.datasets.cache import Cache
from trainer.experiment.checkpoint import WEIGHTS, save_tensors
from trainer.experiment.fold_training import built, net_description
from trainer.experiment.protocol import ExperimentProtocol, InputSpec, LossSpec, NetSpec, SplitSpec
from trainer.experiment.run_folder import PREDICTIONS, SPLIT, Run, RunRecord, load_run, software_versions, write_record
from trainer.experiment.split import draw_split, save_split
from trainer.experiment.truth import slice_truth

WINDOWS = ((40.0, 80.0), (80.0, 200.0), (600.0, 2800.0))

LARGE_HEADS = Made(patients=12, geometry="raster", pixel_mm=8.0)
"""Heads of 25 cm, as large as those that the tests of the daemon send."""

_BINARY = f"""
name = "small"
title = "A small protocol"
paper = ""
variant = "honest"
datasets = ["phantom"]
classes = "binary"
seed = 1
remarks = ["Everything about it is small."]
input = {{ size = 32, geometry = "raster", windows = {[list(window) for window in WINDOWS[:2]]} }}
split = {{ unit = "patient", test = 0.25, validation = 0.5 }}
nets = [{{ name = "d_unet", options = {{ widths = [8, 16], bottleneck = 16 }} }}]
loss = {{ mask = "dice" }}
optimiser = {{ learning_rate = 1e-2 }}
fit = {{ epochs = 15, batch = 8 }}
"""


def given(command: str, *arguments: object) -> tuple[int, str, str]:
    """Exit status, output and messages of a ``trainer`` command."""
    result = CliRunner().invoke(main, [command, *(str(argument) for argument in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def trained_run(folder: Path, cache: Cache) -> Path:
    """A run on a cache of `LARGE_HEADS` of a net that learns to outline the made blood, but not its type."""
    (folder / "small.toml").write_text(_BINARY)
    code, _, told = given(
        "train", folder / "run", "--protocol", folder / "small.toml", "--data", cache.folder, "--threads", 1
    )
    assert code == 0, told
    return folder / "run"


def bleeding_series() -> list[Dataset]:
    """A head of 18 slices with a ball of blood in its middle, as a scanner sends it."""
    rows, columns = np.mgrid[0:64, 0:64]

    def hu(k: int) -> NDArray[np.float64]:
        image = ellipse_head(64, 64, height=k / 18 - 0.5)
        if 5 <= k <= 12:
            image[np.hypot(rows - 32, columns - 32) < 8] = BLOOD
        return image

    return ct_series(18, 64, 64, hu=hu)


def protocol_of(net: str, classes: str = "subtypes", channels: int = 3, **changes: Any) -> ExperimentProtocol:
    """A protocol of one narrow net; five patients of eight validate."""
    given: dict[str, Any] = {
        "nets": (NetSpec(net, NARROW[net]),),
        "classes": classes,
        "input": InputSpec(size=32, windows=WINDOWS[:channels]),
        "split": SplitSpec("patient", test=0.2, validation=0.5),
        "loss": LossSpec(mask="dice_ce", label="bce"),
    }
    return small_protocol(**{**given, **changes})


def finished_run(folder: Path, cache: Cache, protocol: ExperimentProtocol, seed: int = 1) -> Run:
    """A run whose nets have the weights that they began with; its predictions are empty files."""
    truth = slice_truth(cache, protocol.labels)
    split = draw_split(cache, protocol.split, protocol.seed, truth)
    folder.mkdir(parents=True)
    save_split(folder / SPLIT, split, cache)
    record = RunRecord(
        protocol=protocol,
        overrides={},
        dataset=cache.spec.dataset,
        cache=str(cache.folder),
        digest=cache.description.digest,
        licence=cache.description.licence,
        software=software_versions(),
        began_at="2026-01-01T00:00:00+00:00",
        device="cpu",
        remarks=split.remarks,
    )
    write_record(folder, record)
    run = load_run(folder)
    for name, net in run.nets.items():
        torch.manual_seed(seed)
        description = net_description(net, protocol, cache.spec.pictures)
        for fold in range(len(split.folds)):
            place = run.fold_folder(name, fold)
            place.mkdir(parents=True)
            save_tensors(place / WEIGHTS, {**description, "state": built(description).state_dict()})
            (place / PREDICTIONS).touch()
    return run
