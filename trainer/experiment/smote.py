"""SMOTE, by imbalanced-learn: of whole pictures, as paper 004 implies, or of the features of a net.

Of pictures: image and mask are flattened into one long vector, vectors of one subtype are mixed with their nearest
neighbours of that subtype, and the mixed mask is cut at one half. The neighbours are other heads, or other slices of
one head, so the mixture is a ghost. Only the training part of a fold is handed to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.case import BLOOD_OF_UNKNOWN_TYPE, NO, UNKNOWN, YES
from trainer.experiment.batches import Indices, MadeSlices, Slices
from trainer.experiment.truth import NO_BLOOD_STRATUM, UNKNOWN_STRATUM, UNKNOWN_TYPE_STRATUM, strata

_NEIGHBOURS = 5
_LARGEST_GB = 8.0


def mixed_slices(slices: Slices, train: Indices, factor: int, seed: int) -> MadeSlices:
    """Slices that fill every class up to ``factor`` times the largest.

    Parameters
    ----------
    train : ndarray of int64
        Rows of the training part; nothing else is read.

    Raises
    ------
    ValueError
        The vectors would not fit into memory.
    """
    size = slices.cache.spec.size
    kinds = strata(slices.truth[train])
    train, kinds = train[kinds != UNKNOWN_STRATUM], kinds[kinds != UNKNOWN_STRATUM]
    wanted = _wanted(kinds, factor)
    gigabytes = (len(train) + sum(wanted.values())) * 2 * size * size * 4 / 1e9
    if gigabytes > _LARGEST_GB:
        raise ValueError(
            f"SMOTE of whole pictures would need {gigabytes:.0f} GB; it is meant for a few hundred slices. "
            'Use balance.kind = "sampler"'
        )
    pixels, masks, _, _ = slices.raw(train)
    vectors = np.concatenate(
        [pixels.reshape(len(train), -1).astype(np.float32), (masks > 0).reshape(len(train), -1).astype(np.float32)],
        axis=1,
    )
    mixed, of = mix(vectors, kinds, wanted, seed)
    images, shares = mixed[:, : size * size], mixed[:, size * size :]
    blood = (shares.reshape(-1, size, size) >= 0.5).astype(np.uint8)
    named = np.where(of == NO_BLOOD_STRATUM, 0, np.where(of == UNKNOWN_TYPE_STRATUM, BLOOD_OF_UNKNOWN_TYPE, of))
    return MadeSlices(
        pixels=np.round(images).astype(pixels.dtype).reshape(-1, size, size),
        masks=blood * named.astype(np.uint8)[:, None, None],
        labels=_labels(of),
    )


def mix(
    vectors: NDArray[np.float32], kinds: NDArray[np.int64], wanted: dict[int, int], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """New vectors and their classes; a class of one alone, which has no neighbour, is repeated instead.

    Parameters
    ----------
    vectors : ndarray of float32, shape (slice, value)
    wanted : mapping
        Class to how many new ones.
    """
    from imblearn.over_sampling import SMOTE

    random = np.random.default_rng(seed)
    made, of = [vectors[:0]], [kinds[:0]]
    for kind, count in sorted(wanted.items()):
        members = vectors[kinds == kind]
        if len(members) == 1:
            made.append(np.repeat(members, count, axis=0))
        else:
            # One class at a time against a stand-in as large as what it grows to: SMOTE needs a majority.
            stand_in = np.zeros((len(members) + count, vectors.shape[1]), np.float32)
            smote = SMOTE(k_neighbors=min(_NEIGHBOURS, len(members) - 1), random_state=int(random.integers(2**31)))
            labels = np.repeat([1, 0], [len(members), len(stand_in)])
            grown, _ = smote.fit_resample(np.concatenate([members, stand_in]), labels)
            made.append(grown[len(labels) :].astype(np.float32))
        of.append(np.full(count, kind, np.int64))
    return np.concatenate(made), np.concatenate(of)


def _wanted(kinds: NDArray[np.int64], factor: int) -> dict[int, int]:
    present, counts = np.unique(kinds, return_counts=True)
    target = factor * int(counts.max())
    return {int(kind): target - int(count) for kind, count in zip(present, counts, strict=True) if count < target}


def _labels(kinds: NDArray[np.int64]) -> NDArray[np.int8]:
    """A mixed slice shows the subtype of its class and no other; of unknown type, nobody knows."""
    labels = np.full((len(kinds), 6), NO, np.int8)
    labels[kinds != NO_BLOOD_STRATUM, 0] = YES
    labels[kinds == UNKNOWN_TYPE_STRATUM, 1:] = UNKNOWN
    named = np.flatnonzero((kinds > NO_BLOOD_STRATUM) & (kinds < UNKNOWN_TYPE_STRATUM))
    labels[named, kinds[named]] = YES
    return labels


def balanced_features(
    features: NDArray[np.float32], kinds: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """New feature vectors that make all classes equally many, and their labels."""
    known = kinds != UNKNOWN_STRATUM
    made, of = mix(features[known], kinds[known], _wanted(kinds[known], 1), seed)
    return made, _labels(of)
