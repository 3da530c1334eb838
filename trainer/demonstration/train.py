"""Both nets learn side by side from one stream of made heads; stopped, they go on where they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from trainer.demonstration.fitting import LOSSES, Fitted, Fitting, Pool
from trainer.demonstration.protocol import FitSpec, Protocol
from trainer.demonstration.stream import blocks
from trainer.demonstration.taught import begun
from trainer.nets.registry import build_net
from trainer.tell import Tell
from triage.inference.preprocess import Reads, channels_of


@dataclass(frozen=True, slots=True)
class Machine:
    """Where training runs: ``device`` of the nets, torch's threads, and processes that make heads."""

    workers: int = 1
    threads: int = 1
    device: str = "cpu"


def train_nets(
    plan: Protocol, out: Path, anatomy: Path | None, machine: Machine, tell: Tell, begin_from: Path | None = None
) -> None:
    """Train both nets on the stream of made stacks and keep them under ``out/nets``.

    After each block everything but the blocks is kept in ``out/state.pt``. Given the same ``out`` again, training makes
    the blocks again that were in memory and goes on to the very nets that an unbroken one ends with.

    Parameters
    ----------
    begin_from : Path, optional
        Folder of the bundle whose nets are taught further; it must be the one that the protocol names.

    Raises
    ------
    ValueError
        ``out`` holds the training of another protocol or of other heads, a net cannot be trained here, there is no
        such device, or the bundle to begin from is missing or another.
    """
    for spec in (plan.slice_classifier, plan.munet):
        if spec.architecture not in LOSSES:
            raise ValueError(f"{spec.architecture} cannot be trained on made heads; {', '.join(LOSSES)} can")
    if machine.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("there is no GPU that torch can use; leave out --device cuda")
    torch.set_num_threads(machine.threads)
    fittings = {
        "slice_classifier": Fitting(plan.slice_classifier, plan, machine.device),
        "munet": Fitting(plan.munet, plan, machine.device),
    }
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "state.pt"
    if kept.is_file():
        done = _resumed(fittings, kept, plan, anatomy)
    else:
        done = 0
        for role, state in begun(plan, begin_from).items():
            fittings[role].begin(state)
    lost = min(done, plan.data.kept - 1) if done < plan.data.blocks else 0  # in memory when the training was stopped
    pool = Pool(plan.data.kept)
    stream = blocks(plan.data, plan.seed, anatomy, plan.preprocessing, machine.workers, done - lost)
    for number, block in enumerate(stream, start=done - lost + 1):
        pool.add(block)
        if number <= done:
            tell(f"block {number} of {plan.data.blocks} made again")
            continue
        tell(f"block {number} of {plan.data.blocks}")
        for role, spec in (("slice_classifier", plan.slice_classifier), ("munet", plan.munet)):
            fittings[role].learn(pool, spec.steps // plan.data.blocks, tell)
        if template_alone(plan, anatomy) and number == plan.data.template_first:
            _save_nets(fittings, plan, out / "nets-template")  # before the block counts as done, or it could be missed
        _keep(fittings, kept, plan, anatomy, number)
    _save_nets(fittings, plan, out / "nets")


def _save_nets(fittings: Mapping[str, Fitting], plan: Protocol, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for role, spec in (("slice_classifier", plan.slice_classifier), ("munet", plan.munet)):
        save_net(fittings[role].fitted(), spec, folder / f"{role}.pt")


def _keep(fittings: Mapping[str, Fitting], path: Path, plan: Protocol, anatomy: Path | None, done: int) -> None:
    fresh = path.with_suffix(".new")
    nets = {role: fitting.state() for role, fitting in fittings.items()}
    kept = {"done": done, "training": _training(plan), "template": anatomy is not None, "nets": nets}
    torch.save(kept, fresh)
    fresh.replace(path)


def _resumed(fittings: Mapping[str, Fitting], path: Path, plan: Protocol, anatomy: Path | None) -> int:
    """Load what `_keep` wrote and return how many blocks are done."""
    kept = _loaded(path, ("done", "training", "nets"))
    if kept["training"] != _training(plan):
        raise ValueError(f"{path.parent} holds the training of another protocol; choose another folder")
    if kept.get("template", anatomy is not None) is not (anatomy is not None):
        raise ValueError(f"{path.parent} was begun {'without' if anatomy else 'with'} --anatomy; go on as it was begun")
    for role, fitting in fittings.items():
        fitting.resume(kept["nets"][role])
    return int(kept["done"])


def _training(plan: Protocol) -> str:
    """What the weights depend on, as text."""
    parts = (plan.seed, plan.data, plan.augment, plan.augment_late, plan.late_from, plan.precision, plan.begins_from)
    return repr((*parts, plan.slice_classifier, plan.munet, plan.preprocessing))


def template_alone(plan: Protocol, anatomy: Path | None) -> bool:
    """Whether the first blocks are of the template alone, and what they taught becomes a bundle of its own."""
    return plan.data.template_first > 0 and anatomy is not None


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNet:
    """A net in evaluation mode, the name of what it is, and what it is shown."""

    net: torch.nn.Module
    architecture: str
    reads: Reads


def save_net(fitted: Fitted, spec: FitSpec, path: Path) -> None:
    """Keep a net as plain tensors with the words that build it; no code is pickled."""
    words = {"architecture": spec.architecture, "options": spec.options, "reads": spec.reads}
    torch.save({**words, "state": fitted.net.state_dict()}, path)


def load_net(path: Path) -> TrainedNet:
    """Read what `save_net` wrote.

    Raises
    ------
    ValueError
        The file holds no such net.
    """
    kept = _loaded(path, ("architecture", "options", "reads", "state"))
    net = build_net(kept["architecture"], kept["options"], in_channels=channels_of(kept["reads"]))
    net.load_state_dict(kept["state"])
    return TrainedNet(net.eval(), kept["architecture"], kept["reads"])


def _loaded(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """What ``torch.save`` wrote under these keys; plain values and tensors alone."""
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, EOFError, RuntimeError) as exc:
        raise ValueError(f"{path} was not written by trainer train, or is damaged") from exc
    if not isinstance(kept, dict) or any(key not in kept for key in keys):
        raise ValueError(f"{path} does not hold what trainer train keeps in such a file: {', '.join(keys)}")
    return kept
