"""What the training part of one fold is made of; nothing of the other parts is ever looked at here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cache import Cache
from trainer.experiment.batches import Change, Indices, Slices
from trainer.experiment.paste import Paster
from trainer.experiment.protocol import ExperimentProtocol
from trainer.experiment.smote import mixed_slices
from trainer.experiment.split import Fold
from trainer.nets.registry import entry_of

_REMARKS = {
    "smote_pixel": (
        "SMOTE mixes whole pictures of different heads: ghost skulls and blood that nobody ever saw. It is here as "
        "a paper implies it, and is known to harm; use the honest protocol."
    ),
    "smote_feature": "SMOTE mixes features of a trained net and trains its last layer once more; no picture is made.",
    "paste": "Lesions of training slices are pasted into other training slices; such pictures are made, not found.",
}

_OF_SLICES = ("replicate", "sampler")
"""Kinds that choose how often an epoch shows which slice: an epoch of scans shows each scan whole."""


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


def check_balance(protocol: ExperimentProtocol) -> None:
    """Refuse what no net that reads scans can be trained on.

    Raises
    ------
    ValueError
        Pictures are to be mixed, and a net reads scans.
    """
    scanning = _reading_scans(protocol)
    if scanning and protocol.balance.kind == "smote_pixel":
        raise ValueError(
            f"{' and '.join(scanning)} reads whole scans, and the pictures that SMOTE mixes lie in none: choose "
            "another balance.kind, or give such nets a protocol of their own"
        )


def balance_remarks(protocol: ExperimentProtocol) -> tuple[str, ...]:
    """What a reader of the figures must know of how classes were balanced."""
    kind, scanning = protocol.balance.kind, _reading_scans(protocol)
    found = [_REMARKS[kind]] if kind in _REMARKS else []
    if scanning and kind in _OF_SLICES:
        found.append(
            f"{' and '.join(scanning)} reads whole scans and sees each of them as often as every other: what the "
            f"protocol says of balance ({kind}) holds for the other nets alone."
        )
    return tuple(found)


def _reading_scans(protocol: ExperimentProtocol) -> list[str]:
    names = dict.fromkeys(net.name for net in protocol.nets)
    return [name for name in names if entry_of(name).task == "scan"]


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
