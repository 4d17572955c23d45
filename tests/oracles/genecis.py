"""Items of known tags under encoders of known truth: galleries read one by one, places counted in loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError

CASES: list[dict] = [{}, {"attribute": "paint", "thing": "what", "wrong": 2, "episodes_each": 40}]
COLOURS, THINGS = ("red", "green", "blue", "yellow"), ("car", "house", "boat", "lamp")


def check(build, options: dict) -> None:
    tags = list(itertools.product(COLOURS, THINGS, range(4)))
    n, columns = len(tags), {"id": [f"i{i:02d}" for i in range(len(tags))], "group": [i // 2 for i in range(len(tags))]}
    if "attribute" in options:
        columns |= {"paint": [a for a, _, _ in tags], "what": [o for _, o, _ in tags]}
        names = ("paint", "what")
    else:
        columns["text"] = [f"an old {a} {o} by the road, number {i}" for a, o, i in tags]
        names = ("kind", "thing")
    collection = Collection.of(columns)
    words = (*COLOURS, *THINGS, *names)
    bag = np.zeros((n, len(words)))
    for row, (a, o, _) in enumerate(tags):
        bag[row, words.index(a)] = bag[row, words.index(o)] = 1
    rng = np.random.default_rng(0)
    image = bag + 0.01 * rng.normal(size=bag.shape)

    def encode(texts):
        return np.stack([np.eye(len(words))[words.index(text)] for text in texts])

    def composer(reference, condition):
        """Does what the words say: puts the value in place of the other, or looks at this tag alone."""
        out = np.array(reference, float)
        for row, vector in enumerate(condition):
            said = words[int(vector.argmax())]
            of = COLOURS if said in (*COLOURS, names[0]) else THINGS
            at = [words.index(word) for word in of]
            if said in names:
                kept = [out[row, place] for place in at]
                out[row] = 0
                out[row, at] = kept
                others = [words.index(word) for word in (*COLOURS, *THINGS) if word not in of]
                out[row, others] = -0.1 * reference[row, others]
            else:
                out[row, at] = 0
                out[row, words.index(said)] = 0.7
        return out

    wrong, most = options.get("wrong", 5), options.get("episodes_each", 150)
    vectors = {"image": image, "text-encoder": encode}
    plain = build(**options)(vectors, collection, seed=2)
    able = build(**options)({**vectors, "composer": composer}, collection, seed=2)
    unable = build(**options)({**vectors, "composer": lambda r, t: rng.normal(size=r.shape)}, collection, seed=2)
    assert plain.figure("items with both tags").value == n
    for task in ("focus attribute", "focus thing", "change attribute", "change thing"):
        count = plain.figure(f"R@1, {task}, sum").count
        assert count == min(n // 2, most)
        # by construction: `wrong` others match the reference (or the words) as well as the right one does, or better
        alone = plain.figure(f"R@1, {task}, image").value
        assert alone <= 2.5 / (1 + wrong)
        told = plain.figure(f"R@1, {task}, words")
        assert told.value <= (2.5 / (1 + wrong) if task.startswith("change") else 3 / (1 + 2 * wrong))
        total = plain.figure(f"R@1, {task}, sum").value
        # the name of a tag says nothing to this encoder, so that what is added is noise
        assert total == 1.0 if task.startswith("change") else abs(total - alone) < 0.15
        assert able.figure(f"R@1, {task}, composer").value == 1.0
        blind = unable.figure(f"R@3, {task}, composer").value
        assert abs(blind - 3 / (1 + 2 * wrong)) < 0.25
        for report, how in ((able, "composer"), (unable, "composer"), (plain, "sum")):
            one = [f for f in report.findings() if f.figure.name == task]
            assert len(one) == task.startswith("change")
            for f in one:
                both = report.figure(f"R@1, {task}, {how}").value
                assert abs(f.figure.value - both + report.figure(f"R@1, {task}, image").value) < 1e-9
                better, other = sum(v > 0 for v in f.values), sum(v != 0 for v in f.values)
                p = sum(math.comb(other, k) for k in range(better + 1)) / 2**other
                assert abs(f.p - p) < 1e-9 and len(set(f.ids)) == count == len(f.values)
                assert report is unable or f.p > 0.99
    with pytest.raises(DataError, match="two columns"):
        build(attribute="text")(vectors, collection, seed=0)
