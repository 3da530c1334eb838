"""One process per GPU, started by ``torchrun``; otherwise one process alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which of how many processes this is."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process judges, writes and tells."""
        return self.rank == 0

    def wrapped(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over all processes."""
        if self.world == 1:
            return module
        return DistributedDataParallel(module, find_unused_parameters=True)

    def same(self, value: T) -> T:
        """What the first process holds."""
        if self.world == 1:
            return value
        held: list[T] = [value]
        distributed.broadcast_object_list(held, src=0)
        return held[0]

    def same_buffers(self, module: nn.Module) -> None:
        """Running statistics of the first process, everywhere."""
        if self.world > 1:
            for buffer in module.buffers():
                distributed.broadcast(buffer, src=0)

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def joined_ranks(device: str) -> Iterator[tuple[Ranks, torch.device]]:
    """Join the processes that ``torchrun`` started, on the CPU by gloo and on GPUs by NCCL.

    Raises
    ------
    ValueError
        A GPU is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("there is no CUDA GPU here; use --device cpu")
    if not distributed.is_torchelastic_launched():
        yield Ranks(), torch.device(device)
        return
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        place = torch.device(device, distributed.get_node_local_rank()) if device == "cuda" else torch.device(device)
        if place.type == "cuda":
            torch.cuda.set_device(place)
        yield Ranks(distributed.get_rank(), distributed.get_world_size()), place
    finally:
        distributed.destroy_process_group()
