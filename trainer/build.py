"""From a protocol to a bundle: heads, nets, ONNX, limits, figures, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data import Progress, make_slices, net_input, orders
from trainer.decide import Decision, decide
from trainer.evaluate import CALIBRATION_SEEDS, Measured, measure
from trainer.exams import exam_orders, run_exams
from trainer.export import Exported, export_net
from trainer.nets.registry import build_net, parameter_count
from trainer.phantom.batches import SliceBatch
from trainer.protocol import DataPlan, FitSpec, Protocol
from trainer.report import card_text
from trainer.train import Fitted, fit
from triage.inference.bundle import CLASSIFIER, SEGMENTER, Bundle, write_bundle
from triage.inference.manifest import Calibration, Card, Manifest, ModelCard, Thresholds, Training

_DRAFT = Decision(Thresholds(gate=0.5, suspected=0.6, emergent=0.6), Calibration())
"""Limits of a bundle that has not been calibrated; it is only ever run with every slice segmented."""

PARITY_SLICES = 30
_SOFTWARE = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "opencv-python-headless")


@dataclass(frozen=True, slots=True)
class Nets:
    """Both nets as ONNX, with what the manifest says of them."""

    files: dict[str, bytes]
    classifier: ModelCard
    munet: ModelCard


def build_bundle(
    plan: Protocol,
    out: Path,
    anatomy: Path | None,
    workers: int,
    unlabelled: Sequence[Path],
    now: datetime,
    tell: Progress,
) -> Bundle:
    """Run a protocol from its seed; writes ``out/nets`` and ``out/bundle``."""
    nets = train_nets(plan, out, anatomy, workers, tell)
    with TemporaryDirectory(prefix="trainer-") as folder:
        draft = write_bundle(Path(folder) / "draft", manifest_of(plan, nets, _DRAFT, now), nets.files)
        decision = calibrated(plan, draft, anatomy, workers, tell)
        manifest = manifest_of(plan, nets, decision, now)
        measured = measure(
            write_bundle(Path(folder) / "decided", manifest, nets.files), plan, anatomy, workers, unlabelled, tell
        )
    manifest = with_measured(manifest, measured)
    card = card_text(manifest, measured).encode()
    return write_bundle(out / "bundle", manifest, {**nets.files, "card.md": card})


def train_nets(plan: Protocol, out: Path, anatomy: Path | None, workers: int, tell: Progress) -> Nets:
    """Make the slices, train both nets, keep them under ``out/nets`` and export them.

    Each net trains in its own process on one thread, which costs half of what two threads for one net do, and
    makes the nets independent of the number of cores.
    """
    data = make_slices(orders(plan.data, plan.seed, anatomy, plan.preprocessing), workers, tell)
    folder = out / "nets"
    folder.mkdir(parents=True, exist_ok=True)
    specs = {"slice_classifier": plan.slice_classifier, "munet": plan.munet}
    with TemporaryDirectory(prefix="trainer-") as shared:
        for name in ("hu", "labels", "head"):
            np.save(Path(shared) / f"{name}.npy", getattr(data, name))
        tasks = [(spec, plan, Path(shared), folder / f"{role}.pt", tell) for role, spec in specs.items()]
        if workers:
            with ProcessPoolExecutor(len(tasks), mp_context=get_context("spawn")) as pool:
                for running in [pool.submit(_train_one, *task) for task in tasks]:
                    running.result()
        else:
            for task in tasks:
                _train_one(*task)
    return exported_nets(folder, net_input(data.hu[:PARITY_SLICES], plan.preprocessing), tell)


def exported_nets(folder: Path, inputs: NDArray[np.float32], tell: Progress) -> Nets:
    """Export the nets kept in a folder, with the parity check on ``inputs`` (slice, window, row, column)."""
    exported: dict[str, Exported] = {}
    cards: dict[str, ModelCard] = {}
    for role in ("slice_classifier", "munet"):
        net, architecture = load_net(folder / f"{role}.pt")
        exported[role] = export_net(net, architecture, inputs)
        cards[role] = ModelCard(architecture, parameter_count(net), exported[role].parity)
        tell(f"{role}: largest logit difference to ONNX Runtime {exported[role].parity:.1e}")
    files = {CLASSIFIER: exported["slice_classifier"].content, SEGMENTER: exported["munet"].content}
    return Nets(files, cards["slice_classifier"], cards["munet"])


def _train_one(spec: FitSpec, plan: Protocol, shared: Path, path: Path, tell: Progress) -> None:
    torch.set_num_threads(1)
    hu, labels, head = (np.load(shared / f"{name}.npy", mmap_mode="r") for name in ("hu", "labels", "head"))
    fitted = fit(SliceBatch(hu, labels, head), spec, plan.augment, plan.preprocessing, plan.seed, tell)
    save_net(fitted, spec.architecture, spec.options, path)


def calibrated(plan: Protocol, draft: Bundle, anatomy: Path | None, workers: int, tell: Progress) -> Decision:
    """Run the calibration exams with every slice segmented, and decide."""
    first = CALIBRATION_SEEDS + plan.seed * 10
    tasks = exam_orders(
        plan.exams.calibration_template, plan.exams.calibration_procedural, first, anatomy, draft.path, every_slice=True
    )
    return decide(run_exams(tasks, workers, tell), plan.decision, draft.manifest.scoring)


def manifest_of(plan: Protocol, nets: Nets, decision: Decision, now: datetime) -> Manifest:
    """The manifest before anything was measured; synthetic bundles are always for demonstration."""
    return Manifest(
        name=plan.name,
        version=plan.version,
        created_at=now,
        intended_input=plan.intended_input,
        slice_classifier=nets.classifier,
        munet=nets.munet,
        thresholds=decision.thresholds,
        provenance=Training(
            training_data=plan.training_data,
            protocol=plan.name,
            seed=plan.seed,
            software={name: metadata.version(name) for name in _SOFTWARE},
            synthetic=True,
            demonstration=True,
        ),
        card=Card(held_out="not measured yet"),
        preprocessing=plan.preprocessing,
        calibration=decision.calibration,
    )


def with_measured(manifest: Manifest, measured: Measured) -> Manifest:
    """The manifest with what was measured."""
    card = Card(measured.held_out, measured.figures, measured.remarks)
    return replace(manifest, card=card, reference=measured.reference)


def save_net(fitted: Fitted, architecture: str, options: dict[str, Any], path: Path) -> None:
    """Keep a net as plain tensors with the name and options that build it; no code is pickled."""
    torch.save({"architecture": architecture, "options": options, "state": fitted.net.state_dict()}, path)


def load_net(path: Path) -> tuple[torch.nn.Module, str]:
    """Read what `save_net` wrote: the net in evaluation mode, and its architecture."""
    kept = torch.load(path, weights_only=True)
    net = build_net(kept["architecture"], kept["options"])
    net.load_state_dict(kept["state"])
    return net.eval(), kept["architecture"]


def export_saved(path: Path, plan: Protocol, anatomy: Path | None, workers: int) -> Exported:
    """Export a kept net, with the parity check on newly made slices."""
    net, architecture = load_net(path)
    return export_net(net, architecture, _parity_input(plan, anatomy, workers))


def _parity_input(plan: Protocol, anatomy: Path | None, workers: int) -> NDArray[np.float32]:
    template = PARITY_SLICES if anatomy is not None else 0
    few = DataPlan(template, PARITY_SLICES - template, plan.data.slices_per_seed)
    made = make_slices(orders(few, plan.seed, anatomy, plan.preprocessing), min(workers, 1), lambda _: None)
    return net_input(made.hu, plan.preprocessing)
