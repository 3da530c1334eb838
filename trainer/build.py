"""From a protocol to a bundle: heads, nets, ONNX, limits, figures, in this order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data import Progress, blocks, net_input
from trainer.decide import Decision, decide
from trainer.eight_bits import in_eight_bits
from trainer.evaluate import CALIBRATION_SEEDS, Measured, held_out_orders, measured
from trainer.exams import LADDER, ExamOrder, exam_orders, run_same
from trainer.export import Exported, export_net
from trainer.familiar import OUTPUTS as DISTANCE_OUTPUTS
from trainer.familiar import familiar
from trainer.nets.registry import build_net, parameter_count
from trainer.nets.slice_classifier import SliceClassifier
from trainer.protocol import Protocol
from trainer.quiet import quiet_on
from trainer.report import card_text
from trainer.train import Fitted, Fitting, Pool
from triage.inference.bundle import CLASSIFIER, SEGMENTER, Bundle, write_bundle
from triage.inference.manifest import Calibration, Card, Manifest, ModelCard, Scoring, Thresholds, Training

_DRAFT = Decision(Thresholds(gate=0.02, suspected=0.03, emergent=0.03, mask_probability=LADDER[0]), Calibration())
"""Limits of a bundle that has not been calibrated; it is only ever run with every slice segmented."""

PARITY_SLICES = 30
_STACKS = 8
"""Of each kind of head, for parity, for 8 bits and for what is familiar."""

_OTHER_SEED = 500
"""Added to the seed of the protocol for them."""

_SOFTWARE = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "opencv-python-headless")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where training runs: ``device`` of the nets, torch's threads, and processes that make heads."""

    workers: int = 1
    threads: int = 1
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Nets:
    """Both nets as ONNX, with what the manifest says of them."""

    files: dict[str, bytes]
    classifier: ModelCard
    munet: ModelCard


def build_bundles(
    plan: Protocol,
    out: Path,
    anatomy: Path | None,
    machine: Machine,
    series: Sequence[Path],
    now: datetime,
    tell: Progress,
) -> tuple[Bundle, ...]:
    """Run a protocol from its seed; goes on where it was stopped.

    Writes ``out/nets``, ``out/bundle`` and, where the protocol says so, ``out/bundle-int8`` with limits of its own.
    Where the template alone comes first, ``out/bundle-template`` is what was learned by then, decided on template heads
    and measured on procedural ones.

    Parameters
    ----------
    series : sequence of Path
        Folders of real series in which nobody sees blood: limits are raised until each and its copies stay below.
    """
    train_nets(plan, out, anatomy, machine, tell)
    inputs = other_inputs(plan, anatomy)
    nets = exported_nets(out / "nets", plan, inputs, tell)
    variants = {out / "bundle": nets}
    if plan.int8:
        variants[out / "bundle-int8"] = small_nets(nets, inputs, tell)
    bundles = finished(plan, variants, anatomy, machine.workers, series, now, tell)
    if not (out / "nets-template").is_dir():
        return bundles
    alone = exported_nets(out / "nets-template", plan, other_inputs(plan, anatomy, procedural=False), tell)
    exams = replace(plan.exams, calibration_procedural=0, test_template=0)
    first = replace(plan, exams=exams, training_data=f"{plan.training_data}; the first blocks, on the template alone")
    return (*bundles, *finished(first, {out / "bundle-template": alone}, anatomy, machine.workers, (), now, tell))


