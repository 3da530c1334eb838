"""Volume in, result out: the classifier gates, MUNet outlines what lights up, the mask decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from triage.domain.errors import ProviderUnavailable
from triage.domain.finding import KINDS, SUBTYPES, KeySlice, Subtype, SubtypeFinding, TriageResult, WorklistStatus
from triage.domain.geometry import upright
from triage.domain.volume import Volume
from triage.inference.beam_hardening import evened
from triage.inference.bundle import CLASSIFIER, SEGMENTER, Bundle, load_bundle
from triage.inference.familiar import check_familiar
from triage.inference.manifest import OUTPUTS, Manifest
from triage.inference.postprocess import (
    as_bytes,
    drop_small_components,
    exam_evidence,
    final_probability,
    isolate,
    lesion_probabilities,
    lit_slices,
    provisional_probability,
    sigmoid,
    slice_evidence,
    smoothed,
)
from triage.inference.preprocess import channels_of, from_raster, net_input, shown_with
from triage.inference.session import CPU, Device, Session, open_session
from triage.inference.slabs import Slab, group_slices, places_of, sample_slabs

log = structlog.get_logger()

OpenNet = Callable[[Path, Device, int], Session]
"""Opens the net in a file on a device, with so many threads; raises as `open_session` does."""

LOGITS, DISTANCE = "logits", "distance"
"""Outputs of the classifier; the second is optional."""

_Number = TypeVar("_Number", np.float32, np.float64)

_CLASSES = len(SUBTYPES) + 1
_BATCH_ON_GPU = 8
"""On the CPU a batch brings nothing, and one slice at a time makes its result independent of the others."""


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """What the classifier said.

    Attributes
    ----------
    slice_probabilities : ndarray of float64, shape (slice, 6)
        Temperature-scaled, in the order of ``OUTPUTS``; slices of one slab share a row.
    slice_logits : ndarray of float32, shape (slice, 6)
        What the net gave, before any temperature: of one that is too sure, probabilities alone do not tell it.
    result : TriageResult
        Provisional.
    slabs : tuple of Slab
        How the slices were grouped, from the feet up.
    sampled : ndarray of float32, shape (slab, size, size)
        HU on the net raster, upright as in training however it was stored, and evened where the bundle says so; kept
        so that segmentation need not sample again.
    distances : ndarray of float32, shape (slab,), or None
        How unfamiliar each slab is, about 1 for those that the classifier learned from; None where it cannot tell.
    """

    slice_probabilities: NDArray[np.float64]
    slice_logits: NDArray[np.float32]
    result: TriageResult
    slabs: tuple[Slab, ...]
    sampled: NDArray[np.float32]
    distances: NDArray[np.float32] | None = None

    @property
    def slab_probabilities(self) -> NDArray[np.float64]:
        """One row of ``slice_probabilities`` per slab."""
        return self.slice_probabilities[[slab.start for slab in self.slabs]]


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """The full result.

    Attributes
    ----------
    labels : ndarray of uint8, shape (slice, row, column)
        On the volume's own grid: 0 none, ``i + 1`` is ``KINDS[i]``. Empty when the study is not suspected, so
        that no report says absent and outlines blood at once.
    marked : ndarray of uint8, shape (slice, row, column)
        What the net outlined, whatever the decision; the same array as ``labels`` when suspected. For measuring.
    evidence : ndarray of float64, shape (slice, 6)
        Mask evidence, 0..1, any and each subtype; 0 where nothing was segmented.
    slices_segmented : int
    probabilities : mapping of Subtype to ndarray of uint8, shape (slice, row, column), or None
        Only where asked for, of each subtype in ``labels``: what the mask was cut from, on the volume's own grid,
        0 for 0 and 255 for 1; 0 beyond the rim of what was outlined.
    """

    result: TriageResult
    labels: NDArray[np.uint8]
    marked: NDArray[np.uint8]
    evidence: NDArray[np.float64]
    slices_segmented: int
    probabilities: Mapping[Subtype, NDArray[np.uint8]] | None = None


class Predictor:
    """A loaded bundle, warm on one provider. Same volume, same answer, whatever order its files came in."""

    def __init__(self, bundle: Bundle, classifier: Session, segmenter: Session) -> None:
        self.bundle = bundle
        self._classifier = classifier
        self._segmenter = segmenter

    @classmethod
    def load(
        cls, bundle_path: Path, device: Device = "auto", threads: int = 0, *, open_net: OpenNet = open_session
    ) -> Predictor:
        """Verify a bundle, open both nets and run each once.

        With ``auto`` both run on the CPU when one of them does not open or run on the GPU.

        Raises
        ------
        BundleError
            The bundle is damaged or its nets do not honour the contract.
        ProviderUnavailable
            The asked-for device did not load.
        """
        bundle = load_bundle(bundle_path)
        try:
            return cls(bundle, *_verified(bundle_path, bundle, device, threads, open_net))
        except ProviderUnavailable as exc:
            if device != "auto":
                raise
            log.warning("gpu_given_up", why=str(exc), provider=CPU)
        return cls(bundle, *_verified(bundle_path, bundle, "cpu", threads, open_net))

    @property
    def provider(self) -> str:
        """The ONNX Runtime provider in use."""
        return self._segmenter.provider

    def gate(self, volume: Volume, *, whatever: bool = False) -> Gate:
        """Run the classifier on every slice (or slab of thin slices) and score the exam provisionally.

        Parameters
        ----------
        whatever : bool
            Answer for unfamiliar scans too; for measuring.

        Raises
        ------
        UnusableSeries
            ``out_of_distribution``: the scan lies farther than ``familiar_within`` from what the classifier learned
            from. A bundle without that key never refuses.
        """
        manifest = self.bundle.manifest
        slabs = group_slices(volume.stack, manifest.preprocessing)
        sampled = upright(volume.orientation).apply(sample_slabs(volume, slabs, manifest.preprocessing))
        if manifest.preprocessing.even_brain:
            sampled = evened(sampled, manifest.preprocessing.pixel_mm)
        if not volume.stack.from_below:
            slabs, sampled = slabs[::-1], sampled[::-1]
        logits, distances = self._classified(sampled, places_of(slabs, volume.stack))
        if distances is not None and manifest.familiar_within is not None and not whatever:
            check_familiar(distances, manifest.familiar_within)
        probabilities = sigmoid(logits / np.asarray(manifest.calibration.classifier_temperature))
        exam = exam_evidence(probabilities, manifest.scoring)
        scores = provisional_probability(exam, manifest.calibration.provisional)
        suspect = scores[0] >= manifest.thresholds.suspected
        brightest = self._brightest(probabilities, slabs)
        result = TriageResult(
            score=float(scores[0]),
            rule=manifest.rule,
            subtypes=self._findings(scores),
            total_volume_ml=0.0,
            key_slice=_key_slice(volume, brightest) if suspect else None,
            provisional=True,
        )
        return Gate(_spread(probabilities, slabs), _spread(logits, slabs), result, slabs, sampled, distances)

    def segment(
        self, volume: Volume, gate: Gate, every_slice: bool = False, *, probabilities: bool = False
    ) -> Analysis:
        """Outline blood where the gate or its neighbours light up, or everywhere, and decide.

        When nothing lights up the provisional score becomes the final one: the bundle guarantees that it lies
        below the limit. ``probabilities`` asks for those of the subtypes found as well: as many bytes as the
        volume has voxels, for each.
        """
        manifest = self.bundle.manifest
        slabs, gated = gate.slabs, gate.slab_probabilities
        lit = lit_slices(gated[:, 0], manifest.thresholds.gate)
        chosen = np.arange(len(slabs)) if every_slice else np.flatnonzero(lit)
        labels: NDArray[np.uint8] = np.zeros(volume.hu.shape, dtype=np.uint8)
        evidence = np.zeros((len(slabs), _CLASSES))
        maps = {kind: np.zeros_like(labels) for kind in self._kinds} if probabilities else None
        if not chosen.size:
            quiet = replace(gate.result, provisional=False)
            return Analysis(quiet, labels, labels, _spread(evidence, slabs), 0, {} if probabilities else None)
        lesions = self._outline(gate.sampled, places_of(slabs, volume.stack), chosen)
        pixels = max(1, round(manifest.scoring.evidence_mm2 / manifest.preprocessing.pixel_mm**2))
        for index in chosen:
            evidence[index] = slice_evidence(lesions[index], pixels)
        self._mark(labels, maps, volume, lesions, slabs)
        scores = final_probability(
            exam_evidence(evidence, manifest.scoring),
            exam_evidence(gated, manifest.scoring),
            manifest.calibration.final,
        )
        result = self._decide(volume, labels, scores, _spread(evidence, slabs), self._brightest(gated, slabs))
        reported = labels if result.status is WorklistStatus.SUSPECTED else np.zeros_like(labels)
        segmented = sum(slabs[i].stop - slabs[i].start for i in chosen)
        shown = _of_found(maps, reported) if maps is not None else None
        return Analysis(result, reported, labels, _spread(evidence, slabs), segmented, shown)

    def _classified(
        self, sampled: NDArray[np.float32], places_mm: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Logits (slab, 6) and, from a classifier that gives them, distances (slab,)."""
        net, spec = self.bundle.manifest.slice_classifier, self.bundle.preprocessing
        rows = shown_with(places_mm, spec.thin_below_mm, net.reads)
        batches = [rows] if net.reads == "scan" else [rows[batch] for batch in self._batches(len(rows))]
        outputs = (LOGITS, DISTANCE) if self._classifier.gives(DISTANCE) else (LOGITS,)
        shown = (net_input(sampled[batch], spec) for batch in batches)
        answers = [self._classifier.run_for(image, outputs) for image in shown]
        logits, *distances = (np.concatenate(of_batches) for of_batches in zip(*answers, strict=True))
        return logits, distances[0][:, 0] if distances else None

    def _outline(
        self, sampled: NDArray[np.float32], places_mm: NDArray[np.float64], chosen: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Lesion probabilities of every slab, shape (slab, 5, size, size); 0 where none was asked for."""
        net, spec = self.bundle.manifest.munet, self.bundle.preprocessing
        temperature = self.bundle.manifest.calibration.mask_temperature
        rows = shown_with(places_mm, spec.thin_below_mm, net.reads)
        lesions = np.zeros((len(sampled), len(SUBTYPES), *sampled.shape[1:]), dtype=np.float32)
        for batch in self._batches(len(chosen)):
            answers = self._segmenter.run(net_input(sampled[rows[chosen[batch]]], spec), "seg_logits")
            lesions[chosen[batch]] = [lesion_probabilities(answer, temperature) for answer in answers]
        return lesions

    def _mark(
        self,
        labels: NDArray[np.uint8],
        maps: Mapping[Subtype, NDArray[np.uint8]] | None,
        volume: Volume,
        lesions: NDArray[np.float32],
        slabs: Sequence[Slab],
    ) -> None:
        """Write outlines into ``labels``, and what they are cut from into ``maps``.

        On the source grid, on every slice of each slab; ``lesions`` are those of all slabs.
        """
        manifest = self.bundle.manifest
        spec, thresholds = manifest.preprocessing, manifest.thresholds
        limit = np.float32(thresholds.mask_probability)
        pixel_ml = np.array([slab.extent_mm for slab in slabs]) * spec.pixel_mm**2 / 1000.0
        kept = drop_small_components(lesions.sum(axis=1) >= limit, pixel_ml, thresholds.minimum_component_ml)
        reach = max(1, math.ceil(max(volume.pixel_spacing_mm) / spec.pixel_mm))
        shape, turn = (volume.hu.shape[1], volume.hu.shape[2]), upright(volume.orientation)
        for index in map(int, np.flatnonzero(kept.any(axis=(1, 2)))):
            alone = isolate(lesions[index], kept[index], limit, reach)
            if not manifest.names_subtypes:
                alone = alone.sum(axis=0, keepdims=True)
            restored = from_raster(turn.undo(alone), shape, volume.pixel_spacing_mm, spec)
            blood = restored.sum(axis=0) >= limit
            slab = slabs[index]
            first = KINDS.index(self._kinds[0]) + 1
            labels[slab.start : slab.stop, blood] = restored[:, blood].argmax(axis=0) + first
            if maps is not None:
                for kind, of_kind in zip(self._kinds, restored, strict=True):
                    maps[kind][slab.start : slab.stop] = as_bytes(of_kind)

    def _decide(
        self,
        volume: Volume,
        labels: NDArray[np.uint8],
        scores: NDArray[np.float64],
        evidence: NDArray[np.float64],
        brightest: int,
    ) -> TriageResult:
        """``brightest`` is the slice to show where nothing was outlined and no mask speaks for another."""
        rule = self.bundle.manifest.rule
        score = float(scores[0])
        if score < rule.suspected_at:
            return TriageResult(score, rule, self._findings(scores), 0.0, None, provisional=False)
        counts = np.array([np.bincount(one.ravel(), minlength=len(KINDS) + 1) for one in labels])
        volumes_ml = np.array([np.ascontiguousarray(c) @ volume.voxel_ml for c in counts.T])
        areas = counts[:, 1:].sum(axis=1)
        largest = max(range(len(labels)), key=lambda index: (areas[index], evidence[index, 0], -index))
        outlined = areas[largest] > 0 or evidence[largest, 0] > 0
        return TriageResult(
            score=score,
            rule=rule,
            subtypes=self._findings(scores, volumes_ml),
            total_volume_ml=float(volumes_ml[1:].sum()),
            key_slice=_key_slice(volume, largest if outlined else brightest),
            provisional=False,
        )

    @property
    def _kinds(self) -> tuple[Subtype, ...]:
        """What this bundle can outline."""
        return SUBTYPES if self.bundle.manifest.names_subtypes else (Subtype.ICH,)

    def _findings(
        self, scores: NDArray[np.float64], volumes_ml: NDArray[np.float64] | None = None
    ) -> dict[Subtype, SubtypeFinding]:
        """Findings from scores (any, EDH...SDH) and volumes by label; no kind is likelier than any haemorrhage."""
        measured = np.zeros(len(KINDS) + 1) if volumes_ml is None else volumes_ml
        by_kind = scores[1:] if self.bundle.manifest.names_subtypes else scores[:1]
        return {
            kind: SubtypeFinding(float(min(score, scores[0])), float(measured[KINDS.index(kind) + 1]))
            for kind, score in zip(self._kinds, by_kind, strict=True)
        }

    def _brightest(self, probabilities: NDArray[np.float64], slabs: Sequence[Slab]) -> int:
        """The slice that the classifier finds most suspicious; ``probabilities`` has a row per slab."""
        suspicion = smoothed(probabilities, self.bundle.manifest.scoring)[:, 0]
        return slabs[_middle_of_highest(suspicion)].middle

    def _batches(self, count: int) -> list[slice]:
        size = 1 if self.provider == CPU else _BATCH_ON_GPU
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _verified(path: Path, bundle: Bundle, device: Device, threads: int, open_net: OpenNet) -> tuple[Session, Session]:
    """Classifier and segmenter on a device, each run once."""
    manifest, size = bundle.manifest, bundle.preprocessing.size
    classifier = open_net(path / CLASSIFIER, device, threads)
    classifier.verify(_outputs(classifier, manifest), size, channels_of(manifest.slice_classifier.reads))
    segmenter = open_net(path / SEGMENTER, device, threads)
    outlines = {"seg_logits": (_CLASSES, size, size), "cls_logits": (len(OUTPUTS),)}
    segmenter.verify(outlines, size, channels_of(manifest.munet.reads))
    return classifier, segmenter


def _outputs(classifier: Session, manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """Shapes of what the classifier must give; of distances where the bundle limits them, or the net has them."""
    outputs: dict[str, tuple[int, ...]] = {LOGITS: (len(OUTPUTS),)}
    if manifest.familiar_within is not None or classifier.gives(DISTANCE):
        outputs[DISTANCE] = (1,)
    return outputs


def _of_found(maps: Mapping[Subtype, NDArray[np.uint8]], labels: NDArray[np.uint8]) -> dict[Subtype, NDArray[np.uint8]]:
    """The maps of what ``labels`` shows."""
    return {kind: of_kind for kind, of_kind in maps.items() if (labels == KINDS.index(kind) + 1).any()}


def _middle_of_highest(values: NDArray[np.float64]) -> int:
    """Index of the maximum; where certainty makes a plateau, its middle and not its first slice."""
    highest = np.flatnonzero(values >= values.max() - 1e-6)
    return int(highest[len(highest) // 2])


def _key_slice(volume: Volume, index: int) -> KeySlice:
    source = volume.sources[index]
    return KeySlice(source.sop_instance_uid, source.frame_number, index)


def _spread(per_slab: NDArray[_Number], slabs: Sequence[Slab]) -> NDArray[_Number]:
    """The row of each slab on every slice of it."""
    spread = np.empty((max(slab.stop for slab in slabs), *per_slab.shape[1:]), per_slab.dtype)
    for slab, row in zip(slabs, per_slab, strict=True):
        spread[slab.start : slab.stop] = row
    return spread
