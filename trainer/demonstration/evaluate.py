"""What a bundle does on held-out made exams, with intervals; and, apart from that, on real series without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.demonstration.exams import ExamOrder, ExamRecord, exam_orders
from trainer.demonstration.protocol import Protocol
from trainer.measures.bootstrap import Clusters
from trainer.measures.figures import drawn, proportion
from trainer.measures.interval import Numbers
from trainer.measures.weighted import auc_of, dice_per_entry, mean_of, ratio_of
from trainer.real_series import gate_of, read_series
from triage.domain.errors import TriageError, UnusableSeries
from triage.domain.figures import SITE_EDGES, shares
from triage.inference.bundle import Bundle
from triage.inference.manifest import OUTPUTS, Figure, ReferenceScores
from triage.inference.predict import Predictor

FALSE_BLOOD_ML = 1.1
"""Marked volume from which a slice without blood counts as a false alarm: 220 mm2 at 5 mm."""

CALIBRATION_SEEDS = 1_000_000
"""Added to the protocol's seed times 10, for its calibration exams."""

TEST_SEEDS = 4_000_000
"""Likewise for its test exams: training, calibration and test never share a head (`trainer.demonstration.protocol`)."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures and scores of held-out made exams, and sentences about real series that nobody labelled.

    ``reference`` is None where the input check refused every exam.
    """

    held_out: str
    figures: tuple[Figure, ...]
    remarks: tuple[str, ...]
    reference: ReferenceScores | None


def calibration_orders(bundle: Bundle, plan: Protocol, anatomy: Path | None) -> list[ExamOrder]:
    """The protocol's calibration exams for the draft of a bundle, every slice of which is segmented."""
    counts = plan.exams.calibration_template, plan.exams.calibration_procedural
    return exam_orders(*counts, CALIBRATION_SEEDS + plan.seed * 10, anatomy, bundle.path, every_slice=True)


def held_out_orders(bundle: Bundle, plan: Protocol, anatomy: Path | None) -> list[ExamOrder]:
    """The protocol's test exams for one bundle, run as the daemon runs them."""
    counts = plan.exams.test_template, plan.exams.test_procedural
    return exam_orders(*counts, _first(plan), anatomy, bundle.path, every_slice=False)


def _first(plan: Protocol) -> int:
    return TEST_SEEDS + plan.seed * 10


def measured(bundle: Bundle, records: Sequence[ExamRecord], plan: Protocol, unlabelled: Sequence[Path]) -> Measured:
    """What a bundle did on its test exams, and does on real series.

    Raises
    ------
    ValueError
        The protocol has no test exams.
    """
    if not records:
        raise ValueError(f"the protocol {plan.name} has no test exams, so there is nothing to measure on")
    first = _first(plan)
    bleeding = sum(r.bleeding for r in records)
    sources = (
        f"{sum(r.template for r in records)} on the CT template, {sum(not r.template for r in records)} procedural"
    )
    held_out = (
        f"{len(records)} SYNTHETIC exams that no training or calibration has seen ({sources}); {bleeding} with blood; "
        f"seeds {first} to {first + len(records) - 1}"
    )
    remarks = [_refused(records), _false_blood(records)]
    remarks += [look_at_series(bundle, folder) for folder in unlabelled]
    return Measured(held_out, figures(records, plan.seed), tuple(r for r in remarks if r), reference(records, held_out))


def figures(records: Sequence[ExamRecord], seed: int) -> tuple[Figure, ...]:
    """Exam, slice and mask figures with 95 % intervals; the bootstrap draws whole exams."""
    bleeding = np.array([r.bleeding for r in records])
    final = np.array([r.score for r in records])
    early = np.array([r.provisional_score for r in records])
    found = [
        *drawn("exam AUC", auc_of(final, bleeding), "exams", seed),
        *drawn("exam AUC, provisional", auc_of(early, bleeding), "exams", seed),
        *operating_point(records),
    ]
    template, procedural = of_source(records, template=True), of_source(records, template=False)
    if template and procedural:
        found += [*operating_point(template, ", template"), *operating_point(procedural, ", procedural")]
    overlaps = [one for column in range(len(OUTPUTS)) for one in overlap_figures(records, column, seed)]
    return (*found, *_slice_figures(records, seed), *overlaps)


def reference(records: Sequence[ExamRecord], data: str) -> ReferenceScores | None:
    """How the final scores are distributed over the made exams that a daemon would have analysed."""
    scores = [r.score for r in records if not r.refused]
    if not scores:
        return None
    return ReferenceScores(SITE_EDGES, tuple(shares(scores, SITE_EDGES)), len(scores), data, synthetic=True)


