"""Known things that only look otherwise, and scores that are good at telling other things: who rejects them.

A third of the items of labelled data is marked. The audit `detection-settings` is asked twice, with the marked items as
they are (the baseline) and altered in a way that leaves their label alone (the variant); all else is the same, the
threshold too. Data: `digits` (8 x 8 pixels, moved by one pixel to the right) and `mnist` (28 x 28 pixels, moved by two
and darkened by a third).

Metric, for each score of the spec: `rejected, NAME`, the share of the marked known items above the threshold that 95%
of other known items pass. It is higher for altered ones where a score takes looks for meaning.

Options (`[options]` of the spec):
    scores: specs of score parts.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.protocol import _sets

LOWER_IS_BETTER = ("rejected",)
MOST = 1800

Figures = dict[str, tuple[float, float]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one division of its classes."""
    plain, altered, y, marked = pictures(data)
    collection = Collection.of({"label": [str(c) for c in y], "marked": marked.tolist()})
    found: Figures = {}
    for score in spec["options"]["scores"]:
        audit = make("audit", spec["part"], score=score, shifted="marked")
        asked = (audit({"document": x}, collection, seed=seed) for x in (plain, altered))
        before, after = (report.figure("rejected, shifted").value for report in asked)
        found[f"rejected, {score}"] = (before, after)
    return found


@functools.cache
def pictures(data: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """[n, pixels] as they are and with the marked ones altered, [n] labels, [n] bool marks."""
    how = {"digits": (8, 1, 1.0), "mnist": (28, 2, 2 / 3)}
    if data not in how:
        raise DataError(f"settings are looked at on {', '.join(how)}, not on {data!r}")
    side, step, light = how[data]
    held = _sets.load(data)
    rows = np.random.default_rng(0).permutation(len(held.x))[:MOST]
    x, marked = held.x[rows], np.arange(len(rows)) % 3 == 0
    moved = np.roll(x.reshape(-1, side, side), step, axis=2).reshape(x.shape) * np.float32(light)
    return x, np.where(marked[:, None], moved, x), held.y[rows], marked
