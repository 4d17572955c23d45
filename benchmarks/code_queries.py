"""Recall of every index when queries are unlike the items: docstrings that look for functions.

    python benchmarks/code_queries.py [--functions 40000] [--specs hnsw ivf …] [--repeats 3] [--cache runs/benchmarks]

The vectors are MiniLM's of the functions of the installed packages and of their docstrings. Each index is built as a
run builds it, twice: measured and widened with items that are kept aside, and with 500 docstrings that a run would hold
out. Then 500 other docstrings are searched for, one by one, and what they find is compared with every function.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from _record import ROOT, write
from search_scale import QUERIES, SPECS, K, measured, truth

from tellapart.core.features import unit_rows
from tellapart.core.parts import make

PACKAGES = ("python", "numpy", "scipy", "sklearn", "torch", "transformers", "pandas", "sentence_transformers")


def code(most: int, cache: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries, items, and queries for the build: docstrings, the functions that they are of, and other docstrings."""
    from tellapart.data import shipped
    from tellapart.engine.embed import embed

    found = shipped.docstrings(PACKAGES, limit=most)
    encoder = make("encode", "minilm")
    words, functions = (unit_rows(np.array(embed(found, c, encoder, cache=cache))) for c in ("anchor", "positive"))
    q, asked = np.split(words[np.random.default_rng(0).permutation(len(found))[: 2 * QUERIES]].astype(np.float32), 2)
    return q, functions.astype(np.float32), asked


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--functions", type=int, default=40_000)
    options.add_argument("--specs", nargs="*", default=SPECS)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--cache", type=Path, default=ROOT / "runs" / "benchmarks")
    given = options.parse_args()
    q, z, asked = code(given.functions, given.cache)
    true = truth(q, z)
    found: dict[str, Any] = {}
    for spec in given.specs:
        found[spec] = {
            "measured with items": measured(spec, q, z, true, given.repeats),
            "measured with held-out queries": measured(spec, q, z, true, given.repeats, asked),
        }
        print(spec, found[spec], flush=True)
    facts = {"to reach": {f"recall@{K}": 0.98}, "functions": len(z), "queries": QUERIES, "indexes": found}
    write("code_queries", facts, ["numpy", "faiss-cpu"])


if __name__ == "__main__":
    main()
