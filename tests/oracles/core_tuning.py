"""Oracle: mixtures, soft labels, both losses and their gradient by loops over items; and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, small_run
from tellapart.core.draws import RowDraws
from tellapart.core.errors import PartError
from tellapart.core.relation import Keys

CASES: list[dict] = [
    {},
    {"eta": 3.0, "alpha": 2.5, "least": 0.3, "temperature": 0.4, "projection": 7},
    {"least": 1.0},
    {"eta": 0.0},
]
SUPCON = 0.3
ORDER, NEGATIVE, POSITIVE = range(3)


def check(build, options: dict) -> None:
    for same_space in (False, True):
        run = small_run(objective=f"supcon(temperature={SUPCON})", same_space=same_space)
        if same_space:  # two items without a label, and a class of one
            target = run.data.keys.target.clone()
            target[:2], target[4] = -1, 77
            run.data = replace(run.data, keys=Keys(run.data.keys.item, run.data.keys.group, target))
        part = build(**options)
        part.begin(run)
        rows = np.unique(np.concatenate([[0, 1, 4, 5], *batches(run)[:2]]))
        losses = part.step(run, rows)
        assert list(losses) == ["classes", "contrast"]
        sides = ["query"] if same_space else ["query", "document"]
        wanted = _losses(run, part, rows, sides, options)
        assert losses["classes"].item() == pytest.approx(wanted[0].item(), rel=1e-4), (options, same_space)
        assert losses["contrast"].item() == pytest.approx(wanted[1].item(), rel=1e-4, abs=1e-7), (options, same_space)
        held = [run.towers[side].map.weight for side in sides] + [*part.parameters()]
        got = torch.autograd.grad(sum(losses.values()), held)
        again = torch.autograd.grad(sum(wanted), held)
        assert all(torch.allclose(a, b, rtol=2e-3, atol=1e-5) for a, b in zip(got, again, strict=True))
        assert all(p.grad is None for p in part.parameters())
        assert all(x.abs().max() < 1e3 for x in got), "a vector of no direction"
        if same_space:
            assert [loss.item() for loss in part.step(run, np.array([0, 1])).values()] == [0, 0], "nobody has a label"
    _refusals(build, options)


def _losses(run, part, rows, sides, options):
    eta, alpha, least = options.get("eta", 1.0), options.get("alpha", 1.0), options.get("least", 0.8)
    temperature = options.get("temperature", 0.1)
    keys = run.data.keys
    classes = sorted({t for t in keys.target.tolist() if t >= 0})
    z, item, group, label = [], [], [], []
    for side in sides:
        for vector, r in zip(run.encode(side, rows), rows.tolist(), strict=True):
            if keys.target[r] >= 0:
                z.append(vector)
                item.append(r if side == "query" else -1 - r)
                group.append(int(keys.group[r]))
                label.append(classes.index(int(keys.target[r])))
    m = len(z)
    draws = RowDraws(run.draw("core-tuning"), torch.tensor(item))
    places = draws.uniform(1, stream=ORDER)[:, 0].tolist()
    circle = sorted(range(m), key=lambda i: places[i])
    following = {i: circle[(at + 1) % m] for at, i in enumerate(circle)}
    a = draws.beta(alpha, 1, stream=NEGATIVE)[:, 0].tolist()
    b = draws.beta(alpha, 1, stream=POSITIVE)[:, 0].tolist()
    mixed = [(z[i], {label[i]: 1.0}) for i in range(m)]
    for i in range(m):
        j, share = following[i], max(a[i], least)
        mixed.append(((1 - share) * z[i] + share * z[j], _soft(label[i], 1 - share, label[j], share)))
    alike = (torch.stack(z) @ torch.stack(z).T).tolist()
    for i in range(m):
        mine = [j for j in range(m) if j != i and label[j] == label[i]]
        others = [j for j in range(m) if label[j] != label[i] and group[j] != group[i]]
        p = min(mine, key=lambda j: alike[i][j]) if mine else i
        n = max(others, key=lambda j: alike[i][j]) if others else i
        mixed.append((b[i] * z[p] + (1 - b[i]) * z[n], _soft(label[p], b[i], label[n], 1 - b[i])))
    classified = 0.0
    for x, soft in mixed:
        logits = part.vectors @ x / part.vectors.norm(dim=1) / temperature
        everything = torch.log(torch.exp(logits).sum())
        classified = classified - sum(v * (logits[c] - everything) for c, v in soft.items()) / len(mixed)
    v = []
    for x, _ in mixed:
        out = part.second @ torch.relu(part.first @ x + part.offset) + part.last
        v.append(out / out.norm())
    v = torch.stack(v)
    close = v @ v.T / SUPCON
    contrast, learning = 0.0, 0
    for i in range(len(mixed)):
        same = [j for j in range(len(mixed)) if j != i and len(mixed[i][1]) == 1 and mixed[j][1] == mixed[i][1]]
        twins = [j for j in range(m) if i < m and j not in same and group[j] == group[i]]
        if not same:
            continue
        columns = [j for j in range(len(mixed)) if j != i and j not in twins]
        everything = torch.log(torch.exp(close[i, columns]).sum())
        contrast = contrast + (everything - close[i, same]).mean()
        learning += 1
    return classified, eta * contrast / learning


def _soft(one, share, other, rest):
    """Shares of classes; a class of which there is nothing is none, and one mixed with itself is whole."""
    if one == other:
        return {one: 1.0}
    return {c: s for c, s in ((one, share), (other, rest)) if s > 0}


def _refusals(build, options):
    run = small_run(same_space=True)
    n = len(run.data)
    for target, said in ((torch.zeros(n), "classes apart"), (torch.arange(n), "appears once")):
        run.data = replace(run.data, keys=Keys(run.data.keys.item, run.data.keys.group, target.long()))
        with pytest.raises(PartError, match=said):
            build(**options).begin(run)
