"""Matching of gradients by automatic differentiation of a plain network, class by class or of the sum."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import cross_entropy

CASES: list[dict] = [
    {},
    {"networks": 2, "rounds": 3, "warmup": 0.5, "rate": 0.7, "hidden": 5, "batch": 4},
    {"networks": 2, "rounds": 2, "warmup": 1.0, "hidden": 4, "batch": 30},
    {"networks": 1, "rounds": 4, "warmup": 0.0, "rate": 2.0, "hidden": 6},
]


def check(build, options):
    given = options
    rng = np.random.default_rng(1)
    x = rng.normal(size=(24, 6)).astype(np.float32) * 3 + 1
    y = np.array(["pear", "fig", "apple"])[np.arange(24) % 3]
    found = build(**given)(x, y, 7, seed=4)
    wanted, labels = plain(x.astype(np.float64), y, 2, 4, **given)
    assert found.y.tolist() == labels and found.rows is None
    assert np.allclose(found.x, wanted, atol=1e-3), np.abs(found.x - wanted).max()
    drawn = plain(x.astype(np.float64), y, 2, 4, **(given | {"networks": 0}))[0]
    assert np.abs(found.x - drawn).max() > 0.01


def plain(x, y, each, seed, *, networks=40, rounds=5, warmup=0.25, rate=1.0, hidden=64, batch=64):
    draw, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    names = sorted(set(y.tolist()))
    rows = [[i for i in range(len(y)) if y[i] == name] for name in names]
    middle, width = x.mean(), x.std()
    real = torch.tensor((x - middle) / width)

    def some(count):
        return [[int(i) for i in rng.choice(r, count, replace=len(r) < count)] for r in rows]

    made = [real[chosen].clone() for chosen in some(each)]
    speed = [torch.zeros_like(m) for m in made]
    for number in range(networks):
        weights = [
            torch.randn(hidden, x.shape[1], generator=draw).double() * (2 / x.shape[1]) ** 0.5,
            torch.zeros(hidden).double(),
            torch.randn(len(names), hidden, generator=draw).double() * (2 / hidden) ** 0.5,
            torch.zeros(len(names)).double(),
        ]
        for _ in range(rounds):
            shown = [real[chosen] for chosen in some(batch)]
            made = [m.detach().requires_grad_(True) for m in made]
            a, b = ([of(weights, part, [c] * len(part)) for c, part in enumerate(side)] for side in (made, shown))
            if number >= warmup * networks:
                a, b = ([[sum(c[k] for c in side) / len(side) for k in range(4)]] for side in (a, b))
            loss = sum(apart(one[k], other[k]) for one, other in zip(a, b, strict=True) for k in (0, 2))
            slopes = torch.autograd.grad(loss, made)
            speed = [0.5 * s + g for s, g in zip(speed, slopes, strict=True)]
            made = [(m - rate * s).detach() for m, s in zip(made, speed, strict=True)]
            for _ in range(10):
                codes = [c for c, m in enumerate(made) for _ in m]
                steps = of(weights, torch.cat(made), codes)
                weights = [(w - 0.01 * g).detach() for w, g in zip(weights, steps, strict=True)]
    return torch.cat(made).detach().numpy() * width + middle, [n for n in names for _ in range(each)]


def of(weights, x, codes):
    """The gradient of the mean loss by the weights, which can be differentiated again."""
    held = [w.detach().requires_grad_(True) for w in weights]
    answers = torch.relu(x @ held[0].T + held[1]) @ held[2].T + held[3]
    return list(torch.autograd.grad(cross_entropy(answers, torch.tensor(codes)), held, create_graph=True))


def apart(one, other):
    """1 - cos of two gradients of a layer, the other one held."""
    a, b = one.flatten(), other.detach().flatten()
    return 1 - a @ b / (a.norm() * b.norm())
