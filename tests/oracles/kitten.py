"""References, faithful pictures, other things and copies, told apart one picture at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np

from tellapart.core import judging
from tellapart.core.collection import Collection

CASES: list[dict] = [{}, {"entity": "thing", "reference": "known", "tail": 0.1, "judge": "eye-of-the-oracle"}]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.dist(a, [0] * len(a)) / math.dist(b, [0] * len(b))


def world(options, wrong, copies):
    rng = np.random.default_rng(3)
    centres, rows = rng.normal(size=(8, 12)), []
    for e in range(8):
        mine = []
        for _ in range(6):
            mine.append((e, "yes", centres[e] + 0.4 * rng.normal(size=12), rng.normal(size=(5, 5))))
        for g in range(8):
            shows = (e + 1) % 8 if g < wrong else e
            z, pixels = centres[shows] + 0.4 * rng.normal(size=12), rng.normal(size=(5, 5))
            if 8 - g <= copies:
                z, pixels = mine[g % 6][2] + 0.01 * rng.normal(size=12), mine[g % 6][3] + 0.05 * rng.normal(size=(5, 5))
            mine.append((e, "no", z, pixels))
        rows += mine
    names = {options.get("entity", "label"): [f"e{r[0]}" for r in rows],
             options.get("reference", "reference"): [r[1] for r in rows]}  # fmt: skip
    vectors = {"image": np.array([r[2] for r in rows]), "pixels": np.array([r[3] for r in rows])}
    return rows, vectors, Collection.of({"id": [f"p{i:03d}" for i in range(len(rows))], **names})


def asked(options, build, *planted):
    rows, vectors, collection = world(options, *planted)
    ids = collection.ids.tolist()
    judging.offer("eye-of-the-oracle", lambda q: {"yes": 0.75, "no": 0.25} if ids.index(q.item) % 2 else None)
    try:
        return rows, vectors, build(**options)(vectors, collection, seed=0)
    finally:
        judging._offered.pop("eye-of-the-oracle")


def check(build, options):
    rows, vectors, report = asked(options, build, 3, 2)
    z = vectors["image"].tolist()
    flat = vectors["pixels"].reshape(len(rows), -1)
    v = (flat - flat.mean(axis=0)).tolist()
    made = [i for i, r in enumerate(rows) if r[1] == "no"]
    known = [i for i, r in enumerate(rows) if r[1] == "yes"]

    def mean_to(i, e):
        near = [cosine(z[i], z[r]) for r in known if rows[r][0] == e and r != i]
        return sum(near) / len(near)

    def copy(i):
        return max(cosine(v[i], v[r]) for r in known if rows[r][0] == rows[i][0] and r != i)

    own = [mean_to(i, rows[i][0]) for i in made]
    right = {i: max(range(8), key=lambda e, i=i: mean_to(i, e)) == rows[i][0] for i in made + known}
    among = sorted(copy(r) for r in known)
    limit = among[math.ceil((1 - options.get("tail", 0.05)) * (len(among) - 1))] + 1e-6
    copied = []
    for i in made:
        mates = [r for r in known if rows[r][0] == rows[i][0]]
        left = [max(cosine(v[i], v[r]) for r in mates if r != out) > limit for out in mates]
        copied.append(sum(left) / len(left))
    assert abs(report.figure("fidelity").value - sum(own) / len(own)) < 1e-6
    assert abs(report.figure("right entity").value - sum(right[i] for i in made) / len(made)) < 1e-9
    assert abs(report.figure("copies").value - sum(copied) / len(copied)) < 1e-9
    gap = sum(not right[i] for i in made) / len(made) - sum(not right[r] for r in known) / len(known)
    assert abs(report.figure("wrong entity, beyond references").value - gap) < 1e-9
    beyond = []
    for e in range(8):
        mates, signs = [r for r in known if rows[r][0] == e], []
        for i in (i for i in made if rows[i][0] == e):
            for s in mates:
                mine = max(cosine(v[i], v[r]) for r in mates if r != s)
                signs.append(np.sign(mine - copy(s)) if abs(mine - copy(s)) > 1e-6 else 0)
        beyond.append(sum(signs) / len(signs))
    sums = [sum(s * b for s, b in zip(signs, beyond, strict=True)) for signs in itertools.product((1, -1), repeat=8)]
    tail = sum(s >= sum(beyond) - 1e-9 for s in sums) / len(sums)
    copies, wrong = report.findings()
    assert abs(copies.p - tail) < 1e-9
    assert copies.p < 0.05
    assert wrong.p < 1e-3
    if "judge" in options:
        assert abs(report.figure("the judge's yes").value - 0.75) < 1e-9
    # Nothing is planted, and nothing is found.
    for finding in asked(options, build, 0, 0)[2].findings():
        assert finding.p > 0.05
