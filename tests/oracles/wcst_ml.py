"""Cells counted by hand, with a classifier of least squares written out; the order of cues of known strength."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"columns": "loud|faint", "classify": "nearest-mean", "cues": 3}]
N = 240


def world(seed):
    """Three columns whose values stand on one direction each, far apart, less far and hardly; a fourth is nowhere."""
    rng = np.random.default_rng(seed)
    codes = {name: rng.integers(0, 2, N) for name in ("loud", "soft", "faint", "none")}
    x = 0.5 * rng.normal(size=(N, 8)) + 1.0
    for place, (name, size) in enumerate((("loud", 3.0), ("soft", 1.0), ("faint", 0.4))):
        x[:, place] += size * (2 * codes[name] - 1)
    return x, codes, Collection.of({name: [f"v{v}" for v in c] for name, c in codes.items()})


def check(build, options):
    x, codes, collection = world(0)
    report = build(**options)({"document": x}, collection, seed=1)
    told = {f.name: f for f in report.figures()}
    table = next(b for b in report.blocks if type(b).__name__ == "Table")
    rows = {(row[0], row[1]): row[2] for row in table.rows}
    names = options.get("columns", "loud|soft|faint|none").split("|")
    names = [n for n in ("loud", "soft", "faint", "none") if n in names]
    assert set(rows) == {(a, b) for i, a in enumerate(names) for b in names[i + 1 :]}
    for name in names:
        mine = [s.value if name == a else 1 - s.value for (a, b), s in rows.items() if name in (a, b)]
        assert told[f"preference: {name}"].value == pytest.approx(sum(mine) / len(mine))
    assert told["preference: loud"].value > 0.85
    order = [b.name for b in report.blocks if getattr(b, "name", "").startswith("preference")]
    assert order[0] == "preference: loud"
    if not options:
        assert told["preference: soft"].value > told["preference: faint"].value
    want = share(x / np.linalg.norm(x, axis=1, keepdims=True), codes, options.get("classify"))
    assert rows["loud", "faint"].value == pytest.approx(want, abs=1e-9)
    with pytest.raises(DataError, match="no column 'colour'"):
        build(columns="loud|colour")({"document": x}, collection, seed=0)
    check_drawn(build, options, x, collection)


def share(unit, codes, classify):
    """Answers by loud, not by faint, with the part's draws: pairs in the order of the columns, cells row by row."""
    rng = np.random.default_rng(1)
    names = ["loud", "faint"] if classify else ["loud", "soft", "faint", "none"]
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            first, second = (np.argsort([-(codes[n] == v).sum() for v in (0, 1)], kind="stable") for n in (one, other))
            cells = {}
            for p in (0, 1):
                for q in (0, 1):
                    mine = np.flatnonzero((codes[one] == first[p]) & (codes[other] == second[q]))
                    cells[p, q] = rng.permutation(mine)[:100]
            if (one, other) == ("loud", "faint"):
                break
        else:
            continue
        break
    total = 0.0
    for swap in (0, 1):
        zero, one = cells[0, swap], cells[1, 1 - swap]
        size = min(len(zero), len(one))
        taught, y = np.concatenate([zero[:size], one[:size]]), np.repeat([-1.0, 1.0], size)
        middle = unit[taught].mean(axis=0)
        z = unit[taught] - middle
        if classify:
            towards = z[y > 0].mean(axis=0) - z[y < 0].mean(axis=0)
            half = (z[y > 0].mean(axis=0) + z[y < 0].mean(axis=0)) / 2
        else:
            penalty = 0.1 * np.trace(z @ z.T) / len(z) * np.eye(8)
            towards, half = np.linalg.solve(z.T @ z + penalty, z.T @ y), np.zeros(8)
        for value, asked in ((0, cells[0, 1 - swap]), (1, cells[1, swap])):
            total += np.mean([((unit[i] - middle - half) @ towards > 0) == value for i in asked]) / 4
    return total


def check_drawn(build, options, x, collection):
    """Drawn pictures, seen by their mean colour alone: told by colour, and by nothing else."""

    def mean_colour(pictures):
        seen = []
        for picture in pictures:
            pixels = np.asarray(picture, float).reshape(-1, 3)
            far = np.ptp(pixels, axis=1) > 70
            seen.append(pixels[far].mean(axis=0) / 255)
        return np.array(seen)

    vectors = {"document": x, "image-encoder": mean_colour}
    told = {f.name: f.value for f in build(pictures=80, **options)(vectors, collection, seed=0).figures()}
    assert told["drawn, colour"] > 0.9
    assert all(told[f"drawn, {name}"] < 0.5 for name in ("shape", "size", "place", "turn", "ground"))
