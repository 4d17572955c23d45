"""Labels for items that have a number instead: tenths of the `score`, so that they can be searched and split by it."""

from __future__ import annotations

import numpy as np

from tellapart.core.collection import Collection
from tellapart.data.provenance import with_about

PARTS = 10


def with_tenths(collection: Collection) -> Collection:
    """The collection with a column `label` cut from `score`, where items of one column have no other label.

    Up to ten parts of nearly equally many items, named by their least and greatest value; equal scores stay together,
    and up to ten different scores are a label each. An item without a score has no label. Pairs keep what they have,
    since their score is of the pair, and so does a collection with fewer than two scores.
    """
    has = set(collection.columns)
    one = len(has & {"image", "text", "series"}) == 1 and not {"anchor", "label", "other_series", "target"} & has
    if not one or "score" not in has:
        return collection
    scores = np.asarray(collection.values("score"), dtype=np.float64)
    distinct = np.unique(scores[~np.isnan(scores)])
    if len(distinct) < 2:
        return collection
    cuts = distinct[1:]
    if len(distinct) > PARTS:
        shares = np.arange(1, PARTS) / PARTS
        cuts = np.unique(np.quantile(scores[~np.isnan(scores)], shares, method="closest_observation"))
        cuts = cuts[cuts > distinct[0]]
    part = np.searchsorted(cuts, scores, side="right")
    names = {}
    for number in np.unique(part[~np.isnan(scores)]):
        inside = scores[part == number]
        low, high = np.nanmin(inside), np.nanmax(inside)
        names[number] = f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
    labels = [None if np.isnan(score) else names[number] for score, number in zip(scores, part, strict=True)]
    made = collection.with_column("label", labels, by={"part": "tenths of score"})
    note = f"No labels: `score` was cut into {len(names)} parts of about as many items each, which stand for labels."
    return with_about(made, notes=[note])
