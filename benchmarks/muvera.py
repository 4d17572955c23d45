"""Docstrings to functions by MaxSim: encodings of one vector an item, against comparing every word piece.

    python benchmarks/muvera.py --fill            # embed the functions, block by block; goes on where it stopped
    python benchmarks/muvera.py [--functions 50000] [--queries 100] [--repeats 3] [--cache runs/benchmarks]

Functions of the standard library and of installed packages, cut at 64 word pieces under
MiniLM (how many are cut is recorded); queries are the first sentences of docstrings at even distances. Exact MaxSim is
`search_exactly` of the same index: blocks of 8,192 word pieces, widened once, times the word pieces of up to a thousand
query tokens in one matrix product on all cores, maxima and sums by `reduceat`. Both sides search the same queries, in
one call and one by one, and take turns. `mean` is the encoding of one bucket without projection, the mean of an item's
tokens. Recall is of the ten best by exact MaxSim.
"""

from __future__ import annotations

import argparse
import time
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from _record import spread, write

from tellapart.core.collection import Collection
from tellapart.core.parts import make
from tellapart.data.docstrings import docstrings

K, BLOCK, MAX_TOKENS, ALONE = 10, 1000, 66, 20
CANDIDATES = (200, 400, 800, 1600)
SPECS = {"encodings": "muvera", "mean": "muvera(repetitions=1, k_sim=0, dim_proj=0)"}
PACKAGES = (
    "python", "numpy", "scipy", "sklearn", "torch", "sympy", "transformers", "pandas", "networkx", "datasets", "ray",
    "matplotlib", "pyarrow", "peft", "sentence_transformers", "sqlalchemy", "huggingface_hub", "pydantic", "hypothesis",
    "onnx", "joblib", "selenium", "aiohttp", "fsspec", "qdrant_client", "lancedb", "aeon", "libauc", "rich", "PIL",
)  # fmt: skip


def functions(limit: int, cache: Path) -> Collection:
    """The functions of the installed ones of these packages, in one fixed order; read once and kept."""
    able = [name for name in PACKAGES if name == "python" or find_spec(name) is not None]
    kept = cache / f"functions-{limit}-{zlib.crc32(' '.join(able).encode()):08x}"
    if not (kept / "functions").is_dir():
        docstrings(able, limit=limit).save(kept / "functions")
    return Collection.open(kept / "functions")


def encoder():
    return make("encode", "minilm", max_tokens=MAX_TOKENS)


def fill(texts: list[str], folder: Path) -> int:
    """Token vectors in blocks of a thousand; those that are there stay. How many texts are cut."""
    folder.mkdir(parents=True, exist_ok=True)
    cut = 0
    for number, start in enumerate(range(0, len(texts), BLOCK)):
        file = folder / f"{number:04d}.npz"
        if not file.is_file():
            reader = encoder()
            tokens = reader.encode_tokens(texts[start : start + BLOCK])
            temporary = file.with_suffix(".writing")
            with temporary.open("wb") as out:
                np.savez(
                    out,
                    rows=np.concatenate(tokens).astype(np.float16),
                    counts=np.asarray([len(t) for t in tokens]),
                    cut=np.asarray(reader.truncated_),
                )
            temporary.rename(file)
        with np.load(file, allow_pickle=False) as held:
            cut += int(held["cut"])
    return cut


def built(spec: str, ids: list[str], folder: Path, blocks: int, kept: Path):
    """An index of the cached vectors, saved and memory-mapped as a run would have it; the seconds of building."""
    began, index = time.perf_counter(), make("index", spec)
    for number in range(blocks):
        with np.load(folder / f"{number:04d}.npz", allow_pickle=False) as held:
            rows, counts = held["rows"], held["counts"]
        names = ids[number * BLOCK : number * BLOCK + len(counts)]
        index.add(names, np.split(rows, np.cumsum(counts)[:-1]))
    index.save(kept)
    return make("index", spec).load(kept), time.perf_counter() - began


def timed(search, queries: list[np.ndarray]) -> tuple[np.ndarray, float, float]:
    """Ids, seconds a query in one call, and the median one by one."""
    began = time.perf_counter()
    hits = search(queries)
    together = (time.perf_counter() - began) / len(queries)
    alone = []
    for query in queries[:ALONE]:
        began = time.perf_counter()
        search([query])
        alone.append(time.perf_counter() - began)
    return hits.ids, together, float(np.median(alone))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--functions", type=int, default=50_000)
    asked.add_argument("--queries", type=int, default=100)
    asked.add_argument("--repeats", type=int, default=3)
    asked.add_argument("--cache", type=Path, default=Path("runs/benchmarks"))
    asked.add_argument("--fill", action="store_true", help="only embed what is not embedded yet")
    given = asked.parse_args()
    found = functions(given.functions, given.cache)
    folder = given.cache / f"muvera-{len(found)}-{found.fingerprint[:12]}"
    cut = fill(found.values("positive"), folder)
    if given.fill:
        return
    rows = np.linspace(0, len(found) - 1, given.queries).astype(int)
    queries = encoder().encode_tokens([found.values("anchor")[row] for row in rows])
    blocks = -(-len(found) // BLOCK)
    indexes, seconds = {}, {}
    for name, spec in SPECS.items():
        indexes[name], seconds[name] = built(spec, found.ids.tolist(), folder, blocks, folder / name)
    exact = indexes["encodings"]
    figures: dict[str, dict[str, list[float]]] = {}
    for _ in range(given.repeats):
        true, slow, slow_alone = timed(lambda q: exact.search_exactly(q, K), queries)
        for name, index in indexes.items():
            for count in CANDIDATES:
                index.candidates = count
                ids, fast, fast_alone = timed(lambda q, index=index: index.search(q, K), queries)
                shares = [len(set(a) & set(b)) / K for a, b in zip(ids.tolist(), true.tolist(), strict=True)]
                row = figures.setdefault(f"{name}, {count} candidates", {})
                for key, value in {
                    "recall@10": float(np.mean(shares)),
                    "exact_ms": 1000 * slow,
                    "ms": 1000 * fast,
                    "times_faster": slow / fast,
                    "alone_exact_ms": 1000 * slow_alone,
                    "alone_ms": 1000 * fast_alone,
                    "alone_times_faster": slow_alone / fast_alone,
                }.items():
                    row.setdefault(key, []).append(value)
    whole = exact._parts[0]
    write(
        "muvera",
        {
            "functions": len(found),
            "packages": sorted(set(found.values("label"))),
            "word_pieces": len(whole),
            "cut_at": MAX_TOKENS - 2,
            "functions_cut": cut,
            "queries": len(queries),
            "query_tokens": round(float(np.mean([len(q) for q in queries])), 1),
            "specs": SPECS,
            "build_s": {name: round(value, 1) for name, value in seconds.items()},
            "dimensions": {name: index.encodings.width for name, index in indexes.items()},
            "figures": {name: {key: spread(values, 3) for key, values in row.items()} for name, row in figures.items()},
        },
        ("tellapart", "numpy", "onnxruntime"),
    )


if __name__ == "__main__":
    main()
