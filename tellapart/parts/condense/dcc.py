"""Few made items whose gradients point where those of all items do."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from tellapart.core.condensed import Condensed, counted
from tellapart.core.features import labels, matrix
from tellapart.core.parts import part

_MOMENTUM, _NETWORK_RATE, _NETWORK_STEPS, _LEAST = 0.5, 0.01, 10, 1e-12

Network = tuple[Tensor, Tensor, Tensor, Tensor]


@part(
    paper="Lee, Chun, Jung, Yun, Yoon: Dataset Condensation with Contrastive Signals, ICML 2022",
    place="curate",
    system="dcc",
    traits=("makes",),
    needs=("torch",),
    aliases=("dataset-condensation",),
)
def dcc(
    x: Any,
    y: Any,
    count: int,
    *,
    seed: int = 0,
    networks: Annotated[int, Field(ge=1, le=100_000)] = 40,
    rounds: Annotated[int, Field(ge=1, le=1000)] = 5,
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.25,
    rate: Annotated[float, Field(gt=0, le=1000)] = 1.0,
    hidden: Annotated[int, Field(ge=2, le=4096)] = 64,
    batch: Annotated[int, Field(ge=1, le=10_000)] = 64,
) -> Condensed:
    """Made items S on which a network's gradient, summed over the classes, is that of the items T.

    Formula, for `networks` random networks (one hidden layer, relu), each for `rounds` rounds:
        S <- S - rate grad_S D(sum_c grad L(S_c), sum_c grad L(T_c)), with momentum 0.5, then 10 steps of the network
        on S at a rate of 0.01; L cross-entropy, T_c a batch of `batch` of the class,
        D = sum over both layers of 1 - cos of the gradients of all its weights, biases left out.
    While the first `warmup` of the networks, classes are matched one by one, sum_c D(grad L(S_c), grad L(T_c)).
    S begins as items drawn from each class; x is brought to mean 0 and deviation 1, and back.

    Summed before they are matched, what all classes share cancels and what tells them apart stays; matched class by
    class (`warmup=1`, which is DC), the paper says, a background that is everywhere leads. The evidence here does not
    show it: DC does as well, and better where four fifths of a picture tell nothing; both teach more than random items,
    above all at one a class. Read in the authors' code: the sum, the momentum, no biases, and the warm-up of 250 of
    1,000 networks. Different from it: no convolutions, so that vectors and small pictures alike can be condensed,
    fewer networks and rounds, no augmentation, and the cosine. Theirs is taken unit by unit; where the gradient g of
    one unit nearly vanishes, its slope goes as 1/|g|, so that starts 1e-12 apart lie 1 apart after 30 rounds, in
    double precision too, and what comes out hangs on rounding. Cosines of whole layers have no such units: at the
    default rate the same two starts come nearer to each other. At rates too high for the data rounding decides again.

    Use it for a memory of a few items a class, with which a network can be trained again. Take vectors of a frozen
    encoder, or pictures below about 64 pixels a side, for which a `rate` of 3 to 10 did better in a first look. What
    is made is good for training only.

    Relations: `coverage` chooses among the items, which can still be looked at, labelled and searched.

    Args:
        x: [n, d] vectors. y: [n] labels of two classes or more.
        count: how many items in all; every class gets count / classes, rounded down.

    Raises `DataError` for values that are not finite, missing labels, one class, or a count below the number of classes
    or above that of the items.
    """
    x = matrix(x)
    classes, code = labels(y, len(x), least=2)
    each = counted(count, len(x), len(classes)) // len(classes)
    draw, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    middle, width = float(x.mean()), max(float(x.std()), 1e-12)
    real = torch.from_numpy(((x - middle) / width).astype(np.float32))
    members = [np.flatnonzero(code == c) for c in range(len(classes))]
    made = real[_drawn(members, each, rng)].clone()
    speed = torch.zeros_like(made)
    for number in range(networks):
        network = _network(draw, real.shape[1], hidden, len(classes))
        for _ in range(rounds):
            shown = real[_drawn(members, batch, rng)]
            made.requires_grad_(True)
            loss = _distance(network, made, shown, apart=number < warmup * networks)
            (gradient,) = torch.autograd.grad(loss, made)
            with torch.no_grad():
                speed = _MOMENTUM * speed + gradient
                made = made.detach() - rate * speed
                for _ in range(_NETWORK_STEPS):
                    network = _trained(network, made)
    found = (made.flatten(0, 1).numpy() * width + middle).astype(np.float32)
    return Condensed(found, np.repeat(classes, each), np.ones(len(found), np.float32))


def _drawn(members: list[np.ndarray], each: int, rng: np.random.Generator) -> Tensor:
    """[classes, each] rows of each class; some twice where there are fewer."""
    return torch.from_numpy(np.stack([rng.choice(rows, each, replace=len(rows) < each) for rows in members]))


def _network(draw: torch.Generator, width: int, hidden: int, classes: int) -> Network:
    first = torch.randn(hidden, width, generator=draw) * (2 / width) ** 0.5
    last = torch.randn(classes, hidden, generator=draw) * (2 / hidden) ** 0.5
    return first, torch.zeros(hidden), last, torch.zeros(classes)


def _gradients(network: Network, x: Tensor, y: Tensor) -> Network:
    """Of the mean cross-entropy of each of g groups, x [g, n, d] and y [g, n], by the weights and biases."""
    first, offset, last, bias = network
    h = torch.relu(x @ first.T + offset)
    error = (h @ last.T + bias).softmax(2) - torch.nn.functional.one_hot(y, len(last))
    back = (error @ last) * (h > 0)
    n = x.shape[1]
    return back.mT @ x / n, back.mean(1), error.mT @ h / n, error.mean(1)


def _distance(network: Network, made: Tensor, shown: Tensor, *, apart: bool) -> Tensor:
    """D between gradients on made and on shown items [classes, n, d], class by class or of all as one group."""
    found = []
    for x in (made, shown):
        y = torch.arange(len(x))[:, None].expand(x.shape[:2])
        groups = (x, y) if apart else (x.flatten(0, 1)[None], y.reshape(1, -1))
        found.append(_gradients(network, *groups))
    total = made.new_zeros(())
    for layer in (0, 2):
        a, b = (gradients[layer].flatten(1) for gradients in found)
        total = total + (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + _LEAST)).sum()
    return total


def _trained(network: Network, made: Tensor) -> Network:
    """One step of a network on the made items."""
    y = torch.arange(len(made)).repeat_interleave(made.shape[1])[None]
    steps = _gradients(network, made.flatten(0, 1)[None], y)
    first, offset, last, bias = (w - _NETWORK_RATE * g[0] for w, g in zip(network, steps, strict=True))
    return first, offset, last, bias
