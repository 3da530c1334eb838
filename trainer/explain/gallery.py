"""The gallery of a net: where it was most wrong, with its outline or with what it looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.experiment.answers import Answering, answer, blood_shares
from trainer.experiment.balance import scans_of
from trainer.experiment.batches import Batch, Indices
from trainer.experiment.predict import TEST_FOLD, Asking
from trainer.experiment.predictions import Predictions
from trainer.explain.activation import activation_method, class_activation
from trainer.explain.drawing import Picture, picture
from trainer.explain.worst import Mistake, worst_mistakes

COUNT = 3
"""Slices of each kind of mistake."""


def gallery(
    nets: Sequence[Answering], asking: Asking, predictions: Predictions, part: str, count: int = COUNT
) -> list[Picture]:
    """Pictures of the worst mistakes of some predictions.

    Parameters
    ----------
    nets : sequence of Answering
        Of every fold. A slice that a fold validated is shown as that fold's net sees it; one of the test part as all
        of them do together, by the mean of their maps.
    part : str
        ``test`` or ``validation``, for the captions.
    """
    cache, threshold = asking.slices.cache, asking.protocol.threshold
    shown: list[Picture] = []
    for mistake in worst_mistakes(predictions, cache, threshold, count):
        fold = int(predictions.fold[mistake.entry])
        asked = nets if fold == TEST_FOLD else [nets[fold]]
        row = int(predictions.row[mistake.entry])
        batch, place = _with_its_scan(asking, predictions, row)
        marked, heat = _seen(asked, asking, batch, place)
        true = np.asarray(cache.masks[row]) > 0 if cache.table["drawn"][row] else None
        content = picture(batch.image[place, 0], true, None if marked is None else marked >= threshold, heat)
        shown.append(Picture(content, _caption(mistake, predictions, part, asked[0], heat is not None)))
    return shown


def _with_its_scan(asking: Asking, predictions: Predictions, row: int) -> tuple[Batch, int]:
    """The slice alone, or for a net that reads scans with the slices that it was judged with; and its place there."""
    rows: Indices = np.array([row], np.int64)
    if asking.scan:
        rows = next(scan for scan in scans_of(asking.slices.cache, predictions.row) if row in scan)
    return asking.slices.batch(rows), int(np.flatnonzero(rows == row)[0])


def _seen(
    nets: Sequence[Answering], asking: Asking, batch: Batch, place: int
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Probability of blood per pixel from nets that outline, or a heat map from those that do not."""
    image = torch.from_numpy(batch.image).to(asking.device, memory_format=torch.channels_last)
    with torch.inference_mode():
        said = [answer(net, image).masks for net in nets]
    masks = [blood_shares(one)[place, 0].cpu().numpy() for one in said if one is not None]
    if masks and asking.slices.masks_wanted:
        return np.mean(masks, axis=0), None
    return None, np.mean([class_activation(net.net, image, place) for net in nets], axis=0)


def _caption(mistake: Mistake, predictions: Predictions, part: str, net: Answering, heat: bool) -> str:
    entry = mistake.entry
    height = predictions.position_mm[entry]
    # Of pictures nobody says how far apart they are: they are counted.
    place = f"place {height:g}" if np.isnan(predictions.pixel_mm[entry]) else f"{height:.1f} mm"
    said = [f"{mistake.what}, {part}: study {predictions.study[entry]}, {place}"]
    if bool(predictions.drawn[entry]):
        true, marked, overlap = (_area(predictions, name, entry) for name in ("true_px", "marked_px", "overlap_px"))
        said.append(f"true {true}, outlined {marked}, both {overlap}")
    probability = float(predictions.probability[entry, 0])
    if not np.isnan(probability):
        said.append(f"probability {probability:.2f}")
    said.append(f"warm: {activation_method(net.net)}" if heat else "")
    return "; ".join(part for part in said if part)


def _area(predictions: Predictions, name: str, entry: int) -> str:
    """Ml where the size of a voxel is known, else pixels."""
    count = int(getattr(predictions, name)[entry, 0])
    voxel_ml = float(predictions.pixel_mm[entry]) ** 2 * float(predictions.extent_mm[entry]) / 1000.0
    return f"{count} pixels" if np.isnan(voxel_ml) else f"{count * voxel_ml:.2f} ml"
