"""Bulk embedding on Ray: two workers against one, which is one process with one thread and no Ray.

    python benchmarks/on_ray.py [--items 8192] [--rounds 3]

Glosses of WordNet, drawn with a fixed seed, with `minilm` in blocks of 512. In each round, one after the other:

- one worker: `embed` in a process of one thread, after a first block;
- two such processes at once, without Ray and without a word between them, each with one half: what the machine gives;
- Ray with two workers of one thread each. Its start, and the start of the workers with the loading of the model, are
  told apart. The rate is that of the time in which both workers were at work, from the first piece of the later one to
  the last of the one that was done first; a piece that lies across an end counts by its share. The whole call, start of
  the workers and end included, is told beside it.

Wanted: at least 0.9 of twice one worker's rate, and equal bits.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import pyarrow as pa
from _record import spread, write

from tellapart.core import pieces
from tellapart.core.collection import Collection
from tellapart.core.parts import make
from tellapart.core.pieces import Job, Workers
from tellapart.data import shipped
from tellapart.engine.embed import ITEMS_A_BLOCK, embed
from tellapart.engine.on_ray import Ray

WANTED, WORKERS = 0.9, 2


class Stamped:
    """A job that says when it was ready, and when each piece began and was done."""

    def __init__(self, job: Job) -> None:
        self.job, self.ready = job, False

    def __call__(self, piece: Any) -> pa.Table:
        if not self.ready:
            self.job(piece.slice(0, 1))
            self.ready = True
        began = time.monotonic()
        table = self.job(piece)
        facts = {"began": str(began), "done": str(time.monotonic()), "by": str(os.getpid())}
        return table.replace_schema_metadata({**(table.schema.metadata or {}), **facts})


class Watched(Workers):
    """Other workers, with the stamps of their pieces."""

    def __init__(self, inner: Workers) -> None:
        self.inner = inner
        self.stamps: list[tuple[float, float, str]] = []

    def tables(self, job: Job, given: Iterable[Any], count: int) -> Iterator[pa.Table]:
        for table in self.inner.tables(Stamped(job), given, count):
            facts = table.schema.metadata
            self.stamps.append((float(facts[b"began"]), float(facts[b"done"]), facts[b"by"].decode()))
            yield table


def glosses(n: int) -> Collection:
    found = shipped.wordnet()
    return found.take(np.random.default_rng(0).permutation(len(found))[:n])


def alone(some: Collection, folder: str) -> tuple[float, np.ndarray]:
    """Seconds of one process with one thread, and the vectors."""
    encoder = make("encode", "minilm", threads=1)
    encoder.encode(some.values("gloss")[:64])
    start = time.perf_counter()
    z = embed(some, "gloss", encoder, cache=folder)
    return time.perf_counter() - start, np.array(z)


def child(items: int, part: int) -> None:
    """One of several processes at once: told when to begin, tells when it was done."""
    some = glosses(items).take(np.arange(part, items, WORKERS))
    encoder = make("encode", "minilm", threads=1)
    encoder.encode(some.values("gloss")[:64])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    with tempfile.TemporaryDirectory() as folder:
        embed(some, "gloss", encoder, cache=folder)
    sys.stdout.write("done\n")


def side_by_side(items: int) -> float:
    """Seconds until the last of two processes without Ray is done."""
    words = [sys.executable, __file__, "--items", str(items), "--child"]
    jobs = [
        subprocess.Popen([*words, str(part)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for part in range(WORKERS)
    ]
    for job in jobs:
        job.stdout.readline()
    start = time.perf_counter()
    for job in jobs:
        job.stdin.write("\n")
        job.stdin.flush()
    for job in jobs:
        job.stdout.readline()
    seconds = time.perf_counter() - start
    for job in jobs:
        job.communicate()
    return seconds


def on_ray(some: Collection, folder: str) -> tuple[dict[str, float], np.ndarray]:
    """Seconds of the stages on Ray with two workers, and the vectors."""
    encoder, seconds = make("encode", "minilm", threads=1), {}
    start = time.perf_counter()
    with Ray(workers=WORKERS) as ray:
        assert ray.ray.is_initialized()
        seconds["start of Ray"] = time.perf_counter() - start
        start, begun = time.perf_counter(), time.monotonic()
        with pieces.using(watched := Watched(ray)):
            z = np.array(embed(some, "gloss", encoder, cache=folder))
        seconds["the whole call"] = time.perf_counter() - start
        by = {name: [s for s in watched.stamps if s[2] == name] for name in {s[2] for s in watched.stamps}}
        if len(by) != WORKERS:
            raise SystemExit(f"{len(by)} of {WORKERS} workers were given work: take more --items")
        first = max(min(s[0] for s in mine) for mine in by.values())
        last = min(max(s[1] for s in mine) for mine in by.values())
        inside = [max(0.0, min(done, last) - max(began, first)) for began, done, _ in watched.stamps]
        pieces_done = sum(part / (s[1] - s[0]) for part, s in zip(inside, watched.stamps, strict=True))
        seconds["start of the workers"] = first - begun
        seconds["an item"] = (last - first) / (pieces_done * ITEMS_A_BLOCK)
        seconds["share of it that workers worked"] = sum(inside) / (last - first) / WORKERS
        start = time.perf_counter()
    seconds["stop of Ray"] = time.perf_counter() - start
    return seconds, z


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--items", type=int, default=16 * ITEMS_A_BLOCK)
    given.add_argument("--rounds", type=int, default=3)
    given.add_argument("--dry", action="store_true", help="print, and record nothing")
    given.add_argument("--child", type=int, help=argparse.SUPPRESS)
    asked = given.parse_args()
    if asked.child is not None:
        child(asked.items, asked.child)
        return
    some = glosses(asked.items)
    found: dict[str, list[float]] = {}
    equal = True
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as folder:
            one, plain = alone(some, f"{folder}/one")
            both = side_by_side(asked.items)
            seconds, far = on_ray(some, f"{folder}/ray")
        equal &= np.array_equal(plain, far)
        measured = {
            "one worker, texts a second": asked.items / one,
            "two processes without Ray, texts a second": asked.items / both,
            "Ray with two workers, texts a second": 1 / seconds["an item"],
            "ratio to twice one worker": one / asked.items / seconds["an item"] / WORKERS,
            "ratio of two processes without Ray to twice one worker": one / both / WORKERS,
            "ratio of the whole call to twice one worker": one / seconds["the whole call"] / WORKERS,
            "seconds, start of Ray": seconds["start of Ray"],
            "seconds, start of the workers": seconds["start of the workers"],
            "seconds, stop of Ray": seconds["stop of Ray"],
            "share of their time that workers worked": seconds["share of it that workers worked"],
        }
        for name, value in measured.items():
            found.setdefault(name, []).append(value)
    if not equal:
        raise SystemExit("the vectors made on Ray are not those of one process")
    result: dict[str, Any] = {
        "what": "bulk embedding of WordNet's glosses with minilm, 384 numbers",
        "to reach": {"ratio to twice one worker": WANTED},
        "items": asked.items,
        "workers": WORKERS,
        "equal bits": equal,
        **{name: spread(values) for name, values in found.items()},
    }
    if asked.dry:
        print(result)
    else:
        write("on_ray", result, ["ray", "numpy", "onnxruntime", "tokenizers", "pyarrow"])


if __name__ == "__main__":
    main()
