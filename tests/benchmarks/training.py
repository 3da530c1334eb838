"""Training of MUNet, 26.7 M parameters at 256 pixels, beside a bare loop of forward and backward, one core each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.benchmarks.harness import Aim, Contender, Figures
from tests.caches import Made, written_cache

BATCH, STEPS = 8, 2

AIMS = [Aim("trainer train", "bare loop", "slices/s", 1 / 1.2)]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Two threads that wait for each other measure how busy the machine is."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def contenders() -> list[Contender]:
    """The loop of the trainer with everything that the honest protocol asks for, and the bare one."""
    return [Contender("trainer train", _ours), Contender("bare loop", _bare)]


def _ours() -> Figures:
    """Slices a second of the second epoch; the first one warms up."""
    import torch

    from trainer.experiment.batches import Slices
    from trainer.experiment.checkpoint import read_history
    from trainer.experiment.grid import with_value
    from trainer.experiment.job import Job
    from trainer.experiment.loop import Training
    from trainer.experiment.predict import Asking
    from trainer.experiment.protocol import load_experiment
    from trainer.experiment.truth import slice_truth
    from trainer.nets.registry import build_net

    protocol = load_experiment("ihsnet-honest")
    for key, value in {"fit.epochs": 2, "fit.batch": BATCH, "fit.steps_per_epoch": STEPS}.items():
        protocol = with_value(protocol, key, value)
    torch.manual_seed(1)
    with _one_thread(), TemporaryDirectory() as folder:
        cache = written_cache(Path(folder) / "cache", Made(patients=4, slices=8, size=256, geometry="raster"))
        asking = Asking(Slices(cache, slice_truth(cache), protocol.input), protocol, torch.device("cpu"))
        rows = np.asarray(cache.usable, np.int64)
        job = Job("munet", {}, asking, rows, rows[:0], Path(folder) / "run", 1, lambda line: None)
        Training(build_net("munet"), job).learn()
        return {"slices/s": float(read_history(job.folder)[1]["slices_per_s"])}


def _bare() -> Figures:
    import torch
    from torch.nn import functional as F  # noqa: N812 - the name that every torch reader expects

    from trainer.nets.registry import build_net

    torch.manual_seed(1)
    net = build_net("munet").to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    image = torch.rand(BATCH, 3, 256, 256).contiguous(memory_format=torch.channels_last)
    truth = torch.zeros(BATCH, 256, 256, dtype=torch.int64)
    began = 0.0
    with _one_thread():
        for step in range(2 * STEPS):
            if step == STEPS:
                began = time.perf_counter()
            masks, labels = net(image)
            (F.cross_entropy(masks, truth) + labels.mean()).backward()
    return {"slices/s": STEPS * BATCH / (time.perf_counter() - began)}
