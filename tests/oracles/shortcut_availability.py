"""Reliance and predictivity counted item by item; a column that is leaned on, one that is not, and none."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.crossfit import folds_of
from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"by": "kind", "columns": "device|season", "classify": "nearest-mean"}]
N = 600


def world(seed, agree):
    """The device stands in the vectors in large letters and goes with the class as often as said."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, N)
    device = np.where(rng.random(N) < agree, kind, 1 - kind)
    season = np.where(rng.random(N) < agree, kind, 1 - kind)
    x = rng.normal(size=(N, 6))
    x[:, 0] += 0.3 * (2 * kind - 1)
    x[:, 1] += 4 * (2 * device - 1)
    columns = {"device": device, "season": season, "month": rng.integers(0, 4, N)}
    named = {name: [f"{name[0]}{v}" for v in values] for name, values in columns.items()}
    kinds = [f"k{v}" for v in kind]
    return x, kind, columns, Collection.of({"label": kinds, "kind": kinds, **named})


def check(build, options):
    x, kind, columns, collection = world(0, 0.75)
    report = build(**options)({"document": x}, collection, seed=5)
    found = {f.figure.name: f for f in report.findings()}
    leaned = found["bias to device"]
    assert leaned.p < 1e-3 and leaned.figure.value > 0.1 and leaned.examples
    for example in leaned.examples:
        i = int(collection.row_of[example.ids[0]])
        assert columns["device"][i] != kind[i], "who shows it has the other device"
    assert found["bias to season"].p > 0.05, "a column that goes with the class, and that nobody sees"
    assert ("bias to month" in found) == (not options)
    fold = folds_of(np.arange(N), 2, np.random.default_rng(5))
    said = told(x, kind, fold, options.get("classify"))
    for name in ("device", "season"):
        total = 0
        for i in range(N):
            rest = [j for j in range(N) if fold[j] != fold[i]]
            mine = [j for j in rest if columns[name][j] == columns[name][i]]
            share = [sum(kind[j] == c for j in rest) for c in (0, 1)]
            beyond = [sum(kind[j] == c for j in mine) / share[c] for c in (0, 1)]
            vote = int(beyond[1] > beyond[0])
            total += int(said[i] == vote) - int(kind[i] == vote)
        assert found[f"bias to {name}"].figure.value == pytest.approx(total / N)
    x, *_, collection = world(1, 0.5)
    clean = build(**options)({"document": x}, collection, seed=5)
    assert min(f.p for f in clean.findings() if f.figure.name != "bias to kind") > 0.02
    with pytest.raises(DataError, match="no column 'colour'"):
        build(columns="colour")({"document": x}, collection, seed=0)


def told(x, kind, fold, classify):
    """What a classifier of the other fold says."""
    said, unit = np.zeros(N, int), x / np.linalg.norm(x, axis=1, keepdims=True)
    for f in (0, 1):
        rest, mine = fold != f, fold == f
        if classify:
            means = [unit[rest & (kind == c)].mean(axis=0) for c in (0, 1)]
            said[mine] = [np.argmin([np.linalg.norm(row - m) for m in means]) for row in unit[mine]]
            continue
        middle, y = unit[rest].mean(axis=0), 2.0 * kind[rest] - 1
        z = unit[rest] - middle
        w = np.linalg.solve(z.T @ z + np.trace(z.T @ z) / 6 * np.eye(6), z.T @ (y - y.mean()))
        said[mine] = (y.mean() + (unit[mine] - middle) @ w > 0).astype(int)
    return said
