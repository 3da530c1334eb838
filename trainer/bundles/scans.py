"""What a bundle says of scans in a cache, through the very code that serves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cache import Cache
from trainer.datasets.case import NO, UNKNOWN, YES
from trainer.experiment.balance import scans_of
from trainer.experiment.batches import Indices
from trainer.measures.interval import Numbers
from trainer.measures.weighted import auc_of, ratio_of, value_of
from triage.domain.geometry import stack_frames
from triage.domain.study import FrameGeometry
from triage.domain.volume import SliceSource, Volume
from triage.inference.predict import Predictor
from triage.inference.preprocess import AIR_HU, METAL_HU, PreprocessSpec


@dataclass(frozen=True, slots=True, eq=False)
class ScanSaid:
    """One scan, as said and as known. Columns are any, EDH, IPH, IVH, SAH, SDH.

    Attributes
    ----------
    patient, study : str
    logits : ndarray of float32, shape (slice, 6)
        Of the classifier, before any temperature.
    probabilities, evidence : ndarray of float64, shape (slice, 6)
        Of the classifier, and of the mask where it was asked for.
    truth : ndarray of int8, shape (slice, 6)
        1, 0 or -1 unknown.
    label : int
        Any blood in the scan: 1, 0 or -1.
    score : float
        Final score.
    overlap_px, true_px, marked_px : int
        Any blood on slices with a true mask.
    """

    patient: str
    study: str
    logits: NDArray[np.float32]
    probabilities: Numbers
    evidence: Numbers
    truth: NDArray[np.int8]
    label: int
    score: float
    overlap_px: int
    true_px: int
    marked_px: int


@dataclass(frozen=True, slots=True)
class Kept:
    """How well a bundle does on some scans; None where that cannot be told.

    ``auc`` is that of any blood by slice, from the classifier; ``dice`` pools the pixels of any blood.
    """

    auc: float | None
    dice: float | None


def chosen_scans(cache: Cache, rows: Indices, truth: NDArray[np.int8], most: int, seed: int) -> list[Indices]:
    """The scans of some rows, at most so many: with and without blood alike, drawn evenly from each."""
    scans = scans_of(cache, rows) if len(rows) else []
    if len(scans) <= most:
        return scans
    rng = np.random.default_rng(seed)
    labels = np.array([scan_label(cache, scan, truth) for scan in scans])
    order = rng.permutation(len(scans))
    positive, negative = (order[labels[order] == kind] for kind in (YES, NO))
    bleeding = min(len(positive), max(most // 2, most - len(negative)))
    drawn = np.concatenate([positive[:bleeding], negative[: most - bleeding]])
    return [scans[index] for index in np.sort(drawn)]


def scan_label(cache: Cache, scan: Indices, truth: NDArray[np.int8]) -> int:
    """Whether a scan shows blood: by its slices where they tell, else by what is known of the study."""
    known = truth[scan, 0]
    if (known == YES).any():
        return YES
    if (known == NO).all():
        return NO
    return int(cache.table["study_labels"][scan[0], 0])


def hounsfield(cache: Cache, rows: Indices) -> NDArray[np.float32]:
    """Pixels of a cache in HU; grey of pictures as HU of their window, which is all that they hold."""
    pixels = cache.pixels[rows].astype(np.float32)
    if cache.spec.pictures:
        if cache.spec.window is None:
            raise ValueError(f"nobody knows the window of the pictures of {cache.spec.dataset}")
        centre, width = cache.spec.window
        pixels = np.float32(centre - width / 2) + pixels * np.float32(width / 255.0)
    return np.clip(pixels, AIR_HU, METAL_HU)


def volume_of(cache: Cache, scan: Indices, spec: PreprocessSpec) -> Volume:
    """A scan as the daemon would read it, its pixels those of the daemon's raster.

    Slices lie evenly, never nearer than the daemon averages, so that it sees the very slices of the cache.
    """
    apart = np.diff(cache.table["position_mm"][scan])
    step = max(float(np.median(apart)) if apart.size else spec.slab_mm, spec.thin_below_mm)
    axial = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    frames = [FrameGeometry((0.0, 0.0, step * index), axial, step) for index in range(len(scan))]
    return Volume(
        hu=hounsfield(cache, scan),
        stack=stack_frames(frames),
        positions_mm=np.array([f.position_mm for f in frames]),
        orientation=np.array(axial),
        pixel_spacing_mm=(spec.pixel_mm, spec.pixel_mm),
        sources=tuple(SliceSource(f"2.25.{index + 1}", 1) for index in range(len(scan))),
        frame_of_reference_uid="2.25.1",
    )


def run_scans(
    predictor: Predictor, cache: Cache, scans: Sequence[Indices], truth: NDArray[np.int8], *, every_slice: bool
) -> Iterator[ScanSaid]:
    """Analyse scans one by one: with every slice segmented, for choosing limits, or as the daemon does."""
    names = cache.description
    for scan in scans:
        volume = volume_of(cache, scan, predictor.bundle.preprocessing)
        gate = predictor.gate(volume)
        analysis = predictor.segment(volume, gate, every_slice=every_slice)
        drawn = cache.table["drawn"][scan]
        real, marked = cache.masks[scan][drawn] > 0, analysis.marked[drawn] > 0
        patient = int(cache.table["patient"][scan[0]])
        yield ScanSaid(
            patient=names.patients[patient] if patient >= 0 else "",
            study=names.studies[int(cache.table["study"][scan[0]])],
            logits=gate.slice_logits,
            probabilities=gate.slice_probabilities,
            evidence=analysis.evidence,
            truth=truth[scan],
            label=scan_label(cache, scan, truth),
            score=analysis.result.score,
            overlap_px=int((real & marked).sum()),
            true_px=int(real.sum()),
            marked_px=int(marked.sum()),
        )


def kept_of(said: Sequence[ScanSaid], outlines: bool) -> Kept:
    """AUC and Dice of some scans."""
    truth = np.concatenate([one.truth[:, 0] for one in said])
    scores = np.concatenate([one.probabilities[:, 0] for one in said])
    known = truth != UNKNOWN
    both = len(np.unique(truth[known])) == 2
    size = np.array([float(one.true_px + one.marked_px) for one in said])
    overlap = np.array([float(one.overlap_px) for one in said])
    return Kept(
        value_of(auc_of(scores[known], truth[known] == YES)) if both else None,
        value_of(ratio_of(2.0 * overlap, size)) if outlines and size.any() else None,
    )
