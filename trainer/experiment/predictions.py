"""What a net said of slices that its training never saw, beside what is true: all that a measure needs."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.experiment.files import write_atomically


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """One entry per slice in every array. Columns ``c`` follow ``classes``: any alone, or any and the five subtypes.

    Attributes
    ----------
    classes : ndarray of str, shape (c,)
    row : ndarray of int64
        Index in the cache.
    patient, study : ndarray of str
        Empty where the data set names no patient.
    position_mm : ndarray of float32
    fold : ndarray of int32
        The fold whose net spoke; -1 for the test part.
    probability : ndarray of float32, shape (slice, c)
        Of the slice's label; nan where the net gives none.
    label : ndarray of int8, shape (slice, c)
        1, 0, or -1 unknown.
    study_label : ndarray of int8, shape (slice, c)
        The same of the whole study, repeated on its slices: some data sets know no more.
    drawn : ndarray of bool
        Whether a true mask exists beside one of the net; without it the next three say nothing of truth. With
        subtypes, a slice whose mask holds blood of unknown type counts as not drawn: nobody can say whose pixels
        those are.
    true_px, marked_px, overlap_px : ndarray of int64, shape (slice, c)
        Pixels of the true mask, of the net's, of both at once. Without masks all 0.
    surface_mm : ndarray of float32, shape (slice, c)
        Mean symmetric surface distance in mm (in pixels where their size is not known); nan unless both have pixels.
    pixel_mm : ndarray of float32
        Side of a pixel; nan where not known.
    extent_mm : ndarray of float32
        Length of the slice along the scan, for volumes; nan where not known.
    """

    classes: NDArray[Any]
    row: NDArray[np.int64]
    patient: NDArray[Any]
    study: NDArray[Any]
    position_mm: NDArray[np.float32]
    fold: NDArray[np.int32]
    probability: NDArray[np.float32]
    label: NDArray[np.int8]
    study_label: NDArray[np.int8]
    drawn: NDArray[np.bool_]
    true_px: NDArray[np.int64]
    marked_px: NDArray[np.int64]
    overlap_px: NDArray[np.int64]
    surface_mm: NDArray[np.float32]
    pixel_mm: NDArray[np.float32]
    extent_mm: NDArray[np.float32]

    def __post_init__(self) -> None:
        count, columns = len(self.row), len(self.classes)
        for name in _PER_SLICE:
            if len(getattr(self, name)) != count:
                raise ValueError(f"{name} has {len(getattr(self, name))} entries for {count} slices")
        for name in ("probability", "label", "study_label", "true_px", "marked_px", "overlap_px", "surface_mm"):
            if getattr(self, name).shape != (count, columns):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {(count, columns)}")

    def __len__(self) -> int:
        return len(self.row)


_PER_SLICE = tuple(f.name for f in fields(Predictions) if f.name != "classes")


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Write one compressed ``.npz``, whole or not at all; nothing in it is pickled."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{f.name: getattr(predictions, f.name) for f in fields(Predictions)})
    write_atomically(path, buffer.getvalue())


def load_predictions(path: Path) -> Predictions:
    """Read what `save_predictions` wrote.

    Raises
    ------
    ValueError
        The file is none, or one of another release.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Predictions(**{f.name: stored[f.name] for f in fields(Predictions)})
    except (OSError, KeyError, ValueError) as exc:
        raise ValueError(f"{path} holds no predictions that this release can read: {exc}") from exc


def joined(parts: list[Predictions]) -> Predictions:
    """Predictions of several folds as one."""
    if not parts:
        raise ValueError("there are no predictions to join")
    first = parts[0]
    if any(list(p.classes) != list(first.classes) for p in parts):
        raise ValueError("predictions of different classes cannot be joined")
    columns = {name: np.concatenate([getattr(p, name) for p in parts]) for name in _PER_SLICE}
    return Predictions(classes=first.classes, **columns)
