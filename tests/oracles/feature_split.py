"""The same network by torch's own gradients and Adam, with the exclusive items told apart one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tellapart.core.errors import DataError

CASES: list[dict] = [
    {},
    {"steps": 25, "hidden": 8},
    {"steps": 20, "hidden": 10, "split": 0.3, "weigh": False, "learning_rate": 0.05, "decay": 0.5},
    {"steps": 20, "hidden": 6, "split": 0.0},
    {"steps": 15, "hidden": 6, "pairs": 0},
]


def world(seed, n=200):
    """Tag b stands with c in nine of ten, and is hard to see; c is easy; d stands by itself."""
    rng = np.random.default_rng(seed)
    b = rng.random(n) < 0.4
    c = np.where(b, rng.random(n) < 0.85, rng.random(n) < 0.15)
    d = rng.random(n) < 0.5
    has = np.stack([b, c, d], axis=1)
    x = rng.normal(size=(n, 7))
    x[:, :3] += has * np.array([0.8, 3.0, 2.0])
    y = np.array(["|".join(np.array(["b", "c", "d"])[row]) or "none" for row in has])
    return x, y, b


def check(build, options):
    x, y, b = world(0)
    part = build(**options).fit(x, y)
    assert part.tags_ == ["b", "c", "d", "none"]
    if options.get("pairs", 20):
        assert (0, 1) in part.biased_, "b is told by c"
    else:
        assert part.biased_ == []
    has = np.array([[t in one.split("|") for t in part.tags_] for one in y], float)
    lone, weight = set(), np.ones(has.shape)
    for i in range(len(x)):
        for one, other in part.biased_:
            if has[i, one] and not has[i, other]:
                lone.add(i)
                if options.get("weigh", True):
                    both = sum(has[j, one] and has[j, other] for j in range(len(x)))
                    apart = sum(has[j, one] and not has[j, other] for j in range(len(x)))
                    weight[i, one] = max(1.0, (both / apart) ** 0.5)
    hidden, split = options.get("hidden", 64), options.get("split", 0.5)
    lone = sorted(lone) if split else []
    rest = [i for i in range(len(x)) if i not in set(lone)]
    z = torch.tensor((x - x.mean(axis=0)) / np.sqrt(x.var(axis=0).mean()))
    rng, cut = np.random.default_rng(0), hidden - int(split * hidden)
    a = torch.tensor(rng.normal(size=(7, hidden)) / 7**0.5, requires_grad=True)
    w = torch.tensor(rng.normal(size=(hidden, 4)) / hidden**0.5, requires_grad=True)
    a0, w0 = torch.zeros(hidden, dtype=torch.float64, requires_grad=True), torch.zeros(4, dtype=torch.float64)
    w0.requires_grad_()
    adam = torch.optim.Adam([a, a0, w, w0], lr=options.get("learning_rate", 0.01), eps=1e-8)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    for _ in range(options.get("steps", 200)):
        adam.zero_grad()
        h = torch.relu(z @ a + a0)
        loss = torch.zeros(())
        if rest:
            loss = loss + bce(h[rest] @ w + w0, torch.tensor(has[rest]), weight=torch.tensor(weight[rest]))
        if lone:
            context = (h[rest, cut:].mean(dim=0) @ w[cut:]).detach()
            logits = h[lone, :cut] @ w[:cut] + context + w0
            loss = loss + bce(logits, torch.tensor(has[lone]), weight=torch.tensor(weight[lone]))
        decay = options.get("decay", 0.1)
        loss = loss + decay / 2 * ((a**2).sum() / len(a) + (w**2).sum() / len(w))
        loss.backward()
        adam.step()
    with torch.no_grad():
        want = torch.sigmoid(torch.relu(z @ a + a0) @ w + w0).numpy()
    assert part.tag_proba(x) == pytest.approx(want, abs=1e-6)
    chance = {}
    for label in sorted(set(y)):
        tags = label.split("|")
        chance[label] = np.prod([want[0, t] if name in tags else 1 - want[0, t] for t, name in enumerate(part.tags_)])
    for name, p in zip(part.classes_, part.predict_proba(x)[0], strict=True):
        assert p == pytest.approx(chance[name] / sum(chance.values()), abs=1e-5)
    with pytest.raises(DataError):
        build(**options).fit(x, np.where(b, "one", "one"))
