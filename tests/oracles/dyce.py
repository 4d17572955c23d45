"""Losses with neighbours, the memory and its clusters by loops over several steps; what is refused."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import batches, small_run
from tellapart.core.errors import PartError

CASES: list[dict] = [{}, {"k": 2, "clusters": 3, "size": 17, "momentum": 0.5, "start": 0.6, "epsilon": 0.3}, {"k": 0}]
T = 0.2


def check(build, options: dict) -> None:
    _steps(build, options, both_ways=True)
    _steps(build, options, both_ways=False)
    with pytest.raises(PartError, match="two sides"):
        build(**options).begin(small_run(same_space=True))
    with pytest.raises(PartError, match="at least 8"):
        build(**options).begin(small_run(n=6))
    guided = small_run()
    guided.data = replace(guided.data, guide=(torch.ones(40, 2), torch.ones(40, 2)))
    with pytest.raises(PartError, match="guide"):
        build(**options).begin(guided)


def _steps(build, options, *, both_ways):
    run = small_run(objective=f"infonce(temperature={T})", both_ways=both_ways)
    size = min(options.get("size", 1024), 40)
    clusters, k = min(options.get("clusters", 50), size // 4), min(options.get("k", 3), size // 4)
    part = build(**options)
    part.begin(run)
    copied = copy.deepcopy(run.towers)
    memory: list = [None] * size
    place, labels, centroids, met = 0, {}, {}, 0
    for rows in batches(run):
        losses = part.step(run, rows)
        z, d = ({s: run.encode(s, rows, tower=t[s]).detach().tolist() for s in t} for t in (run.towers, copied))
        group = [int(g) for g in run.data.keys.group[rows]]
        used = k if labels and run.step >= options.get("start", 0.15) * run.steps else 0
        wanted = {}
        for side, other in (("query", "document"), ("document", "query"))[: 2 if both_ways else 1]:
            terms = [_infonce(z[side], d[other], group, group)]
            near = [_near(d[other][i], group[i], memory, other, labels, centroids, used) for i in range(len(rows))]
            for j in range(used):
                columns = [memory[near[i][j]] for i in range(len(rows))]
                terms.append(_infonce(z[side], [c[other] for c in columns], group, [c["group"] for c in columns]))
                met += 1
            for j, term in enumerate(terms):
                name = f"{side}, neighbour {j}" if j else side
                wanted[name] = term / (len(terms) * (2 if both_ways else 1))
        assert set(losses) == set(wanted)
        for name, value in wanted.items():
            assert math.isclose(losses[name].item(), value, rel_tol=2e-4), (options, run.step, name)
        run.towers.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        with torch.no_grad():
            for p in run.towers.parameters():
                p -= 0.3 * (p.grad if p.grad is not None else 0)
        part.after(run)
        with torch.no_grad():
            for c, p in zip(copied.parameters(), run.towers.parameters(), strict=True):
                c.lerp_(p, 1 - options.get("momentum", 0.99))
        fresh = []
        for i in range(len(rows)):
            fresh.append((place + i) % size)
            memory[fresh[-1]] = {"group": group[i], **{s: d[s][i] for s in d}}
        place = (place + len(rows)) % size
        _cluster(part, labels, centroids, memory, fresh, clusters, options.get("epsilon", 0.05), build)
        run.step += 1
    assert (met > 0) == (k > 0), "no neighbour was ever met"


def _cluster(part, labels, centroids, memory, fresh, clusters, epsilon, build):
    """New entries are shared out and centroids moved; the first clusters are taken as found, if every entry has one."""
    for side in ("query", "document"):
        if side in labels:
            for at, label in zip(fresh, _shared(side, fresh, memory, centroids[side], epsilon), strict=True):
                labels[side][at] = label
            for c in range(clusters):
                own = [memory[at][side] for at in range(len(memory)) if labels[side][at] == c]
                if own:
                    centroids[side][c] = np.mean(own, 0).tolist()
        elif all(memory):
            labels[side] = getattr(part, f"{side}_labels").tolist()
            assert set(labels[side]) == set(range(clusters))
            centroids[side] = [
                np.mean([m[side] for m, label in zip(memory, labels[side], strict=True) if label == c], 0).tolist()
                for c in range(clusters)
            ]
        else:
            continue
        assert getattr(part, f"{side}_labels").tolist() == labels[side]
        assert np.allclose(getattr(part, f"{side}_centroids").numpy(), centroids[side], atol=1e-5)


def _shared(side, fresh, memory, centroids, epsilon):
    n, c = len(fresh), len(centroids)
    q = [[math.exp((_cos(memory[at][side], m)) / epsilon) for m in centroids] for at in fresh]
    for _ in range(10):
        for j in range(c):
            total = sum(row[j] for row in q)
            for row in q:
                row[j] *= n / c / total
        q = [[v / sum(row) for v in row] for row in q]
    return [max(range(c), key=lambda j, row=row: row[j]) for row in q]


def _near(z, group, memory, side, labels, centroids, k):
    if not k:
        return []
    best = max(range(len(centroids[side])), key=lambda c: _cos(z, centroids[side][c]))
    others = [at for at in range(len(memory)) if memory[at]["group"] != group]
    return sorted(others, key=lambda at: (labels[side][at] != best, -_dot(z, memory[at][side])))[:k]


def _infonce(rows, columns, row_group, column_group):
    total = 0.0
    for i, row in enumerate(rows):
        lead = math.exp(_dot(row, columns[i]) / T)
        wrong = [j for j in range(len(columns)) if j != i and column_group[j] != row_group[i]]
        total -= math.log(lead / (lead + sum(math.exp(_dot(row, columns[j]) / T) for j in wrong)))
    return total / len(rows)


def _dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def _cos(a, b):
    return _dot(a, b) / math.sqrt(_dot(b, b))
