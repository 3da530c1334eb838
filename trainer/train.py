"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.augment import augment
from trainer.data import Progress, net_input
from trainer.losses import classifier_loss, munet_loss
from trainer.nets.registry import build_net
from trainer.phantom.batches import SliceBatch
from trainer.protocol import AugmentSpec, FitSpec
from triage.inference.preprocess import PreprocessSpec

Loss = Callable[..., Tensor]
LOSSES: dict[str, Loss] = {"munet": munet_loss, "slice_classifier": classifier_loss}

_TELL_EVERY = 50


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A trained net, in evaluation mode, and the loss of every step."""

    net: nn.Module
    losses: NDArray[np.float64]


def fit(
    data: SliceBatch, spec: FitSpec, changes: AugmentSpec, raster: PreprocessSpec, seed: int, tell: Progress
) -> Fitted:
    """Train one net; the same seed and number of threads give the same net.

    The learning rate warms up, then falls along a cosine. The weights that are kept are a running mean of those
    of the last steps, which is calmer than any of them.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = build_net(spec.architecture, spec.options)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs of torch
    calm = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98), use_buffers=True
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, spec))
    loss_of = LOSSES[spec.architecture]
    losses = np.zeros(spec.steps)
    began = time.monotonic()
    net.train()
    for step, chosen in enumerate(_batches(len(data.hu), spec, rng)):
        hu, labels = augment(data.hu[chosen], data.labels[chosen], changes, rng, raster.pixel_mm)
        if step < spec.whole_from * spec.steps:
            hu, labels = _cropped(hu, spec.crop), _cropped(labels, spec.crop)
        image = torch.from_numpy(net_input(hu, raster)).to(memory_format=torch.channels_last)
        loss = loss_of(net, image, torch.from_numpy(labels).long())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        calm.update_parameters(net)
        losses[step] = float(loss.detach())
        if not math.isfinite(losses[step]):
            raise RuntimeError(f"training of {spec.architecture} diverged at step {step}: lower its learning rate")
        if (step + 1) % _TELL_EVERY == 0 or step + 1 == spec.steps:
            recent = losses[max(0, step + 1 - _TELL_EVERY) : step + 1].mean()
            pace = (time.monotonic() - began) / (step + 1)
            tell(f"{spec.architecture}: step {step + 1} of {spec.steps}, loss {recent:.3f}, {pace:.2f} s a step")
    return Fitted(calm.module.eval(), losses)


def _rate(step: int, spec: FitSpec) -> float:
    warmup = max(1, round(spec.warmup * spec.steps))
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, spec.steps - warmup)
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def _batches(count: int, spec: FitSpec, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Indices of every batch: each slice once before any is shown again."""
    rounds = -(-spec.steps * spec.batch // count)
    order = np.concatenate([rng.permutation(count) for _ in range(rounds)])
    return [order[step * spec.batch : (step + 1) * spec.batch] for step in range(spec.steps)]


def _cropped(slices: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    top, left = ((whole - part) // 2 for whole, part in zip(slices.shape[1:], size, strict=True))
    return slices[:, top : top + size[0], left : left + size[1]]
