"""Both ONNX files of a bundle, from the weights of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from trainer.bundles.eight_bits import in_eight_bits
from trainer.bundles.export import PARITY_SLICES, Exported, Nets, export_net, logit_differences
from trainer.bundles.making import Making
from trainer.bundles.precision import CALIBRATION_SLICES, in_half
from trainer.bundles.scans import hounsfield
from trainer.bundles.serving import Serving
from trainer.bundles.wrappers import Served, served
from trainer.datasets.cache import Cache
from trainer.experiment.answers import activation_of
from trainer.experiment.balance import scans_of
from trainer.experiment.batches import Indices
from trainer.experiment.checkpoint import WEIGHTS
from trainer.experiment.fold_training import load_net
from trainer.nets.registry import parameter_count
from triage.inference.bundle import CLASSIFIER, SEGMENTER
from triage.inference.manifest import ModelCard, Scoring
from triage.inference.preprocess import window_slices

CLASSIFIER_OUTPUTS, SEGMENTER_OUTPUTS = ("logits",), ("seg_logits", "cls_logits")


def training_slices(cache: Cache, rows: Indices, serving: Serving) -> NDArray[np.float32]:
    """Training slices as the daemon shows them, evenly drawn from all, or one scan for a net that reads scans.

    Repeated where there are fewer than an export is checked on; shape (slice, window, row, column).
    """
    if serving.task == "scan":
        chosen = max(scans_of(cache, rows), key=len)[:CALIBRATION_SLICES]
    else:
        chosen = rows[np.linspace(0, len(rows) - 1, min(CALIBRATION_SLICES, len(rows))).round().astype(np.intp)]
    repeated = np.resize(chosen, max(len(chosen), PARITY_SLICES))
    return window_slices(hounsfield(cache, repeated), serving.preprocessing)


def exported(making: Making, slices: NDArray[np.float32]) -> tuple[Nets, Served]:
    """Both files in single precision, compared with torch on training slices."""
    serving, name = making.serving, making.run.nets[making.net].name
    net = load_net(making.run.fold_folder(making.net, making.fold) / WEIGHTS).net
    raster = serving.preprocessing
    strongest = min(max(1, round(Scoring().evidence_mm2 / raster.pixel_mm**2)), raster.size**2)
    wrapped = served(net, serving.task, serving.channels, activation_of(making.run.protocol.loss), strongest)
    classifier = export_net(wrapped.classifier, name, slices, CLASSIFIER_OUTPUTS)
    segmenter = export_net(wrapped.segmenter, name, slices, SEGMENTER_OUTPUTS)
    making.tell(f"{name}: largest logit difference to ONNX Runtime {max(classifier.parity, segmenter.parity):.1e}")
    reads: Literal["slice", "scan"] = "scan" if serving.task == "scan" else "slice"
    cards = (
        ModelCard(name, parameter_count(net), classifier.parity, reads),
        ModelCard(
            name if wrapped.outlines else "none: nothing is outlined",
            parameter_count(wrapped.segmenter),
            segmenter.parity,
        ),
    )
    return Nets({CLASSIFIER: classifier.content, SEGMENTER: segmenter.content}, *cards), wrapped


def smaller(making: Making, nets: Nets, wrapped: Served, slices: NDArray[np.float32]) -> Nets:
    """The same nets in the wanted precision; a segmenter that only says nothing stays as it is."""
    together = len(slices) if making.serving.task == "scan" else 1

    def converted(content: bytes, net: nn.Module) -> Exported:
        if making.asked.precision == "fp16":
            small = in_half(content)
        else:
            small = in_eight_bits(content, (slices[at : at + together] for at in range(0, len(slices), together)))
        return Exported(small, logit_differences(net, small, slices)[0])

    classifier = converted(nets.files[CLASSIFIER], wrapped.classifier)
    files = {**nets.files, CLASSIFIER: classifier.content}
    munet = nets.munet
    if wrapped.outlines:
        segmenter = converted(nets.files[SEGMENTER], wrapped.segmenter)
        files[SEGMENTER], munet = segmenter.content, replace(munet, parity=segmenter.parity)
    return Nets(files, replace(nets.classifier, parity=classifier.parity), munet)