def finished(
    plan: Protocol,
    variants: Mapping[Path, Nets],
    anatomy: Path | None,
    workers: int,
    series: Sequence[Path],
    now: datetime,
    tell: Progress,
) -> tuple[Bundle, ...]:
    """Limits, figures and cards of nets; writes a bundle into each folder. All are run on the same exams."""
    with TemporaryDirectory(prefix="trainer-") as temporary:
        folder = Path(temporary)
        drafts = [
            write_bundle(folder / f"draft-{number}", manifest_of(plan, nets, _DRAFT, now), nets.files)
            for number, nets in enumerate(variants.values())
        ]
        orders = [calibration_orders(plan, draft, anatomy) for draft in drafts]
        decided = []
        for number, (nets, records) in enumerate(zip(variants.values(), run_same(orders, workers, tell), strict=True)):
            manifest = manifest_of(plan, nets, decide(records, plan.decision, Scoring()), now)
            bundle = write_bundle(folder / f"decided-{number}", manifest, nets.files)
            if series:
                manifest = replace(manifest, thresholds=quiet_on(bundle, series, tell))
                bundle = write_bundle(folder / f"quiet-{number}", manifest, nets.files)
            decided.append(bundle)
        tests = run_same([held_out_orders(bundle, plan, anatomy) for bundle in decided], workers, tell)
        written = []
        for target, bundle, records in zip(variants, decided, tests, strict=True):
            found = measured(bundle, records, plan, series)
            manifest = with_measured(bundle.manifest, found)
            files = {**variants[target].files, "card.md": card_text(manifest, found).encode()}
            written.append(write_bundle(target, manifest, files))
    return tuple(written)


