"""Vectors that benchmarks search: real ones, and as many as are wanted that are mixed from them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

NEIGHBOURS = 50
ROWS_A_BLOCK = 50_000


def wordnet(n: int, cache: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Unit vectors of the words of `n` synsets and of their glosses, drawn with a fixed seed; None without WordNet."""
    from tellapart.core.errors import TellapartError
    from tellapart.core.parts import make
    from tellapart.data import shipped
    from tellapart.engine.embed import embed

    try:
        found = shipped.wordnet()
    except TellapartError:
        return None
    found = found.take(np.random.default_rng(0).permutation(len(found))[:n])
    encoder = make("encode", "minilm")
    words, told = (np.array(embed(found, name, encoder, cache=cache)) for name in ("anchor", "gloss"))
    return words, told


def glosses(n: int, cache: Path) -> np.ndarray | None:
    """Unit vectors of the glosses of `n` synsets, those of `wordnet(n)`; None without WordNet."""
    from tellapart.core.errors import TellapartError
    from tellapart.core.parts import make
    from tellapart.data import shipped
    from tellapart.engine.embed import embed

    try:
        found = shipped.wordnet()
    except TellapartError:
        return None
    found = found.take(np.random.default_rng(0).permutation(len(found))[:n])
    return np.array(embed(found, "gloss", make("encode", "minilm"), cache=cache))


def mixed(n: int, cache: Path) -> Path:
    """A file of [n, 384] float32 unit vectors: each between a word or gloss of WordNet and one of its 50 nearest."""
    import faiss

    file = cache / f"mixed-{n}.npy"
    if file.is_file():
        return file
    real = wordnet(100_000, cache)
    if real is None:
        raise SystemExit("this needs WordNet: install the Debian package wordnet-base, or set TELLAPART_DATA")
    x = np.unique(np.concatenate(real), axis=0)
    index = faiss.index_factory(x.shape[1], "IVF1024,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(x)
    index.add(x)
    index.nprobe = 16
    near = index.search(x, NEIGHBOURS + 1)[1]
    rng = np.random.default_rng(0)
    one = rng.integers(0, len(x), n)
    other = near[one, rng.integers(1, NEIGHBOURS + 1, n)]
    share = rng.random((n, 1), dtype=np.float32)
    part = file.with_suffix(".part")
    z = np.lib.format.open_memmap(part, "w+", np.float32, (n, x.shape[1]))
    for start in range(0, n, ROWS_A_BLOCK):
        rows = slice(start, start + ROWS_A_BLOCK)
        between = share[rows] * x[one[rows]] + (1 - share[rows]) * x[other[rows]]
        z[rows] = between / np.linalg.norm(between, axis=1, keepdims=True)
    z.flush()
    part.rename(file)
    return file


def peak() -> float:
    """MiB: the most of real memory that this process held since the mark was set back (Linux)."""
    return _status("VmHWM")


@contextmanager
def own_memory(every: float = 0.05) -> Iterator[list[float]]:
    """The most MiB that this process holds of its own, mapped files not counted, less what it held before (Linux)."""
    before, stop = _status("RssAnon"), threading.Event()
    most = [0.0]

    def look() -> None:
        while not stop.wait(every):
            most[0] = max(most[0], _status("RssAnon") - before)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
