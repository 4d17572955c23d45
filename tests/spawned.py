"""Functions of a test's module, run by several processes at once."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch.multiprocessing import start_processes

WORLD = 2
# what takes long to import; the processes of all tests are forked from one that has it
HELD = ["torch", "tellapart.contract.strategy", "tellapart.engine.fit"]


def together(function: Callable[..., None], world: int, *args: Any) -> None:
    """`function(rank, *args)` in so many processes, which find each other on this machine; it fails if one does."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    multiprocessing.get_context("forkserver").set_forkserver_preload(HELD)
    start_processes(function, args, nprocs=world, start_method="forkserver")


def by_two(function: Callable[[], Any], folder: Path) -> list[Any]:
    """What the function gives in each of two processes that share a batch: tensors, in lists or dicts."""
    together(_process, WORLD, function, str(folder))
    return [torch.load(folder / f"found{rank}.pt", weights_only=True) for rank in range(WORLD)]


def _process(rank: int, function: Callable[[], Any], folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    torch.save(function(), f"{folder}/found{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
