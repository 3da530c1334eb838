"""One study of a data set: its slices, what is known of them, and where their pixels are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.tell import Tell
from triage.inference.manifest import OUTPUTS

YES, NO, UNKNOWN = 1, 0, -1

BLOOD_OF_UNKNOWN_TYPE = 6
"""Mask value where a data set says "blood" and not which; 1 to 5 are the subtypes in the order of ``SUBTYPES``."""

Labels = tuple[int, int, int, int, int, int]
"""any, EDH, IPH, IVH, SAH, SDH: each ``YES``, ``NO`` or ``UNKNOWN``."""

NOTHING_KNOWN: Labels = (UNKNOWN,) * 6
NO_BLOOD: Labels = (NO,) * 6


def check_labels(labels: Labels) -> None:
    """Refuse labels that contradict each other.

    Raises
    ------
    ValueError
        A value is none of the three, or a subtype is said to be there and blood is said to be absent.
    """
    if len(labels) != len(OUTPUTS) or any(label not in (YES, NO, UNKNOWN) for label in labels):
        raise ValueError(f"labels are six of 1, 0 and -1, not {labels}")
    if labels[0] == NO and YES in labels[1:]:
        raise ValueError(f"labels name a subtype of blood that is said to be absent: {labels}")


@dataclass(frozen=True, slots=True)
class SliceRecord:
    """One slice before its pixels are read.

    Attributes
    ----------
    image, mask : Path
        Files; ``mask`` is None where the data set has none for this slice, which says nothing about blood.
    frame, mask_frame : int
        Index along the slice axis of a volume; 0 in a file of one slice.
    position_mm : float
        Orders the slices of a study from the feet up. Where only an order is known, that order counted in slices.
    labels : Labels
        What the data set says of this slice alone. A label of the whole patient is no label of a slice.
    """

    image: Path
    position_mm: float
    labels: Labels = NOTHING_KNOWN
    frame: int = 0
    mask: Path | None = None
    mask_frame: int = 0

    def __post_init__(self) -> None:
        check_labels(self.labels)


@dataclass(frozen=True, slots=True)
class Case:
    """One study.

    Attributes
    ----------
    dataset : str
        Name in the registry.
    patient : str or None
        As the data set names it; None where it does not, and then no split can keep patients apart.
    study : str
        Unique in the data set.
    slices : tuple of SliceRecord
        From the feet up.
    labels : Labels
        Of the study as a whole.
    """

    dataset: str
    patient: str | None
    study: str
    slices: tuple[SliceRecord, ...]
    labels: Labels = NOTHING_KNOWN

    def __post_init__(self) -> None:
        check_labels(self.labels)
        if not self.study or not self.slices:
            raise ValueError("a case needs a study and at least one slice")


@dataclass(frozen=True, slots=True)
class Unusable:
    """A file or row that could not be used, and the reason in one sentence for the person with the data."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class SlicePixels:
    """The pixels of one slice.

    Attributes
    ----------
    image : ndarray, shape (row, column)
        int16 in HU, or uint8 grey of a windowed picture: one kind for a whole data set.
    spacing_mm : tuple of float, or None
        Between rows, between columns; None where pictures do not say.
    mask : ndarray of uint8, shape (row, column), or None
        0 no blood, 1 to 5 a subtype, ``BLOOD_OF_UNKNOWN_TYPE``; None where nobody drew one.
    """

    image: NDArray[Any]
    spacing_mm: tuple[float, float] | None
    mask: NDArray[np.uint8] | None

    def __post_init__(self) -> None:
        if self.image.dtype not in (np.dtype(np.int16), np.dtype(np.uint8)) or self.image.ndim != 2:
            raise ValueError(f"a slice is int16 or uint8 of two axes, not {self.image.dtype} of {self.image.ndim}")
        if self.mask is not None and (self.mask.shape != self.image.shape or self.mask.dtype != np.uint8):
            raise ValueError("a mask is uint8 and as large as its image")


@dataclass(frozen=True, slots=True)
class Dataset:
    """How one data set is found and read.

    Attributes
    ----------
    name, title, licence, source : str
        Registry name; full name; under which terms its user holds it; where it is downloaded from.
    expects : str
        The layout below the folder to name, in one line, for the sentence about a wrong folder.
    pictures : bool
        Whether slices are windowed 8-bit pictures instead of HU.
    window : tuple of float, or None
        Centre and width in HU of such pictures; None where that is not known.
    find : callable
        ``find(root, work, tell)`` yields every case, study by study, and what it could not use; ``work`` is a folder
        for an index that a second run takes up again. Memory does not grow with the data set.
        Raises ValueError with ``expects`` in one sentence when the folder is not this data set.
    read : callable
        ``read(case)`` yields, for each slice of the case in order, its pixels or why there are none.
    """

    name: str
    title: str
    licence: str
    source: str
    expects: str
    find: Callable[[Path, Path, Tell], Iterator[Case | Unusable]]
    read: Callable[[Case], Iterator[SlicePixels | Unusable]]
    pictures: bool = False
    window: tuple[float, float] | None = None


def slice_by_slice(case: Case, read: Callable[[SliceRecord], SlicePixels]) -> Iterator[SlicePixels | Unusable]:
    """The slices of a case that lies in a file each; one that cannot be read is named and the others go on."""
    for one in case.slices:
        try:
            yield read(one)
        except (OSError, ValueError) as exc:
            yield Unusable(str(one.image), str(exc))


def wrong_folder(root: Path, expects: str) -> ValueError:
    """The sentence about a folder that is not the data set."""
    return ValueError(f"{root} does not look like this data set: expected {expects}")
