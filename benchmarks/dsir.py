"""Importance resampling of a million documents: `tellapart select` beside its authors' package, on the same cores.

    python benchmarks/dsir.py [--documents 1000000] [--words 100] [--rounds 3] [--cores 2]

The pool are documents of 100 to 200 words, drawn with a fixed seed as runs of ten words of WordNet's glosses; a tenth
of them are of the target's lexicographer file. Both read the same .jsonl files and write a tenth of the pool as .jsonl:

- theirs: `HashedNgramDSIR` of `data-selection` with 10,000 buckets, one process a core, its filter of short texts off;
- ours: `apply.select(POOL, like=TARGET, score="dsir", out=...)`, which also looks at the selection for its report.

Each runs in a process of its own, in turn; its peak memory is that of the process or of its largest child, whichever is
more. Pages of mapped files count, and ours maps the pool as an Arrow file: beside those, memory is what does not grow.
Then the weights that both gave the first 10,000 documents are compared, by the counts of all.

CPU seconds (user and system, of the process and all its children, Python's start included) stand beside the wall
seconds: other programs on the machine disturb them less, but a side that leaves cores idle looks as good as one that
fills them. So wall time decides.

Wanted: at most 1.2 times their time, memory that does not grow with the pool, equal weights.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _record import spread, write

WANTED, SHARE, COMPARED = 1.2, 10, 10_000
TARGET = "noun.plant"


def documents(folder: Path, count: int, words: int) -> None:
    """`pool.jsonl` and `target.jsonl` (a thousandth as many documents, none below 100)."""
    from tellapart.data import shipped

    made, rng = shipped.wordnet(), np.random.default_rng(0)
    kinds = {True: [], False: []}
    for gloss, file in zip(made.values("gloss"), made.values("lexname"), strict=True):
        kinds[file == TARGET].extend(gloss.split())
    for name, number, share in (("target", max(100, count // 1000), 1.0), ("pool", count, 0.1)):
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as out:
            for row in range(number):
                source = kinds[bool(rng.random() < share)]
                length = words + int(rng.integers(words))
                starts = rng.integers(len(source) - 10, size=-(-length // 10))
                text = " ".join(itertools.chain.from_iterable(source[s : s + 10] for s in starts))
                out.write(json.dumps({"id": f"{row:08d}", "text": text}) + "\n")


def theirs(folder: Path, count: int, cores: int) -> np.ndarray:
    """Select, and give the weights of the first documents."""
    from data_selection import HashedNgramDSIR

    made = HashedNgramDSIR(
        [str(folder / "pool.jsonl")], [str(folder / "target.jsonl")], str(folder / "theirs"),
        num_proc=cores, min_example_length=0,
    )  # fmt: skip
    made.fit_importance_estimator(num_tokens_to_fit="all")
    made.compute_importance_weights()
    made.resample(str(folder / "theirs_out"), count // SHARE, str(folder / "theirs_cache"))
    shards = [np.load(folder / "theirs" / "log_importance_weights" / f"{i}.npy") for i in range(cores)]
    return np.stack(
        [s[: COMPARED // cores] for s in shards], axis=1
    ).ravel()  # documents are dealt to processes in turn


def ours(folder: Path, count: int) -> None:
    """Select."""
    from tellapart import apply

    pool, target = folder / "pool.jsonl", folder / "target.jsonl"
    apply.select(pool, like=target, keep=str(count // SHARE), score="dsir", out=folder / "ours.jsonl")


def weights(folder: Path) -> np.ndarray:
    """Our weights of the first documents."""
    from tellapart.core.parts import make
    from tellapart.data.sources import read
    from tellapart.data.texts import Texts

    pool, target = (Texts(read(folder / f"{name}.jsonl")) for name in ("pool", "target"))
    marks = itertools.chain(itertools.repeat(True, len(target)), itertools.repeat(False, len(pool)))
    part = make("score", "dsir").fit(itertools.chain(target, pool), marks)
    return part.score(pool.some(np.arange(min(COMPARED, len(pool)))))


def side(name: str, folder: Path, count: int, words: int, cores: int) -> None:
    """One side in this process; what it took goes to the folder as JSON."""
    began = time.perf_counter()
    if name == "documents":
        documents(folder, count, words)
    elif name == "ours":
        ours(folder, count)
    else:
        np.save(folder / "theirs.npy", theirs(folder, count, cores))
    (folder / f"{name}.json").write_text(json.dumps({"seconds": time.perf_counter() - began}))


def measured(name: str, folder: Path, count: int, words: int, cores: int) -> dict[str, float]:
    """What one side takes in a fresh process; its parent is small, as a child begins with that one's peak."""
    for left in ("theirs", "theirs_out", "theirs_cache"):
        subprocess.run(["rm", "-rf", str(folder / left)], check=True)
    asked = [sys.executable, __file__, "--side", name, "--folder", str(folder), "--documents", str(count)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    asked += ["--words", str(words), "--cores", str(cores)]
    begun = subprocess.Popen(asked, env=environment, stderr=subprocess.DEVNULL)
    # Asked inside, what was used would lack the worker processes that joblib keeps until its process ends.
    _, status, used = os.wait4(begun.pid, 0)
    begun.returncode = os.waitstatus_to_exitcode(status)
    if begun.returncode:
        raise subprocess.CalledProcessError(begun.returncode, asked)
    found: dict[str, float] = json.loads((folder / f"{name}.json").read_text())
    return found | {"CPU seconds": used.ru_utime + used.ru_stime, "MiB": used.ru_maxrss / 1024}


def main() -> None:
    """Measure all and write `results/dsir.json`."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("documents", 1_000_000), ("words", 100), ("rounds", 3), ("cores", os.cpu_count() or 1)):
        asked.add_argument(f"--{name}", type=int, default=usual)
    asked.add_argument("--side", default="")
    asked.add_argument("--folder", type=Path)
    given = asked.parse_args()
    if given.side:
        side(given.side, given.folder, given.documents, given.words, given.cores)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        folder = Path(made)
        budget = (given.documents, given.words, given.cores)
        measured("documents", folder, *budget)
        rounds = [{name: measured(name, folder, *budget) for name in ("ours", "theirs")} for _ in range(given.rounds)]
        mine, other = weights(folder).astype(np.float64), np.load(folder / "theirs.npy")
        apart = float(np.abs(mine[: len(other)] - other[: len(mine)]).max())
        size = (folder / "pool.jsonl").stat().st_size
    ratio, of_cpu = (spread([r["ours"][u] / r["theirs"][u] for r in rounds]) for u in ("seconds", "CPU seconds"))
    found = {name: {unit: spread([r[name][unit] for r in rounds], 1) for unit in rounds[0][name]} for name in rounds[0]}
    write(
        "dsir",
        {
            "documents": given.documents, "MiB of pool": round(size / 2**20, 1), "cores": given.cores, **found,
            "ours to theirs": ratio, "wanted": WANTED, "holds": ratio["median"] <= WANTED,
            "ours to theirs in CPU seconds": of_cpu,
            "largest difference of a weight": apart, "largest weight": float(np.abs(mine).max()),
        },
        ("tellapart", "data-selection", "numpy"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
