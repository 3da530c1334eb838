"""What is known of a slice from its mask, and of a study from its slices; what nobody said stays unknown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.case import BLOOD_OF_UNKNOWN_TYPE, NO, NO_BLOOD, NOTHING_KNOWN, UNKNOWN, YES, Labels
from triage.domain.finding import SUBTYPES, Subtype

SHOWN_FROM_MM2 = 12
"""A slice of a made head shows a subtype from this area on; a few pixels are no evidence in either direction."""


def labels_naming(subtypes: Iterable[Subtype]) -> Labels:
    """Blood of exactly these types; of none at all, no blood."""
    named = set(subtypes)
    return cast(Labels, (YES if named else NO, *(YES if subtype in named else NO for subtype in SUBTYPES)))


def labels_of_mask(mask: NDArray[np.uint8]) -> Labels:
    """What a mask of `trainer.datasets.case.SlicePixels` says of its slice: one labelled pixel is enough."""
    values = np.flatnonzero(np.bincount(mask.ravel(), minlength=1))
    found = {int(value) for value in values} - {0}
    if not found:
        return NO_BLOOD
    missing = UNKNOWN if BLOOD_OF_UNKNOWN_TYPE in found else NO
    return cast(Labels, (YES, *(YES if index + 1 in found else missing for index in range(len(SUBTYPES)))))


def labels_of_slices(slices: Sequence[Labels]) -> Labels:
    """What its slices say of a study: yes where one slice says so, no where all do, unknown otherwise."""
    if not slices:
        return NOTHING_KNOWN
    columns = zip(*slices, strict=True)
    return cast(
        Labels, tuple(YES if YES in seen else NO if all(one == NO for one in seen) else UNKNOWN for seen in columns)
    )


def only_subtype(labels: Labels) -> int:
    """Mask value of the one subtype that the labels name; blood of unknown type where they name none or several."""
    named = [index for index, label in enumerate(labels[1:], start=1) if label == YES]
    settled = all(label != UNKNOWN for label in labels[1:])
    return named[0] if len(named) == 1 and settled else BLOOD_OF_UNKNOWN_TYPE
