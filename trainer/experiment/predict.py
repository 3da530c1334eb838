"""What a net says of slices, beside what is true."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainer.datasets.cache import Cache
from trainer.datasets.case import BLOOD_OF_UNKNOWN_TYPE
from trainer.experiment.answers import Activation, Answer, activation_of, answer, blood_shares, label_shares
from trainer.experiment.balance import scans_of
from trainer.experiment.batches import Batch, Indices, Slices, prepared
from trainer.experiment.losses import ExperimentLoss
from trainer.experiment.predictions import Predictions
from trainer.experiment.protocol import ExperimentProtocol
from trainer.experiment.surface import surface_distance
from triage.inference.manifest import OUTPUTS

TEST_FOLD = -1


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """How nets are asked.

    Attributes
    ----------
    slices : Slices
    protocol : ExperimentProtocol
    device : torch.device
    threads : int
        That prepare batches.
    scan : bool
        A batch is one whole scan, see `trainer.nets.registry.Task`.
    """

    slices: Slices
    protocol: ExperimentProtocol
    device: torch.device
    threads: int = 1
    scan: bool = False

    @property
    def activation(self) -> Activation:
        """Of slice labels, as they were trained."""
        return activation_of(self.protocol.loss)

    @property
    def classes(self) -> tuple[str, ...]:
        """Columns of predictions."""
        return OUTPUTS[:1] if self.protocol.classes == "binary" else OUTPUTS

    def cuts(self, rows: Indices) -> list[Indices]:
        """Batches of rows."""
        if self.scan:
            return scans_of(self.slices.cache, rows)
        size = self.protocol.fit.batch
        return [rows[start : start + size] for start in range(0, len(rows), size)]


@dataclass(frozen=True, slots=True)
class Judged:
    """How good a net is on the validation part; nan where it cannot be told.

    ``dice`` pools the pixels of all drawn slices, any blood; ``auc`` is that of any blood by slice, from the label or,
    where a net gives masks alone, from its strongest pixel.
    """

    loss: float
    dice: float
    auc: float


def judge(module: nn.Module, asking: Asking, rows: Indices, loss: ExperimentLoss) -> Judged:
    """Loss, Dice and AUC of some rows."""
    total, count = 0.0, 0
    overlap = size = 0
    scores: list[NDArray[np.float32]] = []
    truth: list[NDArray[np.int8]] = []
    threshold = asking.protocol.threshold
    for batch, (said,) in _asked([module], asking, asking.cuts(rows)):
        mask, drawn, labels = _tensors(batch, asking.device)
        total += float(loss(said, mask, drawn, labels)) * len(batch)
        count += len(batch)
        truth.append(batch.labels[:, 0])
        if said.masks is not None:
            shares = blood_shares(said.masks)[:, 0]
            if asking.slices.masks_wanted:
                marked, real = shares[drawn] >= threshold, mask[drawn] > 0
                overlap += int((marked & real).sum())
                size += int(marked.sum()) + int(real.sum())
        if said.labels is not None:
            scores.append(label_shares(said.labels, asking.activation)[:, 0].cpu().numpy())
        elif said.masks is not None:
            scores.append(shares.amax(dim=(1, 2)).cpu().numpy())
    dice = 2.0 * overlap / size if size else float("nan")
    return Judged(total / count, dice, _auc(np.concatenate(scores), np.concatenate(truth)))


def predict(module: nn.Module, asking: Asking, rows: Indices, fold: int) -> Predictions:
    """Everything that measures need of some rows."""
    return predict_together([module], asking, rows, fold)


def predict_together(modules: Sequence[nn.Module], asking: Asking, rows: Indices, fold: int) -> Predictions:
    """What several nets say together: the mean of their probabilities, pixel by pixel and slice by slice."""
    gathered = _Gathered(asking)
    cuts = asking.cuts(rows)
    for batch, said in _asked(modules, asking, cuts):
        masks = [blood_shares(one.masks).cpu() for one in said if one.masks is not None]
        labels = [label_shares(one.labels, asking.activation).cpu() for one in said if one.labels is not None]
        gathered.add(
            batch,
            torch.stack(masks).mean(dim=0).numpy() if masks else None,
            torch.stack(labels).mean(dim=0).numpy() if labels else None,
        )
    return gathered.finished(np.concatenate(cuts) if cuts else rows, fold)


def batches_of(asking: Asking, cuts: list[Indices]) -> Iterator[Batch]:
    """Rows as batches, in order."""

    def task(cut: Indices) -> Callable[[], Batch]:
        return lambda: asking.slices.batch(cut)

    return prepared((task(cut) for cut in cuts), asking.threads)


def _asked(modules: Sequence[nn.Module], asking: Asking, cuts: list[Indices]) -> Iterator[tuple[Batch, list[Answer]]]:
    were_training = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        for batch in batches_of(asking, cuts):
            image = torch.from_numpy(batch.image).to(asking.device, memory_format=torch.channels_last)
            with torch.inference_mode():
                said = [answer(module, image) for module in modules]
            yield batch, said
    finally:
        for module, before in zip(modules, were_training, strict=True):
            module.train(before)


def _tensors(batch: Batch, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mask, drawn, labels = (torch.from_numpy(array).to(device) for array in (batch.mask, batch.drawn, batch.labels))
    return mask, drawn, labels


def _auc(scores: NDArray[np.float32], truth: NDArray[np.int8]) -> float:
    from sklearn.metrics import roc_auc_score

    known = truth >= 0
    if len(np.unique(truth[known])) < 2:
        return float("nan")
    return float(roc_auc_score(truth[known], scores[known]))


@dataclass(slots=True, eq=False)
class _Gathered:
    """Columns of predictions while batches come in."""

    asking: Asking
    columns: dict[str, list[NDArray[Any]]] = field(default_factory=dict)

    def add(self, batch: Batch, masks: NDArray[np.float32] | None, labels: NDArray[np.float32] | None) -> None:
        count, classes = len(batch), len(self.asking.classes)
        drawn = batch.drawn.copy()
        if classes > 1 and batch.mask.size:
            # Of such a slice nobody can say which pixels belong to which subtype.
            drawn &= ~(batch.mask == BLOOD_OF_UNKNOWN_TYPE).any(axis=(1, 2))
        if not batch.mask.size:
            masks = None
        if masks is None:
            drawn[:] = False
        pixels = {name: np.zeros((count, classes), np.int64) for name in ("true_px", "marked_px", "overlap_px")}
        surface = np.full((count, classes), np.nan, np.float32)
        for index in range(count):
            truth = _planes(batch.mask[index], classes) if drawn[index] else None
            marked = _marked(masks[index], self.asking.protocol.threshold) if masks is not None else None
            for column in range(classes):
                real = truth[column] if truth is not None else None
                said = marked[column] if marked is not None else None
                pixels["true_px"][index, column] = 0 if real is None else real.sum()
                pixels["marked_px"][index, column] = 0 if said is None else said.sum()
                if real is not None and said is not None:
                    pixels["overlap_px"][index, column] = (real & said).sum()
                    surface[index, column] = surface_distance(real, said)
        probability = np.full((count, classes), np.nan, np.float32) if labels is None else labels
        found: dict[str, NDArray[Any]] = {
            "probability": probability,
            "label": batch.labels[:, :classes],
            "drawn": drawn,
            "surface_mm": surface,
            **pixels,
        }
        for name, values in found.items():
            self.columns.setdefault(name, []).append(values)

    def finished(self, rows: Indices, fold: int) -> Predictions:
        cache, classes = self.asking.slices.cache, len(self.asking.classes)
        table = cache.table[rows]
        empty = {"probability": np.float32, "label": np.int8, "surface_mm": np.float32}
        columns = {
            name: np.concatenate(self.columns[name]) if name in self.columns else np.zeros((0, classes), kind)
            for name, kind in {**empty, "true_px": np.int64, "marked_px": np.int64, "overlap_px": np.int64}.items()
        }
        pixel_mm = np.asarray(table["pixel_mm"], np.float32)
        # In mm where the side of a pixel is known, else in pixels.
        columns["surface_mm"] *= np.where(np.isnan(pixel_mm), 1.0, pixel_mm)[:, None].astype(np.float32)
        return Predictions(
            classes=np.array(self.asking.classes),
            row=np.asarray(rows, np.int64),
            patient=_names(cache.description.patients, table["patient"]),
            study=_names(cache.description.studies, table["study"]),
            position_mm=np.asarray(table["position_mm"], np.float32),
            fold=np.full(len(rows), fold, np.int32),
            study_label=np.asarray(table["study_labels"][:, :classes], np.int8),
            drawn=np.concatenate(self.columns["drawn"]) if self.columns else np.zeros(0, np.bool_),
            pixel_mm=pixel_mm,
            extent_mm=np.where(np.isnan(pixel_mm), np.nan, slice_extents(cache)[rows]).astype(np.float32),
            **columns,
        )


def _planes(mask: NDArray[np.uint8], classes: int) -> list[NDArray[np.bool_]]:
    return [mask > 0, *(mask == kind for kind in range(1, classes))]


def _marked(shares: NDArray[np.float32], threshold: float) -> list[NDArray[np.bool_]]:
    """Any blood from the threshold on; there, each pixel is its strongest subtype's."""
    some = shares[0] >= threshold
    if len(shares) == 1:
        return [some]
    strongest = shares[1:].argmax(axis=0)
    return [some, *(some & (strongest == kind) for kind in range(len(shares) - 1))]


def _names(names: tuple[str, ...], numbers: NDArray[np.int32]) -> NDArray[np.str_]:
    return np.array([names[number] if number >= 0 else "" for number in numbers], dtype=np.str_)


def slice_extents(cache: Cache) -> NDArray[np.float32]:
    """How much of the scan each slice stands for, in mm: half way to its neighbours; nan for a slice alone."""
    extents = np.full(len(cache.table), np.nan, np.float32)
    for scan in scans_of(cache, np.asarray(cache.usable, np.int64)):
        if len(scan) > 1:
            gaps = np.diff(cache.table["position_mm"][scan])
            extents[scan] = (np.append(gaps, gaps[-1]) + np.insert(gaps, 0, gaps[0])) / 2
    return extents
