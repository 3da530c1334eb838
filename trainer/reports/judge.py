"""From predictions to everything that a report shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from trainer.experiment.predictions import Predictions
from trainer.measures.confusion import ConfusionMatrix, confusion_matrix
from trainer.measures.curves import Curve, precision_recall_curve, reliability_curve, roc_curve
from trainer.measures.interval import Flags, Numbers
from trainer.measures.measure import Measure
from trainer.measures.run import measures_of
from trainer.papers.paper import Paper, load_paper, recomputed
from trainer.reports.compare import within
from trainer.reports.content import Comparison, ExperimentResult, NetResult, Row, beside, plain

TEST, VALIDATION = "test", "validation"
_OF_CHECKPOINTS = ("Dice, empty counted", "IoU, empty counted", "Dice", "AUC")


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """An experiment with its figures.

    Attributes
    ----------
    measures : mapping of (net, part) to list of Measure
    matrices : mapping of (net, part) to ConfusionMatrix
        Of the likeliest subtype, among slices that truly show exactly one; empty for one class.
    part : str
        The part that stands beside the paper, where a cell does not name its own.
    checkpoints : mapping of net to mapping of epoch to list of Measure
        Of the validation parts, any blood, by slice.
    """

    result: ExperimentResult
    measures: Mapping[tuple[str, str], list[Measure]]
    matrices: Mapping[tuple[str, str], ConfusionMatrix]
    comparisons: tuple[Comparison, ...]
    paper: Paper | None
    recomputed: tuple[str, ...]
    beside: tuple[Row, ...]
    part: str
    checkpoints: Mapping[str, Mapping[int, list[Measure]]]


def judge(result: ExperimentResult) -> Judged:
    """Measure every part of every net, compare the nets, and set the paper's cells beside."""
    protocol = result.protocol
    measures = {
        (net.name, part): measures_of(predictions, protocol.threshold, protocol.seed)
        for net in result.nets
        for part, predictions in net.parts.items()
    }
    matrices = {
        (net.name, part): matrix
        for net in result.nets
        for part, predictions in net.parts.items()
        if (matrix := subtype_matrix(predictions)) is not None
    }
    part = TEST if any(TEST in net.parts for net in result.nets) else VALIDATION
    paper = load_paper(protocol.paper) if protocol.paper else None
    smote = protocol.balance.kind.startswith("smote")
    return Judged(
        result,
        measures,
        matrices,
        tuple(within(result)),
        paper,
        tuple(recomputed(paper)) if paper else (),
        tuple(beside(paper, measures, [net.name for net in result.nets], part, smote)) if paper else (),
        part,
        {net.name: _by_epoch(net, result) for net in result.nets if net.checkpoints},
    )


def _by_epoch(net: NetResult, result: ExperimentResult) -> dict[int, list[Measure]]:
    found: dict[int, list[Measure]] = {}
    for epoch, predictions in net.checkpoints.items():
        every = measures_of(predictions, result.protocol.threshold, result.protocol.seed)
        found[epoch] = [m for m in every if m.name in _OF_CHECKPOINTS and (m.of, m.level) == ("any", "slice")]
    return found


def subtype_matrix(predictions: Predictions) -> ConfusionMatrix | None:
    """Likeliest subtype against the true one, over slices that truly show exactly one; None where there are none."""
    if len(predictions.classes) < 3:
        return None
    shown = predictions.label[:, 1:] == 1
    single = (shown.sum(axis=1) == 1) & ~np.isnan(predictions.probability[:, 1:]).any(axis=1)
    if not single.any():
        return None
    names = tuple(str(name) for name in predictions.classes[1:])
    return confusion_matrix(names, shown[single].argmax(axis=1), predictions.probability[single, 1:].argmax(axis=1))


def curves(judged: Judged, part: str, make: Callable[[Numbers, Flags], Curve]) -> dict[str, Curve]:
    """One curve of any blood per net that gives probabilities and saw both classes in this part."""
    found: dict[str, Curve] = {}
    for net in judged.result.nets:
        if part not in net.parts:
            continue
        predictions = net.parts[part]
        said, label = predictions.probability[:, 0].astype(np.float64), predictions.label[:, 0]
        known = (label >= 0) & ~np.isnan(said)
        truth = label[known] == 1
        if truth.any() and not truth.all():
            found[net.name] = make(said[known], truth)
    return found


CURVES = {
    "ROC": (("false-positive rate", "sensitivity"), roc_curve, True),
    "precision and recall": (("sensitivity", "precision"), precision_recall_curve, False),
    "reliability": (("probability said", "frequency seen"), reliability_curve, True),
}


def as_json(judged: Judged) -> dict[str, object]:
    """Everything but curves and pictures, for programs."""
    result = judged.result
    found = {
        "experiment": result.name,
        "variant": result.protocol.variant,
        "synthetic": result.synthetic,
        "facts": result.facts,
        "split": [asdict(part) for part in result.split],
        "split_remarks": result.split_remarks,
        "nets": [
            {
                "name": net.name,
                "cost": asdict(net.cost),
                "parts": {part: [asdict(m) for m in judged.measures[net.name, part]] for part in net.parts},
            }
            for net in result.nets
        ],
        "matrices": [
            {"net": net, "part": part, "classes": matrix.classes, "rows": matrix.table.tolist()}
            for (net, part), matrix in judged.matrices.items()
        ],
        "checkpoints": {
            net: {str(epoch): [asdict(m) for m in found] for epoch, found in epochs.items()}
            for net, epochs in judged.checkpoints.items()
        },
        "comparisons": [asdict(comparison) for comparison in judged.comparisons],
        "paper": {
            "title": judged.paper.title,
            "contradictions": judged.paper.contradictions,
            "recomputed": judged.recomputed,
            "beside": [asdict(row) for row in judged.beside],
        }
        if judged.paper
        else None,
    }
    return dict(plain(found))
