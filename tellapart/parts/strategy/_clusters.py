"""Clusters of vectors that change while they are in use: started by splitting, kept from emptying."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 20


def spread(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """([n] labels, [count, d] means) of clusters of [n, d] vectors: the largest is halved until there are enough."""
    labels = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    centroids = x.new_zeros(count, x.shape[1])
    tidied(x, labels, centroids, 1)
    for _ in range(ROUNDS):
        centroids = means(x, labels, centroids)
        moved = torch.cdist(x, centroids).argmin(1)
        if torch.equal(moved, labels):
            break
        labels = moved
        tidied(x, labels, centroids, 1)
    return labels, means(x, labels, centroids)


def means(x: Tensor, labels: Tensor, old: Tensor) -> Tensor:
    """[c, d] means of the members; a cluster without any keeps its old one."""
    count = torch.bincount(labels, minlength=len(old))[:, None]
    total = torch.zeros_like(old).index_add(0, labels, x)
    return torch.where(count > 0, total / count.clamp_min(1), old)


def tidied(x: Tensor, labels: Tensor, centroids: Tensor, least: int) -> None:
    """Dissolve clusters of fewer than `least` members, and give each half of what is the largest then, in place."""
    small = torch.bincount(labels, minlength=len(centroids)) < least
    if not small.any() or small.all():
        return
    moving, left = small[labels], (~small).nonzero()[:, 0]
    labels[moving] = left[(x[moving] @ centroids[left].T).argmax(1)]
    for empty in small.nonzero()[:, 0]:
        largest = torch.bincount(labels, minlength=len(centroids)).argmax()
        members = (labels == largest).nonzero()[:, 0]
        labels[members[_half(x[members])]] = empty
        for cluster in (largest, empty):
            centroids[cluster] = x[labels == cluster].mean(0)


def _half(x: Tensor) -> Tensor:
    """[n] bool, n >= 2: one side of 2-means, started from the vector farthest from the mean and its opposite."""
    first = x[torch.cdist(x.mean(0, keepdim=True), x).argmax()]
    ends = torch.stack([first, x[torch.cdist(first[None], x).argmax()]])
    side = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for _ in range(ROUNDS):
        before, side = side, torch.cdist(x, ends).argmin(1).bool()
        if side.all() or not side.any():
            return torch.arange(len(x), device=x.device) >= len(x) // 2
        if torch.equal(before, side):
            break
        ends = torch.stack([x[~side].mean(0), x[side].mean(0)])
    return side
