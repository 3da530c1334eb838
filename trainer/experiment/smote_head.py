"""The last layer of a trained classifier, trained once more on features that SMOTE balanced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.experiment.answers import Answering
from trainer.experiment.batches import Indices
from trainer.experiment.losses import ExperimentLoss
from trainer.experiment.predict import Asking, batches_of
from trainer.experiment.smote import balanced_features
from trainer.experiment.truth import strata

_ROUNDS = 200
"""Passes over features of one vector a slice: a logistic regression, which they bring to rest."""


def last_layer(net: nn.Module) -> nn.Linear:
    """The linear layer that gives the slice logits.

    Raises
    ------
    ValueError
        The net has none.
    """
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError(f"{type(net).__name__} has no linear layer whose features SMOTE could mix")
    return layers[-1]


@contextmanager
def _caught(layer: nn.Linear) -> Iterator[list[Tensor]]:
    """What goes into a layer."""
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    try:
        yield seen
    finally:
        handle.remove()


def refit_head(answering: Answering, asking: Asking, train: Indices, seed: int) -> None:
    """Train the last layer of a net, in place, on the features of the training rows and mixtures of them.

    Parameters
    ----------
    train : ndarray of int64
        Rows of the training part; nothing else is read.
    """
    layer = last_layer(answering.net)
    answering.eval()
    labels: list[NDArray[np.int8]] = []
    with _caught(layer) as seen, torch.no_grad():
        for batch in batches_of(asking, asking.cuts(train)):
            answering(torch.from_numpy(batch.image).to(asking.device))
            labels.append(batch.labels)
    real, known = torch.cat(seen).float(), np.concatenate(labels)
    made, of = balanced_features(real.cpu().numpy(), strata(known), seed)
    features = torch.cat([real, torch.from_numpy(made).to(asking.device)])
    truth = torch.from_numpy(np.concatenate([known, of])).to(asking.device)
    loss = ExperimentLoss(asking.protocol.loss)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=1e-3, weight_decay=1e-4)
    for _ in range(_ROUNDS):
        optimiser.zero_grad(set_to_none=True)
        loss.label_loss(layer(features), truth).backward()
        optimiser.step()
