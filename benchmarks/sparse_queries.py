"""What a query costs before the search: learned sparse weights (cutting, a table) beside what BM25 does with it.

First sentences of docstrings. Baselines: the same cutting into word pieces, all that BM25 needs of a query then;
`words_of` and the match expression of full text, which cuts at spaces and signs; and the text model, which dense search
runs. The tables are made up: their size counts, what stands in them does not.

Wanted (the paper's figure is 1.1 times the time of BM25): a ratio of at least 0.9 to BM25 of word pieces.

    python benchmarks/sparse_queries.py
"""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import _record
import numpy as np
import timing

from tellapart.core.parts import make
from tellapart.data import shipped
from tellapart.engine.fulltext import words_of
from tellapart.engine.sparse import Cutter, SparseSearch

WANTED = 0.9
QUERIES, MODELLED = 1000, 100


def main() -> None:
    asked = timing.arguments(str(__doc__).split("\n", 1)[0])
    encoder = make("encode", "minilm", threads=asked.threads)
    queries = shipped.docstrings(limit=QUERIES).values("anchor")
    cutter = Cutter.of(encoder)
    size = 30_000
    words = SparseSearch(
        cutter, np.arange(size), np.ones(size, np.float32), np.ones((1, 1), np.float32), np.ones((2, 1)), 0.0, "minilm"
    )  # fmt: skip

    def weighed() -> None:
        for query in queries:
            words.encode_queries([query])

    def pieces() -> None:
        for query in queries:
            cutter.pieces(query)

    def full_text() -> None:
        for query in queries:
            " OR ".join(f'"{word}"' for word in words_of(query))

    def modelled() -> None:
        for query in queries[:MODELLED]:
            encoder.encode([query])

    found = {}
    for name, call, items in (
        ("BM25 of word pieces", pieces, QUERIES),
        ("full text", full_text, QUERIES),
        ("text model", modelled, MODELLED),
    ):
        mine = weighed if items == QUERIES else lambda: [words.encode_queries([q]) for q in queries[:MODELLED]]
        mine(), call()
        found[name] = timing.compare(mine, call, items=items, repeats=asked.repeats)
    result = {"wanted": WANTED, "threads": asked.threads, **found}
    file = _record.write("sparse_queries", result, ("tellapart", "tokenizers", "numpy", "onnxruntime"))
    print(f"{file.name}: " + ", ".join(f"{name} {found[name]['ratio']['median']}" for name in found))


if __name__ == "__main__":
    main()
