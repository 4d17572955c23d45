"""What changed between two scenes and where, by heads that see both pictures in different ways.

Scenes hold 4 to 6 drawings or tiles on a ground of one colour (64 x 64 pixels); one is added, removed, moved,
recoloured, replaced by another or by the one most like it, or nothing is, while everything else is jittered
(`parts.audit._edits`). Learnt, validation and test scenes are made of different pictures. The heads learn at a jitter
of 2 pixels and choose their ridge by the kinds named on validation scenes of the same jitter:

- `one scale`: both maps and their difference at one scale, which it chooses too, of three;
- `concat`: both maps at three scales, without their difference;
- the part's: both maps and their difference at three scales.

Metrics, at jitters of 0, 2 and 4 on test scenes: `change type` (seven kinds; chance 1/7) and `pointing` (the cell that
has changed most is of the edit; scenes with an edit). The baseline is the first head; `, against concat` is the second,
and `, against pixels` points at the cell with the largest mean difference of pixels.

Options (`[options]` of the spec):
    pictures, scenes: how many are drawn, and how many scenes are learnt from (240, 350).
    ridges: what is chosen from (0.03, 0.3).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tellapart.core.errors import DataError, PartError
from tellapart.engine.embed import items_of
from tellapart.parts.audit._edits import GRID, SIDE, Pairs, edited, stock
from tellapart.parts.audit._pair_head import SCALES, PairHead, pointed
from tellapart.protocol import _sets

KNOWN = ("pictures", "scenes", "ridges")
LEARNT, JITTERS, SHARES = 2, (0, 2, 4), (0.5, 0.65)
Figures = dict[str, tuple[float, float]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol pair_edits has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in ("openmoji", "fashion"):
        raise DataError(f"the protocol pair_edits knows openmoji and fashion, not {data!r}")
    rng, made = np.random.default_rng(np.random.SeedSequence([seed, 61])), _sets.shipped(data)
    count, many = options.get("pictures", 240), options.get("scenes", 350)
    items = items_of(made, "image", "image")
    drawn = [items.at(int(r)) for r in rng.choice(len(made), count, replace=False)]
    ends = [0, *(int(s * count) for s in SHARES), count]
    stocks = [stock(drawn[a:b]) for a, b in itertools.pairwise(ends)]
    learnt, tuning = (edited(s, n, LEARNT, rng, plain=True) for s, n in zip(stocks, (many, many // 2), strict=False))
    tests = {jitter: edited(stocks[2], many, jitter, rng, plain=True) for jitter in JITTERS}
    ridges = options.get("ridges", [0.03, 0.3])
    contenders: dict[str, list[dict[str, Any]]] = {
        "one scale": [{"scales": (s,), "ridge": r} for s in SCALES for r in ridges],
        "concat": [{"terms": "both", "ridge": r} for r in ridges],
        "ours": [{"ridge": r} for r in ridges],
    }
    found = {name: measured(learnt, tuning, tests, choices, seed) for name, choices in contenders.items()}
    ours, figures = found["ours"], {}
    for metric, value in ours.items():
        figures[metric] = (found["one scale"][metric], value)
        figures[f"{metric}, against concat"] = (found["concat"][metric], value)
    for jitter, pairs in tests.items():
        name = f"pointing, jitter {jitter}"
        figures[f"{name}, against pixels"] = (by_pixels(pairs), ours[name])
    return figures


def measured(
    learnt: Pairs, tuning: Pairs, tests: dict[int, Pairs], choices: Sequence[dict[str, Any]], seed: int
) -> dict[str, float]:
    """Figures on the test scenes of the choice that names most kinds on the validation scenes, of equals the first."""
    heads = [PairHead(**choice, seed=seed).fit(learnt) for choice in choices]
    named = [float((h.tell(tuning.before, tuning.after)[0].argmax(axis=1) == tuning.kind).mean()) for h in heads]
    head, found = heads[int(np.argmax(named))], {}
    for jitter, pairs in tests.items():
        told, changed = head.tell(pairs.before, pairs.after)
        found[f"change type, jitter {jitter}"] = float((told.argmax(axis=1) == pairs.kind).mean())
        found[f"pointing, jitter {jitter}"] = float(pointed(changed, pairs.event)[pairs.kind > 0].mean())
    return found


def by_pixels(pairs: Pairs) -> float:
    """Share of the edits at which the cell of the largest mean difference of pixels points."""
    each = SIDE // GRID
    far = np.abs(pairs.after.astype(np.float64) - pairs.before).sum(axis=3)
    changed = far.reshape(-1, GRID, each, GRID, each).mean(axis=(2, 4))
    return float(pointed(changed, pairs.event)[pairs.kind > 0].mean())
