"""How mining, clustering and batch planning grow with the number of items.

    python benchmarks/growth.py [--items 10000 100000 1000000] [--repeats 1] [--cache runs/benchmarks]

Each job of each size runs in a process of its own, with nothing kept from before:

- `mine`: the first n of the vectors of `_vectors.mixed` (384 numbers, on disk) among themselves, to 50 negatives each,
  through what `tellapart mine` chooses by itself;
- `cluster`: k-means as `tas` and `dyce` ask for it, 100 clusters; `balanced`: clusters of 16 rows, as `ngame` asks;
- `plan with …`: one epoch planned afresh by a sampler that looks at the vectors of the towers.

The last three are of unit vectors of 64 numbers in n / 50 clusters. The slope is that of log seconds over log items,
from the least to the greatest size.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _record import spread, write
from _vectors import mixed, own_memory

from tellapart.core.balanced import balanced_order
from tellapart.core.parts import make
from tellapart.core.plan import SampleKeys, kmeans

DIM, BATCH, CLUSTERS, CLUSTER_SIZE = 64, 256, 100, 16
DEPTH, KEEP = 64, 50
JOBS = ("mine", "cluster", "balanced", "plan with ngame", "plan with sample4geo")


def planted(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(n // 50, 1), DIM), dtype=np.float32)
    x = centres[rng.integers(0, len(centres), n)] + 0.5 * rng.standard_normal((n, DIM), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def job(name: str, n: int, cache: Path) -> Callable[[int], None]:
    """What does the work for the first so many items."""
    if name == "mine":
        from tellapart.engine.mine import mine
        from tellapart.engine.probing import probing

        z = np.load(mixed(max(n, 1_000_000), cache), mmap_mode="r")

        def mined(n: int) -> None:
            ids, rows, x = np.asarray([f"{i:07d}" for i in range(n)], object), np.arange(n), z[:n]
            known = {"query_ids": ids, "document_ids": ids, "query_groups": rows, "document_groups": rows}
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                index = probing(ids, x, x, DEPTH).index
                mine(x, x, **known, positives=rows, depth=DEPTH, keep=KEEP, margin=None, index=index, folder=folder)

        return mined
    x = planted(n)
    if name == "cluster":
        return lambda n: kmeans(x[:n], CLUSTERS, 0)
    if name == "balanced":
        return lambda n: balanced_order(x[:n], CLUSTER_SIZE, seed=0)
    sampler = make("sample", name.removeprefix("plan with "))

    def planned(n: int) -> None:
        rows = np.arange(n)
        plan = sampler(SampleKeys(rows, rows, rows, x[:n], x[:n]), seed=0, epoch=100, batch_size=BATCH)
        assert len(plan) == n // BATCH

    return planned


def child(name: str, n: int, cache: Path) -> None:
    """Seconds of one job, and MiB that it took beyond the vectors."""
    work = job(name, n, cache)
    work(2 * BATCH)
    with own_memory() as most:
        start = time.perf_counter()
        work(n)
        seconds = time.perf_counter() - start
    sys.stdout.write(json.dumps({"seconds": seconds, "mebibytes": round(most[0], 1)}))


def measured(name: str, n: int, cache: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--cache", str(cache), "--child", name, str(n)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    options.add_argument("--repeats", type=int, default=1)
    options.add_argument("--cache", type=Path, default=Path(__file__).parent.parent / "runs" / "benchmarks")
    options.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        child(given.child[0], int(given.child[1]), given.cache)
        return
    found = {}
    for name in JOBS:
        runs = {n: [measured(name, n, given.cache) for _ in range(given.repeats)] for n in sorted(given.items)}
        rows = {
            str(n): {"seconds": spread([r["seconds"] for r in held], 2), "MiB": max(r["mebibytes"] for r in held)}
            for n, held in runs.items()
        }
        least, most = min(runs), max(runs)
        growth = rows[str(most)]["seconds"]["median"] / rows[str(least)]["seconds"]["median"]
        found[name] = {"items": rows, "slope": round(math.log(growth) / math.log(most / least), 4)}
        sys.stderr.write(f"{name}: {found[name]}\n")
    write("growth", {"to reach": {"slope": 1.15}, "jobs": found}, ["numpy", "scikit-learn", "faiss-cpu"])


if __name__ == "__main__":
    main()
