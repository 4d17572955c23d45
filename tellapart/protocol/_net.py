"""A small network whose hidden layers are scored, and what attacks it: part of the protocol `score`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.core.parts import make
from tellapart.protocol._sets import Labelled
from tellapart.protocol._unknown import auroc, fpr95, tuned

WIDTHS = (256, 128)
EPOCHS = 30
ATTACK = 0.15
NUDGES = (0.0, 0.002, 0.01, 0.05)


class Net(nn.Module):
    """Two hidden layers and a linear classifier."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(dim, WIDTHS[0]), nn.Linear(WIDTHS[0], WIDTHS[1])
        self.last = nn.Linear(WIDTHS[1], classes)

    def layers(self, x: Tensor) -> list[Tensor]:
        """The hidden layers, first to last."""
        one = torch.relu(self.first(x))
        return [one, torch.relu(self.second(one))]

    def forward(self, x: Tensor) -> Tensor:
        """[n, classes] logits."""
        return self.last(self.layers(x)[-1])


def trained(x: np.ndarray, codes: np.ndarray, seed: int) -> Net:
    """The network after `EPOCHS` of Adam on the cross entropy."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Net(x.shape[1], int(codes.max()) + 1)
        optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
        inputs, labels = torch.from_numpy(x), torch.from_numpy(codes)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(x)).split(64):
                optimiser.zero_grad()
                nn.functional.cross_entropy(net(inputs[rows]), labels[rows]).backward()
                optimiser.step()
    return net.eval()


def layers(net: Net, x: np.ndarray) -> list[np.ndarray]:
    """Hidden layers of numpy items, [n, width] each."""
    with torch.no_grad():
        return [z.numpy() for z in net.layers(torch.from_numpy(x))]


def attacked(net: Net, x: np.ndarray, codes: np.ndarray, size: float = ATTACK) -> np.ndarray:
    """The fast gradient sign method: one step of `size` that raises the loss, kept within the pixels' range."""
    inputs = torch.from_numpy(x).requires_grad_()
    nn.functional.cross_entropy(net(inputs), torch.from_numpy(codes), reduction="sum").backward()
    assert inputs.grad is not None
    return (inputs.detach() + size * inputs.grad.sign()).clamp(0, 1).numpy()


def nudged(net: Net, score: Any, x: np.ndarray, size: float) -> np.ndarray:
    """The input moved by `size` along the sign of the gradient that lowers the score (the paper's pre-processing)."""
    inputs = torch.from_numpy(x).requires_grad_()
    hidden = net.layers(inputs)
    gradients = score.gradient([z.detach().numpy() for z in hidden])
    torch.autograd.backward(hidden, [torch.from_numpy(g).to(z.dtype) for g, z in zip(gradients, hidden, strict=True)])
    assert inputs.grad is not None
    return (inputs.detach() - size * inputs.grad.sign()).clamp(0, 1).numpy()


def compare(
    spec: dict[str, Any], train: Labelled, validation: Labelled, test: Labelled, tune: tuple, probe: tuple, seed: int
) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, part)} on the network's layers: unknown classes, then attacked items."""
    classes, codes = np.unique(train.y, return_inverse=True)
    net = trained(train.x, codes.astype(np.int64), seed)
    x = layers(net, train.x)
    grids = spec["options"].get("baseline_grid", {}), spec["options"].get("part_grid", {})
    found: dict[str, tuple[float, float]] = {}
    for what, (tune_x, probe_x) in {
        "unknown classes": (tune, probe),
        "attacked items": tuple(
            (kept.x, attacked(net, kept.x, np.searchsorted(classes, kept.y))) for kept in (validation, test)
        ),
    }.items():
        inner, outer = ([layers(net, items) for items in pair] for pair in (tune_x, probe_x))
        last_inner, last_outer = ([z[-1] for z in pair] for pair in (inner, outer))
        base = tuned(spec["baseline"], grids[0], x[-1], train.y, tuple(last_inner), seed)
        measured = [base.score(z) for z in last_outer]
        last = tuned(spec["part"], grids[1], x[-1], train.y, tuple(last_inner), seed)
        # Layers are weighed on one half of the validation items and options chosen on the other.
        fold = [[[z[i::2] for z in pair] for pair in inner] for i in (0, 1)]
        every = tuned(spec["part"], grids[1], x, train.y, tuple(fold[1]), seed, validation=tuple(fold[0]))
        results = {"last layer": [last.score(z) for z in last_outer], "all layers": [every.score(z) for z in outer]}
        size = max(NUDGES, key=lambda s: auroc(*(every.score(layers(net, nudged(net, every, p, s))) for p in tune_x)))
        results["all layers, nudged"] = [every.score(layers(net, nudged(net, every, p, size))) for p in probe_x]
        for name, scores in results.items():
            found[f"auroc, net, {what}, {name}"] = auroc(*measured), auroc(*scores)
        found[f"fpr95, net, {what}, all layers"] = fpr95(*measured), fpr95(*results["all layers"])
        plain = _nearest(x[-1], train.y, last_outer)
        found[f"auroc, net, {what}, last layer, against Euclidean means"] = auroc(*plain), auroc(*results["last layer"])
    return found


def _nearest(x: np.ndarray, y: np.ndarray, probe: list[np.ndarray]) -> list[np.ndarray]:
    """Distance to the nearest Euclidean class mean."""
    means = make("classify", "nearest-mean").fit(x, y).means_
    return [np.sqrt(((z[:, None] - means) ** 2).sum(axis=2)).min(axis=1) for z in probe]
