"""A small run of texts that is changed, with a model that needs no weights, and processes that are killed meanwhile."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.engine.indexing import build
from tellapart.server.live import Live
from tellapart.server.taking import Given

DIM = 16
TOLD = "told.jsonl"
LOOKED = 0.1
KINDS = ("odd", "even")


class Letters:
    """A text is a direction drawn from a hash of it."""

    dim = DIM

    def __init__(self, collection: Collection) -> None:
        self.sides = collection.sides()

    def encode_query(self, items: Sequence[Any], batch_size: int = 32) -> np.ndarray:
        return self.encode_document(items)

    def encode_document(self, items: Sequence[Any], batch_size: int = 32) -> np.ndarray:
        seeds = [int.from_bytes(hashlib.blake2b(str(i).encode(), digest_size=8).digest()) for i in items]
        z = np.stack([np.random.default_rng(s).normal(size=DIM) for s in seeds]).astype(np.float32)
        return z / np.linalg.norm(z, axis=1, keepdims=True)


def collection(n: int) -> Collection:
    ids = [f"item {i:04d}" for i in range(n)]
    return Collection.of(
        {
            "id": ids,
            "anchor": [f"ask {i}" for i in ids],
            "positive": [f"text of {i}" for i in ids],
            "kind": [KINDS[i % 2] for i in range(n)],
            "year": list(range(1900, 1900 + n)),
            "group": list(range(n)),
        }
    )


def make(folder: Path, n: int = 60, spec: str = "exact") -> Path:
    """A run folder of n texts."""
    made = collection(n)
    made.save(folder / "collection")
    model = Letters(made)
    (folder / "model").mkdir(exist_ok=True)
    build(spec, made.ids.tolist(), model.encode_document(made.values("positive")), folder / "index", sample=0)
    return folder


def live(folder: Path, **options: Any) -> Live:
    return Live(folder, Letters(Collection.open(folder / "collection")), **options)


def text(id_: str, round_: int) -> str:
    return f"{id_} in round {round_}"


def change_for_ever(folder: Path, seed: int, tell: Callable[[str], None]) -> None:
    """Put, delete, fold and build until somebody kills this; what begins and what is taken is told line by line."""
    rng = np.random.default_rng(seed)
    served = live(folder)
    for number in itertools.count(1):
        what = rng.choice(["put", "delete", "fold", "build"], p=[0.4, 0.25, 0.2, 0.15])
        ids = sorted({f"item {i:04d}" for i in rng.integers(0, 90, rng.integers(1, 8))})
        if what == "delete":
            ids = [i for i in ids if i in served.now()]
        if what in ("put", "delete") and not ids:
            continue
        round_ = 1000 * seed + number
        tell(json.dumps({"begin": what, "ids": ids, "round": round_}))
        if what == "put":
            served.put_all([Given(i, {"positive": text(i, round_), "year": round_}) for i in ids])
        elif what == "delete":
            served.delete(ids)
        elif what == "fold":
            served.fold()
        else:
            made = Collection.open(folder / "collection")
            z = served.model.encode_document(made.values("positive"))
            build("exact", made.ids.tolist(), z, folder / "index", sample=0, seed=round_)
        tell(json.dumps({"end": round_}))


def nursery() -> None:
    """Fork a process for each line `folder seed` of standard input, tell its number, and when it is dead.

    Forked from one that has loaded everything, such a process begins within milliseconds.
    """
    with tempfile.TemporaryDirectory() as some:
        served = live(make(Path(some)))
        served.put("new", {"positive": "x"})
        served.fold()
        served.close()
    for line in sys.stdin:
        folder, seed = line.rsplit(" ", 1)
        child = os.fork()
        if child == 0:
            told = os.open(Path(folder) / TOLD, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            change_for_ever(Path(folder), int(seed), functools.partial(_tell, told))
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        os.waitpid(child, 0)
        sys.stdout.write("dead\n")
        sys.stdout.flush()


def _tell(file: int, said: str) -> None:
    os.write(file, f"{said}\n".encode())


@dataclass
class Kills:
    """Processes that are killed at random points, and what is found afterwards.

    Attributes:
        points: how many were killed.
        during: by operation, how many were killed in the middle of it; `between`: in the middle of none.
        acknowledged: items whose change was told as taken.
        lost: those of them that were not found as they were taken.
        opened: how often the run was opened and searched, beside and after.
        half: how often collection and index did not fit each other then, or a batch was there in part.
        wrong: what was seen in each such case.
    """

    points: int = 0
    during: Counter = field(default_factory=Counter)
    acknowledged: int = 0
    lost: int = 0
    opened: int = 0
    half: int = 0
    wrong: list[str] = field(default_factory=list)

    def run(self, folder: Path, points: int, *, seed: int, longest: float) -> None:
        """Kill `points` processes, one after the other, that change one run folder."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as parent:
            assert parent.stdin is not None and parent.stdout is not None
            make(folder)
            expected = self.look(folder)
            rng = np.random.default_rng(seed)
            for number in range(points):
                (folder / TOLD).unlink(missing_ok=True)
                parent.stdin.write(f"{folder} {1000 * seed + number + 1}\n")
                parent.stdin.flush()
                child = int(parent.stdout.readline())
                while not (folder / TOLD).is_file() or not (folder / TOLD).stat().st_size:
                    time.sleep(0.001)
                until = time.monotonic() + rng.uniform(0, longest)
                while time.monotonic() < until - LOOKED:
                    self.look(folder)
                time.sleep(max(0.0, until - time.monotonic()))
                os.kill(child, signal.SIGKILL)
                # one that is dying still holds its locks, and what it wrote last may count or not
                parent.stdout.readline()
                expected = self._after(folder, expected)
            parent.stdin.close()

    def look(self, folder: Path) -> dict[str, str]:
        """The texts of all items by id, when index and collection fit each other; counted if they do not."""
        served = live(folder)
        at = served.now()
        self.opened += 1
        texts = {i: at.row(i)["positive"] for i in at.collection.ids.tolist()}
        fits = bool(at.base.indexed.all()) and not at.base.strays and len(texts) == len(at)
        z = served.model.encode_document(list(texts.values()))
        fits = fits and at.nearest(z, 1).ids[:, 0].tolist() == list(texts)
        if not fits:
            self.half += 1
            held = f"{int(at.base.indexed.sum())} of {len(at.base.collection)} in the index, {at.base.strays} others"
            self.wrong.append(f"version {at.base.version!r} of change {at.base.seq}, seen at {at.seq}: {held}")
        served.close()
        return texts

    def _after(self, folder: Path, before: dict[str, str]) -> dict[str, str]:
        said = (folder / TOLD).read_text() if (folder / TOLD).is_file() else ""
        lines = [json.loads(line) for line in said.splitlines(keepends=True) if line.endswith("\n")]
        ended = {line["end"] for line in lines if "end" in line}
        expected, changed, broken = dict(before), set(), None
        for line in lines:
            if "begin" in line and line["round"] in ended:
                expected = _changed(expected, line)
                if line["begin"] in ("put", "delete"):
                    changed.update(line["ids"])
                    self.acknowledged += len(line["ids"])
            elif "begin" in line:
                broken = line
        self.points += 1
        self.during[broken["begin"] if broken else "between"] += 1
        found = self.look(folder)
        if broken is not None and found == _changed(expected, broken):
            return found
        if found != expected:
            wrong = {i for i in {*found, *expected} if found.get(i) != expected.get(i)}
            lost = wrong - set(broken["ids"] if broken else ())
            self.lost += len(lost)
            self.half += not lost
            what = {i: (expected.get(i), found.get(i)) for i in sorted(wrong)}
            self.wrong.append(f"in the middle of {broken}, expected and found: {what}; taken before: {sorted(changed)}")
        return found


def _changed(texts: dict[str, str], line: dict[str, Any]) -> dict[str, str]:
    if line["begin"] == "put":
        return texts | {i: text(i, line["round"]) for i in line["ids"]}
    return {i: t for i, t in texts.items() if i not in line["ids"]} if line["begin"] == "delete" else texts


if __name__ == "__main__":
    nursery()
