"""What a trained net costs on the machine at hand."""

from __future__ import annotations

import platform
import time
from pathlib import Path

import torch

from trainer.experiment.checkpoint import WEIGHTS, read_history
from trainer.experiment.fold_training import Machine, load_net
from trainer.experiment.inputs import input_channels
from trainer.experiment.run_folder import Run
from trainer.nets.cost import cost_of
from trainer.nets.registry import entry_of
from trainer.reports.content import Cost

_TIMES = 3
_SCAN = 8
"""Slices of the scan that a net is timed on which reads scans; others see one slice at a time."""


def measured_cost(run: Run, net: str, pictures: bool, machine: Machine) -> Cost:
    """Parameters, arithmetic, time forward of the first fold's net, and seconds that all folds trained."""
    spec, protocol = run.nets[net], run.protocol
    counted = cost_of(
        spec.name,
        spec.options,
        in_channels=input_channels(protocol.input, pictures),
        classes=1 if protocol.classes == "binary" else 6,
        size=protocol.input.size,
    )
    folds = run.finished_folds(net)
    histories = [read_history(run.fold_folder(net, fold)) for fold in folds]
    slices = _SCAN if entry_of(spec.name).task == "scan" else 1
    image = torch.zeros(slices, counted.in_channels, counted.size, counted.size, device=machine.device)
    module = load_net(run.fold_folder(net, folds[0]) / WEIGHTS, machine.device)
    return Cost(
        parameters=counted.parameters,
        gflop_per_slice=counted.gflop,
        ms_per_slice=1000.0 * _seconds(module, image, machine.device) / slices,
        training_seconds=sum(float(entry["seconds"]) for history in histories for entry in history),
        machine=f"{machine_name(machine.device)}, {'scans of 8 slices' if slices > 1 else 'one slice at a time'}",
    )


def machine_name(device: torch.device) -> str:
    """The processor and how many threads, or the GPU."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} {'thread' if threads == 1 else 'threads'}"


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        for line in listed.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _seconds(module: torch.nn.Module, image: torch.Tensor, device: torch.device) -> float:
    """The middle one of a few passes, after one that warms up."""
    taken: list[float] = []
    for _ in range(_TIMES + 1):
        began = time.perf_counter()
        with torch.inference_mode():
            module(image)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - began)
    return sorted(taken[1:])[_TIMES // 2]