def train_nets(plan: Protocol, out: Path, anatomy: Path | None, machine: Machine, tell: Progress) -> None:
    """Train both nets on the stream of made stacks and keep them under ``out/nets``.

    After each block everything is kept in ``out/state.pt``; given the same ``out`` again, training goes on from there.

    Raises
    ------
    ValueError
        ``out`` holds the training of another protocol.
    """
    torch.set_num_threads(machine.threads)
    fittings = {
        "slice_classifier": Fitting(plan.slice_classifier, plan, machine.device),
        "munet": Fitting(plan.munet, plan, machine.device),
    }
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "state.pt"
    done = _resumed(fittings, kept, plan) if kept.is_file() else 0
    pool = Pool(plan.data.kept)
    stream = blocks(plan.data, plan.seed, anatomy, plan.preprocessing, machine.workers, done)
    for number, block in enumerate(stream, start=done + 1):
        tell(f"block {number} of {plan.data.blocks}")
        pool.add(block)
        for role, spec in (("slice_classifier", plan.slice_classifier), ("munet", plan.munet)):
            fittings[role].learn(pool, spec.steps // plan.data.blocks, tell)
        _keep(fittings, kept, plan, number)
        if number == plan.data.template_first and anatomy is not None:
            _save_nets(fittings, plan, out / "nets-template")
    _save_nets(fittings, plan, out / "nets")


def _save_nets(fittings: Mapping[str, Fitting], plan: Protocol, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for role, spec in (("slice_classifier", plan.slice_classifier), ("munet", plan.munet)):
        save_net(fittings[role].fitted(), spec.architecture, spec.options, folder / f"{role}.pt")


def _keep(fittings: Mapping[str, Fitting], path: Path, plan: Protocol, done: int) -> None:
    fresh = path.with_suffix(".new")
    nets = {role: fitting.state() for role, fitting in fittings.items()}
    torch.save({"done": done, "training": _training(plan), "nets": nets}, fresh)
    fresh.replace(path)


def _resumed(fittings: Mapping[str, Fitting], path: Path, plan: Protocol) -> int:
    """Load what `_keep` wrote and return how many blocks are done."""
    kept = torch.load(path, weights_only=True)
    if kept["training"] != _training(plan):
        raise ValueError(f"{path.parent} holds the training of another protocol; choose another folder")
    for role, fitting in fittings.items():
        fitting.resume(kept["nets"][role])
    return int(kept["done"])


def _training(plan: Protocol) -> str:
    """What the weights depend on, as text."""
    parts = (plan.seed, plan.data, plan.augment, plan.augment_late, plan.late_from, plan.precision)
    return repr((*parts, plan.slice_classifier, plan.munet, plan.preprocessing))


def exported_nets(folder: Path, plan: Protocol, inputs: Sequence[NDArray[np.float32]], tell: Progress) -> Nets:
    """Export the nets kept in a folder, with the parity check on ``inputs``, stacks as of `other_inputs`.

    The classifier is given the distance of its features from those of made slices, see `trainer.familiar`.
    """
    parity = np.concatenate(inputs)[:PARITY_SLICES]
    classifier, name = load_net(folder / "slice_classifier.pt")
    segmenter, _ = load_net(folder / "munet.pt")
    with_distance = familiar(cast(SliceClassifier, classifier), inputs)
    exported = {
        "slice_classifier": export_net(with_distance, name, parity, DISTANCE_OUTPUTS),
        "munet": export_net(segmenter, plan.munet.architecture, parity),
    }
    for role, made in exported.items():
        tell(f"{role}: largest logit difference to ONNX Runtime {made.parity:.1e}")
    reads: Literal["slice", "scan"] = "scan" if plan.slice_classifier.options.get("neighbours") else "slice"
    return Nets(
        {CLASSIFIER: exported["slice_classifier"].content, SEGMENTER: exported["munet"].content},
        ModelCard(name, parameter_count(classifier), exported["slice_classifier"].parity, reads),
        ModelCard(plan.munet.architecture, parameter_count(segmenter), exported["munet"].parity),
    )


def small_nets(nets: Nets, inputs: Sequence[NDArray[np.float32]], tell: Progress) -> Nets:
    """The same nets in 8 bits, their ranges from ``inputs``, stacks as of `other_inputs`."""
    small = {name: in_eight_bits(content, inputs) for name, content in nets.files.items()}
    for name, content in small.items():
        tell(f"{name}: {len(content)} bytes in place of {len(nets.files[name])}")
    return Nets(small, replace(nets.classifier, parity=None), replace(nets.munet, parity=None))


def other_inputs(plan: Protocol, anatomy: Path | None, *, procedural: bool = True) -> list[NDArray[np.float32]]:
    """Net input of stacks that no training has seen, each (slice, window, row, column)."""
    few = replace(
        plan.data,
        blocks=1,
        template_first=0,
        template_stacks=_STACKS if anatomy is not None else 0,
        procedural_stacks=_STACKS if procedural else 0,
    )
    made = next(blocks(few, plan.seed + _OTHER_SEED, anatomy, plan.preprocessing, 0))
    return [net_input(stack, plan.preprocessing) for stack in made.hu]


def calibration_orders(plan: Protocol, draft: Bundle, anatomy: Path | None) -> list[ExamOrder]:
    """The protocol's calibration exams for one draft, every slice of which is segmented."""
    counts = plan.exams.calibration_template, plan.exams.calibration_procedural
    return exam_orders(*counts, CALIBRATION_SEEDS + plan.seed * 10, anatomy, draft.path, every_slice=True)


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
        familiar_within=decision.familiar_within,
    )


def with_measured(manifest: Manifest, found: Measured) -> Manifest:
    """The manifest with what was measured."""
    card = Card(found.held_out, found.figures, found.remarks)
    return replace(manifest, card=card, reference=found.reference)


def save_net(fitted: Fitted, architecture: str, options: dict[str, Any], path: Path) -> None:
    """Keep a net as plain tensors with the name and options that build it; no code is pickled."""
    torch.save({"architecture": architecture, "options": options, "state": fitted.net.state_dict()}, path)


def load_net(path: Path) -> tuple[torch.nn.Module, str]:
    """Read what `save_net` wrote: the net in evaluation mode, and its architecture."""
    kept = torch.load(path, weights_only=True)
    net = build_net(kept["architecture"], kept["options"])
    net.load_state_dict(kept["state"])
    return net.eval(), kept["architecture"]


def export_saved(path: Path, plan: Protocol, anatomy: Path | None) -> Exported:
    """Export a kept net, with the parity check on newly made slices."""
    net, architecture = load_net(path)
    return export_net(net, architecture, np.concatenate(other_inputs(plan, anatomy))[:PARITY_SLICES])
