"""What a person wants of a bundle, checked against the run that it is made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from trainer.bundles.export import Nets
from trainer.bundles.precision import Precision
from trainer.bundles.provenance import training_of
from trainer.bundles.serving import Serving, serving_of
from trainer.datasets.cache import Cache
from trainer.experiment.run_folder import Run
from trainer.experiment.testing import best_fold
from trainer.experiment.truth import slice_truth
from trainer.tell import Tell
from triage.inference.manifest import Calibration, Card, Manifest, Scoring, Thresholds, Training


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wants of a bundle.

    Attributes
    ----------
    net : str, or None
        Folder name in the run; None: the first net of the protocol.
    fold : int, or None
        None: the one whose validation was best.
    sensitivity : float
        That the suspected limit is chosen for.
    scans : int
        Validation scans that are run at most, and test scans.
    name : str
        What results call the bundle; empty: protocol and net.
    demonstration : bool
        Whether results say so; only who validated the bundle at a site has a reason to turn that off.
    pixel_mm : float, or None
        Side of a pixel at the size of the net, for a data set that does not say it.
    threads : int
        Of ONNX Runtime; 0: all cores.
    """

    net: str | None = None
    fold: int | None = None
    precision: Precision = "fp32"
    sensitivity: float = 0.95
    scans: int = 200
    name: str = ""
    version: str = "1"
    demonstration: bool = True
    pixel_mm: float | None = None
    threads: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.sensitivity <= 1.0:
            raise ValueError(f"a wanted sensitivity lies above 0 and at most at 1, not at {self.sensitivity}")


@dataclass(frozen=True, slots=True, eq=False)
class Making:
    """Everything about one export that no step changes."""

    run: Run
    cache: Cache
    truth: NDArray[np.int8]
    asked: Asked
    net: str
    fold: int
    serving: Serving
    training: Training
    now: datetime
    tell: Tell

    @property
    def outlines(self) -> bool:
        """Whether the bundle has masks."""
        return self.serving.task in ("masks", "both")

    def manifest(self, nets: Nets, thresholds: Thresholds, calibration: Calibration, card: Card) -> Manifest:
        """The manifest with these limits."""
        return Manifest(
            name=self.asked.name or f"{self.run.protocol.name}-{self.net}",
            version=self.asked.version,
            created_at=self.now,
            intended_input=f"Non-contrast axial head CT in Hounsfield units, of the kind of {self.run.record.dataset}",
            slice_classifier=nets.classifier,
            munet=nets.munet,
            thresholds=thresholds,
            provenance=self.training,
            card=card,
            preprocessing=self.serving.preprocessing,
            calibration=calibration,
            scoring=Scoring(),
            names_subtypes=self.serving.names_subtypes,
        )


def making_of(run: Run, cache: Cache, asked: Asked, now: datetime, tell: Tell) -> Making:
    """Choose net and fold.

    Raises
    ------
    ValueError
        The cache is another one, the net is not trained to its end, or the daemon cannot serve it.
    """
    if cache.description.digest != run.record.digest:
        raise ValueError(f"{run.folder} was trained on another cache than {cache.folder}")
    net = asked.net or next(iter(run.nets))
    if net not in run.nets:
        raise ValueError(f"{run.protocol.name} has no net {net}; it has {', '.join(run.nets)}")
    finished = run.finished_folds(net)
    if not finished or asked.fold not in (None, *finished):
        which = f"fold {asked.fold}" if asked.fold is not None else "no fold"
        state = "is not finished" if asked.fold is not None else "is finished"
        raise ValueError(f"{which} of {net} {state}; run trainer train again, it goes on")
    fold = best_fold(run, net) if asked.fold is None else asked.fold
    serving = serving_of(run.protocol, run.nets[net].name, cache, asked.pixel_mm)
    training = training_of(run, cache, net, fold, demonstration=asked.demonstration)
    truth = slice_truth(cache, run.protocol.labels)
    return Making(run, cache, truth, asked, net, fold, serving, training, now, tell)
