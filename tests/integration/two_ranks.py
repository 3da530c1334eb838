"""What ``torchrun`` starts in test_experiment_ranks: a training whose every rank writes the weights that it holds.

python -m torch.distributed.run --standalone --nproc-per-node 2 -m tests.integration.two_ranks CACHE OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from tests.small_protocols import small_protocol
from trainer.datasets.cache import Cache, open_cache
from trainer.experiment.batches import Slices
from trainer.experiment.checkpoint import save_tensors
from trainer.experiment.job import Job
from trainer.experiment.loop import Training
from trainer.experiment.predict import Asking
from trainer.experiment.protocol import FitSpec, LossSpec, OptimiserSpec
from trainer.experiment.ranks import Ranks, joined_ranks
from trainer.experiment.truth import slice_truth
from trainer.nets.registry import build_net

PROTOCOLS = {
    # Batch norm and dropout: what ranks must agree on by themselves.
    "munet": small_protocol(fit=FitSpec(epochs=2, batch=8, freeze_at=1)),
    # Neither: two halves of a batch are the batch.
    "light_classifier": small_protocol(
        loss=LossSpec(label="bce"), optimiser=OptimiserSpec("sgd", 0.05), fit=FitSpec(epochs=2, batch=8)
    ),
}
OPTIONS = {"munet": {"widths": (8, 8, 8, 16, 16), "hidden": 8}, "light_classifier": {}}


def train(name: str, cache: Cache, out: Path, ranks: Ranks) -> None:
    """Train one net on all slices but the last eight and write what this rank holds at the end."""
    protocol = PROTOCOLS[name]
    torch.manual_seed(1)
    asking = Asking(Slices(cache, slice_truth(cache), protocol.input), protocol, torch.device("cpu"), 0)
    rows = np.asarray(cache.usable, np.int64)
    job = Job(name, {}, asking, rows[:-8], rows[-8:], out / name, 1, lambda line: None, ranks=ranks)
    training = Training(build_net(name, OPTIONS[name], in_channels=3, classes=6), job)
    training.learn()
    save_tensors(out / f"{name}-{ranks.rank}-of-{ranks.world}.pt", training.answering.net.state_dict())


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined_ranks("cpu") as (here, _):
        for net in PROTOCOLS:
            train(net, open_cache(Path(sys.argv[1])), Path(sys.argv[2]), here)
