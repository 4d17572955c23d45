"""Near duplicates among a million vectors: time, memory, growth, and what is found of pairs that were put in.

    python benchmarks/near_duplicates.py [--items 10000 100000 1000000] [--queries 4096] [--cache runs/benchmarks]

The vectors lie on disk, 384 numbers each, mixed from real ones (`_vectors.mixed`). A hundredth of them is replaced by
copies of others with noise, cosines between 0.982 and 0.999 of the original. Each size runs in a process of its own
whose memory is watched, through what curation calls (`core.close.cosine_pairs` at a cosine of 0.98). The comparison of
all with all is timed on some of the rows and scaled: its work is the same for each.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _record import write
from _vectors import mixed, own_memory

from tellapart.core.close import cosine_pairs

SHARE, LEAST, COSINES, BLOCK = 100, 0.98, (0.982, 0.999), 1024


def planted(file: Path, n: int, folder: Path) -> Path:
    """The first n vectors, the last hundredth of them copies of the first hundredth."""
    rng, count = np.random.default_rng(0), n // SHARE
    z = np.array(np.load(file, mmap_mode="r")[:n])
    cosine = rng.uniform(*COSINES, (count, 1)).astype(np.float32)
    noise = rng.normal(size=(count, z.shape[1])).astype(np.float32)
    noise -= np.einsum("nd,nd->n", noise, z[:count])[:, None] * z[:count]
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    z[-count:] = cosine * z[:count] + np.sqrt(1 - cosine**2) * noise
    made = folder / f"planted-{n}.npy"
    np.save(made, z)
    return made


def child(file: str, queries: int) -> None:
    z = np.load(file, mmap_mode="r")
    n = len(z)
    cosine_pairs(np.asarray(z[:512]), LEAST)
    with own_memory() as most:
        start = time.perf_counter()
        a, b, _ = cosine_pairs(z, LEAST)
        seconds = time.perf_counter() - start
    start = time.perf_counter()
    rows = np.linspace(0, n - 1, min(n, queries)).astype(np.int64)
    q, true = np.asarray(z[rows]), set()
    for first in range(0, n, BLOCK):
        row, column = np.nonzero(q @ np.asarray(z[first : first + BLOCK]).T >= LEAST)
        true |= {(min(r, c), max(r, c)) for r, c in zip(rows[row].tolist(), (column + first).tolist(), strict=True)}
    exact = (time.perf_counter() - start) * n / len(rows)
    true = {(r, c) for r, c in true if r != c}
    found = set(zip(a.tolist(), b.tolist(), strict=True))
    copies = {(i, n - n // SHARE + i) for i in range(n // SHARE)}
    told = {
        "seconds": round(seconds, 2),
        "MiB": round(most[0], 1),
        "pairs": len(found),
        "recall of planted pairs": round(len(copies & found) / len(copies), 4),
        "recall of all pairs of some rows": round(len(true & found) / len(true), 4),
        "times faster than all with all": round(exact / seconds, 1),
    }
    sys.stdout.write(json.dumps(told))


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--items", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    given.add_argument("--queries", type=int, default=4096)
    given.add_argument("--cache", type=Path, default=Path(__file__).parent.parent / "runs" / "benchmarks")
    given.add_argument("--child", help=argparse.SUPPRESS)
    given = given.parse_args()
    if given.child:
        child(given.child, given.queries)
        return
    source, found = mixed(max(given.items), given.cache), {}
    for n in given.items:
        with tempfile.TemporaryDirectory(dir=given.cache) as folder:
            file = planted(source, n, Path(folder))
            job = [sys.executable, __file__, "--child", str(file), "--queries", str(given.queries)]
            found[n] = json.loads(subprocess.run(job, capture_output=True, text=True, check=True).stdout)
            sys.stderr.write(f"{n}: {found[n]}\n")
    least, most = min(given.items), max(given.items)
    slope = math.log(found[most]["seconds"] / found[least]["seconds"]) / math.log(most / least)
    result = {
        "what": f"all pairs of vectors of 384 numbers with a cosine of {LEAST} or more, one copy planted in {SHARE}",
        "to reach": {"MiB beyond the disk": 4096, "slope": 1.15, "recall of planted pairs": 0.99},
        "items": found,
        "slope": round(slope, 4),
    }
    write("near_duplicates", result, ["numpy", "faiss-cpu"])


if __name__ == "__main__":
    main()
