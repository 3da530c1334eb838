"""What is known of every slice of a cache, as one table of labels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cache import Cache
from trainer.datasets.case import BLOOD_OF_UNKNOWN_TYPE, NO, UNKNOWN, YES

NO_BLOOD_STRATUM, UNKNOWN_TYPE_STRATUM, UNKNOWN_STRATUM = 0, 6, 7


def slice_truth(cache: Cache, labels: Literal["slice", "study"] = "slice") -> NDArray[np.int8]:
    """Labels of every row of a cache: any, EDH, IPH, IVH, SAH, SDH.

    A slice of which the data set says nothing, but for which somebody drew a mask, is labelled by that mask.

    Parameters
    ----------
    labels : str
        ``study``: what is still unknown is taken from the slice's study.

    Returns
    -------
    ndarray of int8, shape (slice, 6)
        1, 0 or -1 unknown.
    """
    known = np.array(cache.table["labels"])
    for row in np.flatnonzero((known[:, 0] == UNKNOWN) & cache.table["drawn"]):
        known[row] = mask_labels(cache.masks[row])
    if labels == "study":
        known = np.where(known == UNKNOWN, cache.table["study_labels"], known)
    return known.astype(np.int8)


def mask_labels(mask: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Labels that a drawn mask of one slice stands for."""
    shown = np.unique(mask)
    labels = np.full(6, NO, np.int8)
    if (shown > 0).any():
        labels[0] = YES
    if BLOOD_OF_UNKNOWN_TYPE in shown:
        labels[1:] = UNKNOWN
    for subtype in shown[(shown > 0) & (shown < BLOOD_OF_UNKNOWN_TYPE)]:
        labels[subtype] = YES
    return labels


def strata(labels: NDArray[np.int8]) -> NDArray[np.int64]:
    """One class per slice for stratified draws: 0 no blood, 1 to 5 the first subtype, 6 unknown type, 7 unknown."""
    subtype = labels[:, 1:] == YES
    first = subtype.argmax(axis=1) + 1
    blood = np.where(subtype.any(axis=1), first, UNKNOWN_TYPE_STRATUM)
    rest = np.where(labels[:, 0] == NO, NO_BLOOD_STRATUM, UNKNOWN_STRATUM)
    return np.where(labels[:, 0] == YES, blood, rest).astype(np.int64)


def name_blood(masks: NDArray[np.uint8], labels: NDArray[np.int8]) -> None:
    """Give blood of unknown type its subtype, in place, on slices whose labels leave only one.

    Parameters
    ----------
    masks : ndarray of uint8, shape (slice, row, column)
    labels : ndarray of int8, shape (slice, 6)
    """
    subtypes = labels[:, 1:]
    certain = ((subtypes == YES).sum(axis=1) == 1) & (subtypes != UNKNOWN).all(axis=1)
    for index in np.flatnonzero(certain):
        mask = masks[index]
        mask[mask == BLOOD_OF_UNKNOWN_TYPE] = 1 + subtypes[index].argmax()
