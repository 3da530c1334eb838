"""Whole made exams through the very code that serves: what the daemon would say, beside what is true."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.labels import SHOWN_FROM_MM2
from trainer.measures.interval import Flags, Numbers
from trainer.phantom.exam import PhantomStudy, study
from trainer.tell import Tell
from triage.domain.errors import UnusableSeries
from triage.domain.finding import SUBTYPES, WorklistStatus
from triage.domain.geometry import stack_frames
from triage.domain.study import FrameGeometry
from triage.domain.volume import SliceSource, Volume
from triage.inference.familiar import check_familiar, exam_distance
from triage.inference.plausible import check_living_head
from triage.inference.predict import Analysis, Gate, Predictor

LADDER = tuple(round(0.2 + 0.01 * step, 2) for step in range(61))
"""Limits of the mask that calibration chooses from."""


@dataclass(frozen=True, slots=True)
class ExamOrder:
    """One exam to make, procedural without ``anatomy``, and to run: as served, or with every slice segmented."""

    seed: int
    bleeding: bool
    anatomy: Path | None
    bundle: Path
    every_slice: bool


@dataclass(frozen=True, slots=True, eq=False)
class ExamRecord:
    """One exam, as said and as true. Columns are any, EDH, IPH, IVH, SAH, SDH.

    Attributes
    ----------
    score, provisional_score : float
        Final exam score, and the score before any slice was segmented.
    logits : ndarray of float32, shape (slice, 6)
        Of the classifier, before any temperature.
    probabilities, evidence : ndarray of float64, shape (slice, 6)
        Of the classifier and of the mask.
    true_mm2 : ndarray of float64, shape (slice, 6)
        Area that truly is blood.
    true_ml, marked_ml, overlap_ml : ndarray of float64, shape (6,)
        What is blood, what the net outlined whatever the decision, and both at once.
    refused : str
        Why the daemon would not analyse the exam, by its pixels or by its distance; empty when it would.
    distance : float
        How unfamiliar the classifier finds it, see `triage.inference.familiar`; NaN where it cannot tell.
    blood_hu : float
        Median of what is blood, partial volume included; NaN without blood. Old blood is as dense as brain.
    ladder_ml : ndarray of float64, shape (61,)
        Where every slice was segmented: volume of any blood at each limit of `LADDER` from the bundle's own one on.
    """

    seed: int
    bleeding: bool
    template: bool
    score: float
    provisional_score: float
    suspected: bool
    slices_segmented: int
    logits: NDArray[np.float32]
    probabilities: Numbers
    evidence: Numbers
    true_mm2: Numbers
    true_ml: Numbers
    marked_ml: Numbers
    overlap_ml: Numbers
    refused: str
    distance: float = math.nan
    blood_hu: float = math.nan
    ladder_ml: Numbers = field(default_factory=lambda: np.zeros(len(LADDER)))

    @property
    def shown(self) -> Flags:
        """Which slices truly show what, shape (slice, 6); an area too small to be seen counts as absent."""
        return np.asarray(self.true_mm2 >= SHOWN_FROM_MM2)


def exam_orders(
    template: int, procedural: int, first_seed: int, anatomy: Path | None, bundle: Path, every_slice: bool
) -> list[ExamOrder]:
    """Every second exam bleeds. Without a template all heads are procedural."""
    folders = [anatomy] * template + [None] * procedural
    return [ExamOrder(first_seed + i, i % 2 == 0, folder, bundle, every_slice) for i, folder in enumerate(folders)]


def run_exams(tasks: Sequence[ExamOrder], workers: int, tell: Tell, together: int = 1) -> list[ExamRecord]:
    """Make and run all exams.

    Parameters
    ----------
    workers : int
        Processes of one thread each, or 0 for this process.
    together : int
        So many tasks in a row are of one exam, for as many bundles: it is made once for them.
    """
    records: list[ExamRecord] = []
    for record in _ran(tasks, workers, together):
        records.append(record)
        if len(records) % 10 == 0 or len(records) == len(tasks):
            tell(f"ran {len(records)} of {len(tasks)} exams")
    return records


def run_same(orders: Sequence[Sequence[ExamOrder]], workers: int, tell: Tell) -> list[list[ExamRecord]]:
    """Records of each list of orders, one for each bundle, all of the same exams, which are made once."""
    together = [order for same in zip(*orders, strict=True) for order in same]
    records = run_exams(together, workers, tell, len(orders))
    return [records[number :: len(orders)] for number in range(len(orders))]


def volume_of(made: PhantomStudy) -> Volume:
    """The volume that the daemon would read from a made study."""
    frames = [
        FrameGeometry(
            position_mm=(float(p.origin_mm[0]), float(p.origin_mm[1]), float(p.origin_mm[2])),
            orientation=tuple(float(v) for v in (*p.row, *p.column)),  # type: ignore[arg-type]
            thickness_mm=p.thickness_mm,
        )
        for p in made.planes
    ]
    stack = stack_frames(frames)
    if stack.order != tuple(range(len(frames))):
        raise ValueError("a made study is sorted along its normal")
    spacing = made.planes[0].spacing_mm
    return Volume(
        hu=made.hu.astype(np.float32),
        stack=stack,
        positions_mm=np.array([f.position_mm for f in frames]),
        orientation=np.array(frames[0].orientation),
        pixel_spacing_mm=(spacing, spacing),
        sources=tuple(SliceSource(f"2.25.{index + 1}", 1) for index in range(len(frames))),
        frame_of_reference_uid="2.25.1",
    )


def run_exam(task: ExamOrder) -> ExamRecord:
    """Make one exam and analyse it as the daemon would."""
    made = _made(task.seed, task.bleeding, task.anatomy)
    volume = volume_of(made)
    predictor = _predictor(task.bundle)
    gate = predictor.gate(volume, whatever=True)
    analysis = predictor.segment(volume, gate, every_slice=task.every_slice, probabilities=task.every_slice)
    pixel_mm2 = volume.pixel_spacing_mm[0] * volume.pixel_spacing_mm[1]
    return ExamRecord(
        seed=task.seed,
        bleeding=task.bleeding,
        template=task.anatomy is not None,
        score=analysis.result.score,
        provisional_score=gate.result.score,
        suspected=analysis.result.status is WorklistStatus.SUSPECTED,
        slices_segmented=analysis.slices_segmented,
        logits=gate.slice_logits,
        probabilities=gate.slice_probabilities,
        evidence=analysis.evidence,
        true_mm2=np.array([[float(m.sum()) for m in _maps(one)] for one in made.labels]) * pixel_mm2,
        true_ml=_ml(volume, made.labels, made.labels),
        marked_ml=_ml(volume, analysis.marked, analysis.marked),
        overlap_ml=_ml(volume, made.labels, analysis.marked),
        refused=_refusal(volume, gate, predictor.bundle.manifest.familiar_within),
        distance=math.nan if gate.distances is None else exam_distance(gate.distances),
        blood_hu=float(np.median(made.hu[made.labels > 0])) if made.labels.any() else math.nan,
        ladder_ml=_ladder(volume, analysis),
    )


def _refusal(volume: Volume, gate: Gate, familiar_within: float | None) -> str:
    """Why the daemon would not analyse this, or nothing."""
    try:
        check_living_head(volume)
        if gate.distances is not None and familiar_within is not None:
            check_familiar(gate.distances, familiar_within)
    except UnusableSeries as exc:
        return str(exc)
    return ""


def _ladder(volume: Volume, analysis: Analysis) -> Numbers:
    if not analysis.probabilities:
        return np.zeros(len(LADDER))
    blood = np.zeros(volume.hu.shape, np.uint16)
    for of_kind in analysis.probabilities.values():
        blood += of_kind
    return np.array([volume.mask_ml(blood >= 255 * limit) for limit in LADDER])


def _maps(labels: NDArray[np.uint8]) -> list[Flags]:
    return [labels > 0, *(labels == index for index in range(1, len(SUBTYPES) + 1))]


def _ml(volume: Volume, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Numbers:
    """Volume of any blood and of each subtype that both label maps agree on."""
    pairs = zip(_maps(first), _maps(second), strict=True)
    return np.array([volume.mask_ml(one & other) for one, other in pairs])


def _ran(tasks: Sequence[ExamOrder], workers: int, together: int) -> Iterator[ExamRecord]:
    if workers == 0:
        yield from map(run_exam, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(run_exam, tasks, chunksize=together)


@lru_cache(maxsize=1)
def _made(seed: int, bleeding: bool, anatomy: Path | None) -> PhantomStudy:
    """The last exam, kept for the next bundle."""
    status = WorklistStatus.SUSPECTED if bleeding else WorklistStatus.NOT_SUSPECTED
    return study(seed, status=status, anatomy=anatomy)


@lru_cache(maxsize=2)
def _predictor(bundle: Path) -> Predictor:
    """Those of the two bundles that are run together, kept in each process; no folder is written twice in one run."""
    return Predictor.load(bundle, "cpu", threads=1)
