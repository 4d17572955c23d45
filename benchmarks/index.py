"""Recall and queries a second of every index, beside bare FAISS on the same vectors.

    python benchmarks/index.py [--glosses 30000] [--repeats 3]

Vectors are MiniLM's of WordNet glosses (Debian's wordnet-base), or, where those are not installed, of the OpenMoji
names; 500 are kept aside as queries. Truth is a comparison with every item. Each measurement is repeated and the
indexes take turns, so that a slow moment meets all of them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from _record import spread, write

from tellapart.core.errors import TellapartError
from tellapart.core.parts import make

K, QUERIES, ALONE = 10, 500, 100
SPECS = [
    "exact",
    "sign-bits",
    "sign-bits(oversample=10)",
    "hnsw",
    "hnsw(width=128)",
    "ivf",
    "rabitq",
    "rabitq(probe=32)",
]


def texts(limit: int) -> tuple[str, list[str]]:
    """A name for the data and up to `limit` different texts, drawn with a fixed seed."""
    from tellapart.data import shipped

    try:
        name, found = "wordnet glosses", shipped.wordnet()
        column = next(c for c in ("positive", "gloss", "text") if c in found.columns)
    except TellapartError:
        name, found = "openmoji names", shipped.openmoji()
        column = "text"
    distinct = sorted({t for t in found.values(column) if t})
    rows = np.random.default_rng(0).permutation(len(distinct))[:limit]
    return name, [distinct[r] for r in rows]


def vectors(limit: int, cache: Path) -> tuple[str, np.ndarray]:
    """Unit vectors by MiniLM, embedded once into the cache."""
    from tellapart.core.collection import Collection
    from tellapart.engine.embed import embed

    name, found = texts(limit)
    collection = Collection.of({"text": found})
    return name, np.asarray(embed(collection, "text", make("encode", "minilm"), cache=cache))


def bare_faiss(z: np.ndarray) -> dict:
    """FAISS alone, with the options that the parts have by default: name -> (build, search)."""
    import faiss

    def flat():
        index = faiss.IndexFlatIP(z.shape[1])
        index.add(z)
        return index

    def hnsw():
        index = faiss.IndexHNSWFlat(z.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = 100, 64
        index.add(z)
        return index

    def ivf():
        index = faiss.index_factory(z.shape[1], f"IVF{int(3 * len(z) ** 0.5)},Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(z)
        index.add(z)
        index.nprobe = 32
        return index

    return {"faiss flat": flat, "faiss HNSW32": hnsw, "faiss IVF,Flat": ivf}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--glosses", type=int, default=30_000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--cache", type=Path, default=Path(__file__).parent.parent / "runs" / "benchmarks")
    given = options.parse_args()
    name, everything = vectors(given.glosses + QUERIES, given.cache)
    queries, z = everything[:QUERIES], np.ascontiguousarray(everything[QUERIES:])
    ids = np.asarray([f"{i:07d}" for i in range(len(z))], object)
    truth = np.argsort(-(queries @ z.T), axis=1, kind="stable")[:, :K]

    searches, rows = {}, {}
    for spec in SPECS:
        start = time.perf_counter()
        index = make("index", spec)
        index.add(ids, z)
        index.search(queries[:1], K)
        seconds = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as folder:
            index.save(folder)
            sizes = {f.name: f.stat().st_size for f in Path(folder).glob("v*/*")}
        beside = sum(
            size for file, size in sizes.items() if file not in ("z.npy", "ids.arrow", "alive.npy", "order.npy")
        )
        searches[spec] = lambda q, index=index: index.search(q, K).ids.astype(np.int64)
        rows[spec] = {"build_seconds": round(seconds, 2), "MB_beside_the_vectors": round(beside / 1e6, 1)}
    for spec, build in bare_faiss(z).items():
        start = time.perf_counter()
        index = build()
        rows[spec] = {"build_seconds": round(time.perf_counter() - start, 2)}
        searches[spec] = lambda q, index=index: index.search(q, K)[1]

    alone: dict[str, list[float]] = {spec: [] for spec in searches}
    together: dict[str, list[float]] = {spec: [] for spec in searches}
    for spec, search in searches.items():
        found = search(queries)
        shares = [len(set(f) & set(t)) / K for f, t in zip(found.tolist(), truth.tolist(), strict=True)]
        rows[spec]["recall@10"] = round(float(np.mean(shares)), 4)
    for _ in range(given.repeats):
        for spec, search in searches.items():
            start = time.perf_counter()
            for row in range(ALONE):
                search(queries[row : row + 1])
            alone[spec].append(ALONE / (time.perf_counter() - start))
            start = time.perf_counter()
            for row in range(0, QUERIES, 100):
                search(queries[row : row + 100])
            together[spec].append(QUERIES / (time.perf_counter() - start))
    for spec in searches:
        rows[spec]["queries_a_second_alone"] = spread(alone[spec], 1)
        rows[spec]["queries_a_second_by_100"] = spread(together[spec], 1)
    pairs = (("exact", "faiss flat"), ("hnsw", "faiss HNSW32"), ("ivf", "faiss IVF,Flat"))
    ratios = {
        f"{ours} / {theirs}": {
            "alone": spread([a / b for a, b in zip(alone[ours], alone[theirs], strict=True)], 3),
            "by 100": spread([a / b for a, b in zip(together[ours], together[theirs], strict=True)], 3),
        }
        for ours, theirs in pairs
    }
    what = {"data": name, "items": len(z), "dimensions": z.shape[1], "queries": QUERIES, "k": K}
    write("index", {**what, "indexes": rows, "speed_ratios": ratios}, ["numpy", "faiss-cpu", "onnxruntime"])


if __name__ == "__main__":
    main()
