"""Parts that learn from pairs to order the first hits anew, against a baseline of the same kind and the plain order.

Two heads on frozen features are trained by InfoNCE on half of the pairs (`openmoji`, `docstrings`; the split goes by
concept or module). Part and baseline are fitted on a quarter that the heads have not seen; their options are chosen by
R@1 on a tenth; the rest is the test part, looked at once. Both directions: R@1 and R@10, against the baseline and
against the order by cosine. Of every query the 100 nearest documents are given.

Options (`[options]` of the spec):
    part_grid, baseline_grid: {option: list of values} to choose from.
    epochs: of the heads (20).
    pairs: at most so many pairs (4000).
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np

from tellapart.core.errors import DataError, PartError
from tellapart.core.hits import Hits
from tellapart.core.parts import make
from tellapart.protocol import _sets

DATA = ("openmoji", "docstrings")
KNOWN = ("part_grid", "baseline_grid", "epochs", "pairs")
SIDES = ("query", "document")
SEEN = 100
PARTS = {"train": 0.5, "fit": 0.25, "choose": 0.1, "test": 0.15}


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol rerank has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in DATA:
        raise DataError(f"the protocol rerank knows {', '.join(DATA)}, not {data!r}")
    sides = encoded(data, seed, options.get("epochs", 20), options.get("pairs", 4000))
    figures: dict[str, tuple[Any, Any]] = {}
    for asking, asked in (SIDES, SIDES[::-1]):
        fit, choose, test = ((sides[name][asking], sides[name][asked]) for name in ("fit", "choose", "test"))
        base = chosen(spec["baseline"], options.get("baseline_grid", {}), fit, choose)
        ours = chosen(spec["part"], options.get("part_grid", {}), fit, choose)
        plain, before, after = (right(part, *test) for part in (None, base, ours))
        for words, other in (("", before), (", against cosine", plain)):
            for k in (1, 10):
                name = f"R@{k} {asking} to {asked}{words}"
                figures[name] = ((other <= k).astype(float), (after <= k).astype(float))
    return figures


def chosen(spec: str, grid: dict[str, list[Any]], fit: tuple[Any, Any], choose: tuple[Any, Any]) -> Any:
    """The part, fitted, with the options that put most right documents first on the pairs to choose by."""
    tried = [make("rank", spec, **dict(zip(grid, values, strict=True))) for values in itertools.product(*grid.values())]
    pairs = np.stack([np.arange(len(fit[0]))] * 2, 1)
    for part in tried:
        part.fit(*fit, pairs=pairs)
    return max(tried, key=lambda part: float((right(part, *choose) <= 1).mean()))


def right(part: Any, q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """[n] place of the right document of each query from 1, infinite where it is not among its hits."""
    ids = np.array([f"{i:07d}" for i in range(len(k))])
    hits = Hits.sorted(np.tile(ids, (len(q), 1)), q @ k.T, SEEN)
    if part is not None:
        hits = part.rank(q, hits, lambda wanted: k[wanted.astype(int)])
    found = hits.ids == ids[: len(q), None]
    return np.where(found.any(1), found.argmax(1) + 1.0, np.inf)


@functools.lru_cache(maxsize=2)
def encoded(data: str, seed: int, epochs: int, pairs: int) -> dict[str, dict[str, np.ndarray]]:
    """{part of the split: {side: unit vectors}} under heads trained on the part `train`."""
    from tellapart.engine.fit import fit
    from tellapart.engine.prepare import train_data
    from tellapart.recipe import Recipe

    made, vectors = frozen(data, pairs)
    rows = parted(made.codes("concept")[0], seed, one_each=data == "openmoji")
    recipe = Recipe(head="linear-head(dim=128)", epochs=epochs)
    train = rows["train"]
    fitted = fit(recipe, train_data(made.take(train), {s: x[train] for s, x in vectors.items()}, recipe), seed=seed)
    return {name: {s: fitted.encode(s, x[at]) for s, x in vectors.items()} for name, at in rows.items()}


def parted(concept: np.ndarray, seed: int, *, one_each: bool) -> dict[str, np.ndarray]:
    """Rows by part of the split, no concept in two.

    Variants of an OpenMoji concept answer each other's questions; beyond the training part the first stands for all of
    them. Docstrings of a module do not.
    """
    order = np.random.default_rng(seed).permutation(np.unique(concept))
    at = np.searchsorted(np.cumsum(list(PARTS.values())), (np.arange(len(order)) + 0.5) / len(order))
    part_of = dict(zip(order.tolist(), at.tolist(), strict=True))
    of = np.asarray([part_of[c] for c in concept.tolist()])
    rows = {name: np.flatnonzero(of == place) for place, name in enumerate(PARTS)}
    if one_each:
        rows |= {name: at[np.unique(concept[at], return_index=True)[1]] for name, at in rows.items() if name != "train"}
    return rows


@functools.cache
def frozen(data: str, pairs: int) -> tuple[Any, dict[str, np.ndarray]]:
    """A collection of pairs with its duplicate groups, and frozen features of both sides."""
    from tellapart.data.identity import curate
    from tellapart.data.spool import cache_folder
    from tellapart.engine.prepare import features
    from tellapart.recipe import Recipe

    made = _sets.shipped(data)
    if len(made) > pairs:
        made = made.take(np.linspace(0, len(made) - 1, pairs).astype(int))
    cache = cache_folder(None, "evidence-vectors")
    return curate(made), {side: np.array(x) for side, x in features(made, Recipe(), cache=cache).items()}
