"""Recall and queries a second of each index as it is by default, beside bare FAISS and bare LanceDB, on real vectors.

    python benchmarks/backends.py [--glosses 116659] [--repeats 5]

Vectors are MiniLM's of WordNet's glosses; 500 more are kept aside as queries. Every index is built as a run builds it,
so that a width that is left to the build is chosen there. Bare FAISS has the settings that `hnsw` ended with, and walks
the very same graph; LanceDB has the index that it makes by itself. Each measurement is repeated in turns, and a ratio
is of two measurements of one turn. PostgreSQL is started on a socket of a temporary folder.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from _record import ROOT, spread, write
from _vectors import glosses

from tellapart.engine.indexing import build

K, QUERIES, ALONE, SLOW_ALONE = 10, 500, 300, 40
SPECS = ["exact", "hnsw", "lancedb", "pgvector(memory=1000)", "qdrant"]
SLOW = {"exact", "lancedb", "pgvector(memory=1000)", "LanceDB by itself"}
RATIOS = [("hnsw", "bare FAISS"), ("hnsw", "LanceDB by itself"), ("hnsw", "lancedb"), ("hnsw", "exact")]
PACKAGES = ["numpy", "faiss-cpu", "lancedb", "psycopg", "pgvector", "qdrant-edge-py", "onnxruntime"]


@contextmanager
def postgres() -> Iterator[None]:
    """The server that the tests start."""
    spec = importlib.util.spec_from_file_location("tellapart_tests", ROOT / "tests" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        server = module.Postgres(Path(folder))
        try:
            server.start()
            os.environ["TELLAPART_POSTGRES"] = server.address
            yield
        finally:
            server.stop()


def bare_lance(z: np.ndarray, folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """LanceDB with what `create_index` makes when it is told nothing but the column."""
    import lancedb
    import pyarrow as pa

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(z.ravel()), z.shape[1])
    rows = pa.table({"row": pa.array(np.arange(len(z))), "vector": vectors})
    table = lancedb.connect(str(folder)).create_table("glosses", rows)
    table.create_index("vector", config=lancedb.index.IvfPq(distance_type="dot"))

    def search(q: np.ndarray) -> np.ndarray:
        found = [table.search(one).distance_type("dot").select(["row", "_distance"]).limit(K).to_arrow() for one in q]
        return np.asarray([f["row"].to_numpy() for f in found])

    return search


def built(spec: str, ids: np.ndarray, z: np.ndarray, folder: Path) -> tuple[Any, dict]:
    """An index, and what its build told."""
    index, report = build(spec, ids, z, folder)
    told = {f: round(report.figure(f).value, 4) for f in (f"recall@{K}",)}
    row = {"built_in_seconds": report.figure("index built in").value, "recall@10_said_at_build": told[f"recall@{K}"]}
    return index, {**row, **index.chosen}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--glosses", type=int, default=116_659)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--indexes", nargs="*", default=SPECS)
    options.add_argument("--cache", type=Path, default=ROOT / "runs" / "benchmarks")
    given = options.parse_args()
    everything = glosses(given.glosses + QUERIES, given.cache)
    if everything is None:
        sys.exit("this needs WordNet: install the Debian package wordnet-base, or set TELLAPART_DATA")
    queries, z = everything[:QUERIES], np.ascontiguousarray(everything[QUERIES:])
    ids = np.asarray([f"{i:07d}" for i in range(len(z))], object)
    truth = np.concatenate([np.argsort(-(q @ z.T), axis=1)[:, :K] for q in np.array_split(queries, 50)])

    with (
        tempfile.TemporaryDirectory() as folder,
        postgres() if any("pgvector" in s for s in given.indexes) else nullcontext(),
    ):
        searches: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
        rows: dict[str, dict] = {}
        for spec in given.indexes:
            index, rows[spec] = built(spec, ids, z, Path(folder) / spec)
            searches[spec] = lambda q, index=index: index.search(q, K).ids.astype(np.int64)
            if spec == "hnsw":
                graph, order = index._graph, index.ids.astype(np.int64)
                graph.hnsw.efSearch = index.width or index.chosen["width"]
                searches["bare FAISS"] = lambda q, graph=graph, order=order: order[graph.search(q, K)[1]]
                rows["bare FAISS"] = {"width": graph.hnsw.efSearch, "links": index.links}
            sys.stderr.write(f"{spec}: {rows[spec]}\n")
        if "lancedb" in given.indexes:
            start = time.perf_counter()
            searches["LanceDB by itself"] = bare_lance(z, Path(folder) / "bare")
            rows["LanceDB by itself"] = {"built_in_seconds": round(time.perf_counter() - start, 3)}
        alone: dict[str, list[float]] = {name: [] for name in searches}
        together: dict[str, list[float]] = {name: [] for name in searches}
        for name, search in searches.items():
            found_rows = search(queries)
            shares = [len(set(f) & set(t)) / K for f, t in zip(found_rows.tolist(), truth.tolist(), strict=True)]
            rows[name]["recall@10"] = round(float(np.mean(shares)), 4)
        for _ in range(given.repeats):
            for name, search in searches.items():
                count = SLOW_ALONE if name in SLOW else ALONE
                start = time.perf_counter()
                for row in range(count):
                    search(queries[row : row + 1])
                alone[name].append(count / (time.perf_counter() - start))
                count = 100 if name in SLOW else QUERIES
                start = time.perf_counter()
                for row in range(0, count, 100):
                    search(queries[row : row + 100])
                together[name].append(count / (time.perf_counter() - start))
        searches.clear()
    for name, row in rows.items():
        row["queries_a_second_alone"] = spread(alone[name], 1)
        row["queries_a_second_by_100"] = spread(together[name], 1)
    ratios = {
        f"{one} / {other}": {
            "alone": spread([a / b for a, b in zip(alone[one], alone[other], strict=True)], 3),
            "by 100": spread([a / b for a, b in zip(together[one], together[other], strict=True)], 3),
        }
        for one, other in RATIOS
        if one in rows and other in rows
    }
    what = {"data": "wordnet glosses", "items": len(z), "dimensions": z.shape[1], "queries": QUERIES, "k": K}
    write("backends", {**what, "indexes": rows, "speed_ratios": ratios}, PACKAGES)


if __name__ == "__main__":
    main()
