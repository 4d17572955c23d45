"""The mined pairs that the miner was least sure of: for each query the candidate nearest to its bar, on either side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tellapart.engine.mine import KEPT, MARGIN, POSITIVE, RULES

FILE = "borderline.json"


def borderline(table: pa.Table, ids: tuple[Any, Any], margin: float, *, most: int = 200) -> list[dict[str, Any]]:
    """Pairs whose score is nearest to `positive - |positive| * margin`, from which on a candidate is no negative.

    Only queries count whose weakest positive is among their candidates: of the others the table does not tell the bar.

    Args:
        table: from `mine`.
        ids: those of the queries and of the documents, by row.
        margin: the one it was mined with.
        most: how many pairs, one a query, the nearest to the bar first.

    Returns:
        Dicts of `query`, `right` (the weakest positive) and `wrong` ids, `right_score`, `wrong_score`.
    """
    found: list[tuple[float, dict[str, Any]]] = []
    for batch in table.to_batches():
        # A batch is a block of the miner, which never cuts a query in two.
        found = sorted([*found, *_of_block(batch, ids, margin, most)], key=lambda pair: pair[0])[:most]
    return [pair for _, pair in found]


def _of_block(
    block: pa.RecordBatch, ids: tuple[Any, Any], margin: float, most: int
) -> list[tuple[float, dict[str, Any]]]:
    """The pairs of a block with how far they are from the bar, the nearest first."""
    query, document = (block[name].to_numpy().astype(np.int64) for name in ("query", "document"))
    score = block["score"].to_numpy()
    rules = block["rule"]
    rule = np.asarray([RULES.index(name) for name in rules.dictionary.to_pylist()])[rules.indices.to_numpy()]
    if not len(query):
        return []
    start = int(query[0])
    query -= start
    right = _first(query, np.where(rule == POSITIVE, score, np.inf))
    right = right[rule[right] == POSITIVE]
    of = np.full(int(query.max(initial=-1)) + 1, -1, np.int64)
    of[query[right]] = right
    own = of[query]
    bar = np.where(own >= 0, score[own] - np.abs(score[own]) * np.float32(margin), np.nan)
    sure = ((rule == MARGIN) & (score > bar)) | ((rule == KEPT) & (score <= bar))
    gap = np.where(sure, np.abs(score - bar), np.inf)
    near = _first(query, gap)
    near = near[np.isfinite(gap[near])]
    near = near[np.argsort(gap[near], kind="stable")][:most]
    return [
        (
            float(gap[n]),
            {
                "query": str(ids[0][start + query[n]]),
                "right": str(ids[1][document[own[n]]]),
                "wrong": str(ids[1][document[n]]),
                "right_score": float(score[own[n]]),
                "wrong_score": float(score[n]),
            },
        )
        for n in near.tolist()
    ]


def _first(query: np.ndarray, value: np.ndarray) -> np.ndarray:
    """For each query the row with its least value."""
    order = np.lexsort((value, query))
    return order[np.unique(query[order], return_index=True)[1]]
