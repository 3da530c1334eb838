"""The training loop: both nets learn from the same stream of made stacks, block by block."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.demonstration.augment import augment
from trainer.demonstration.losses import classifier_loss, munet_loss
from trainer.demonstration.protocol import FitSpec, Protocol
from trainer.demonstration.stream import shown_of
from trainer.nets.registry import build_net
from trainer.phantom.stacks import StackBatch
from trainer.tell import Tell
from triage.domain.finding import SUBTYPES
from triage.inference.preprocess import Reads, channels_of, net_input

Loss = Callable[[Any, Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {"munet": munet_loss, "slice_classifier": classifier_loss}

_FRESH = 0.5
"""Share of every batch that comes from the newest block, so that each stack is seen soon and more than once."""

_BLEEDING = 0.5
"""Share of the draws that are aimed at blood, since most slices of a head that bleeds show none."""

_BALANCED = 0.5
"""Share of those that draw the subtype first where a net is balanced."""


class Pool:
    """The blocks that are in memory, the newest last."""

    def __init__(self, kept: int) -> None:
        self._blocks: deque[tuple[StackBatch, list[NDArray[np.intp]]]] = deque(maxlen=kept)

    def add(self, block: StackBatch) -> None:
        """Take in a block; the oldest leaves when there are too many."""
        self._blocks.append((block, _bleeding(block.labels)))

    def draw(
        self, rng: np.random.Generator, count: int, reads: Reads, balanced: bool = False
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Draw ``count`` slices: HU (slice, 1 or 3, row, column) with neighbours where they are read, and their labels.

        Labels are (slice, row, column).
        """
        hu, labels = [], []
        for _ in range(count):
            newest = rng.random() < _FRESH
            block, bleeding = self._blocks[-1 if newest else int(rng.integers(len(self._blocks)))]
            stack, aim = (int(rng.integers(side)) for side in block.hu.shape[:2])
            if bleeding and rng.random() < _BLEEDING:
                places = bleeding[int(rng.integers(len(bleeding))) if balanced and rng.random() < _BALANCED else 0]
                stack, aim = map(int, places[int(rng.integers(len(places)))])
            hu.append(block.hu[stack, shown_of(block.hu.shape[1], reads)[aim]])
            labels.append(block.labels[stack, aim])
        return np.stack(hu), np.stack(labels)


def _bleeding(labels: NDArray[np.uint8]) -> list[NDArray[np.intp]]:
    """(stack, slice) of the slices with any blood, then with each subtype that there is; empty without blood."""
    shown = [(labels == index).any(axis=(2, 3)) for index in range(1, len(SUBTYPES) + 1)]
    places = [np.argwhere(one) for one in (np.any(shown, axis=0), *shown)]
    return [found for found in places if len(found)]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A trained net, in evaluation mode, and the loss of every step."""

    net: nn.Module
    losses: NDArray[np.float64]


class Fitting:
    """One net while it is trained; the same seed, blocks and number of threads give the same net.

    The learning rate warms up, then falls along a cosine. The weights that are kept are a running mean of those
    of the last steps, which is calmer than any of them.
    """

    def __init__(self, spec: FitSpec, plan: Protocol, device: str = "cpu") -> None:
        torch.manual_seed(plan.seed)
        self._spec, self._plan, self._device = spec, plan, device
        self._net = build_net(spec.architecture, spec.options, in_channels=channels_of(spec.reads))
        self._net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in stubs
        self._calm = torch.optim.swa_utils.AveragedModel(
            self._net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(spec.calm), use_buffers=True
        )
        self._optimiser = torch.optim.AdamW(
            self._net.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimiser, lambda step: _rate(step, spec))
        self._losses: list[float] = []

    def begin(self, state: Mapping[str, Tensor]) -> None:
        """Begin from these weights and running statistics in place of random ones; before the first step."""
        self._net.load_state_dict(state)
        self._calm.module.load_state_dict(state)

    def learn(self, pool: Pool, steps: int, tell: Tell) -> None:
        """Take ``steps`` steps on what the pool holds; what they draw depends on the seed and the steps before alone.

        Raises
        ------
        RuntimeError
            The loss is no number any more.
        """
        began = time.monotonic()
        begun = [self._plan.seed, len(self._losses)]
        rng = np.random.default_rng(begun)
        torch.manual_seed(int(np.random.SeedSequence(begun).generate_state(1)[0]))  # of dropout
        self._net.train()
        for _ in range(steps):
            loss = self._step(pool, rng)
            if not math.isfinite(loss):
                name = self._spec.architecture
                raise RuntimeError(f"training of {name} diverged at step {len(self._losses)}: lower its learning rate")
            self._losses.append(loss)
        pace = (time.monotonic() - began) / steps
        done = f"step {len(self._losses)} of {self._spec.steps}, loss {np.mean(self._losses[-steps:]):.3f}"
        tell(f"{self._spec.architecture}: {done}, {pace:.2f} s a step")

    def fitted(self) -> Fitted:
        """The running mean as a net of its own."""
        return Fitted(self._calm.module.eval(), np.array(self._losses))

    def state(self) -> dict[str, Any]:
        """Everything that `resume` needs, as plain values and tensors."""
        return {
            "net": self._net.state_dict(),
            "calm": self._calm.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "losses": self._losses,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, as if nothing had come between."""
        self._net.load_state_dict(state["net"])
        self._calm.load_state_dict(state["calm"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        self._losses = list(state["losses"])

    def _step(self, pool: Pool, rng: np.random.Generator) -> float:
        spec, plan = self._spec, self._plan
        late = len(self._losses) >= plan.late_from * spec.steps
        changes = plan.augment_late if late and plan.augment_late is not None else plan.augment
        drawn = pool.draw(rng, spec.batch, spec.reads, spec.balanced)
        hu, labels = augment(*drawn, changes, rng, plan.preprocessing.pixel_mm)
        if len(self._losses) < spec.whole_from * spec.steps:
            hu, labels = _cropped(hu, spec.crop), _cropped(labels, spec.crop)
        shown = torch.from_numpy(net_input(hu, plan.preprocessing))
        image = shown.to(self._device, memory_format=torch.channels_last)
        truth = torch.from_numpy(labels).long().to(self._device)
        with torch.autocast(self._device, torch.bfloat16, enabled=plan.precision == "bf16"):
            loss = LOSSES[spec.architecture](self._net, image, truth)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._net.parameters(), 5.0)
        self._optimiser.step()
        self._schedule.step()
        self._calm.update_parameters(self._net)
        return float(loss.detach())


def _rate(step: int, spec: FitSpec) -> float:
    warmup = max(1, round(spec.warmup * spec.steps))
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, spec.steps - warmup)
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def _cropped(slices: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """The middle of the last two axes."""
    top, left = ((whole - part) // 2 for whole, part in zip(slices.shape[-2:], size, strict=True))
    return slices[..., top : top + size[0], left : left + size[1]]
