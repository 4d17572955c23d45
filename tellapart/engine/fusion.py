"""Several lists of hits of one query as one, by the places alone: scores of unlike searches cannot be added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tellapart.core.hits import Hits

CONSTANT = 60.0


def fused(lists: Sequence[Hits], k: int, *, constant: float = CONSTANT) -> Hits:
    """Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): score(i) = sum_l 1 / (constant + place_l(i)).

    Places count from 1; a list that lacks an item adds nothing. So an item that stands well in two lists comes before
    one that stands first in only one.

    Args:
        lists: at least one, each [queries, any number].
        k: how many hits are kept.

    Returns:
        [queries, at most k], ties by id. A score says where an item stood and nothing of how well it fits: it has no
        probability, and those of two queries cannot be compared.
    """
    rows: list[dict[str, float]] = [{} for _ in range(len(lists[0]))]
    for hits in lists:
        for scores, ids in zip(rows, hits.ids.tolist(), strict=True):
            for place, name in enumerate(filter(None, ids), 1):
                scores[name] = scores.get(name, 0.0) + 1.0 / (constant + place)
    width = max((len(scores) for scores in rows), default=0)
    ids = np.asarray([[*scores, *[""] * (width - len(scores))] for scores in rows], dtype=str).reshape(len(rows), width)
    values = np.asarray([[*s.values(), *[-np.inf] * (width - len(s))] for s in rows], np.float32).reshape(ids.shape)
    return Hits.sorted(ids, values, min(k, width) or None, sum(hits.calls for hits in lists))
