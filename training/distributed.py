"""The processes of a run: one alone, or several that torchrun started, by the same code.

    with join_world("auto") as world:
        rows_of_all = world.all_gather_objects(my_rows)
        total, games = world.all_reduce_sum([loss, len(my_rows)])
        if world.is_main: ...

A process alone needs no process group: each call gives back what it was given. All ranks make the same calls in the same order; a
rank that raises ends its process, and torchrun ends the others.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

T = TypeVar("T")

CPU = torch.device("cpu")
PATIENCE = timedelta(hours=6)  # of a rank that waits for the others: games of a step may take long


@dataclass(frozen=True, slots=True)
class World:
    """Where this process stands.

    Args:
        rank: from 0 on, over all machines.
        size: processes.
        device: where this process computes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def all_gather_objects(self, value: T) -> list[T]:
        """What each rank gave, by rank, on every rank; anything that can be pickled."""
        if self.size == 1:
            return [value]
        gathered: list[T] = [value] * self.size
        distributed.all_gather_object(gathered, value)
        return gathered

    def broadcast_object(self, value: T, source: int = 0) -> T:
        """What rank `source` gave; what the others give is not read."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=source)
        return box[0]

    def all_reduce_sum(self, values: Sequence[float]) -> list[float]:
        """Sums over ranks of each value, in double precision and in the order of ranks: the same to the bit on every rank."""
        return [sum(column) for column in zip(*self._gathered(values), strict=True)]

    def all_reduce_max(self, values: Sequence[float]) -> list[float]:
        """The largest over ranks of each value."""
        return [max(column) for column in zip(*self._gathered(values), strict=True)]

    def _gathered(self, values: Sequence[float]) -> list[list[float]]:
        if self.size == 1:
            return [[float(value) for value in values]]
        own = torch.tensor(values, dtype=torch.float64)
        gathered = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(gathered, own)
        return [tensor.tolist() for tensor in gathered]

    def barrier(self) -> None:
        """Waits until every rank is here."""
        if self.size > 1:
            self.all_reduce_sum([0.0])


ALONE = World()
"""One process on the CPU."""


@contextmanager
def join_world(device: str = "auto") -> Iterator[World]:
    """This process's place among those that torchrun started (RANK, WORLD_SIZE, LOCAL_RANK in the environment); alone without it.

    Tensors on a GPU go by nccl, all else by gloo.

    Args:
        device: "cpu"; "cuda" for the GPU of this process's number on its machine; "auto" for that if there are GPUs.

    Raises:
        ValueError: if there is no such GPU.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    own = device_of(device, int(os.environ.get("LOCAL_RANK", "0")))
    if own.type == "cuda":
        torch.cuda.set_device(own)
    if size == 1:
        yield World(rank, size, own)
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield World(rank, size, own)
    finally:
        distributed.destroy_process_group()


def device_of(name: str, local_rank: int = 0) -> torch.device:
    """What a process of a machine computes on, see `join_world`."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device={name!r} is not one of 'auto', 'cpu', 'cuda'")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not found):
        return CPU
    if not found:
        raise ValueError("device='cuda', but torch sees no GPU here; say device='cpu', or install torch's build for CUDA")
    if local_rank >= found:
        raise ValueError(
            f"process {local_rank} of this machine has no GPU: there are {found}; run torchrun --nproc-per-node {found}"
        )
    return torch.device("cuda", local_rank)
