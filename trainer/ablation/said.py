"""What the nets of one variant and one seed say of everything that all of them are judged on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.labels import SHOWN_FROM_MM2
from trainer.demonstration.evaluate import FALSE_BLOOD_ML
from trainer.demonstration.exams import volume_of
from trainer.judge.insilico import InSilicoFigure
from trainer.judge.insilico_section import seen
from trainer.judge.intracranial import brain_masks
from trainer.judge.paste import PASTED
from trainer.judge.pasted import case_of, planted, untouched
from trainer.measures.weighted import Figure, auc_of, mean_of, ratio_of
from trainer.phantom.exam import PhantomStudy, ScanGeometry, study
from triage.domain.finding import WorklistStatus
from triage.domain.volume import Volume
from triage.inference.predict import Predictor

PASTED_EACH = 16
"""Lesions of each kind in the real series."""

_GEOMETRY = ScanGeometry(matrix=256, spacing_mm=0.95)
"""Of made exams: half the matrix of a scanner, since the nets see 1 to 1.6 mm anyway."""


@dataclass(frozen=True, slots=True, eq=False)
class Judges:
    """What all variants are judged on; a real series and the figures of InSilicoICH where they are there."""

    exams: Sequence[PhantomStudy]
    series: Volume | None = None
    figures: Sequence[InSilicoFigure] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """Answers beside the truth, as plain lists that JSON can keep.

    Attributes
    ----------
    bleeds, mask, classifier : list
        Of every made exam: whether it bleeds, and the exam score of either net.
    true_ml, marked_ml, overlap_ml : list of float
        Of every made exam: blood, outline, and both.
    slice_exam, slice_shows, slice_classifier : list
        Of every slice of the made exams: which exam, whether blood shows, and the classifier's probability.
    false_blood : list of bool
        Of every slice of the real series: whether much is outlined although there is none.
    pasted_slice, pasted_blood, pasted_mask : list
        Of slices of the real series with and without pasted blood: which slice, which of the two, mask evidence.
    figure_blood, figure_mask : list
        Of the figures of InSilicoICH that show blood of 50 HU and more, or none: which of the two, mask evidence.
    """

    bleeds: list[bool] = field(default_factory=list)
    mask: list[float] = field(default_factory=list)
    classifier: list[float] = field(default_factory=list)
    true_ml: list[float] = field(default_factory=list)
    marked_ml: list[float] = field(default_factory=list)
    overlap_ml: list[float] = field(default_factory=list)
    slice_exam: list[int] = field(default_factory=list)
    slice_shows: list[bool] = field(default_factory=list)
    slice_classifier: list[float] = field(default_factory=list)
    false_blood: list[bool] = field(default_factory=list)
    pasted_slice: list[int] = field(default_factory=list)
    pasted_blood: list[bool] = field(default_factory=list)
    pasted_mask: list[float] = field(default_factory=list)
    figure_blood: list[bool] = field(default_factory=list)
    figure_mask: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; ``Said(**content)`` reads it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A figure and, as ``index`` of shape (entry,) numbered from 0, which of its entries belong to one case."""

    figure: Figure
    index: NDArray[np.intp]
    better: Literal["higher", "lower"] = "higher"


def made_exams(
    template: int, procedural: int, first_seed: int, anatomy: Path | None, workers: int
) -> list[PhantomStudy]:
    """Exams of the full generator, every second with blood; without a template all are procedural."""
    folders = [anatomy] * template + [None] * procedural
    if workers == 0:
        return [_made(first_seed, number, folder) for number, folder in enumerate(folders)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(partial(_made, first_seed), range(len(folders)), folders))


def said_of(predictor: Predictor, judges: Judges) -> Said:
    """Run both nets over everything, every slice segmented."""
    said = Said()
    for number, made in enumerate(judges.exams):
        _add_exam(said, predictor, made, number)
    if judges.series is not None:
        _add_series(said, predictor, judges.series)
    for figure in judges.figures:
        if figure.visible or not figure.lesion:
            said.figure_blood.append(figure.visible)
            said.figure_mask.append(seen(predictor, figure).score)
    return said


def figures_of(said: Said) -> dict[str, Judged]:
    """The figures that the answers allow, by the heading of their column."""
    exams = np.arange(len(said.bleeds))
    bleeds, shows = np.array(said.bleeds), np.array(said.slice_shows)
    true, marked, overlap = (np.array(values) for values in (said.true_ml, said.marked_ml, said.overlap_ml))
    found = {
        "exam AUC, mask": Judged(auc_of(np.array(said.mask), bleeds), exams),
        "exam AUC, classifier": Judged(auc_of(np.array(said.classifier), bleeds), exams),
        "slice AUC, classifier": Judged(auc_of(np.array(said.slice_classifier), shows), np.array(said.slice_exam)),
        "Dice, pooled": Judged(ratio_of(2.0 * overlap, true + marked), exams),
    }
    if said.false_blood:
        false = Judged(mean_of(1.0 * np.array(said.false_blood)), np.arange(len(said.false_blood)), "lower")
        found["real series: share of slices with false blood"] = false
    if said.pasted_slice:
        index = np.unique(said.pasted_slice, return_inverse=True)[1]
        area = auc_of(np.array(said.pasted_mask), np.array(said.pasted_blood))
        found["real series: AUC of pasted blood, mask"] = Judged(area, index)
    if said.figure_blood:
        area = auc_of(np.array(said.figure_mask), np.array(said.figure_blood))
        found["InSilicoICH: AUC from 50 HU, mask"] = Judged(area, np.arange(len(said.figure_blood)))
    return found


def _made(first_seed: int, number: int, anatomy: Path | None) -> PhantomStudy:
    status = WorklistStatus.SUSPECTED if number % 2 == 0 else WorklistStatus.NOT_SUSPECTED
    return study(first_seed + number, status=status, anatomy=anatomy, geometry=_GEOMETRY)


def _add_exam(said: Said, predictor: Predictor, made: PhantomStudy, number: int) -> None:
    volume = volume_of(made)
    gate = predictor.gate(volume, whatever=True)
    analysis = predictor.segment(volume, gate, every_slice=True)
    blood, marked = made.labels > 0, analysis.marked > 0
    said.bleeds.append(made.status is WorklistStatus.SUSPECTED)
    said.mask.append(analysis.result.score)
    said.classifier.append(gate.result.score)
    said.true_ml.append(volume.mask_ml(blood))
    said.marked_ml.append(volume.mask_ml(marked))
    said.overlap_ml.append(volume.mask_ml(blood & marked))
    area_mm2 = blood.sum(axis=(1, 2)) * volume.pixel_spacing_mm[0] * volume.pixel_spacing_mm[1]
    said.slice_exam.extend([number] * len(area_mm2))
    said.slice_shows.extend((area_mm2 >= SHOWN_FROM_MM2).tolist())
    said.slice_classifier.extend(gate.slice_probabilities[:, 0].tolist())


def _add_series(said: Said, predictor: Predictor, series: Volume) -> None:
    analysis = predictor.segment(series, predictor.gate(series, whatever=True), every_slice=True)
    outlined_ml = np.count_nonzero(analysis.marked, axis=(1, 2)) * series.voxel_ml
    said.false_blood.extend((outlined_ml >= FALSE_BLOOD_ML).tolist())
    masks = brain_masks(series)
    pasted = [one for kind in PASTED for one in planted(series, masks, kind, PASTED_EACH)]
    for one in (*pasted, *untouched(series, masks)):
        said.pasted_slice.append(one.index)
        said.pasted_blood.append(one.lesion is not None)
        said.pasted_mask.append(case_of(predictor, one).evidence)
