"""ReSTTest in loops: hits counted query by query, means over the rotations that a query's bucket was seen in."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.collection import Collection

CASES: list[dict] = [{}, {"buckets": 3, "k": 1, "twin": 0.85}, {"k": 3, "target": "topic"}]


def world(seed, n=120, dim=30):
    """Queries in five far corners, and which corner each is in; documents near their queries; some twins."""
    rng = np.random.default_rng(seed)
    corner = np.arange(n) % 5
    corners = 4 * np.eye(dim)[:5]
    q = corners[corner] + 0.36 * rng.normal(size=(n, dim))
    q[n - 4 :], corner[n - 4 :] = q[:4] * 1.01, corner[:4]
    d = q + 0.9 * rng.normal(size=q.shape)
    split = ["test" if i % 3 == 0 or i >= n - 4 else "train" for i in range(n)]
    collection = Collection.of(
        {
            "split": split,
            "group": np.where(np.arange(n) == 3, 1, np.arange(n)),
            "topic": [f"t{i // 10}" for i in range(n)],
        }
    )
    return q, d, corner, collection


def cosine(x, y):
    """Cosine of two vectors."""
    return sum(a * b for a, b in zip(x, y, strict=True)) / math.dist(x, [0] * len(x)) / math.dist(y, [0] * len(y))


def check(build, options):
    buckets, k, twin = options.get("buckets", 5), options.get("k", 10), options.get("twin", 0.95)
    for seed in range(2):
        q, d, corner, collection = world(seed)
        split, group = collection.values("split"), collection.values("group")
        old = [i for i in range(len(q)) if split[i] == "train"]
        new = [i for i in range(len(q)) if split[i] == "test"]
        trained = {group[j] for j in old}
        kept = [i for i in new if all(cosine(q[i], q[j]) < twin for j in old) and group[i] not in trained]
        assert 2 * buckets <= len(kept) < len(new)
        near = [[cosine(a, b) for b in q] for a in q]
        fits = [[cosine(a, b) for b in d] for a in q]
        asked_of = []

        def train(rows, asked_of=asked_of, near=near, fits=fits):
            """A scorer that remembers: queries far from all training queries are answered upside down."""
            asked_of.append(set(rows.tolist()))

            def score(queries, documents):
                table = []
                for i in queries:
                    known = max(near[i][j] for j in rows) > 0.5
                    table.append([fits[i][j] * (1 if known else -1) for j in documents])
                return np.array(table)

            return score

        report = build(**options)({"query": q, "document": d}, collection, train, seed=seed)
        assert report.facts["twins left out"] == len(new) - len(kept)
        assert len(asked_of) == 2 * buckets
        by_bucket = asked_of[0::2]
        assert all(len(a) == len(b) for a, b in zip(by_bucket, asked_of[1::2], strict=True)), "unequal training sets"
        left_out = [set(old) - rows for rows in by_bucket]
        assert set.union(*left_out) == set(old) and sum(len(x) for x in left_out) == len(old)
        # Which bucket a test query is in shows in which training queries of its corner are left out with it.
        if buckets == 5:
            for members in left_out:
                assert len({int(corner[i]) for i in members}) == 1, "the corners are the clusters"
        if buckets != 5:
            continue
        rounds = list(asked_of)
        topic = collection.values("topic")
        seen, new_kind, of_random = [], [], []
        for i in kept:
            own = next(b for b in range(5) if corner[next(iter(left_out[b]))] == corner[i])
            hits = []
            for rows in rounds:
                scores = train(np.array(sorted(rows)))([i], kept)[0]
                related = [j for j in kept if (topic[j] == topic[i] if "target" in options else j == i)]
                best = max(scores[kept.index(j)] for j in related)
                above = sum(scores[p] > best for p, j in enumerate(kept) if j not in related)
                level = sum(scores[p] == best for p, j in enumerate(kept) if j not in related)
                hits.append(1.0 if 1 + above + level / 2 <= k else 0.0)
            of_bucket, drawn = hits[0::2], hits[1::2]
            new_kind.append(of_bucket[own])
            seen.append(sum(h for b, h in enumerate(of_bucket) if b != own) / 4)
            of_random.append(sum(drawn) / 5)
        n = len(kept)
        assert abs(report.figure("interpolation").value - sum(seen) / n) < 1e-9
        assert abs(report.figure("extrapolation").value - sum(new_kind) / n) < 1e-9
        assert abs(report.figure("random split").value - sum(of_random) / n) < 1e-9
        assert abs(report.figure("gap").value - (sum(seen) - sum(new_kind)) / n) < 1e-9
