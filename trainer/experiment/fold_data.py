"""What the training part of one fold is made of; nothing of the other parts is ever looked at here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cache import Cache
from trainer.experiment.batches import Change, Indices, Slices
from trainer.experiment.paste import Paster
from trainer.experiment.protocol import BalanceSpec, ExperimentProtocol
from trainer.experiment.smote import mixed_slices
from trainer.experiment.split import Fold

_REMARKS = {
    "smote_pixel": (
        "SMOTE mixes whole pictures of different heads: ghost skulls and blood that nobody ever saw. It is here as "
        "a paper implies it, and is known to harm; use the honest protocol."
    ),
    "smote_feature": "SMOTE mixes features of a trained net and trains its last layer once more; no picture is made.",
    "paste": "Lesions of training slices are pasted into other training slices; such pictures are made, not found.",
}


@dataclass(frozen=True, slots=True, eq=False)
class FoldData:
    """Slices to train on.

    Attributes
    ----------
    slices : Slices
        Of the cache, made ones behind them.
    entries : ndarray of int64
        Those that train.
    change : callable, or None
        What is done to a batch before it becomes net input.
    """

    slices: Slices
    entries: Indices
    change: Change | None = None


def balance_remarks(spec: BalanceSpec) -> tuple[str, ...]:
    """What a reader of the figures must know of how classes were balanced."""
    return (_REMARKS[spec.kind],) if spec.kind in _REMARKS else ()


def fold_data(cache: Cache, truth: NDArray[np.int8], protocol: ExperimentProtocol, fold: Fold, seed: int) -> FoldData:
    """The training part of a fold, balanced as the protocol says; the same seed makes the same slices."""
    wanted = protocol.loss.mask != "none" or protocol.balance.kind in ("smote_pixel", "paste")
    slices = Slices(cache, truth, protocol.input, masks_wanted=wanted)
    if protocol.balance.kind == "smote_pixel":
        made = mixed_slices(slices, fold.train, protocol.balance.factor, seed)
        mixed = Slices(cache, truth, protocol.input, made=made)
        behind = np.arange(len(truth), len(truth) + len(made.labels), dtype=np.int64)
        return FoldData(mixed, np.concatenate([fold.train, behind]))
    if protocol.balance.kind == "paste":
        return FoldData(slices, fold.train, Paster(slices, fold.train, protocol.balance.share))
    return FoldData(slices, fold.train)
