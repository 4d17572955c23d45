"""Oracle: meta-paths by loops over nodes, both views, weights, prototypes and losses one node at a time; refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, small_run
from tellapart.core.errors import PartError

CASES: list[dict] = [
    {},
    {"paths": 2, "neighbours": 2, "clusterings": 1, "clusters": 5, "prototypes": 0.5, "temperature": 0.2, "refresh": 2},
    {"clusterings": 0},
]
TEMPERATURE = 0.3


def check(build, options: dict) -> None:
    for same_space in (False, True):
        run = small_run(same_space=same_space, objective=f"dcl(temperature={TEMPERATURE})")
        part = build(**options)
        part.begin(run)
        reached_by(part.views, run, options)
        for rows in batches(run)[:3]:
            _step(part, run, rows, options)
            part.after(run)
            run.step += 1
            for tower in run.towers.values():
                tower.map.weight.data.add_(0.3 * tower.map.weight.data.roll(1, 0))
        _clusters(part, run, options)
        if not same_space:
            _weights(part, run, options)
    _refusals(build, options)


def reached_by(views, run, options):
    """Each path of the part is a relation and an end, with as many of the likest neighbours as there may be."""
    edges, n, most = run.data.extra["edges"].tolist(), len(run.data), options.get("neighbours", 10)
    wanted = []
    for relation in sorted({kind for _, _, kind in edges}):
        for end in (0, 1):
            third = [
                {(a, b)[1 - end] for a, b, kind in edges if kind == relation and (a, b)[end] == i} for i in range(n)
            ]
            shared = {(i, j): len(third[i] & third[j]) for i in range(n) for j in range(n) if i != j}
            alike = {
                (i, j): 2 * s / (len(third[i]) + len(third[j])) for (i, j), s in shared.items() if s
            }  # fmt: skip
            wanted.append((sum(any((i, j) in alike for j in range(n)) for i in range(n)), alike, third))
    wanted = [w for w in wanted if w[0]]
    wanted = sorted(wanted, key=lambda w: -w[0])[: options.get("paths", 4)]
    assert len(wanted) == len(views.near) and len(wanted) > 1
    for (_, alike, third), near, between in zip(wanted, views.near.tolist(), views.between.tolist(), strict=True):
        for i in range(n):
            assert near[i][0] == i
            got, known = [j for j in near[i][1:] if j >= 0], {j: a for (r, j), a in alike.items() if r == i}
            assert len(set(got)) == len(got) == min(most, len(known)) and set(got) <= set(known)
            assert sorted((known[j] for j in got), reverse=True) == sorted(known.values(), reverse=True)[:most]
            found = [m for m in between[i] if m >= 0]
            assert set(found) <= third[i] and len(set(found)) == len(found) == min(most, len(third[i]))


def pair_of(views, run, rows):
    """u and v of some rows, a path, a neighbour and a third node at a time."""
    h = {side: run.encode(side, np.arange(len(run.data))) for side in ("query", "document")}
    coarse, by_path = [], []
    for i in rows:
        means = []
        for near in views.near.tolist():
            there = [j for j in near[i] if j >= 0]
            means.append(sum(h["query"][j] for j in there) / len(there))
        coarse.append(sum(means) / len(means))
    for near, between, context in zip(views.near.tolist(), views.between.tolist(), views.context, strict=True):
        found = []
        for i in rows:
            total = 0
            there = [j for j in near[i] if j >= 0]
            for j in there:
                third = [m for m in between[j] if m >= 0]
                x = h["document"][j]
                if third:
                    x = x + context.weight @ (sum(h["document"][m] for m in third) / len(third))
                total = total + torch.where(x > 0, x, x.exp() - 1)
            mean = total / len(there)
            found.append(mean / mean.norm())
        by_path.append(found)
    told = []
    for found in by_path:
        judged = [views.preference @ torch.tanh(views.judge.weight @ f + views.judge.bias) for f in found]
        told.append(sum(judged) / len(judged))
    share = [t.exp() / sum(x.exp() for x in told) for t in told]
    fine = [sum(b * found[r] for b, found in zip(share, by_path, strict=True)) for r in range(len(rows))]

    def projected(z):
        x = torch.tanh(views.project.weight @ z + views.project.bias)
        return x / x.norm()

    return [projected(z) for z in coarse], [projected(z) for z in fine], fine


def _step(part, run, rows, options):
    parameters = [*part.parameters(), run.towers["query"].map.weight, run.towers["document"].map.weight]
    losses = part.step(run, rows)
    got = torch.autograd.grad(sum(losses.values()), parameters)
    u, v, _ = pair_of(part.views, run, rows)
    clusterings = options.get("clusterings", 2)
    labels = [getattr(part, f"labels_{m}").tolist() for m in range(clusterings)]
    group = run.data.keys.group.tolist()
    views, prototypes = 0.0, 0.0
    for i, row in enumerate(rows):
        rest = 0.0
        for j, column in enumerate(rows):
            apart = [label[row] != label[column] for label in labels]
            weight = sum(apart) / len(apart) if apart else 1.0
            if group[row] != group[column]:
                rest = rest + weight * torch.exp(u[i] @ v[j] / TEMPERATURE)
        if rest != 0:
            views = views - torch.log(torch.exp(u[i] @ v[i] / TEMPERATURE) / rest) / len(rows)
    for m, label in enumerate(labels):
        means, spread = getattr(part, f"means_{m}"), getattr(part, f"spread_{m}")
        for i, row in enumerate(rows):
            scores = [u[i] @ c / s for c, s in zip(means, spread, strict=True)]
            told = torch.log(sum(torch.exp(s) for s in scores)) - scores[label[row]]
            prototypes = prototypes + options.get("prototypes", 1.0) * told / clusterings / len(rows)
    assert list(losses) == ["views", "prototypes"][: 1 + bool(clusterings)]
    for name, wanted in (("views", views), ("prototypes", prototypes)):
        if name in losses:
            assert math.isclose(losses[name].item(), wanted.item(), rel_tol=1e-4, abs_tol=1e-5), (options, name)
    wanted = torch.autograd.grad(views + prototypes, parameters)
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(got, wanted, strict=True)), options
    with torch.no_grad():
        everything = list(range(len(run.data)))
        seen = part.fine(run.encode("document", np.arange(len(run.data))))
        assert torch.allclose(seen, torch.stack(pair_of(part.views, run, everything)[2]), atol=1e-5)


@torch.no_grad()
def _clusters(part, run, options):
    """Each member is nearest to its own mean; unit means and spreads are those of the members."""
    for m in range(options.get("clusterings", 2)):
        size = min((options.get("clusters", 0) or 1) * 3**m, 20)
        part._cluster(run)
        label, means = getattr(part, f"labels_{m}").tolist(), getattr(part, f"means_{m}")
        spread = getattr(part, f"spread_{m}")
        assert len(means) == size and set(label) == set(range(size))
        v = pair_of(part.views, run, list(range(len(run.data))))[1]
        raw, widths = [], []
        for c in range(size):
            members = [x for x, own in zip(v, label, strict=True) if own == c]
            raw.append(sum(members) / len(members))
            far = sum((x - raw[c]).norm().item() for x in members) / len(members)
            widths.append(far / math.log(len(members) + 5) if len(members) > 1 else None)
        assert torch.allclose(means, torch.stack([x / x.norm() for x in raw]), atol=1e-5)
        for x, own in zip(v, label, strict=True):
            far = [(x - c).norm().item() for c in raw]
            assert far[own] <= min(far) + 1e-5
        widths = [max((x for x in widths if x is not None), default=0.0) if w is None else w for w in widths]
        low, high = np.percentile(widths, 10), np.percentile(widths, 90)
        widths = [max(min(max(w, low), high), 1e-6) for w in widths]
        scale = options.get("temperature", 0.4) / (sum(widths) / size)
        assert torch.allclose(spread, torch.tensor([w * scale for w in widths]).float(), rtol=1e-3)


def _weights(part, run, options):
    """They change at the refresh, and not between."""
    got = part.weights(run.encode_all("document"))
    labels = [getattr(part, f"labels_{m}").tolist() for m in range(options.get("clusterings", 2))]
    for i, j in ((0, 1), (3, 30), (7, 8)):
        apart = [label[i] != label[j] for label in labels]
        assert math.isclose(got[i, j].item(), sum(apart) / len(apart) if apart else 1.0, abs_tol=1e-6)
    part._cluster = lambda run: seen.append(run.step)
    seen: list[int] = []
    for run.step in range(100):
        part.after(run)
    refresh = options.get("refresh", 50)
    assert seen == list(range(refresh - 1, 100, refresh))


def _refusals(build, options):
    run = small_run(same_space=True)
    alone = np.stack([np.arange(40), np.roll(np.arange(40), 1), np.zeros(40, int)], 1)
    for extra, said in (({}, "give a graph whose nodes"), ({"edges": alone}, "none of the 40 links")):
        run.data = replace(run.data, extra=extra)
        with pytest.raises(PartError, match=said):
            build(**options).begin(run)
