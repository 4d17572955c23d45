"""Recall of every index at its defaults, and how the time of a search grows with the number of items.

    python benchmarks/search_scale.py [--items 10000 30000 100000 300000 1000000] [--specs hnsw ivf …] [--repeats 3]
                                      [--cache runs/benchmarks] [--growth hnsw]

Built as `tellapart index` builds, so that what is left to the build is chosen there, and what it prints is kept beside
what other queries find: 500 vectors that are no items, compared with every item. Two sets of vectors, both MiniLM's:
`glosses`, WordNet's 116,659 (queries are 500 of them); `mixed`, the first n of `_vectors.mixed`. One index at a time,
the parts of a set in turns; queries go one by one. The slope is that of log median seconds over log items, for builds
that reach the recall. Queries that are unlike the items: `code_queries.py`.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _record import spread, write
from _vectors import mixed, wordnet

from tellapart.engine.indexing import build

SPECS = ["exact", "sign-bits", "hnsw", "ivf", "rabitq"]
K, QUERIES, ALONE, ENOUGH = 10, 500, 200, 0.98
ROUNDING = 1e-6


def truth(q: np.ndarray, z: np.ndarray) -> np.ndarray:
    """[queries, K] rows of the nearest, by blocks of the items."""
    best, scores = np.zeros((len(q), 0), np.int64), np.zeros((len(q), 0), np.float32)
    for start in range(0, len(z), 100_000):
        block = q @ np.asarray(z[start : start + 100_000]).T
        rows = np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)
        scores, best = np.concatenate([scores, block], 1), np.concatenate([best, rows], 1)
        keep = np.argpartition(-scores, K, axis=1)[:, : 4 * K]
        scores, best = np.take_along_axis(scores, keep, 1), np.take_along_axis(best, keep, 1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return np.take_along_axis(best, order, 1)


def measured(
    spec: str, q: np.ndarray, z: np.ndarray, true: np.ndarray, repeats: int, asked: np.ndarray | None = None
) -> dict[str, Any]:
    """What the build prints, what other queries find, and how long one takes; `asked` are the build's own queries."""
    ids = np.asarray([f"{i:07d}" for i in range(len(z))], object)
    with tempfile.TemporaryDirectory() as folder:
        index, report = build(spec, ids, z, folder, queries=asked)
        printed = next((b.value for b in report.blocks if getattr(b, "name", "") == f"recall@{K}"), None)
        # items that are the same have the same score: any of them is as good as those that the truth names
        worst = np.einsum("nd,nd->n", q, np.asarray(z[true[:, -1]]))
        shares = np.mean(index.search(q, K).scores >= worst[:, None] - ROUNDING, axis=1)
        milliseconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            for row in range(ALONE):
                index.search(q[row : row + 1], K)
            milliseconds.append((time.perf_counter() - start) / ALONE * 1000)
        return {
            "items": len(z),
            "recall@10 printed at the build": printed,
            "recall@10": round(float(np.mean(shares)), 4),
            "chosen at the build": index.chosen,
            "build_seconds": next((b.value for b in report.blocks if getattr(b, "name", "") == "index built in"), None),
            "milliseconds_a_query": spread(milliseconds, 4),
        }


def glosses(cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Queries and items: WordNet's glosses, 500 of them kept aside."""
    found = wordnet(200_000, cache)
    if found is None:
        raise SystemExit("this needs WordNet: install the Debian package wordnet-base, or set TELLAPART_DATA")
    z = np.unique(found[1], axis=0)
    z = z[np.random.default_rng(0).permutation(len(z))]
    return z[:QUERIES], z[QUERIES:]


def slope(rows: list[dict[str, Any]]) -> float | None:
    """Of log seconds over log items, by least squares."""
    enough = [r for r in rows if r["recall@10"] >= ENOUGH]
    if len(enough) < 2:
        return None
    x, y = (
        [math.log(v) for v in c]
        for c in zip(*((r["items"], r["milliseconds_a_query"]["median"]) for r in enough), strict=True)
    )
    mean = statistics.fmean(x), statistics.fmean(y)
    above = sum((a - mean[0]) * (b - mean[1]) for a, b in zip(x, y, strict=True))
    return round(above / sum((a - mean[0]) ** 2 for a in x), 3)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--items", type=int, nargs="*", default=[10_000, 30_000, 100_000, 300_000, 1_000_000])
    options.add_argument("--specs", nargs="*", default=SPECS)
    options.add_argument("--growth", default="hnsw")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--cache", type=Path, default=Path(__file__).parent.parent / "runs" / "benchmarks")
    options.add_argument("--dry", action="store_true", help="print and record nothing")
    given = options.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    q, z = glosses(given.cache)
    true = truth(q, z)
    found["glosses"] = {spec: measured(spec, q, z, true, given.repeats) for spec in given.specs}
    print("glosses", found["glosses"], flush=True)
    if given.items:
        everything = np.load(mixed(max(given.items) + QUERIES, given.cache), mmap_mode="r")
        q, rest = np.array(everything[:QUERIES]), everything[QUERIES:]
        for n in given.items:
            z = np.ascontiguousarray(rest[:n])
            true = truth(q, z)
            specs = given.specs if n == max(given.items) else [given.growth]
            for spec in specs:
                found.setdefault("mixed", {}).setdefault(spec, []).append(measured(spec, q, z, true, given.repeats))
                print(n, spec, found["mixed"][spec][-1], flush=True)
        found["slope"] = {given.growth: slope(found["mixed"].get(given.growth, []))}
    if not given.dry:
        write("search_scale", {"queries": QUERIES, **found}, ["numpy", "faiss-cpu"])


if __name__ == "__main__":
    main()
