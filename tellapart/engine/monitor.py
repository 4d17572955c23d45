"""Whether what is asked after deployment still scores as what the calibration was fitted on: counts, never contents.

A run tells how the best hit of held-out queries scores in what is searched. A server counts the best hits of the same
kind of query into ten bins that held these equally often, and queries for which nothing is here. Two samples are then
compared: what differs by more than chance, and by enough to matter, is said in words.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.files import write_atomically
from tellapart.core.report import Figure, Report, Table, Text

FOLDER = "monitor"
BINS = 10
FEWEST = 100
CHANCE, SHIFT = 1e-3, 0.1
EVERY_QUERIES, EVERY_SECONDS = 200, 30.0
MOST_BYTES = 10_000
MOST_CALIBRATION = 10_000_000
MOST_FILES = 10_000


@dataclass(frozen=True)
class Expected:
    """How held-out queries score.

    Attributes:
        edges: the scores that part their best hits into ten equal shares, rising.
        counts: how many queries fell into each; the last number is of those for which nothing was here.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @staticmethod
    def of(best: np.ndarray, lowest: float) -> Expected:
        """From the best score of each held-out query, -inf where nothing was found, and the least that counts.

        Raises:
            DataError: fewer than two queries that find something.
        """
        best = np.asarray(best, np.float64)
        here = best[best >= lowest] if math.isfinite(lowest) else best[np.isfinite(best)]
        if len(here) < 2:
            raise DataError("at least two held-out queries must find something to say how queries score")
        edges = tuple(np.quantile(here, np.arange(1, BINS) / BINS).tolist())
        return Expected(edges, tuple(counted(here, len(best) - len(here), edges)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON takes it."""
        return {"edges": list(self.edges), "counts": list(self.counts)}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Expected:
        """What `to_dict` gave, checked."""
        try:
            found = Expected(tuple(float(v) for v in data["edges"]), tuple(int(v) for v in data["counts"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this does not say how queries score: {error}") from None
        if len(found.edges) != BINS - 1 or len(found.counts) != BINS + 1 or min(found.counts) < 0:
            raise DataError("this does not say how queries score: its bins are not complete")
        if not np.isfinite(found.edges).all() or (np.diff(found.edges) < 0).any() or not sum(found.counts):
            raise DataError("this does not say how queries score: its bins do not rise, or are empty")
        return found


def counted(best: np.ndarray, nothing: int, edges: tuple[float, ...]) -> list[int]:
    """How many scores fall into each bin, and how many queries found nothing."""
    return [*np.bincount(np.searchsorted(edges, best, side="right"), minlength=BINS).tolist(), nothing]


def expected_of(run: str | Path) -> Expected | None:
    """How held-out queries of a run score, as its `model/calibration.json` tells; None where it does not.

    Raises:
        DataError: the file is damaged.
    """
    file = Path(run) / "model" / "calibration.json"
    try:
        if file.stat().st_size > MOST_CALIBRATION:
            raise DataError(f"{file} is too large to be what its name says")
        held = json.loads(file.read_text(encoding="utf-8"))
        return Expected.from_dict(held["queries"]) if "queries" in held else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{file} is damaged: {error}. Make the run again") from None


def monitored(run: str | Path) -> Report:
    """What the servers of a run counted since it was made, beside its held-out queries: what `tellapart monitor` tells.

    Raises:
        DataError: no run there, or one that has nothing to compare with.
    """
    folder = Path(run)
    if not (folder / "model").is_dir():
        raise DataError(f"{folder} holds no run; make one: tellapart run PATH --out {folder}")
    expected = expected_of(folder)
    if expected is None:
        raise DataError(
            f"{folder} does not say how held-out queries score: it has too few of them, or was made by an older version"
        )
    return report(expected, kept(folder / FOLDER, expected))


class Monitor:
    """Counts of one process, kept in a file of its own; safe to use from several threads.

    Args:
        run: the run folder.
        expected: how held-out queries of its model score.
    """

    def __init__(self, run: str | Path, expected: Expected) -> None:
        self.folder, self.expected = Path(run) / FOLDER, expected
        self._file = self.folder / f"{os.getpid()}-{time.time_ns()}.json"
        self._counts, self._since = [0] * (BINS + 1), time.time()
        self._lock, self._unsaved, self._saved = threading.Lock(), 0, time.monotonic()
        self._writing = threading.Lock()

    @staticmethod
    def of(run: str | Path) -> Monitor | None:
        """Of a run folder; None where it does not say how held-out queries score."""
        expected = expected_of(run)
        return None if expected is None else Monitor(run, expected)

    def shift(self) -> float:
        """`shift` of what all processes counted; 0 before there are enough queries."""
        counts = self.counts()
        return shift(self.expected.counts, counts) if sum(counts) >= FEWEST else 0.0

    def add(self, best: float | None) -> None:
        """A query of the kind that is calibrated was answered; None: nothing is here."""
        place = BINS if best is None else int(np.searchsorted(self.expected.edges, best, side="right"))
        with self._lock:
            self._counts[place] += 1
            self._unsaved += 1
            due = self._unsaved >= EVERY_QUERIES or time.monotonic() - self._saved >= EVERY_SECONDS
        if due:
            self.save()

    def save(self) -> None:
        """Write the counts; a folder that cannot be written only means that they are those of this process."""
        # one after the other, so that no older counts are put over newer ones
        with self._writing:
            with self._lock:
                if not self._unsaved:
                    return
                held = {"counts": list(self._counts), "edges": list(self.expected.edges), "since": self._since}
                self._unsaved, self._saved = 0, time.monotonic()
            with contextlib.suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                write_atomically(self._file, json.dumps(held).encode())

    def counts(self) -> list[int]:
        """Those of this process and of all others that serve or served the run."""
        with self._lock:
            own = list(self._counts)
        others = kept(self.folder, self.expected, but=self._file)
        return [a + b for a, b in zip(own, others, strict=True)]


def kept(folder: Path, expected: Expected, *, but: Path | None = None) -> list[int]:
    """What processes counted of this model; files that are damaged, or of another model, do not count."""
    found = [0] * (BINS + 1)
    for file in sorted(folder.glob("*.json"))[:MOST_FILES]:
        if file == but:
            continue
        try:
            if file.stat().st_size > MOST_BYTES:
                continue
            held = json.loads(file.read_text(encoding="utf-8"))
            counts = [int(v) for v in held["counts"]]
            if held["edges"] == list(expected.edges) and len(counts) == BINS + 1 and min(counts) >= 0:
                found = [a + b for a, b in zip(found, counts, strict=True)]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def shift(expected: tuple[int, ...], seen: list[int]) -> float:
    """Population stability index of two samples of counts, half a query added to each bin; 0 where they are alike."""
    p, q = (np.asarray(counts, np.float64) + 0.5 for counts in (expected, seen))
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def chance(expected: tuple[int, ...], seen: list[int]) -> float:
    """The probability that two samples of one source differ as much: chi-squared over bins that hold something."""
    table = np.asarray([expected, seen], np.float64)
    table = table[:, table.sum(0) > 0]
    if table.shape[1] < 2 or not table.sum(1).all():
        return 1.0
    mean = np.outer(table.sum(1), table.sum(0)) / table.sum()
    return _beyond(float(((table - mean) ** 2 / mean).sum()), table.shape[1] - 1)


def _beyond(value: float, free: int) -> float:
    """P(chi-squared with `free` degrees of freedom > value), by its recurrence in steps of two degrees."""
    half = value / 2
    found = math.erfc(math.sqrt(half)) if free % 2 else math.exp(-half)
    for step in range(2 - free % 2, free, 2):
        found += math.exp(step / 2 * math.log(half) - half - math.lgamma(step / 2 + 1)) if half else 0.0
    return min(found, 1.0)


def report(expected: Expected, seen: list[int]) -> Report:
    """How what is asked compares with what the calibration was fitted on, in figures and words."""
    asked, held = sum(seen), sum(expected.counts)
    made = Report(f"{asked:,} queries since deployment beside {held:,} held-out ones")
    made.facts = {"queries": asked, "held-out queries": held}
    if asked < FEWEST:
        words = f"{asked} of at least {FEWEST} queries are counted yet: too few to say whether they differ."
        return made.add(Text(words, "verdict"))
    nothing, before = seen[-1] / asked, expected.counts[-1] / held
    made.add(
        Figure("nothing here", nothing, *_wilson(seen[-1], asked), asked, note=f"{before:.1%} of held-out queries")
    )
    moved = shift(expected.counts, seen)
    made.add(Figure("shift of scores", moved, count=asked, note="population stability index"))
    made.add(Text(_words(expected, seen, nothing, before), "verdict"))
    ends = ["", *(f"{edge:.3f}" for edge in expected.edges), ""]
    names = [f"{low or '…'} to {high or '…'}" for low, high in itertools.pairwise(ends)]
    rows = [
        [name, of / held, now / asked]
        for name, of, now in zip([*names, "nothing here"], expected.counts, seen, strict=True)
    ]
    return made.add(Table("Best score of a query", ["score", "held-out", "since deployment"], rows))


def _words(expected: Expected, seen: list[int], nothing: float, before: float) -> str:
    if chance(expected.counts, seen) >= CHANCE:
        return "No difference shown: what is asked scores as the held-out queries did, and the calibration holds."
    if shift(expected.counts, seen) < SHIFT:
        return "What is asked scores a little differently from the held-out queries; too little to matter."
    if nothing > before and _wilson(seen[-1], sum(seen))[0] > before:
        return (
            f"Nothing is here for {nothing:.0%} of the queries, where that was so of {before:.0%} of held-out ones. "
            "Look at what is asked: add what is missing, or make the run anew with pairs of it."
        )
    held, now = (np.dot(of[:BINS], np.arange(BINS)) / max(sum(of[:BINS]), 1) for of in (expected.counts, seen))
    way = "higher" if now > held else "lower"
    return (
        f"What is asked scores {way} than the held-out queries did, so that probabilities and the cut-off may be off. "
        "Make the run anew with pairs of what is asked now."
    )


def _wilson(count: int, of: int) -> tuple[float, float]:
    """95% interval of a share (Wilson, 1927)."""
    z, p = 1.959964, count / of
    middle, width = p + z * z / (2 * of), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return (middle - width) / (1 + z * z / of), (middle + width) / (1 + z * z / of)
