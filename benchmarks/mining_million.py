"""Hard negatives of a million vectors among themselves: time, memory, and what is found of what is there.

    python benchmarks/mining_million.py [--items 1000000] [--queries 8192] [--cache runs/benchmarks]

The vectors lie on disk, 384 numbers each, mixed from real ones (`_vectors.mixed`). Every item is mined against all
others to 50 negatives, near duplicates (a cosine above 0.98 of the same item's own neighbours) not taken out, through
what `tellapart mine` chooses by itself, in a process of its own whose memory is watched. The exact search is timed in
the same way on some of the queries, drawn evenly, and its time scaled to all: its work is the same for each. The true
hardest are those that it finds for these queries. The bare product of the same blocks is timed beside.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _record import write
from _vectors import mixed, own_memory

from tellapart.core.nearest import COLUMNS
from tellapart.engine.mine import mine
from tellapart.engine.probing import probing
from tellapart.engine.topk import ROWS

DEPTH, KEEP = 64, 50


def options(n: int, queries: np.ndarray) -> dict:
    names = np.asarray([f"{i:07d}" for i in range(n)], object)
    groups = np.arange(n)
    return {
        "query_ids": names[queries],
        "document_ids": names,
        "query_groups": groups[queries],
        "document_groups": groups,
        "positives": queries,
        "depth": DEPTH,
        "keep": KEEP,
        "margin": None,
    }


def child(file: str, folder: str) -> None:
    z = np.load(file, mmap_mode="r")
    mine(z[:64], z[:512], **options(512, np.arange(64)))
    with own_memory() as most:
        start = time.perf_counter()
        known = options(len(z), np.arange(len(z)))
        through = probing(known["document_ids"], z, z, DEPTH)
        built = time.perf_counter() - start
        table = mine(z, z, **known, index=through.index, folder=folder)
        seconds = time.perf_counter() - start
    found = {"through": through.spec, "recall by its own sample": round(through.recall, 4), "pairs": len(table)}
    found |= {"seconds": round(seconds, 1), "of these to build": round(built, 1), "MiB": round(most[0])}
    sys.stdout.write(json.dumps(found))


def kept(table) -> dict[int, np.ndarray]:
    table = table.filter(table["kept"])
    query, document = table["query"].to_numpy(), table["document"].to_numpy()
    cuts = np.flatnonzero(np.diff(query)) + 1
    return dict(zip(query[np.concatenate([[0], cuts])].tolist(), np.split(document, cuts), strict=True))


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--items", type=int, default=1_000_000)
    given.add_argument("--queries", type=int, default=4 * ROWS)
    given.add_argument("--cache", type=Path, default=Path(__file__).parent.parent / "runs" / "benchmarks")
    given.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = given.parse_args()
    if given.child:
        child(*given.child)
        return
    file = mixed(given.items, given.cache)
    z = np.load(file, mmap_mode="r")
    rows = np.sort(np.random.default_rng(1).choice(len(z), given.queries, replace=False))
    with tempfile.TemporaryDirectory(dir=given.cache) as folder:
        job = [sys.executable, __file__, "--child", str(file), folder]
        ours = json.loads(subprocess.run(job, capture_output=True, text=True, check=True).stdout)
        start = time.perf_counter()
        truth = kept(mine(np.asarray(z[rows]), z, **options(len(z), rows)))
        exact = (time.perf_counter() - start) * len(z) / len(rows)
        start = time.perf_counter()
        buffer = np.empty((ROWS, COLUMNS), np.float32)
        for first in range(0, len(z), COLUMNS):
            piece = np.asarray(z[first : first + COLUMNS])
            np.matmul(z[:ROWS], piece.T, out=buffer[:, : len(piece)])
        product = (time.perf_counter() - start) * len(z) / ROWS
        import pyarrow as pa

        shares = []
        for block in sorted(Path(folder).glob("*/block-*.arrow")):
            with pa.memory_map(str(block)) as source:
                found = kept(pa.ipc.open_file(source).read_all())
            shares += [np.isin(truth[place], found[row]).mean() for place, row in enumerate(rows) if row in found]
    assert len(shares) == len(rows)
    result = {
        "what": f"each of {len(z):,} vectors of 384 numbers mined against all others to {KEEP} negatives",
        "to reach": {"MiB beyond the vectors": 4096, "recall of true hardest": 0.95, "times faster than exact": 20},
        "items": len(z),
        **ours,
        "exact, seconds": round(exact),
        "exact, measured on queries": len(rows),
        "bare product, seconds": round(product),
        "times faster than exact": round(exact / ours["seconds"], 1),
        "times faster than the bare product": round(product / ours["seconds"], 1),
        "recall of true hardest": round(float(np.mean(shares)), 4),
        "recall, queries": len(shares),
    }
    write("mining_million", result, ["numpy", "pyarrow", "faiss-cpu"])


if __name__ == "__main__":
    main()
