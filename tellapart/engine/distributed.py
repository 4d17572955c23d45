"""Data-parallel training on torch.distributed, launched by torchrun: columns and keys are gathered, rows stay local.

With W processes the loss of each is `sum over its rows * W / rows of all`, its columns are gathered with gradient, and
gradients are averaged: exactly the gradient of one process that had the whole batch, for any optimiser.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from tellapart.core.relation import Keys


def world() -> int:
    """How many processes train together; 1 outside torchrun."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if world() > 1 else 0


def join() -> None:
    """Join the processes that torchrun started (gloo on CPU, nccl on GPUs); nothing to do in a single process."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


class _GatherColumns(torch.autograd.Function):
    """All processes' rows, one after the other; backward sums what every process sent to ours."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(world())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad.chunk(world())[rank()]


def gather(x: Tensor) -> Tensor:
    """[n, ...] of every process -> [W n, ...], with gradient to each process's own part. All n must be equal."""
    return x if world() == 1 else _GatherColumns.apply(x)  # type: ignore[no-untyped-call]


def gather_keys(keys: Keys) -> Keys:
    """The keys of all processes' rows, in the order of `gather`."""
    return keys if world() == 1 else Keys(*(gather(getattr(keys, f)) for f in ("item", "group", "target")))


def total(count: Tensor) -> Tensor:
    """The sum of a number over all processes, without gradient."""
    count = count.detach().clone()
    if world() > 1:
        dist.all_reduce(count)
    return count


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes; all must hold the same parameters.

    A parameter that no process has a gradient for keeps none: the optimiser would let it decay otherwise.
    """
    if world() == 1:
        return
    held = [p for p in parameters if p.requires_grad]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in held])
    dist.all_reduce(flat)
    flat /= world()
    moved = total(torch.tensor([p.grad is not None for p in held], dtype=torch.int64, device=flat.device))
    for p, piece, some in zip(held, flat.split([p.numel() for p in held]), moved.tolist(), strict=True):
        p.grad = piece.view_as(p).clone() if some else None


def from_first(batches: list[np.ndarray]) -> list[np.ndarray]:
    """The int64 arrays that the first process holds, on every process."""
    if world() == 1:
        return batches
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    count = torch.tensor([len(batches)], device=device)
    dist.broadcast(count, 0)
    if not int(count):
        return []
    lengths = torch.tensor([len(rows) for rows in batches] or [0] * int(count), dtype=torch.int64, device=device)
    dist.broadcast(lengths, 0)
    flat = torch.zeros(int(lengths.sum()), dtype=torch.int64, device=device)
    if rank() == 0:
        flat.copy_(torch.from_numpy(np.concatenate(batches)))
    dist.broadcast(flat, 0)
    return [rows.cpu().numpy() for rows in flat.split(lengths.tolist())]


def same_everywhere(value: int) -> bool:
    """Whether all processes hold the same whole number."""
    if world() == 1:
        return True
    pair = torch.tensor([value, -value])
    dist.all_reduce(pair, op=dist.ReduceOp.MAX)
    return bool(pair[0] == -pair[1])
