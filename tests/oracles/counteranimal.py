"""Drops class by class counted in loops, where a cue was planted, and where none was."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.outcomes import outcomes

CASES: list[dict] = [{}, {"by": "kind", "columns": "source|day", "chosen": 0.6}]
N = 400
GROUNDS = {"red": (200, 30, 30), "blue": (40, 60, 220)}


def world(seed, agree):
    """Two kinds, told weakly by the vectors; ground and source agree with the kind in a share, which vectors show."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, N)
    ground = np.where(rng.random(N) < agree, kind, 1 - kind)
    day = rng.integers(0, 3, N)
    x = rng.normal(size=(N, 6))
    x[:, 0] += 1.2 * (2 * kind - 1)
    x[:, 1] += 3 * (2 * ground - 1)
    grounds = list(GROUNDS)
    pictures = []
    for g in ground:
        picture = Image.new("RGB", (24, 24), GROUNDS[grounds[g]])
        picture.paste((255, 255, 255), (8, 8, 16, 16))
        pictures.append(picture)
    columns = {name: [f"k{v}" for v in kind] for name in ("label", "kind")}
    columns |= {"source": [f"s{g}" for g in ground], "day": [f"d{d}" for d in day]}
    return x, kind, {"ground": ground, "source": ground, "day": day}, pictures, Collection.of(columns)


def tail(z):
    return 0.5 * math.erfc(z / math.sqrt(2))


def check(build, options):
    x, kind, cues, pictures, collection = world(0, 0.85)
    vectors = {"document": x, "pictures": pictures}
    report = build(**options)(vectors, collection, seed=3)
    found = {f.figure.name: f for f in report.findings()}
    columns = {"source", "day"} if "columns" in options else {"source", "day", "kind"}
    assert set(found) == {"drop by ground", *(f"drop by {c}" for c in columns)}, "what all have alike is no cue"
    if "kind" in columns:
        always = found["drop by kind"]
        assert "cannot be told" in always.said and always.p < 1e-9 and not always.examples
        share = kind[np.random.default_rng(3).random(N) >= 0.4].mean()
        assert always.figure.value == pytest.approx(1 - share**2 - (1 - share) ** 2)
    right = outcomes(vectors, collection, seed=3).right
    first = np.random.default_rng(3).random(N) < options.get("chosen", 0.4)
    for cue in ("ground", "source", "day"):
        check_one(found[f"drop by {cue}"], cues[cue], kind, right, first)
    for cue in ("ground", "source"):
        finding = found[f"drop by {cue}"]
        assert finding.p < 1e-4 and finding.figure.value > 0.2
        assert all("taken for" in e.why for e in finding.examples) and finding.examples
        for example in finding.examples:
            i = int(collection.row_of[example.ids[0]])
            assert not right[i] and cues["ground"][i] != kind[i]
    assert found["drop by day"].p > 0.01
    assert "randaugment" in found["drop by ground"].mend and not found["drop by source"].mend
    x, *_, pictures, collection = world(1, 0.5)
    clean = build(**options)({"document": x, "pictures": pictures}, collection, seed=3)
    assert min(f.p for f in clean.findings() if f.figure.name != "drop by kind") > 0.02
    with pytest.raises(DataError, match="no column 'weather'"):
        build(columns="weather")({"document": x, "pictures": pictures}, collection, seed=0)
    check_pairs(build, options)


def check_one(finding, values, kind, right, first):
    """The drop and its chance, of counts."""
    table = {}
    usual = {}
    for c in (0, 1):
        mine = [i for i in range(N) if first[i] and kind[i] == c]
        usual[c] = {
            v for v in set(values)
            if sum(values[i] == v for i in mine) / len(mine) > sum(values[first] == v) / sum(first)
        }  # fmt: skip
        cell = [[right[i] for i in range(N) if not first[i] and kind[i] == c and (values[i] in usual[c]) == how]
                for how in (True, False)]  # fmt: skip
        table[c] = cell
    top = base = above = spread = 0.0
    for yes, no in table.values():
        m1, m0 = len(yes), len(no)
        n, r = m1 + m0, sum(yes) + sum(no)
        top += m1 * m0 / n * (sum(yes) / m1 - sum(no) / m0)
        base += m1 * m0 / n
        above += sum(yes) - m1 * r / n
        spread += m1 * m0 * r * (n - r) / n**2 / (n - 1)
    assert finding.figure.value == pytest.approx(top / base)
    within = tail((above - 0.5) / math.sqrt(spread))
    rest = [i for i in range(N) if not first[i]]
    score = np.array([[float(values[j] in usual[kind[i]]) for j in rest] for i in rest])
    off = score - score.mean(axis=0) - score.mean(axis=1, keepdims=True) + score.mean()
    z = (np.trace(score) - score.sum() / len(rest) - 0.5) / math.sqrt((off**2).sum() / (len(rest) - 1))
    assert finding.p == pytest.approx(max(within, tail(z)), rel=1e-6)


def check_pairs(build, options):
    """Without labels: documents with one ground are not found, and the value is named."""
    rng = np.random.default_rng(5)
    _, _, cues, pictures, collection = world(2, 0.5)
    k = rng.normal(size=(N, 6))
    lost = cues["ground"] == 1
    q = np.where(lost[:, None], rng.normal(size=(N, 6)), k)
    pairs = collection.take(np.arange(N))
    columns = {name: pairs.values(name) for name in ("source", "day")}
    said = {"text": [f"t{i}" for i in range(N)], "image": [f"{i}.png" for i in range(N)]}
    held = Collection.of({"id": pairs.ids.tolist(), **said, **columns})
    asked = {name: value for name, value in options.items() if name != "by"}
    report = build(**asked)({"document": k, "k": k, "q": q, "pictures": pictures}, held, seed=0)
    finding = next(f for f in report.findings() if f.figure.name == "drop by ground")
    assert "blue" in finding.said and finding.figure.value > 0.7 and finding.p < 1e-6
