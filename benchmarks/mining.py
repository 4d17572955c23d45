"""Top-100 mining against the bare matrix product, and against sentence-transformers' `mine_hard_negatives`.

    python benchmarks/mining.py [--items 100000] [--peer-items 20000] [--repeats 3] [--cache runs/benchmarks]

1. `mine` over all items, all rules on. After each block of queries the bare product of the same block (the same blocks
   of columns, one buffer, nothing kept) is timed: ratios are block by block, within seconds of each other.
2. Memory: the most that a process takes beyond its data, for two sizes of block.
3. `mine_hard_negatives` on the same vectors by a model whose encoder looks them up, without and with FAISS; the same
   depth, margin and number of negatives, ending in a table of negatives on both sides.
4. `mine` through `ivf`, building it included: the words of WordNet's synsets (Debian's wordnet-base) mined among their
   glosses, embedded by MiniLM once into the cache; and the planted vectors. How much of the exact answer is found is
   counted over some of the queries; sentence-transformers mines the same vectors once, without and with FAISS.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _record import spread, write
from _vectors import peak, wordnet

from tellapart.core.nearest import COLUMNS
from tellapart.engine.mine import mine, summary
from tellapart.engine.topk import ROWS

DIM, DEPTH, KEEP, MARGIN = 384, 100, 10, 0.05
PROBE = 64
QUERIES_OF_RECALL = 8 * ROWS


def planted(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors in n / 50 clusters and a noisy query of each."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(n // 50, 1), DIM), dtype=np.float32)
    k = centres[rng.integers(0, len(centres), n)] + 0.2 * rng.standard_normal((n, DIM), dtype=np.float32)
    q = k + 0.6 * rng.standard_normal((n, DIM), dtype=np.float32)
    return tuple(x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, k))


def ours(q, k, **options):
    ids = np.arange(len(k))
    given = {"query_ids": ids[: len(q)] + len(k), "document_ids": ids, "query_groups": ids[: len(q)]}
    return mine(
        q, k, **given, document_groups=ids, positives=ids[: len(q)], depth=DEPTH, keep=KEEP, margin=MARGIN, **options
    )


def bare(q, k, buffer):
    """The product in the blocks of `mine`, written over one buffer."""
    for start in range(0, len(k), COLUMNS):
        piece = k[start : start + COLUMNS]
        np.matmul(q, piece.T, out=buffer[: len(q) * len(piece)].reshape(len(q), len(piece)))


def against_the_product(n: int, folder: Path | None) -> dict:
    q, k = planted(n)
    buffer = np.empty(ROWS * COLUMNS, np.float32)
    bare(q[:ROWS], k, buffer)
    ours(q[:ROWS], k)
    blocks, products, last = [], [], [time.perf_counter()]

    def told(done: int, total: int) -> None:
        now = time.perf_counter()
        blocks.append(now - last[0])
        start = (done - 1) // ROWS * ROWS
        bare(q[start:done], k, buffer)
        last[0] = time.perf_counter()
        products.append(last[0] - now)

    table = ours(q, k, progress=told, folder=folder)
    whole = [n for n in range(len(blocks)) if (n + 1) * ROWS <= len(q)]
    return {
        "items": n,
        "pairs": len(table),
        "rules": summary(table).facts["counts"],
        "seconds": round(sum(blocks), 2),
        "product_seconds": round(sum(products), 2),
        "ratio": round(sum(blocks) / sum(products), 4),
        "ratio_by_block": spread([blocks[n] / products[n] for n in whole]),
    }


def memory(n: int, queries: int, block: int) -> float:
    """MiB beyond the data, in a process of its own."""
    job = [sys.executable, __file__, "--child", str(n), str(queries), str(block)]
    return float(subprocess.run(job, capture_output=True, text=True, check=True).stdout)


def child(n: int, queries: int, block: int) -> None:
    q, k = planted(n)
    ours(q[:8], k[:256])
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    with tempfile.TemporaryDirectory() as folder:
        ours(q[:queries], k, block=block, folder=folder)
    sys.stdout.write(str(peak() - before))


class Lookup:
    """What `mine_hard_negatives` asks of a model; encoding is looking up, scores are dot products of unit vectors."""

    device = "cpu"

    def __init__(self, q, k):
        self.q, self.k = q, k

    def encode_query(self, texts, **_):
        return self.q[[int(t[1:]) for t in texts]]

    def encode_document(self, texts, **_):
        return self.k[[int(t[1:]) for t in texts]]

    def get_embedding_dimension(self):
        return DIM

    def similarity(self, a, b):
        import torch

        return torch.as_tensor(a) @ torch.as_tensor(b).T

    def similarity_pairwise(self, a, b):
        import torch

        return (torch.as_tensor(a) * torch.as_tensor(b)).sum(1)


def theirs(q, k, data, use_faiss):
    from sentence_transformers.util import mine_hard_negatives

    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        return mine_hard_negatives(
            data,
            Lookup(q, k),
            anchor_column_name="anchor",
            positive_column_name="positive",
            range_max=DEPTH,
            relative_margin=MARGIN,
            num_negatives=KEEP,
            sampling_strategy="top",
            output_format="n-tuple",
            use_faiss=use_faiss,
            verbose=False,
        )


def through_cells(q, k, repeats: int, peer: bool) -> dict:
    """Mining through `ivf` from the vectors on: build and search; what it finds of the exact answer."""
    from tellapart.core.parts import make

    names = [f"{i:07d}" for i in range(len(k))]
    known = {"query_ids": None, "document_ids": names, "query_groups": None, "document_groups": None}
    mining = {"positives": np.arange(len(q)), "depth": DEPTH, "keep": KEEP, "margin": MARGIN}
    known["query_ids"] = [f"q{i:07d}" for i in range(len(q))]
    builds, whole = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        index = make("index", "ivf", probe=PROBE)
        index.add(names, k)
        index.search(q[:1], DEPTH)
        builds.append(time.perf_counter() - start)
        table = mine(q, k, **known, **mining, index=index)
        whole.append(time.perf_counter() - start)
    some = min(QUERIES_OF_RECALL, len(q))
    known["query_ids"], mining["positives"] = known["query_ids"][:some], np.arange(some)
    exact = mine(q[:some], k, **known, **mining)
    row = {
        "items": len(k),
        "index": f"ivf(probe={PROBE})",
        "cells": index.cells or int(3 * len(k) ** 0.5),
        "seconds": spread(whole, 2),
        "of these to build": spread(builds, 2),
        f"recall@{DEPTH}": found_of(exact, table),
        "recall of kept negatives": found_of(exact.filter(exact["kept"]), table.filter(table["kept"])),
        "queries of recall": some,
    }
    if peer:
        from datasets import Dataset

        data = Dataset.from_dict(
            {"anchor": [f"q{i}" for i in range(len(q))], "positive": [f"d{i}" for i in range(len(k))]}
        )
        for name, use_faiss in (("sentence-transformers", False), ("sentence-transformers with FAISS", True)):
            start = time.perf_counter()
            theirs(q, k, data, use_faiss)
            seconds = time.perf_counter() - start
            row[name] = {"seconds": round(seconds, 2), "times faster": spread([seconds / t for t in whole], 2)}
    return row


def found_of(exact, table) -> float:
    """Share of the pairs of one table that stand in another."""
    span = int(max(exact["document"].to_numpy().max(), table["document"].to_numpy().max())) + 1
    pairs, others = (t["query"].to_numpy().astype(np.int64) * span + t["document"].to_numpy() for t in (exact, table))
    return round(float(np.isin(pairs, others[others < (int(pairs.max()) // span + 1) * span]).mean()), 4)


def against_the_peer(n: int, repeats: int) -> dict:
    from datasets import Dataset

    q, k = planted(n)
    data = Dataset.from_dict({"anchor": [f"q{i}" for i in range(n)], "positive": [f"d{i}" for i in range(n)]})
    times: dict[str, list[float]] = {"ours": [], "peer": [], "peer with FAISS": []}
    ours(q[:ROWS], k)
    for _ in range(repeats):
        for name in times:
            start = time.perf_counter()
            if name == "ours":
                table = ours(q, k)
            else:
                found = theirs(q, k, data, "FAISS" in name)
            times[name].append(time.perf_counter() - start)
    kept = table.filter(table["kept"]).to_pandas().groupby("query")["document"].apply(list)
    row = {
        a: [int(r[f"negative_{i + 1}"][1:]) for i in range(KEEP)] for a, r in zip(found["anchor"], found, strict=True)
    }
    same = np.mean([kept[int(a[1:])] == negatives for a, negatives in row.items()])
    return {
        "items": n,
        "seconds": {name: spread(t, 2) for name, t in times.items()},
        "times_faster": spread([b / a for a, b in zip(times["ours"], times["peer"], strict=True)], 2),
        "times_faster_than_with_faiss": spread(
            [b / a for a, b in zip(times["ours"], times["peer with FAISS"], strict=True)], 2
        ),
        "queries_with_the_same_negatives": round(float(same), 4),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--items", type=int, default=100_000)
    options.add_argument("--peer-items", type=int, nargs="*", default=[20_000])
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--cache", type=Path, default=Path(__file__).parent.parent / "runs" / "benchmarks")
    options.add_argument("--child", type=int, nargs=3)
    given = options.parse_args()
    if given.child:
        child(*given.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        product = against_the_product(given.items, Path(folder))
    real = wordnet(given.items, given.cache)
    cells = {"planted": through_cells(*planted(given.items), 1, peer=real is None)}
    if real is not None:
        cells["wordnet words among glosses"] = through_cells(*real, given.repeats, peer=True)
    found = {
        "what": f"top-{DEPTH} mining of {DIM}-d vectors, {KEEP} negatives, margin {MARGIN}",
        "to reach": {"ratio to the product": 1.5, "times faster than sentence-transformers": 5},
        "against the product": product,
        "memory": {
            "items": given.items,
            "queries": 2 * ROWS,
            "MiB beyond the data by queries a block": {
                str(b): round(memory(given.items, 2 * ROWS, b), 1) for b in (ROWS // 4, ROWS)
            },
            "MiB of the whole matrix of scores": round(given.items**2 * 4 / 2**20),
        },
        "against sentence-transformers": [against_the_peer(n, given.repeats) for n in given.peer_items],
        "through ivf": cells,
    }
    write("mining", json.loads(json.dumps(found)), ["numpy", "pyarrow", "torch", "faiss-cpu", "sentence-transformers"])


if __name__ == "__main__":
    main()
