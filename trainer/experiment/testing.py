"""The locked test part, and data sets that no training ever saw."""

from __future__ import annotations

from typing import Literal

import numpy as np

from trainer.datasets.cache import Cache
from trainer.experiment.batches import Indices, Slices
from trainer.experiment.checkpoint import WEIGHTS, read_history
from trainer.experiment.fold_training import Machine, load_net
from trainer.experiment.inputs import check_fits, input_channels
from trainer.experiment.predict import TEST_FOLD, Asking, predict_together
from trainer.experiment.predictions import Predictions, save_predictions
from trainer.experiment.protocol import SplitSpec
from trainer.experiment.reached import reached
from trainer.experiment.run_folder import TEST, Run
from trainer.experiment.split import selected_rows
from trainer.experiment.truth import slice_truth
from trainer.nets.registry import entry_of

Using = Literal["mean", "best"]
"""The nets of all folds together, the mean of their probabilities; or the one whose validation was best."""


def predict_test(run: Run, cache: Cache, net: str, machine: Machine, using: Using = "mean") -> Predictions:
    """Ask the trained nets about the locked test part and write ``<net>/test.npz``.

    Parameters
    ----------
    net : str
        Folder name, see `Run.nets`.

    Raises
    ------
    ValueError
        The cache is another one, a fold is not finished, or the protocol locks nothing away.
    """
    if cache.description.digest != run.record.digest:
        raise ValueError(f"{run.folder} was trained on another cache than {cache.folder}")
    rows = run.split().test
    if not len(rows):
        raise ValueError(f"the protocol {run.protocol.name} has no test part")
    predictions = predict_rows(run, cache, net, rows, machine, using)
    save_predictions(run.folder / net / TEST, predictions)
    return predictions


def check_external(run: Run, cache: Cache, external: Cache) -> None:
    """Refuse a data set that the nets of a run cannot be asked about.

    Parameters
    ----------
    cache : Cache
        That trained them.

    Raises
    ------
    ValueError
        The external cache was prepared otherwise, is the one that trained, or nothing is known of its slices and
        studies.
    """
    protocol, ours, theirs = run.protocol, cache.spec, external.spec
    check_fits(protocol.input, external)
    if external.description.digest == run.record.digest:
        raise ValueError(f"{external.folder} is what the nets were trained on; an external set is another one")
    if ours.geometry == theirs.geometry == "raster" and ours.pixel_mm != theirs.pixel_mm:
        raise ValueError(
            f"{external.folder} has pixels of {theirs.pixel_mm:g} mm and the nets were trained on {ours.pixel_mm:g} "
            f"mm: run trainer prepare with --pixel-mm {ours.pixel_mm:g}"
        )
    if input_channels(protocol.input, ours.pictures) != input_channels(protocol.input, theirs.pictures):
        holding, trained = ("pictures" if spec.pictures else "HU" for spec in (theirs, ours))
        raise ValueError(
            f"{external.folder} holds {holding} and the nets were trained on {trained} in "
            f"{len(protocol.input.windows)} windows: they cannot be asked about it"
        )
    if ours.geometry != theirs.geometry:
        raise ValueError(
            f"{external.folder} holds images as {theirs.geometry} and the nets were trained on {ours.geometry}: heads "
            "would have another size"
        )
    _external_rows(external)


def predict_external(run: Run, external: Cache, net: str, machine: Machine, using: Using = "mean") -> Predictions:
    """Ask the trained nets about every slice that another data set knows anything of, after `check_external`."""
    return predict_rows(run, external, net, _external_rows(external), machine, using)


def _external_rows(external: Cache) -> Indices:
    """Every slice of which, or of whose study, anything is known: some data sets can judge scans alone."""
    truth = slice_truth(external, "study")
    return selected_rows(external, SplitSpec("image", select="all"), truth, np.random.default_rng(0))


def predict_rows(
    run: Run, cache: Cache, net: str, rows: Indices, machine: Machine, using: Using = "mean"
) -> Predictions:
    """What the nets of the finished folds say of some rows of a cache.

    Raises
    ------
    ValueError
        There is no such net, or no fold of it is finished.
    """
    if net not in run.nets:
        raise ValueError(f"{run.protocol.name} has no net {net}; it has {', '.join(run.nets)}")
    folds, count = run.finished_folds(net), len(run.split().folds)
    if len(folds) < count:
        raise ValueError(f"{len(folds)} of {count} folds of {net} are finished; run trainer train again, it goes on")
    if using == "best":
        folds = [best_fold(run, net)]
    modules = [load_net(run.fold_folder(net, fold) / WEIGHTS, machine.device) for fold in folds]
    slices = Slices(
        cache,
        slice_truth(cache, run.protocol.labels),
        run.protocol.input,
        masks_wanted=run.protocol.loss.mask != "none",
    )
    scan = entry_of(run.nets[net].name).task == "scan"
    asking = Asking(slices, run.protocol, machine.device, machine.threads, scan)
    return predict_together(modules, asking, rows, TEST_FOLD)


def best_fold(run: Run, net: str) -> int:
    """The fold whose net, with the weights that were kept, did best on its own validation part."""

    def cost(fold: int) -> float:
        return reached(read_history(run.fold_folder(net, fold)), run.protocol.fit).cost

    return min(run.finished_folds(net), key=cost)