def look_at_series(bundle: Bundle, folder: Path) -> str:
    """One sentence on a real series without labels: what was said, and on how many slices blood was marked."""
    name = f"Real series {folder.name}, without labels"
    predictor = Predictor.load(bundle.path, "cpu", threads=1)
    try:
        volume = read_series(folder)
        gate = gate_of(predictor, volume)
    except UnusableSeries as exc:
        return f"{name}: not analysed ({exc.reason}). {exc}"
    except (TriageError, ValueError, OSError) as exc:
        return f"{name}: not read. {exc}"
    result = predictor.segment(volume, gate).result
    outlined = predictor.segment(volume, gate, every_slice=True).marked
    per_slice = np.count_nonzero(outlined, axis=(1, 2)) * volume.voxel_ml
    return (
        f"{name}: {len(per_slice)} slices, score {result.score:.3f} ({result.status}), provisional "
        f"{gate.result.score:.3f}; with every slice segmented the net marks {per_slice.sum():.1f} ml, "
        f"{FALSE_BLOOD_ML} ml or more on {int((per_slice >= FALSE_BLOOD_ML).sum())} slices."
    )


def operating_point(records: Sequence[ExamRecord], suffix: str = "") -> list[Figure]:
    """Sensitivity and specificity at the bundle's own limit, each where there are such exams.

    ``suffix`` goes behind their names.
    """
    positive = [r.suspected for r in records if r.bleeding]
    negative = [not r.suspected for r in records if not r.bleeding]
    return [
        proportion(f"{name}{suffix}", sum(right), len(right), "exams")
        for name, right in (("exam sensitivity", positive), ("exam specificity", negative))
        if right
    ]


def overlap_figures(records: Sequence[ExamRecord], column: int, seed: int) -> list[Figure]:
    """Pooled and mean Dice of one of OUTPUTS; nothing where no exam holds it."""
    held = [r for r in records if r.true_ml[column] > 0]
    if not held:
        return []
    overlap, true, marked = _volumes(records, column)
    pooled = ratio_of(2.0 * overlap, true + marked)
    name = f"Dice {OUTPUTS[column]}"
    return [
        *drawn(f"{name}, pooled over exams", pooled, "exams", seed),
        *mean_dice(f"{name}, mean over exams that hold it", held, column, seed),
    ]


def mean_dice(name: str, records: Sequence[ExamRecord], column: int, seed: int) -> list[Figure]:
    """Mean over exams of the Dice of one of OUTPUTS; exams in which nothing is true or outlined do not count."""
    return drawn(name, mean_of(dice_per_entry(*_volumes(records, column))), "exams", seed)


def of_source(records: Sequence[ExamRecord], *, template: bool) -> list[ExamRecord]:
    """Those on the template, or the procedural ones."""
    return [r for r in records if r.template is template]


def _volumes(records: Sequence[ExamRecord], column: int) -> tuple[Numbers, Numbers, Numbers]:
    """Overlap, truth and outline in ml of one of OUTPUTS, each of shape (exam,)."""
    overlap, true, marked = np.array([(r.overlap_ml, r.true_ml, r.marked_ml) for r in records])[:, :, column].T
    return overlap, true, marked


def _slice_figures(records: Sequence[ExamRecord], seed: int) -> list[Figure]:
    index = np.repeat(np.arange(len(records)), [len(r.probabilities) for r in records])
    exams = Clusters(index, len(records), "exams")
    probabilities = np.concatenate([r.probabilities for r in records])
    shown = np.concatenate([r.shown for r in records])
    found: list[Figure] = []
    for column, name in enumerate(OUTPUTS):
        area = auc_of(probabilities[:, column], shown[:, column])
        found += drawn(f"slice AUC {name}, classifier", area, "exams", seed, exams)
    return found


def _false_blood(records: Sequence[ExamRecord]) -> str:
    marked = np.array([r.marked_ml[0] for r in records if not r.bleeding])
    if not marked.size:
        return ""
    return (
        f"Made exams without blood: the net outlines {np.median(marked):.1f} ml in the median, {marked.max():.1f} ml "
        f"at most (n = {marked.size}); outlines of exams that are not suspected are not reported."
    )


def _refused(records: Sequence[ExamRecord]) -> str:
    refused = [r.refused for r in records if r.refused]
    if not refused:
        return ""
    return f"{len(refused)} made exams did not pass the input check, and count here all the same: {refused[0]}"
