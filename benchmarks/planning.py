"""How batch planning grows: one epoch planned afresh by the samplers that look at the vectors of the towers.

    python benchmarks/planning.py [--items 10000 100000 1000000] [--repeats 3]

Each size runs in a process of its own on unit vectors of 64 numbers in n / 50 clusters, with clustering or search and
nothing kept from before. The slope is that of log seconds over log items, from the least to the greatest size.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from _record import spread, write

from tellapart.core.parts import make
from tellapart.core.plan import SampleKeys

DIM, BATCH = 64, 256
SAMPLERS = ("ngame", "sample4geo")


def planted(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(n // 50, 1), DIM), dtype=np.float32)
    x = centres[rng.integers(0, len(centres), n)] + 0.5 * rng.standard_normal((n, DIM), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def child(name: str, n: int) -> None:
    """Seconds of one plan, and MiB that it took beyond the vectors."""
    x, rows = planted(n), np.arange(n)
    sampler = make("sample", name)
    small = np.arange(2 * BATCH)
    sampler(SampleKeys(small, small, small, x[small], x[small]), seed=1, epoch=100, batch_size=BATCH)
    Path("/proc/self/clear_refs").write_text("5")
    before, start = peak(), time.perf_counter()
    plan = sampler(SampleKeys(rows, rows, rows, x, x), seed=0, epoch=100, batch_size=BATCH)
    seconds = time.perf_counter() - start
    assert len(plan) == n // BATCH
    sys.stdout.write(json.dumps({"seconds": seconds, "mebibytes": peak() - before}))


def peak() -> float:
    """MiB: the most of real memory that this process held since the mark was set back (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def measured(name: str, n: int) -> dict[str, float]:
    job = [sys.executable, __file__, "--child", name, str(n)]
    found: dict[str, float] = json.loads(subprocess.run(job, capture_output=True, text=True, check=True).stdout)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        child(given.child[0], int(given.child[1]))
        return
    found = {}
    for name in SAMPLERS:
        runs = {n: [measured(name, n) for _ in range(given.repeats)] for n in sorted(given.items)}
        rows = {
            str(n): {"seconds": spread([r["seconds"] for r in held]), "mebibytes": max(r["mebibytes"] for r in held)}
            for n, held in runs.items()
        }
        least, most = min(runs), max(runs)
        growth = rows[str(most)]["seconds"]["median"] / rows[str(least)]["seconds"]["median"]
        found[name] = {"items": rows, "slope": round(math.log(growth) / math.log(most / least), 4)}
    write("planning", {"dim": DIM, "batch": BATCH, "samplers": found}, ["numpy"])


if __name__ == "__main__":
    main()
