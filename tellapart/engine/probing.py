"""An index to mine through that looks just as far as it must: its recall is measured on some of the queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.nearest import nearest
from tellapart.core.parts import make
from tellapart.engine.mine import found_by

EXACT_UP_TO = 50_000
ITEMS_A_CELL = 256
QUERIES = 512
RECALL = 0.955
FIRST_PROBE = 8
MOST_CELLS_LOOKED_INTO = 0.25
HALVINGS = 2


@dataclass(frozen=True)
class Probing:
    """How the nearest documents are looked for.

    Attributes:
        index: None where every query is compared with all documents.
        spec: in words, as a part is written.
        recall: share of the nearest that it finds of some queries.
        queries: how many those were.
    """

    index: Any
    spec: str
    recall: float
    queries: int


def probing(ids: np.ndarray, k: np.ndarray, q: np.ndarray, depth: int, *, spec: str = "auto") -> Probing:
    """The way to look for the `depth` nearest of each query.

    Args:
        ids: [m] of the documents. k: [m, d] and q: [n, d] unit vectors, memory-mapped or not.
        spec: an index part, such as `ivf(probe=64)`; `exact` compares with all, and so does `auto` up to 50,000
            documents. Beyond that `auto` takes cells of about 256 documents and looks into about as few of them as
            find 0.955 of what 512 of the queries would find among all; where those are more than a quarter of the
            cells, it compares with all.

    Raises:
        PartError: no such index.
    """
    some = np.asarray(q[np.unique(np.linspace(0, len(q) - 1, min(QUERIES, len(q))).astype(np.int64))], np.float32)
    if spec == "exact" or (spec == "auto" and len(k) <= EXACT_UP_TO):
        return Probing(None, "exact", 1.0, len(some))
    truth = nearest(some, [k], depth)[1]
    if spec != "auto":
        index = make("index", spec)
        index.add(ids, k)
        return Probing(index, spec, _found(index, some, truth), len(some))
    cells = int(min(len(k) / ITEMS_A_CELL, 4 * len(k) ** 0.5))
    index = make("index", "ivf", cells=cells, probe=FIRST_PROBE)
    index.add(ids, k)
    found = {}
    while (recall := _found(index, some, truth)) < RECALL:
        found[index.probe] = recall
        index.probe *= 2
        if index.probe > MOST_CELLS_LOOKED_INTO * cells:
            return Probing(None, "exact", 1.0, len(some))
    enough, less = index.probe, max(found, default=0)
    found[enough] = recall
    for _ in range(HALVINGS if enough > 2 else 0):
        index.probe = (enough + less) // 2
        found[index.probe] = _found(index, some, truth)
        enough, less = (index.probe, less) if found[index.probe] >= RECALL else (enough, index.probe)
    index.probe = enough
    return Probing(index, f"ivf(cells={cells}, probe={enough})", found[enough], len(some))


def _found(index: Any, q: np.ndarray, truth: np.ndarray) -> float:
    places = found_by(index, q, truth.shape[1], np.arange(len(index)))[1]
    return float(np.mean([np.isin(t, p).mean() for t, p in zip(truth, places, strict=True)]))
