"""Build an index, measure what it loses against the exact search, and keep that figure beside it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.hits import Hits
from tellapart.core.parts import card_of, cards, make, parse_spec
from tellapart.core.progress import Progress
from tellapart.core.report import Figure, Report, Text
from tellapart.core.vectors import saved_facts
from tellapart.engine import intervals

FILE = "index.json"
BLOCK = 8192
K = 10
LOW_RECALL = 0.95
FEWEST = 50
AIM = 0.985
MOST_BYTES = 1_000_000
ROUNDING = 1e-6


def build(
    spec: str,
    ids: Sequence[str] | np.ndarray,
    z: np.ndarray,
    folder: str | Path,
    *,
    queries: np.ndarray | None = None,
    progress: Progress | None = None,
    sample: int = 200,
    seed: int = 0,
) -> tuple[Any, Report]:
    """Build an index and write it into a folder, with its recall against the exact search.

    The same call again opens what is there. Killed at any point, the folder holds the index that was there before or
    the new one, never half of one; the next call then builds from the vectors again.

    Args:
        spec: an index part, such as "exact" or "hnsw(width=128)".
        ids, z: n ids and [n, d] vectors, memory-mapped or not.
        queries: [m, d] vectors of the kind that will be searched with, on which recall is measured. Where words search
            for pictures they lie elsewhere than the items do, and an index finds less with them than with items.
            None: items are the queries, and are added last, so that none is there to be found itself.
        sample: how many queries. Of items at most a fifth; 0 measures nothing.
        seed: which ones those are.
        progress: called with (items done, items).

    Returns:
        The index and a report with `recall@10` (an interval over the sample), items, seconds and bytes.

    Raises:
        DataError: what the index refuses, or a folder that cannot be written.
    """
    name, options = parse_spec(spec)
    card, folder = card_of("index", name), Path(folder)
    wanted = {"part": card.name, "options": options, "sample": sample, "seed": seed, "content": _content(ids, z)}
    rng = np.random.default_rng(seed)
    if queries is not None:
        queries = np.asarray(queries[np.sort(rng.permutation(len(queries))[:sample])])
        wanted["asked"] = hashlib.blake2b(queries.tobytes(), digest_size=12).hexdigest()
    if (folder / FILE).is_file():
        facts = _facts(folder)
        same = {k: facts.get(k) for k in wanted} == json.loads(json.dumps(wanted))
        if same and facts.get("version") == saved_facts(folder)["version"]:
            return open_index(folder), _report(facts)
    start = time.monotonic()
    index = make("index", spec)
    aside = 0 if queries is not None else min(sample, len(z) // 5)
    held = np.sort(rng.choice(len(z), aside, replace=False))
    rest = np.setdiff1d(np.arange(len(z)), held)
    names = np.asarray(ids, object)
    recall = np.zeros(0)
    for rows in (rest, held):
        if rows is held and len(held):
            recall = widened(index, np.asarray(z[held]))
        for first in range(0, len(rows), BLOCK):
            piece = rows[first : first + BLOCK]
            index.add(names[piece], np.asarray(z[piece]))
            if progress is not None:
                progress(len(index), len(z))
    if queries is not None and len(queries):
        recall = widened(index, queries)
    index.save(folder)
    facts = {**wanted, "spec": spec, "items": len(index), "dim": index.dim, "recall": recall.tolist()}
    facts["chosen"] = index.chosen
    facts["version"] = saved_facts(folder)["version"]
    facts["seconds"] = round(time.monotonic() - start, 3)
    facts["bytes"] = sum(_bytes(f) for f in folder.rglob("*") if f.is_file()) + index.elsewhere()
    _write(folder / FILE, facts)
    return index, _report(facts)


def asked(collection: Collection, encode: Callable[[str, np.ndarray], np.ndarray]) -> np.ndarray | None:
    """[m, d] vectors of the validation items' query side, for `build`; None where a side is searched with itself, or
    too few items are held out to measure by.

    Args:
        encode: unit vectors of a side at some rows.
    """
    if collection.sides().same_space or "split" not in collection.columns:
        return None
    rows = np.flatnonzero(np.asarray(collection.values("split"), dtype=object) == "validation")
    found = np.asarray(encode("query", rows), np.float32) if len(rows) >= FEWEST else np.zeros((0, 1))
    found = found[np.isfinite(found).all(axis=1)]
    return found if len(found) >= FEWEST else None


def open_index(folder: str | Path) -> Any:
    """The saved index, whichever part it is, with the options it was made with; its vectors are memory-mapped."""
    facts = saved_facts(folder)
    named = [card for card in cards("index").values() if card.symbol == facts.get("part")]
    if not named or not isinstance(facts.get("options"), dict):
        raise DataError(f"{folder} holds an index of {facts.get('part')!r}, which is no part here")
    return make("index", named[0].name, **facts["options"]).load(folder)


def report_of(folder: str | Path) -> Report:
    """The report of the build."""
    return _report(_facts(Path(folder)))


def measure(index: Any, queries: np.ndarray, *, k: int = K) -> np.ndarray:
    """[queries] share of the true k nearest that the index finds; the truth is a comparison with all its items."""
    return _shares(index.search(queries, k), index.search_exactly(queries, k))


def widened(index: Any, queries: np.ndarray, *, k: int = K, least: float = AIM) -> np.ndarray:
    """`measure`, after an index whose width is left to the build looks as far as finds this share, if it can."""
    true = index.search_exactly(queries, k)
    recall = _shares(index.search(queries, k), true)
    while recall.mean() < least and index.wider():
        recall = _shares(index.search(queries, k), true)
    return recall


def _shares(found: Hits, true: Hits) -> np.ndarray:
    """[queries]; an item that ties with the last true one is as good as that."""
    right = found.scores >= true.scores[:, -1:] - ROUNDING
    return np.asarray(right.mean(axis=1)) if right.size else np.zeros(len(right))


def _bytes(file: Path) -> int:
    """What a file takes on the disk: engines lay theirs out in advance, with holes."""
    found = file.stat()
    return min(found.st_size, 512 * getattr(found, "st_blocks", found.st_size))


def _content(ids: Sequence[str] | np.ndarray, z: np.ndarray) -> str:
    """A hash of ids and vectors, never of a name or a date."""
    if len(ids) != len(z):
        raise DataError(f"{len(ids)} ids do not fit {len(z)} vectors")
    digest = hashlib.blake2b(f"{z.dtype}{z.shape}".encode(), digest_size=12)
    for first in range(0, len(z), BLOCK):
        digest.update(json.dumps([str(i) for i in ids[first : first + BLOCK]]).encode())
        digest.update(np.ascontiguousarray(z[first : first + BLOCK]).data)
    return digest.hexdigest()


def _facts(folder: Path) -> dict[str, Any]:
    try:
        with (folder / FILE).open(encoding="utf-8") as file:
            facts = json.loads(file.read(MOST_BYTES))
    except FileNotFoundError:
        raise DataError(
            f"{folder} says nothing of a build (no {FILE}): build the index with `tellapart index`"
        ) from None
    except ValueError as error:
        raise DataError(f"{folder / FILE} is damaged: {error}. Build the index again") from None
    if not isinstance(facts, dict) or not isinstance(facts.get("options", {}), dict):
        raise DataError(f"{folder / FILE} is damaged: it holds no facts about an index. Build the index again")
    return facts


def _report(facts: dict[str, Any]) -> Report:
    report = Report(f"Index {facts['part']}")
    shares = np.asarray(facts["recall"])
    if len(shares):
        low, high = intervals.bootstrap(shares, within=intervals.SHARE)
        recall = float(shares.mean())
        asking = "with held-out queries" if "asked" in facts else "on items kept aside"
        note = f"against the exact search, {asking}"
        if np.isnan(low):
            report.add(Figure(f"recall@{K}", recall, count=len(shares), note=note))
        else:
            report.add(Figure(f"recall@{K}", recall, low, high, len(shares), note=note))
        if recall < LOW_RECALL:
            report.add(Text(f"the index misses {1 - recall:.0%} of the nearest {K}: raise its options", "warn"))
    for name, value in facts.get("chosen", {}).items():
        report.add(Figure(f"{name} chosen at build", value))
    report.add(Figure("items in the index", facts["items"]))
    report.add(Figure("index built in", facts["seconds"], unit="s"))
    report.add(Figure("size of the index", facts["bytes"] / 2**20, unit="MiB"))
    report.facts.update({k: facts[k] for k in ("part", "options", "dim", "content")})
    return report


def _write(file: Path, facts: dict[str, Any]) -> None:
    temporary = file.with_name(f".{file.name}-{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as out:
        json.dump(facts, out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(temporary, file)
