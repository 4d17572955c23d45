"""How well scores of vectors find pictures that were attacked: moved a little so that a small network is wrong.

Every seed draws a training half, a validation and a test share of the pictures, as vectors of pixels in 0..1. Pixels
come in steps, on which attacked ones do not lie, so all are first spread evenly over their step. A network of two
hidden layers (`protocol._net`) learns the training half, and its validation and test pictures are attacked: by FGSM,
one step along the sign of the gradient, and by PGD, ten steps from a random start, none farther than a size from the
picture in any pixel. Pixels that never vary are left alone: one look at them would find the attack.

Scores are fitted on the training half. A contender chooses among its candidates by the mean AUROC of FGSM over the
sizes on validation; so PGD is unknown to all. The test is looked at once.

Metrics: `auroc, ATTACK SIZE` of the variant beside the baseline; `auroc, PGD, against NAME`, the mean over the sizes,
beside further contenders.

- variant: `eps-ad` with every number of levels of `levels`; `Gaussian alone` has no network;
- baseline, `norm of one score`: of the same fits, the length of the score at the first, middle or last level;
- `norm of EPS`: the length of the mean score;
- `mahalanobis-ood` and `knn` on pixels and on the network's last layer; `energy`, `max-softmax` of its logits.

Options (`[options]` of the spec):
    levels, sizes: ([5, 20, 50], [0.003, 0.01, 0.03]).
    items: pictures at most (2000).

Data: `digits` (8 pixels a side) and `fashion` (16).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make
from tellapart.protocol import _net, _sets
from tellapart.protocol._small_pictures import flat, pictures
from tellapart.protocol._unknown import auroc

KNOWN = ("levels", "sizes", "items")
STEPS = {"digits": 17, "fashion": 256}
PGD_STEPS = 10
GRIDS = (("mahalanobis-ood", "shrinkage", (1e-4, 0.01, 0.1)), ("knn", "k", (1, 5, 20)))

Score = Callable[[np.ndarray], np.ndarray]


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one data set and seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol attacks has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in STEPS:
        raise DataError(f"the protocol attacks knows {', '.join(STEPS)}, not {data!r}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 31]))
    x, y = spread(data, rng)
    order = rng.permutation(len(x))[: options.get("items", 2000)]
    train, tune, probe = np.split(order, [len(order) // 2, 3 * len(order) // 4])
    net = _net.trained(x[train], y[train], seed)
    moves, sizes = x[train].std(axis=0) > 0, options.get("sizes", [0.003, 0.01, 0.03])

    def fgsm(rows: np.ndarray, size: float) -> np.ndarray:
        return np.where(moves, _net.attacked(net, x[rows], y[rows], size), x[rows])

    weak = [fgsm(tune, size) for size in sizes]
    strong = [np.where(moves, pgd(net, x[probe], y[probe], size, seed), x[probe]) for size in sizes]
    attacks = {"FGSM": [fgsm(probe, size) for size in sizes], "PGD": strong}
    found: dict[str, dict[str, list[float]]] = {}
    for name, candidates in contenders(net, x[train], y[train], options.get("levels", [5, 20, 50])).items():
        best = max(candidates, key=lambda score: np.mean([auroc(score(x[tune]), score(moved)) for moved in weak]))
        known = best(x[probe])
        found[name] = {a: [auroc(known, best(moved)) for moved in those] for a, those in attacks.items()}
    ours, base = found.pop("eps-ad"), found.pop("norm of one score")
    figures = {f"auroc, {a} {size:g}": (base[a][at], ours[a][at]) for a in attacks for at, size in enumerate(sizes)}
    mean = {name: float(np.mean(values["PGD"])) for name, values in {**found, "": ours}.items()}
    return figures | {f"auroc, PGD, against {name}": (mean[name], mean[""]) for name in found}


def spread(data: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """[n, pixels] float32 and [n] int64 labels; every pixel anywhere within its step."""
    if data == "digits":
        known = _sets.load(data)
        x, y = known.x, known.y
    else:
        x, y = flat(pictures(data)[0]), pictures(data)[1]
    steps = STEPS[data]
    return ((x * (steps - 1) + rng.random(x.shape)) / steps).astype(np.float32), y.astype(np.int64)


def pgd(net: _net.Net, x: np.ndarray, y: np.ndarray, size: float, seed: int) -> np.ndarray:
    """Projected gradient steps of a quarter of the size, from anywhere within it, kept within it and the range."""
    draw, start, labels = torch.Generator().manual_seed(seed), torch.from_numpy(x), torch.from_numpy(y)
    moved = (start + size * (2 * torch.rand(start.shape, generator=draw) - 1)).clamp(0, 1)
    for _ in range(PGD_STEPS):
        moved.requires_grad_()
        loss = nn.functional.cross_entropy(net(moved), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, [moved])
        stepped = moved.detach() + size / 4 * gradient.sign()
        moved = torch.minimum(torch.maximum(stepped, start - size), start + size).clamp(0, 1)
    return moved.numpy()


def contenders(net: _net.Net, x: np.ndarray, y: np.ndarray, levels: list[int]) -> dict[str, list[Score]]:
    """By name, the candidates of each: what gives items [n, pixels] their scores [n], higher = more attacked."""

    def logits(items: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(net(torch.from_numpy(items)).double())

    def last(items: np.ndarray) -> np.ndarray:
        return _net.layers(net, items)[-1]

    def lengths(of: Callable[..., np.ndarray], *level: int) -> Score:
        return lambda items: np.linalg.norm(of(items, *level), axis=1)

    fitted = [make("score", "eps-ad", levels=count).fit(x) for count in levels]
    one = [lengths(part.perturbed, at) for part in fitted for at in {1, (part.levels + 1) // 2, part.levels}]
    made: dict[str, list[Score]] = {
        "eps-ad": [part.score for part in fitted],
        "norm of one score": one,
        "norm of EPS": [lengths(part.expected) for part in fitted],
        "the Gaussian alone": [make("score", "eps-ad", levels=count, steps=0).fit(x).score for count in levels],
        "energy": [lambda items: -np.logaddexp.reduce(logits(items), axis=1)],
        "max-softmax": [lambda items: -(logits(items).max(1) - np.logaddexp.reduce(logits(items), axis=1))],
    }
    for name, option, values in GRIDS:
        fits = [make("score", name, **{option: value}) for value in values]
        made[f"{name} on pixels"] = [part.fit(x, y).score for part in fits]
        above = [make("score", name, **{option: value}).fit(last(x), y) for value in values]
        made[f"{name} on the last layer"] = [functools.partial(_after, part.score, last) for part in above]
    return made


def _after(score: Score, layer: Callable[[np.ndarray], np.ndarray], items: np.ndarray) -> np.ndarray:
    return score(layer(items))
