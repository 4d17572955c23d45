"""The two trainings of `xbt`, in torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

SAME = 1 - 1e-6


def train(
    part: Any, x: np.ndarray, y: np.ndarray, pairs: tuple[np.ndarray, np.ndarray] | None, seed: int
) -> dict[str, np.ndarray]:
    """The tensors of phi and of both additions after both stages, float32, by name."""
    texts, targets = torch.from_numpy(x).float(), torch.from_numpy(y).float()
    held = _start(x.shape[1], y.shape[1], part.hidden, part.rank, torch.Generator().manual_seed(seed))

    def first(rows: Tensor) -> Tensor:
        z, t = normalize(_phi(held, texts[rows]), dim=1), targets[rows]
        apart = _both_ways(z, t, part.temperature, t @ t.T > SAME)
        return ((z - t) ** 2).sum(1).mean() + part.weight * apart

    _descend([held[name] for name in PHI], first, len(x), part.epochs, part.learning_rate, part.batch_size, seed)
    if pairs is not None:
        q, d = (torch.from_numpy(side).float() for side in pairs)

        def second(rows: Tensor) -> Tensor:
            u = normalize(_phi(held, _added(held, "query", q[rows])), dim=1)
            v = normalize(_phi(held, _added(held, "document", d[rows])), dim=1)
            same = (q[rows] @ q[rows].T > SAME) | (d[rows] @ d[rows].T > SAME)
            return _both_ways(u, v, part.temperature, same)

        rate = part.learning_rate / 10
        _descend(list(held.values()), second, len(q), part.tuning_epochs, rate, part.batch_size, seed + 1)
    return {name: value.detach().numpy().copy() for name, value in held.items()}


PHI = ("skip", "bias", "inner", "inner_bias", "outer")


def _start(width: int, dim: int, hidden: int, rank: int, rng: torch.Generator) -> dict[str, Tensor]:
    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng) / math.sqrt(shape[1])

    held = {
        "skip": drawn(dim, width), "bias": torch.zeros(dim), "inner": drawn(hidden, width),
        "inner_bias": torch.zeros(hidden), "outer": drawn(dim, hidden) / 10,
        "query_low": drawn(rank, width), "query_high": torch.zeros(width, rank),
        "document_low": drawn(rank, width), "document_high": torch.zeros(width, rank),
    }  # fmt: skip
    return {name: nn.Parameter(value) for name, value in held.items()}


def _phi(held: dict[str, Tensor], x: Tensor) -> Tensor:
    inner = torch.relu(x @ held["inner"].T + held["inner_bias"])
    return x @ held["skip"].T + inner @ held["outer"].T + held["bias"]


def _added(held: dict[str, Tensor], side: str, x: Tensor) -> Tensor:
    return x + x @ held[f"{side}_low"].T @ held[f"{side}_high"].T


def _both_ways(a: Tensor, b: Tensor, temperature: float, same: Tensor) -> Tensor:
    """Cross entropy of rows with their own columns, in both directions; the same item twice is no negative."""
    own = torch.eye(len(a), dtype=torch.bool)
    scores = (a @ b.T / temperature).masked_fill(same & ~own, -torch.inf)
    target = torch.arange(len(a))
    return (cross_entropy(scores, target) + cross_entropy(scores.T, target)) / 2


def _descend(
    held: list[Tensor], loss: Callable[[Tensor], Tensor], n: int, epochs: int, rate: float, size: int, seed: int
) -> None:
    """Adam over whole passes in an order drawn anew, the rate falling to 0 along a cosine."""
    if not epochs:
        return
    rng = torch.Generator().manual_seed(seed)
    pieces = max(1, round(n / size))
    optimiser = torch.optim.Adam(held, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * pieces)
    for _ in range(epochs):
        for rows in torch.randperm(n, generator=rng).tensor_split(pieces):
            optimiser.zero_grad()
            loss(rows).backward()
            optimiser.step()
            schedule.step()
