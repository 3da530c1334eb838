"""From a protocol to a bundle: heads, nets, ONNX, limits, figures, in this order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from trainer.bundles.eight_bits import in_eight_bits
from trainer.bundles.export import PARITY_SLICES, Exported, Nets, export_net
from trainer.demonstration.card import card_text
from trainer.demonstration.decide import Decision, decide
from trainer.demonstration.evaluate import Measured, calibration_orders, held_out_orders, measured
from trainer.demonstration.exams import LADDER, run_same
from trainer.demonstration.familiar import OUTPUTS as DISTANCE_OUTPUTS
from trainer.demonstration.familiar import familiar
from trainer.demonstration.mirrored import Mirrored
from trainer.demonstration.protocol import Protocol
from trainer.demonstration.quiet import quiet_on, remark_on
from trainer.demonstration.stream import scan_input
from trainer.demonstration.train import Machine, TrainedNet, load_net, template_alone, train_nets
from trainer.demonstration.unseen import Stack, other_stacks
from trainer.nets.registry import parameter_count
from trainer.nets.slice_classifier import SliceClassifier
from trainer.real_series import read_series
from trainer.tell import Tell
from triage.inference.bundle import CLASSIFIER, SEGMENTER, Bundle, write_bundle
from triage.inference.manifest import Calibration, Card, Manifest, ModelCard, Scoring, Thresholds, Training

_DRAFT = Decision(Thresholds(gate=0.02, suspected=0.03, emergent=0.03, mask_probability=LADDER[0]), Calibration())
"""Limits of a bundle that has not been calibrated; it is only ever run with every slice segmented."""

_SOFTWARE = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "opencv-python-headless")


def build_bundles(
    plan: Protocol,
    out: Path,
    anatomy: Path | None,
    machine: Machine,
    series: Sequence[Path],
    now: datetime,
    tell: Tell,
    begin_from: Path | None = None,
) -> tuple[Bundle, ...]:
    """Run a protocol from its seed; goes on where it was stopped.

    Writes ``out/nets``, ``out/bundle`` and, where the protocol says so, ``out/bundle-int8`` with limits of its own.
    Where the template alone comes first, ``out/bundle-template`` is what was learned by then, decided on template heads
    and measured on procedural ones.

    Parameters
    ----------
    series : sequence of Path
        Folders of real series in which nobody sees blood: limits are raised until each and its copies stay below.
    begin_from : Path, optional
        Folder of the bundle whose nets are taught further, where the protocol names one.

    Raises
    ------
    ValueError
        The protocol or a series does not allow a bundle, which is found out before anything is trained; or ``out``
        holds the training of another protocol.
    """
    _check_exams(plan, anatomy)
    for folder in series:
        read_series(folder)
    train_nets(plan, out, anatomy, machine, tell, begin_from)
    stacks = other_stacks(plan, anatomy)
    nets = exported_nets(out / "nets", plan, stacks, tell)
    variants = {out / "bundle": nets}
    if plan.int8:
        variants[out / "bundle-int8"] = small_nets(nets, plan, stacks, tell)
    bundles = finished(plan, variants, anatomy, machine.workers, series, now, tell)
    if not (template_alone(plan, anatomy) and (out / "nets-template").is_dir()):
        return bundles
    alone = exported_nets(out / "nets-template", plan, other_stacks(plan, anatomy, procedural=False), tell)
    exams = replace(plan.exams, calibration_procedural=0, test_template=0)
    taught = f"{plan.training_data}; the first blocks, on the template alone"
    first = replace(plan, bundle=f"{plan.bundle_name}-template", exams=exams, training_data=taught)
    return (*bundles, *finished(first, {out / "bundle-template": alone}, anatomy, machine.workers, (), now, tell))


def finished(
    plan: Protocol,
    variants: Mapping[Path, Nets],
    anatomy: Path | None,
    workers: int,
    series: Sequence[Path],
    now: datetime,
    tell: Tell,
) -> tuple[Bundle, ...]:
    """Limits, figures and cards of nets; writes a bundle into each folder. All are run on the same exams."""
    with TemporaryDirectory(prefix="trainer-") as temporary:
        folder = Path(temporary)
        drafts = [
            write_bundle(folder / f"draft-{number}", manifest_of(plan, nets, _DRAFT, now), nets.files)
            for number, nets in enumerate(variants.values())
        ]
        orders = [calibration_orders(draft, plan, anatomy) for draft in drafts]
        decided = []
        remarks: list[tuple[str, ...]] = []
        for number, (nets, records) in enumerate(zip(variants.values(), run_same(orders, workers, tell), strict=True)):
            manifest = manifest_of(plan, nets, decide(records, plan.decision, _scoring(plan)), now)
            bundle = write_bundle(folder / f"decided-{number}", manifest, nets.files)
            if series:
                limits = quiet_on(bundle, series, tell)
                remarks.append((remark_on(manifest.thresholds, limits, series),))
                bundle = write_bundle(folder / f"quiet-{number}", replace(manifest, thresholds=limits), nets.files)
            else:
                remarks.append(())
            decided.append(bundle)
        tests = run_same([held_out_orders(bundle, plan, anatomy) for bundle in decided], workers, tell)
        written = []
        for target, bundle, of_series, records in zip(variants, decided, remarks, tests, strict=True):
            found = measured(bundle, records, plan, series)
            found = replace(found, remarks=(*found.remarks, *of_series))
            manifest = with_measured(bundle.manifest, found)
            files = {**variants[target].files, "card.md": card_text(manifest, found).encode()}
            written.append(write_bundle(target, manifest, files))
    return tuple(written)


def _check_exams(plan: Protocol, anatomy: Path | None) -> None:
    """Make sure that the exams allow limits and figures of every bundle that will be made."""
    exams = plan.exams
    if exams.calibration_template + exams.calibration_procedural < 2 or exams.test_template + exams.test_procedural < 2:
        raise ValueError(f"the protocol {plan.name} needs calibration exams and test exams, two of each or more")
    if template_alone(plan, anatomy) and min(exams.calibration_template, exams.test_procedural) < 2:
        raise ValueError(
            f"the protocol {plan.name} judges what the template alone taught: that needs two or more calibration exams "
            "on the template, and two or more procedural test exams"
        )


def exported_nets(folder: Path, plan: Protocol, stacks: Sequence[Stack], tell: Tell) -> Nets:
    """Export the nets kept in a folder, with the parity check on ``stacks``, as of `other_stacks`."""
    files, cards = {}, []
    for role, name in (("slice_classifier", CLASSIFIER), ("munet", SEGMENTER)):
        trained = load_net(folder / f"{role}.pt")
        made = _exported(trained, plan, stacks)
        tell(f"{role}: largest logit difference to ONNX Runtime {made.parity:.1e}")
        files[name] = made.content
        cards.append(ModelCard(trained.architecture, parameter_count(trained.net), made.parity, trained.reads))
    return Nets(files, *cards)


def _exported(trained: TrainedNet, plan: Protocol, stacks: Sequence[Stack]) -> Exported:
    """A classifier is given the distance of its features from those of made slices, see `familiar`."""
    shown = [scan_input(stack, trained.reads, plan.preprocessing) for stack in stacks]
    parity = np.concatenate(shown)[:PARITY_SLICES]
    net, outputs = trained.net, None
    if isinstance(net, SliceClassifier):
        net, outputs = familiar(net, shown), DISTANCE_OUTPUTS
    return export_net(Mirrored(net) if plan.mirrored else net, trained.architecture, parity, outputs)


def small_nets(nets: Nets, plan: Protocol, stacks: Sequence[Stack], tell: Tell) -> Nets:
    """The same nets in 8 bits, their ranges from ``stacks``, as of `other_stacks`."""
    small = {}
    for name, card in ((CLASSIFIER, nets.classifier), (SEGMENTER, nets.munet)):
        shown = (scan_input(stack, card.reads, plan.preprocessing) for stack in stacks)
        small[name] = in_eight_bits(nets.files[name], shown)
    for name, content in small.items():
        tell(f"{name}: {len(content)} bytes in place of {len(nets.files[name])}")
    return Nets(small, replace(nets.classifier, parity=None), replace(nets.munet, parity=None))


def manifest_of(plan: Protocol, nets: Nets, decision: Decision, now: datetime) -> Manifest:
    """The manifest before anything was measured; synthetic bundles are always for demonstration."""
    return Manifest(
        name=plan.bundle_name,
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
        scoring=_scoring(plan),
        calibration=decision.calibration,
        familiar_within=decision.familiar_within,
    )


def _scoring(plan: Protocol) -> Scoring:
    return Scoring(top_k=plan.decision.top_k, means=plan.decision.means)


def with_measured(manifest: Manifest, found: Measured) -> Manifest:
    """The manifest with what was measured."""
    card = Card(found.held_out, found.figures, found.remarks)
    return replace(manifest, card=card, reference=found.reference)


def export_saved(path: Path, plan: Protocol, anatomy: Path | None) -> Exported:
    """Export a kept net, with the parity check on newly made slices.

    The distance that a classifier gives is measured from these slices: ``familiar_within`` of a bundle that was made
    from others does not hold for it.
    """
    return _exported(load_net(path), plan, other_stacks(plan, anatomy))
