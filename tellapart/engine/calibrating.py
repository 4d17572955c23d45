"""What the scores of a run mean: fitted on its validation part, and kept beside its model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.files import write_atomically
from tellapart.core.hits import Hits
from tellapart.core.report import Text
from tellapart.engine import calibrate
from tellapart.engine.monitor import Expected
from tellapart.engine.reorder import POOL, Chain, Encode

FILE = "calibration.json"
ANSWERED = 0.95


def keep_calibration(
    collection: Collection, encode: Encode, chain: Chain | None, index: Any, out: Path, rows: np.ndarray | None = None
) -> list[Text]:
    """Fit, on the validation part, what a score means and from which on there is an answer at all, and write it.

    Beside it stands how these queries score in what is searched, so that later ones can be compared with them.

    Args:
        rows: of the validation part, where not all of it is to be asked; not with a chain.
    """
    from tellapart.engine.trial import held_out, reordered

    rows = held_out(collection, "validation") if rows is None else rows
    sides = collection.sides()
    if len(rows) < 20:
        return [Text("too few validation items to say what a score means: scores are shown as they are")]
    target = collection.codes(sides.target)[0][rows] if sides.target else np.arange(len(rows))
    match = (target[:, None] == target) & (target >= 0)[:, None]
    if sides.same_space:
        np.fill_diagonal(match, False)
    if chain is None:
        sim = encode("query", rows) @ encode("document", rows).T
        asked = ~np.eye(len(rows), dtype=bool) if sides.same_space else np.ones_like(match)
        scores, matches = sim[asked], match[asked]
    else:
        given = reordered(collection, encode, chain.spec, part="validation")
        query, place = np.nonzero(given.found >= 0)
        scores, match = given.scores[query, place], match[given.asked]
        matches = match[query, given.found[query, place]]
    if not matches.any() or matches.all():
        return [Text("the validation part has no matches to fit the meaning of a score on")]
    found = calibrate.fit(scores, matches)
    lowest = calibrate.threshold(scores, matches, recall=ANSWERED)
    written: dict[str, Any] = {"calibration": found.to_dict(), "threshold": lowest.to_dict()}
    written |= {"rank": chain.spec} if chain else {}
    written |= _expected(collection, encode, chain, index, rows, lowest.value)
    write_atomically(out / "model" / FILE, json.dumps(written, indent=2).encode())
    if chain is not None and chain.cuts:
        left = f"{matches.sum() / match.sum():.0%} of the matching validation pairs are left"
        return [Text(f'What {chain.spec} cuts off counts as "nothing here": {left}.')]
    return [
        Text(
            f'Below a {"score" if chain else "similarity"} of {lowest.value:.2f} the answer is "nothing here": '
            f"{ANSWERED:.0%} of the matching validation pairs score higher."
        )
    ]


def _expected(
    collection: Collection, encode: Encode, chain: Chain | None, index: Any, rows: np.ndarray, lowest: float
) -> dict[str, Any]:
    """The best score of each of these queries among all that is searched, for `tellapart.engine.monitor`."""
    found = searched_as_served(collection, encode, index, chain, rows, 1)
    best = np.where(found.ids[:, 0] == "", -np.inf, found.scores[:, 0]) if found.ids.shape[1] else np.zeros(0)
    try:
        return {"queries": Expected.of(best, -np.inf if chain and chain.cuts else lowest).to_dict()}
    except DataError:
        return {}


def searched_as_served(
    collection: Collection, encode: Encode, index: Any, chain: Chain | None, rows: np.ndarray, k: int
) -> Hits:
    """The k best for the queries of these rows, as a search of the run gives them; an item does not find itself."""
    q = encode("query", rows)
    hits = index.search(q, POOL if chain else k + 1)
    if collection.sides().same_space:
        itself = hits.ids == collection.ids[rows].astype(str)[:, None]
        hits = Hits.sorted(hits.ids, np.where(itself, -np.inf, hits.scores))
    if chain is not None:
        looked = chain.reading(collection, rows)
        hits = chain.rank(q, hits, lambda ids: index.vectors(ids.tolist()), reading=looked)
    return Hits(hits.ids[:, :k], hits.scores[:, :k], hits.calls)
