"""Oracle: what is drawn for a row and its loss, by loops; bank, labels and centroids through steps; what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.contract.strategy import batches, small_run
from tellapart.core.errors import PartError
from tellapart.core.parts import make

CASES: list[dict] = [{}, {"weight": 0.6, "clusters": 4, "pool": 0.5, "least": 3, "refresh": 3}]


def check(build, options: dict) -> None:
    _losses(build, options)
    _clusters(build, options)
    _draws(build)
    with pytest.raises(PartError, match="two sides"):
        build(**options).begin(small_run(same_space=True))
    with pytest.raises(PartError, match="at least 8"):
        build(**options).begin(small_run(n=6))


def _losses(build, options):
    """One row at a time, with more draws than there are candidates: only the positive is left to chance."""
    weight, pool = options.get("weight", 0.25), options.get("pool", 0.1)
    run = small_run(objective="infonce(temperature=0.2)")
    part = build(**options)
    part.begin(run)
    labels = part.labels.tolist()
    assert set(labels) == set(range(min(options.get("clusters", 100), 10)))
    keys = [(int(g), int(t)) for g, t in zip(run.data.keys.group, run.data.keys.target, strict=True)]
    others = 0
    for row in range(0, 40, 3):
        losses = part.step(run, np.array([row]))
        for side, other in (("query", "document"), ("document", "query")):
            z, bank = run.encode(side, np.array([row]))[0].tolist(), run.encode_all(other).tolist()
            s = [sum(a * b for a, b in zip(z, v, strict=True)) for v in bank]
            near = sorted(range(40), key=lambda j, s=s: -s[j])[: math.ceil(pool * 40)]
            wrong = [j for j in near if labels[j] != labels[row] and keys[j][0] != keys[row][0]]
            rest = sum(math.exp(s[j] / 0.2) for j in wrong)
            fits = []
            for p in (j for j in range(40) if labels[j] == labels[row]):
                lead = math.exp((s[p] + 0.5) / 0.2)
                wanted = weight / 2 * math.log((lead + rest) / lead)
                if math.isclose(losses[f"inter {side}"].item(), wanted, rel_tol=1e-4, abs_tol=1e-7):
                    fits.append(p)
            assert fits, (options, row, side)
            others += bool(wrong) and row not in fits
    assert others > 0, "a positive is always the row itself"
    rows = batches(run)[0]
    plain = make("strategy", "two-tower").step(run, rows)
    for name, loss in plain.items():
        assert math.isclose(part.step(run, rows)[f"intra {name}"].item(), (1 - weight) * loss.item(), rel_tol=1e-5)


def _clusters(build, options):
    run = small_run()
    part = build(**options)
    part.begin(run)
    least, refresh = options.get("least", 2), options.get("refresh", 10)
    for rows in batches(run):
        banks = {side: getattr(part, f"{side}_bank").tolist() for side in ("query", "document")}
        labels, centroids = part.labels.tolist(), part.centroids.tolist()
        part.step(run, rows)
        part.after(run)
        for side in banks:
            for row, v in zip(rows, run.encode(side, rows).tolist(), strict=True):
                banks[side][row] = v
            assert np.allclose(getattr(part, f"{side}_bank").numpy(), banks[side], atol=1e-6)
        x = banks["document"]
        for row in rows:
            labels[row] = max(range(len(centroids)), key=lambda c, row=row: _dot(x[row], centroids[c]))
        if (run.step + 1) % refresh == 0:
            for c in range(len(centroids)):
                if c in labels:
                    centroids[c] = np.mean([v for v, label in zip(x, labels, strict=True) if label == c], 0).tolist()
        got, small = part.labels.tolist(), {c for c in range(len(centroids)) if labels.count(c) < least}
        large = [c for c in range(len(centroids)) if c not in small]
        for row, label in enumerate(labels):
            if label in small:
                label = max(large, key=lambda c, row=row: _dot(x[row], centroids[c]))
            assert got[row] == label or got[row] in small, (options, run.step, row)
        assert set(got) == set(range(len(centroids))), "a cluster is empty"
        for c in large if not small else []:
            assert np.allclose(part.centroids[c].numpy(), centroids[c], atol=1e-5)
        run.step += 1
        _moved(run)


def _moved(run):
    """Towers that change between steps, so that labels do."""
    for tower in run.towers.values():
        tower.map.weight.data.add_(0.3 * tower.map.weight.data.roll(1, 0))


def _draws(build):
    """Positives are drawn evenly from the whole cluster, and negatives as many as asked for."""
    run = small_run(n=16)
    part = build(clusters=2, draws=3, pool=1.0)
    part.begin(run)
    seen = []

    def objective(enc):
        assert enc.rel.pos.sum() == 1 and enc.rel.neg.sum() == 3
        drawn = [next(i for i, v in enumerate(bank) if np.allclose(v, own, atol=1e-7)) for own in enc.own[0].tolist()]
        assert len(set(drawn[1:])) == 3 and all(part.labels[j] != part.labels[5] for j in drawn[1:])
        seen.append(drawn[0])
        return enc.sim.sum(1)

    part._objective, bank = objective, part.document_bank.tolist()
    run.recipe = run.recipe.but(both_ways=False)
    for run.step in range(300):
        part.step(run, np.array([5]))
    members = [i for i, label in enumerate(part.labels.tolist()) if label == part.labels[5]]
    assert set(seen) == set(members)
    even = 300 / len(members)
    assert all(abs(seen.count(i) - even) < 4 * even**0.5 for i in members)


def _dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))
