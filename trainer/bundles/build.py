"""From a finished net of a run to a bundle: wrap, export, run the validation scans, choose limits, measure, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from trainer.bundles.card import NO_OUTLINES, NO_TYPES, export_card, labels_of
from trainer.bundles.export import Nets
from trainer.bundles.figures import figures_of
from trainer.bundles.limits import Limits, check_labels, limits_of
from trainer.bundles.making import Asked, Making, making_of
from trainer.bundles.nets import exported, smaller, training_slices
from trainer.bundles.precision import check_loss
from trainer.bundles.provenance import PROVENANCE, provenance_file
from trainer.bundles.scans import ScanSaid, chosen_scans, kept_of, run_scans, scan_label
from trainer.datasets.cache import Cache
from trainer.experiment.batches import Indices
from trainer.experiment.run_folder import Run
from trainer.measures.measure import Measure
from trainer.tell import Tell
from triage.inference.bundle import Bundle, check_replaceable, write_bundle
from triage.inference.manifest import Calibration, Card, Manifest, Scoring, Thresholds
from triage.inference.predict import Predictor

_TOLD_EVERY = 10
"""Scans between two words of progress."""


def export_run(run: Run, cache: Cache, out: Path, asked: Asked, now: datetime, tell: Tell) -> Bundle:
    """Make a bundle of one net of a run, into a folder that is new, empty, or holds an earlier bundle.

    Raises
    ------
    ValueError
        The cache is another one, the net is not trained to its end, the daemon cannot show it what it was trained on,
        the validation scans allow no limit, or a smaller precision loses too much.
    BundleError
        The folder holds something else.
    """
    check_replaceable(out)
    making = making_of(run, cache, asked, now, tell)
    fold = run.split().folds[making.fold]
    scans = chosen_scans(cache, fold.validation, making.truth, asked.scans, run.protocol.seed)
    check_labels([scan_label(cache, scan, making.truth) for scan in scans])
    slices = training_slices(cache, fold.train, making.serving)
    with TemporaryDirectory(prefix="trainer-") as folder:
        nets, wrapped = exported(making, slices)
        said = _said_by(making, nets, Path(folder) / "fp32", scans)
        kept: tuple[str, ...] = ()
        if asked.precision != "fp32":
            before = kept_of(said, making.outlines)
            nets = smaller(making, nets, wrapped, slices)
            said = _said_by(making, nets, Path(folder) / asked.precision, scans)
            kept = (check_loss(asked.precision, before, kept_of(said, making.outlines)),)
        limits = _limits(making, said)
        manifest = making.manifest(nets, limits.thresholds, limits.calibration, Card("not measured yet"))
        decided = write_bundle(Path(folder) / "decided", manifest, nets.files)
        card = _card(making, decided, limits, scans, kept)
    return write_bundle(out, *_content(making, replace(manifest, card=card), nets, limits))


def _said_by(making: Making, nets: Nets, folder: Path, scans: Sequence[Indices]) -> list[ScanSaid]:
    """What nets without any calibration say of scans, every slice segmented."""
    open_limits = Thresholds(gate=0.5, suspected=0.6, emergent=0.6, mask_probability=making.run.protocol.threshold)
    manifest = making.manifest(nets, open_limits, Calibration(), Card("not measured yet"))
    return _run(making, write_bundle(folder, manifest, nets.files), scans, every_slice=True)


def _run(making: Making, bundle: Bundle, scans: Sequence[Indices], *, every_slice: bool) -> list[ScanSaid]:
    predictor = Predictor.load(bundle.path, "cpu", making.asked.threads)
    said: list[ScanSaid] = []
    for one in run_scans(predictor, making.cache, scans, making.truth, every_slice=every_slice):
        said.append(one)
        if len(said) % _TOLD_EVERY == 0:
            making.tell(f"{len(said)} of {len(scans)} scans")
    return said


def _limits(making: Making, said: Sequence[ScanSaid]) -> Limits:
    return limits_of(
        said,
        Scoring(),
        making.asked.sensitivity,
        making.run.protocol.seed,
        outlines=making.outlines,
        gate_speaks=making.serving.task != "masks",
        names_subtypes=making.serving.names_subtypes,
        mask_probability=making.run.protocol.threshold,
    )


def _card(making: Making, bundle: Bundle, limits: Limits, validation: Sequence[Indices], kept: tuple[str, ...]) -> Card:
    """Figures of the locked test part once trainer evaluate has opened it; until then of the validation scans."""
    run, asked = making.run, making.asked
    opened = run.test_predictions(making.net) is not None
    scans = validation
    if opened:
        scans = chosen_scans(making.cache, run.split().test, making.truth, asked.scans, run.protocol.seed)
    said = _run(making, bundle, scans, every_slice=False)
    figures = figures_of(
        said,
        bundle.rule.suspected_at,
        run.protocol.seed,
        outlines=making.outlines,
        names_subtypes=making.serving.names_subtypes,
    )
    made = "SYNTHETIC " if making.training.synthetic else ""
    which = f"{len(scans)} {made}scans of {run.record.dataset}"
    held_out = (
        f"{which} of the locked test part, which neither training nor limits have seen."
        if opened
        else f"{which} of the validation part, on which the epoch and the limits were chosen: optimistic figures. The "
        "test part is locked until trainer evaluate opens it; export again after that."
    )
    if run.protocol.variant == "as_published":
        held_out += " The protocol is as published, with its defects: see provenance.json for its split."
    remarks = (
        (
            f"The limit of {limits.thresholds.suspected:.4f} was chosen on {len(limits.scores)} validation scans, "
            f"{int(limits.bleeding.sum())} with blood, for a sensitivity of {limits.wanted:g}: there the "
            f"sensitivity is {_told(limits.sensitivity)}, the specificity {_told(limits.specificity)}."
        ),
        "No label tells which scans are emergent: the emergent limit is the median score of those with blood.",
        *(() if making.serving.names_subtypes else (NO_TYPES,)),
        *(() if making.outlines else (NO_OUTLINES,)),
        *kept,
        *making.serving.remarks,
        *run.protocol.remarks,
        *run.record.remarks,
    )
    return Card(held_out, figures, remarks)


def _told(one: Measure) -> str:
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}] ({one.n} {one.unit})"


def _content(making: Making, manifest: Manifest, nets: Nets, limits: Limits) -> tuple[Manifest, dict[str, bytes]]:
    more = {
        "precision": making.asked.precision,
        "limit": {
            "wanted_sensitivity": limits.wanted,
            "sensitivity": asdict(limits.sensitivity),
            "specificity": asdict(limits.specificity),
        },
        "labels": [{"output": o, "meaning": m, "code": c} for o, m, c in labels_of(manifest)],
        "remarks": manifest.card.remarks,
    }
    return manifest, {
        **nets.files,
        "card.md": export_card(manifest).encode(),
        PROVENANCE: provenance_file(making.run, making.net, making.fold, more),
    }
