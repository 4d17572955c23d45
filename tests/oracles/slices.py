"""Gaps counted in loops, with chances of counts by combinations, where a cell was planted and where none was."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.chance import holm
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.outcomes import outcomes
from tellapart.core.report import Table

CASES: list[dict] = [
    {},
    {"by": "kind", "predicted": "said", "columns": "tone|hair", "least": 30, "most": 4},
    {"intersections": False, "predicted": "said", "items": 300},
]
N = 480
TONES, HAIR = ("dark", "light", "medium"), ("curly", "straight")


def world(seed, wrong, options):
    """Two kinds by a vector, of which the second is mistaken more often; in one cell `wrong` of the items are noise."""
    rng = np.random.default_rng(seed)
    kind, tone, hair = (rng.integers(0, m, N) for m in (2, 3, 2))
    hit = (tone == 0) & (hair == 0) & (rng.random(N) < wrong)
    x = rng.normal(size=(N, 5))
    x[:, 0] += np.where(hit, -2.5, np.where(kind == 1, 1.5, 3)) * (2 * kind - 1)
    said = np.where(rng.random(N) < np.where(hit, 0.9, 0.1 + 0.15 * kind), 1 - kind, kind)
    columns = {options.get("by", "label"): [f"k{v}" for v in kind]}
    columns |= {"said": [f"k{v}" for v in said]} if "predicted" in options else {}
    columns |= {"tone": [TONES[v] for v in tone], "hair": [HAIR[v] for v in hair]}
    columns |= {"number": [f"n{i}" for i in range(N)], "id": [f"i{i:03d}" for i in range(N)]}
    return x, Collection.of(columns)


def cells(collection, options):
    """{name: rows inside} and what is known of each, of all values and all two values."""
    held = {name: collection.values(name) for name in ("tone", "hair")}
    single = {
        f"{name}={v}": {i for i in range(N) if held[name][i] == v} for name in held for v in sorted(set(held[name]))
    }
    double = {}
    for t in TONES:
        for h in HAIR:
            double[f"tone={t} & hair={h}"] = single[f"tone={t}"] & single[f"hair={h}"]
    return single | (double if options.get("intersections", True) else {})


def chance(right, strata, inside):
    """P(at most as many right inside), the right ones dealt within each stratum, by all tables."""
    ways = {0: 1.0}
    seen = sum(right[i] for i in inside)
    for c in sorted(set(strata)):
        mine = [i for i in range(len(right)) if strata[i] == c]
        n, r, m = len(mine), int(sum(right[i] for i in mine)), len([i for i in mine if i in inside])
        each = {
            x: math.comb(r, x) * math.comb(n - r, m - x) / math.comb(n, m)
            for x in range(max(0, m + r - n), min(m, r) + 1)
        }
        after: dict = {}
        for a, pa in ways.items():
            for x, px in each.items():
                after[a + x] = after.get(a + x, 0.0) + pa * px
        ways = after
    return sum(p for x, p in ways.items() if x <= seen)


def gap(right, strata, inside):
    top = base = 0.0
    for c in sorted(set(strata)):
        mine = [i for i in range(len(right)) if strata[i] == c]
        here, there = [right[i] for i in mine if i in inside], [right[i] for i in mine if i not in inside]
        if here and there:
            weight = len(here) * len(there) / len(mine)
            top += weight * (sum(there) / len(there) - sum(here) / len(here))
            base += weight
    return top / base


def check(build, options):
    x, collection = world(0, 1.0, options)
    report = build(**options)({"document": x}, collection, seed=1)
    found = {f.figure.name.removeprefix("slice "): f for f in report.findings()}
    kind = collection.values(options.get("by", "label"))
    if "predicted" in options:
        right = [float(a == b) for a, b in zip(kind, collection.values("said"), strict=True)]
    else:
        right = outcomes({"document": x}, collection, seed=1).right.tolist()
    every = cells(collection, options)
    if "items" not in options:
        check_all(found, every, right, kind, options)
        table = next(b for b in report.blocks if isinstance(b, Table) and "worst" in b.title)
        assert table.rows[0][0] == "tone=dark & hair=curly"
        planted = next(row for row in table.rows if row[0] == "tone=dark & hair=curly")
        p = [chance(right, kind, inside) for inside in every.values()]
        assert planted[3] == pytest.approx(holm(p)[list(every).index(planted[0])], rel=1e-6)
        assert planted[3] < 1e-6
        within = next(b for b in report.blocks if isinstance(b, Table) and "within" in b.title)
        check_disparity(within.rows, right, kind, collection)
    else:
        assert report.facts["items"] == 300 and all("&" not in name for name in found)
    x, clean = world(1, 0.0, options)
    assert min(f.p for f in build(**options)({"document": x}, clean, seed=1).findings()) > 0.01
    with pytest.raises(DataError, match="no column 'age'"):
        build(columns="age")({"document": x}, clean, seed=0)
    with pytest.raises(DataError, match="with 'by'"):
        build(predicted="tone", by="sort")({"document": x}, clean, seed=0)


def check_all(found, every, right, kind, options):
    """All gaps and chances; where there are more slices than are named, the surest of the rest is one more finding."""
    most = options.get("most", 30)
    able = [name for name in every if len(every[name]) >= options.get("least", 20)]
    order = sorted(able, key=lambda name: ("&" in name, -len(every[name]), name))
    rest = {name: chance(right, kind, every[name]) for name in order[most:]}
    surest = min(rest, key=rest.get) if rest else None
    assert list(found) == [*order[:most], *filter(None, [surest])]
    for name, finding in found.items():
        assert finding.figure.value == pytest.approx(gap(right, kind, every[name])), name
        p = chance(right, kind, every[name]) * (len(rest) if name == surest else 1)
        assert finding.p == pytest.approx(min(1.0, p), rel=1e-6)
        assert (f"surest of {len(rest)} further" in finding.said) == (name == surest and len(rest) > 1)
        for example in finding.examples:
            row = int(example.ids[0][1:])
            assert row in every[name] and not right[row]


def check_disparity(rows, right, kind, collection):
    """The widest disparity of one class, its shares and Newcombe's interval."""
    name, column, least, most, figure = rows[0]
    values = collection.values(column)
    shares = {}
    for said in (least, most):
        value, count = said.rsplit(" (", 1)
        mine = [right[i] for i in range(N) if kind[i] == name and values[i] == value]
        assert len(mine) == int(count[:-1])
        shares[said] = (sum(mine) / len(mine), len(mine))
    ends = {}
    for said, (p, n) in shares.items():
        middle, wide = (p + 1.96**2 / 2 / n) / (1 + 1.96**2 / n), 1.96 / (1 + 1.96**2 / n)
        wide *= math.sqrt(p * (1 - p) / n + 1.96**2 / 4 / n**2)
        ends[said] = (middle - wide, middle + wide)
    p, q = shares[most][0], shares[least][0]
    assert figure.value == pytest.approx(p - q)
    assert figure.low == pytest.approx(p - q - math.hypot(p - ends[most][0], ends[least][1] - q))
    assert figure.high == pytest.approx(p - q + math.hypot(ends[most][1] - p, q - ends[least][0]))
