"""Both losses one pair at a time and Adam by hand, from the part's own start; then the whole map at a fitted part."""

from __future__ import annotations

import math

import numpy as np
import torch

CASES: list[dict] = [
    {},
    {"epochs": 4, "tuning_epochs": 3, "hidden": 5, "rank": 2},
    {"epochs": 5, "tuning_epochs": 4, "hidden": 3, "rank": 1, "temperature": 0.5, "weight": 0.2, "learning_rate": 0.02},
    {"epochs": 3, "tuning_epochs": 0, "hidden": 4, "weight": 0.0},
]
PHI = ("skip", "bias", "inner", "inner_bias", "outer")


def unit(x):
    return [v / torch.sqrt(sum(w * w for w in v)) for v in x]


def phi(held, x):
    """S x + B relu(A x + a) + b of one vector."""
    inner = [torch.clamp(sum(a * v for a, v in zip(row, x, strict=True)) + b, min=0)
             for row, b in zip(held["inner"], held["inner_bias"], strict=True)]  # fmt: skip
    out = []
    for i in range(len(held["skip"])):
        through = sum(s * v for s, v in zip(held["skip"][i], x, strict=True))
        around = sum(o * v for o, v in zip(held["outer"][i], inner, strict=True))
        out.append(through + around + held["bias"][i])
    return torch.stack(out)


def added(held, side, x):
    low = [sum(a * v for a, v in zip(row, x, strict=True)) for row in held[f"{side}_low"]]
    return torch.stack([x[i] + sum(h * v for h, v in zip(row, low, strict=True))
                        for i, row in enumerate(held[f"{side}_high"])])  # fmt: skip


def contrast(a, b, temperature, same):
    """Mean cross entropy both ways, where `same(i, j)` are no negatives."""
    total = 0.0
    for one, other in ((a, b), (b, a)):
        for i in range(len(one)):
            right = torch.exp((one[i] @ other[i]) / temperature)
            wrong = sum(
                torch.exp((one[i] @ other[j]) / temperature) for j in range(len(one)) if j != i and not same(i, j)
            )
            total = total - torch.log(right / (right + wrong)) / len(one)
    return total / 2


def descend(held, names, loss, epochs, rate):
    """Adam as it was published, the rate along half a cosine."""
    first = {n: torch.zeros_like(held[n]) for n in names}
    second = {n: torch.zeros_like(held[n]) for n in names}
    for t in range(epochs):
        for n in names:
            held[n] = held[n].detach().requires_grad_(True)
        gradients = torch.autograd.grad(loss(), [held[n] for n in names], allow_unused=True)
        now = rate * (1 + math.cos(math.pi * t / epochs)) / 2
        for n, g in zip(names, gradients, strict=True):
            g = torch.zeros_like(held[n]) if g is None else g
            first[n] = 0.9 * first[n] + 0.1 * g
            second[n] = 0.999 * second[n] + 0.001 * g * g
            m, v = first[n] / (1 - 0.9 ** (t + 1)), second[n] / (1 - 0.999 ** (t + 1))
            held[n] = (held[n] - now * m / (torch.sqrt(v) + 1e-8)).detach()


def check(build, options):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 3))
    y[4] = 2 * y[1]  # one text twice: no negative of itself
    q, d = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    d[3] = d[0]
    if not options:
        whole(build, x, y, q, d)
        return
    start = build(**{**options, "epochs": 0, "tuning_epochs": 0}).fit(x, y, pairs=(q, d), seed=7)
    part = build(**options).fit(x, y, pairs=(q, d), seed=7)
    held = {n[:-1]: torch.from_numpy(v).double() for n, v in vars(start).items() if n.endswith("_")}
    given = build(**options)
    texts, targets, queries, documents = (unit(torch.from_numpy(v)) for v in (x, y, q, d))
    temperature = given.temperature

    def stage_1():
        z = unit([phi(held, t) for t in texts])
        distance = sum(((a - b) ** 2).sum() for a, b in zip(z, targets, strict=True)) / len(z)
        pair = {(1, 4), (4, 1)}
        return distance + given.weight * contrast(z, targets, temperature, lambda i, j: (i, j) in pair)

    def stage_2():
        u = unit([phi(held, added(held, "query", v)) for v in queries])
        v = unit([phi(held, added(held, "document", w)) for w in documents])
        return contrast(u, v, temperature, lambda i, j: {i, j} == {0, 3})

    descend(held, PHI, stage_1, given.epochs, given.learning_rate)
    if given.tuning_epochs:
        descend(held, list(held), stage_2, given.tuning_epochs, given.learning_rate / 10)
    for name, wanted in held.items():
        assert np.allclose(getattr(part, f"{name}_"), wanted.numpy(), atol=2e-4), name
    mapped(part, held, q, d)


def whole(build, x, y, q, d):
    """At its own number of steps the map is that of its tensors, texts lie on their old vectors and pairs together."""
    part = build().fit(x, y, pairs=(q, d))
    held = {n[:-1]: torch.from_numpy(v).double() for n, v in vars(part).items() if n.endswith("_")}
    mapped(part, held, q[:2], d[:2])
    alone = build().fit(x, y)
    goal = y / np.linalg.norm(y, axis=1, keepdims=True)
    assert (alone.transform(x) * goal).sum(1).mean() > 0.8
    before, after = ((one.transform(q) * one.transform(d, side="document")).sum(1).mean() for one in (alone, part))
    assert after > before


def mapped(part, held, q, d):
    for side, rows in (("query", q), ("document", d)):
        found = part.transform(rows, side=side)
        for row, got in zip(unit(torch.from_numpy(rows)), found, strict=True):
            (wanted,) = unit([phi(held, added(held, side, row))])
            assert np.allclose(got, wanted.numpy(), atol=1e-3)
