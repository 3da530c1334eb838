"""One net on one fold: from first weights to predictions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainer.experiment.answers import Answering
from trainer.experiment.checkpoint import CHECKPOINTS, WEIGHTS, load_tensors, read_history, save_tensors
from trainer.experiment.fold_data import FoldData
from trainer.experiment.inputs import input_channels
from trainer.experiment.job import Job, Saving
from trainer.experiment.loop import Training
from trainer.experiment.predict import Asking, predict
from trainer.experiment.predictions import save_predictions
from trainer.experiment.protocol import ExperimentProtocol, NetSpec
from trainer.experiment.ranks import Ranks
from trainer.experiment.reached import Reached, reached
from trainer.experiment.run_folder import PREDICTIONS
from trainer.experiment.seeds import START, seed_of
from trainer.experiment.smote_head import refit_head
from trainer.experiment.split import Fold
from trainer.nets.registry import build_net, entry_of
from trainer.tell import Tell


@dataclass(frozen=True, slots=True)
class Machine:
    """Where training runs. ``threads`` prepare batches; torch's own are the process's."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    threads: int = 1
    saving: Saving = field(default_factory=Saving)
    ranks: Ranks = field(default_factory=Ranks)


@dataclass(frozen=True, slots=True, eq=False)
class FoldTraining:
    """One net on one fold.

    Attributes
    ----------
    title : str
        For people.
    number : int
        Of the fold.
    seed : int
        Of the fold; every net begins with it, so that all see the same slices in the same order.
    """

    title: str
    protocol: ExperimentProtocol
    net: NetSpec
    fold: Fold
    number: int
    data: FoldData
    seed: int
    machine: Machine
    tell: Tell

    def finish(self, folder: Path) -> None:
        """Train to the end and write the predictions of the validation part."""
        answering = self._trained(folder, judged=True)
        if self.machine.ranks.first:
            if self.protocol.balance.kind == "smote_feature":
                self._refit(answering, folder)
            save_predictions(
                folder / PREDICTIONS, predict(answering, self._asking(), self.fold.validation, self.number)
            )
        self.machine.ranks.wait()

    def tried(self, folder: Path) -> Reached:
        """Train to the end and say what the weights reached."""
        self._trained(folder, judged=False)
        return reached(read_history(folder), self.protocol.fit)

    def _trained(self, folder: Path, *, judged: bool) -> Answering:
        torch.manual_seed(seed_of(self.seed, START))
        pictures = self.data.slices.cache.spec.pictures
        description = net_description(self.net, self.protocol, pictures)
        fit = self.protocol.fit if judged else replace(self.protocol.fit, checkpoint_every=0)
        job = Job(
            name=self.title,
            description=description,
            asking=replace(self._asking(), protocol=replace(self.protocol, fit=fit)),
            entries=self.data.entries,
            validation=self.fold.validation,
            folder=folder,
            seed=self.seed,
            tell=self.tell,
            change=self.data.change,
            saving=self.machine.saving,
            ranks=self.machine.ranks,
            on_checkpoint=lambda module, epoch: self._judge_checkpoint(module, epoch, folder),
        )
        return Training(built(description), job).run()

    def _asking(self) -> Asking:
        return Asking(
            slices=self.data.slices,
            protocol=self.protocol,
            device=self.machine.device,
            threads=self.machine.threads,
            scan=entry_of(self.net.name).task == "scan",
        )

    def _judge_checkpoint(self, module: nn.Module, epoch: int, folder: Path) -> None:
        predictions = predict(module, self._asking(), self.fold.validation, self.number)
        save_predictions(folder / CHECKPOINTS / f"epoch-{epoch:04d}.npz", predictions)

    def _refit(self, answering: Answering, folder: Path) -> None:
        kept = load_tensors(folder / WEIGHTS, self.machine.device)
        if kept.get("refitted"):
            return
        refit_head(answering, self._asking(), self.fold.train, self.seed)
        save_tensors(folder / WEIGHTS, {**kept, "state": answering.net.state_dict(), "refitted": True})


def net_description(net: NetSpec, protocol: ExperimentProtocol, pictures: bool) -> dict[str, Any]:
    """What is needed to build a net again, as plain values."""
    return {
        "net": net.name,
        "options": dict(net.options),
        "in_channels": input_channels(protocol.input, pictures),
        "classes": 1 if protocol.classes == "binary" else 6,
    }


def built(description: dict[str, Any]) -> nn.Module:
    """A net with random weights."""
    return build_net(
        description["net"],
        description["options"],
        in_channels=description["in_channels"],
        classes=description["classes"],
    )


def load_net(path: Path, device: torch.device | None = None) -> Answering:
    """A trained net from ``weights.pt``, in evaluation mode.

    Raises
    ------
    ValueError
        The file holds none.
    """
    content = load_tensors(path, device or torch.device("cpu"))
    try:
        net = built(content)
        net.load_state_dict(content["state"])
    except (KeyError, RuntimeError) as exc:
        raise ValueError(f"{path} holds no net that this release can build") from exc
    net.to(device or torch.device("cpu"), memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Answering(net).eval()
