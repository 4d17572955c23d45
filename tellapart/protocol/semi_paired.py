"""Codes for two sides where most items have lost their partner: a strategy that uses them and one of pairs alone.

Of the training pairs a share is kept; the halves of the others stay as items of one side each, and nobody says which
belong together. Both recipes end in codes of signs, are trained on frozen features and choose among their options by
nDCG@10 on the validation pairs; the test pairs are looked at once. Figures are the mean of both directions, over all
test pairs (one a concept of drawings); equal distances count as in random order.

Metrics: `R@10 (SHARE of the pairs, BITS bits)` for every setting; the same `against` each control, and, where pairs are
missing, `against itself without them`: the variant trained on the kept pairs alone; and
`lead, fewest pairs against all`: the variant's lead over the baseline with all pairs, and with the smallest share of
them, in the same number of bits.

Data: `openmoji` (names and drawings), `docstrings` (docstrings and code), at most 2,000 pairs.

Options (`[options]` of the spec):
    baseline, variant: strategies that are chosen from.
    controls: {name: strategies that are chosen from}.
    settings: [share, bits] of one comparison each; the lead is that of the first and the last of equal bits.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.data.identity import curate
from tellapart.data.splits import split
from tellapart.data.spool import cache_folder
from tellapart.engine.fit import Fitted, fit
from tellapart.engine.inputs import Features, Inputs, TrainData, keys_of
from tellapart.engine.trial import directions, measure
from tellapart.protocol._sets import shipped
from tellapart.recipe import Recipe

DATA = ("openmoji", "docstrings")
KNOWN = ("baseline", "variant", "controls", "settings")
READ, MOST, SHARES = 4000, 2000, (0.6, 0.15, 0.25)
CHOSEN_BY, TOLD = "nDCG@10", "R@10"
SIDES = ("query", "document")


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol semi_paired has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in DATA:
        raise DataError(f"the protocol semi_paired knows {', '.join(DATA)}, not {data!r}")
    figures: dict[str, tuple[Any, Any]] = {}
    leads: dict[int, list[float]] = {}
    for share, bits in options["settings"]:
        base, ours = (chosen(data, seed, options[name], share, bits) for name in ("baseline", "variant"))
        at = f"({share:.0%} of the pairs, {bits} bits)"
        figures[f"{TOLD} {at}"] = (base, ours)
        for name, strategies in options.get("controls", {}).items():
            figures[f"{TOLD} against {name} {at}"] = (chosen(data, seed, strategies, share, bits), ours)
        if share < 1:
            alone = chosen(data, seed, options["variant"], share, bits, pairs_alone=True)
            figures[f"{TOLD} against itself without them {at}"] = (alone, ours)
        leads.setdefault(bits, []).append(ours - base)
    for bits, lead in leads.items():
        if len(lead) > 1:
            figures[f"lead, fewest pairs against all ({bits} bits)"] = (lead[0], lead[-1])
    return figures


def chosen(
    data: str, seed: int, strategies: Sequence[str], share: float, bits: int, *, pairs_alone: bool = False
) -> float:
    """The test figure of the strategy that is best on the validation part."""
    parted, vectors = _parted(data, seed)
    found = []
    for strategy in strategies:
        recipe = Recipe.of({"strategy": strategy, "head": f"sign-head(dim={bits})"})
        fitted = trained(parted, vectors, recipe, share, seed, pairs_alone=pairs_alone)
        found.append([_figure(parted, vectors, fitted, part, name) for part, name in (
            ("validation", CHOSEN_BY), ("test", TOLD))])  # fmt: skip
    return max(found, key=lambda pair: pair[0])[1]


def trained(
    parted: Collection,
    vectors: Mapping[str, np.ndarray],
    recipe: Recipe,
    share: float,
    seed: int,
    *,
    pairs_alone: bool = False,
) -> Fitted:
    """A recipe trained on a share of the training pairs and on the halves of the others."""
    rows = np.flatnonzero(np.asarray(parted.values("split"), dtype=object) == "train")
    rows = np.random.default_rng(np.random.SeedSequence([seed, 8])).permutation(rows)
    kept, broken = np.split(rows, [max(2, round(share * len(rows)))])
    alone: dict[str, Inputs] = {
        side: Features(vectors[side][broken]) for side in SIDES if len(broken) and not pairs_alone
    }
    pairs = (Features(vectors[side][kept]) for side in SIDES)
    return fit(recipe, TrainData(*pairs, keys_of(parted.take(kept)), alone=alone), seed=seed)


def _figure(parted: Collection, vectors: Mapping[str, np.ndarray], fitted: Fitted, part: str, name: str) -> float:
    found = measure(parted, lambda side, rows: fitted.encode(side, vectors[side][rows]), part=part)
    return float(np.mean([np.nanmean(found[f"{way} {name}"]) for way, _, _ in directions(parted)]))


@functools.lru_cache(maxsize=1)
def _parted(data: str, seed: int) -> tuple[Collection, dict[str, np.ndarray]]:
    made, vectors = _pairs(data)
    return split(made, seed=seed, shares=SHARES), vectors


@functools.cache
def _pairs(data: str) -> tuple[Collection, dict[str, np.ndarray]]:
    """A collection of pairs with its duplicate groups, and frozen features of both sides."""
    from tellapart.engine.prepare import features

    made = shipped(data)
    if len(made) > READ:
        made = made.take(np.linspace(0, len(made) - 1, READ).astype(int))
    found = features(made, Recipe(), cache=cache_folder(None, "evidence-vectors"))
    rows = np.linspace(0, len(made) - 1, min(MOST, len(made))).astype(int)
    return curate(made.take(rows)), {side: np.array(x[rows]) for side, x in found.items()}
