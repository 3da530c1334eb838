"""The training loop of one net on one fold.

A training that was killed goes on where its last checkpoint was and ends with the same weights, bit by bit on a CPU:
the state holds weights, optimiser, schedule and place in the epoch, and everything random is drawn from that place
(`trainer.experiment.seeds`), never from a generator that has a history.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.experiment.answers import Answering, answer
from trainer.experiment.augment import augment
from trainer.experiment.balance import Step, epoch_entries, scan_steps, scans_of, steps_of
from trainer.experiment.batches import Batch, Indices, prepared
from trainer.experiment.checkpoint import (
    CHECKPOINTS,
    LAST,
    WEIGHTS,
    load_tensors,
    read_history,
    save_tensors,
    write_history,
)
from trainer.experiment.freeze import freeze_body
from trainer.experiment.job import Job, Progress
from trainer.experiment.losses import ExperimentLoss
from trainer.experiment.optimiser import optimiser_of, schedule_of
from trainer.experiment.predict import Judged, judge
from trainer.experiment.seeds import CHANGE, ORDER, STEP, seed_of

_CHECK_EVERY = 50
"""Steps between looks at the loss, which make a GPU wait."""


class Training:
    """A net that learns; `run` goes on from what the job's folder holds.

    Parameters
    ----------
    net : nn.Module
        With its first weights.
    """

    def __init__(self, net: nn.Module, job: Job) -> None:
        self.job, self.protocol, self.fit = job, job.asking.protocol, job.asking.protocol.fit
        self.device = job.asking.device
        net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its stubs
        self.answering = Answering(net, deep=self.protocol.loss.deep_supervision and hasattr(net, "levels"))
        self.loss = ExperimentLoss(self.protocol.loss)
        self.optimiser = optimiser_of(net, self.protocol.optimiser)
        self.monitor = self.fit.monitor if len(job.validation) else "loss"
        self.schedule = schedule_of(
            self.optimiser, self.protocol.optimiser, self.fit.epochs, falling=self.monitor == "loss"
        )
        self.module = job.ranks.wrapped(self.answering)
        self.progress = Progress()
        self.total = torch.zeros((), dtype=torch.float64, device=self.device)
        self.scans = scans_of(job.asking.slices.cache, job.entries) if job.asking.scan else []
        job.folder.mkdir(parents=True, exist_ok=True)

    def learn(self) -> None:
        """Train to the end; every rank then holds the last weights."""
        self._restore()
        while not self.progress.finished:
            self._epoch()

    def run(self) -> Answering:
        """Train to the end and give the net with the weights that are kept."""
        self.learn()
        net = self.answering.net
        net.load_state_dict(load_tensors(self.job.folder / WEIGHTS, self.device)["state"])
        self.answering.eval()
        return self.answering

    def _epoch(self) -> None:
        at = self.progress
        self._ready()
        steps = self._steps(at.epoch)
        before = saved = time.monotonic()
        for index, micro in enumerate(self._batches(steps[at.step :], at.step), start=at.step):
            torch.manual_seed(seed_of(self.job.seed, STEP, at.epoch, index, self.job.ranks.rank))
            loss = self._step(micro)
            at.slices += sum(len(cut) for cut in steps[index])
            self.total += loss
            at.step = index + 1
            if (index + 1) % _CHECK_EVERY == 0:
                self._check()
            now = time.monotonic()
            if self.job.saving.due(index + 1, now - saved) and at.step < len(steps):
                at.seconds += now - before
                self._save()
                before = saved = time.monotonic()
        at.seconds += time.monotonic() - before
        self._check()
        self._end(len(steps))

    def _ready(self) -> None:
        """Training mode, the body frozen from ``fit.freeze_at`` on."""
        self.answering.train()
        if self.fit.freeze_at and self.progress.epoch >= self.fit.freeze_at:
            freeze_body(self.answering.net)

    def _step(self, micro: list[Batch]) -> Tensor:
        """One step of the optimiser; the mean loss, left on the device."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        self.optimiser.zero_grad(set_to_none=True)
        random = torch.Generator(self.device).manual_seed(torch.initial_seed())
        for batch in micro:
            image = torch.from_numpy(batch.image).to(self.device, non_blocking=True)
            mask, drawn, labels = (
                torch.from_numpy(array).to(self.device, non_blocking=True)
                for array in (batch.mask, batch.drawn, batch.labels)
            )
            image, mask = augment(image, mask, self.protocol.augment, random)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.fit.precision == "bf16"):
                said = answer(self.module, image.contiguous(memory_format=torch.channels_last))
            loss = self.loss(said, mask, drawn, labels) / len(micro)
            loss.backward()
            total += loss.detach()
        if self.fit.clip:
            nn.utils.clip_grad_norm_(self.answering.parameters(), self.fit.clip)
        self.optimiser.step()
        return total

    def _steps(self, epoch: int) -> list[Step]:
        """The whole epoch, of all ranks; the same whoever asks and whenever."""
        random = np.random.default_rng(seed_of(self.job.seed, ORDER, epoch))
        size, wanted = self.fit.batch, self.fit.steps_per_epoch
        if self.scans:
            return scan_steps(self.scans, size, wanted, random)
        slices = self.job.asking.slices
        shown = epoch_entries(self.job.entries, slices.labels, self.protocol.balance, wanted * size, random)
        return steps_of(shown, size)

    def _batches(self, steps: list[Step], first: int) -> Iterator[list[Batch]]:
        """What this rank trains on in each step, prepared ahead."""
        parts = [self._part(step) for step in steps]
        slices, change, epoch, seed = self.job.asking.slices, self.job.change, self.progress.epoch, self.job.seed

        def task(index: int, number: int, cut: Indices) -> Callable[[], Batch]:
            place = (seed, CHANGE, epoch, index, number, self.job.ranks.rank)
            return lambda: slices.batch(cut, change, place)

        tasks = (task(first + i, n, cut) for i, part in enumerate(parts) for n, cut in enumerate(part))
        batches = prepared(tasks, self.job.asking.threads)
        for part in parts:
            yield [next(batches) for _ in part]

    def _part(self, step: Step) -> Step:
        """Of one batch every rank takes its share of the slices; of several scans its share of the scans."""
        rank, world = self.job.ranks.rank, self.job.ranks.world
        if world == 1:
            return step
        mine = step[rank::world] if self.scans else (step[0][rank::world],)
        # A step too small for every rank: the last ones repeat what the first do, for all must take part.
        return mine if mine and len(mine[0]) else (step[0],)

    def _check(self) -> None:
        if not math.isfinite(float(self.total)):
            where = f"{self.job.name} diverged in epoch {self.progress.epoch + 1}"
            raise RuntimeError(f"training of {where}: lower optimiser.learning_rate")

    def _end(self, steps: int) -> None:
        """Judge the epoch, keep the weights if they are the best, move on."""
        at, ranks = self.progress, self.job.ranks
        ranks.same_buffers(self.answering)
        loss = float(self.total) / max(1, steps)
        judged = self._judged()
        figure = ranks.same(self._figure(loss, judged))
        better = _better(figure, at.best, self.monitor)
        if better:
            at.best, at.best_epoch, at.waited = figure, at.epoch, 0
        else:
            at.waited += 1
        rate = float(self.optimiser.param_groups[0]["lr"])
        self._move_rate(figure)
        at.epoch, at.step = at.epoch + 1, 0
        at.finished = at.epoch >= self.fit.epochs or 0 < self.fit.stop_after <= at.waited
        if ranks.first:
            self._write(better, loss, judged, rate)
        at.slices, at.seconds = 0, 0.0
        self.total.zero_()
        self._save()
        ranks.wait()

    def _judged(self) -> Judged | None:
        if not len(self.job.validation) or not self.job.ranks.first:
            return None
        return judge(self.answering, self.job.asking, self.job.validation, self.loss)

    def _figure(self, loss: float, judged: Judged | None) -> float:
        return loss if judged is None else float(getattr(judged, self.fit.monitor))

    def _move_rate(self, figure: float) -> None:
        if isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.schedule.step(figure)
        elif self.schedule is not None:
            self.schedule.step()

    def _write(self, better: bool, loss: float, judged: Judged | None, rate: float) -> None:
        at, folder = self.progress, self.job.folder
        if better or self.fit.keep == "last" or at.epoch == 1:
            self._save_weights(folder / WEIGHTS)
        if self.fit.checkpoint_every and at.epoch % self.fit.checkpoint_every == 0:
            (folder / CHECKPOINTS).mkdir(exist_ok=True)
            self._save_weights(folder / CHECKPOINTS / f"epoch-{at.epoch:04d}.pt")
            self.job.on_checkpoint(self.answering, at.epoch)
        pace = at.slices / at.seconds if at.seconds > 0 else float("nan")
        entry: dict[str, Any] = {"epoch": at.epoch, "loss": loss, "rate": rate, "kept": better}
        entry |= {f"validation_{name}": _plain(value) for name, value in asdict(judged).items()} if judged else {}
        entry |= {"seconds": round(at.seconds, 3), "slices_per_s": round(pace, 2)}
        write_history(folder, [*read_history(folder, at.epoch - 1), entry])
        said = "" if judged is None else f", validation {self.fit.monitor} {getattr(judged, self.fit.monitor):.4f}"
        left = "done" if at.finished else f"about {_minutes((self.fit.epochs - at.epoch) * at.seconds)} left"
        done = f"{self.job.name}: epoch {at.epoch} of {self.fit.epochs}"
        self.job.tell(f"{done}, loss {loss:.4f}{said}, {pace:.1f} slices/s, {left}")

    def _save_weights(self, path: Path) -> None:
        description = {**self.job.description, "epoch": self.progress.epoch}
        save_tensors(path, {**description, "state": self.answering.net.state_dict()})

    def _save(self) -> None:
        if self.job.ranks.first:
            state = {
                "progress": asdict(self.progress),
                "total": self.total,
                "net": self.answering.net.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "schedule": None if self.schedule is None else self.schedule.state_dict(),
            }
            save_tensors(self.job.folder / LAST, state)

    def _restore(self) -> None:
        path = self.job.folder / LAST
        if not path.is_file():
            return
        state = load_tensors(path, self.device)
        self.progress = Progress(**state["progress"])
        self.total = state["total"].to(self.device)
        self.answering.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        if not self.progress.finished:
            self.job.tell(
                f"{self.job.name}: going on from epoch {self.progress.epoch + 1}, step {self.progress.step + 1}"
            )


def _better(figure: float, best: float | None, monitor: str) -> bool:
    if not math.isfinite(figure):
        return False
    if best is None:
        return True
    return figure < best if monitor == "loss" else figure > best


def _plain(value: float) -> float | None:
    """JSON has no nan."""
    return value if math.isfinite(value) else None


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
