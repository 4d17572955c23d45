"""How much of what a few seeds are expanded into is of their topic.

Each seed draws one topic with at least `fewest` items beyond `seeds` of them, which are shown; the rest of the topic is
hidden in the pool among all other items. As many items as the topic still has in the pool are kept, or `keep` of them.
The part sees both sides; `one side` is the same part with one of them, chosen like the options by the topical precision
of another topic, drawn for that alone. Both choose among the same options.

Metrics: `precision`, the share of what is kept that is of the topic, where `keep` times the topic's items in the pool
are kept; against the better side, `against the first side` (pictures, names), `against the second side` (names,
glosses) and `against random`; and against itself `without agreement`.

Data: `openmoji`, drawings and their names where they are nouns of one WordNet lexicographer file, which is their topic
(noun.animal); `wordnet`, the lemmas and glosses of nouns, 150 of each lexicographer file.

Options (`[options]` of the spec):
    seeds: items shown (20). fewest: of a topic beyond them (10). keep: shares of the topic that are kept ([0.5, 1.0]).
    part_grid: {option: list of values}.
"""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make
from tellapart.data.spool import cache_folder
from tellapart.protocol._sets import shipped

KNOWN = ("seeds", "fewest", "keep", "part_grid")
EACH = 150

Sides = tuple[int, ...]


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, part)}."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown or spec["baseline"] != "one-side":
        raise PartError(f"the protocol expansion knows {', '.join(KNOWN)} and the baseline one-side")
    x, topic = items(data)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 31]))
    many, least = options.get("seeds", 20), options.get("fewest", 10)
    names, counts = np.unique(topic, return_counts=True)
    choosing, tested = rng.permutation(names[counts >= many + least])[:2]
    tasks = [_task(x, topic, of, many, rng) for of in (choosing, tested)]
    grid = options.get("part_grid", {})
    choices = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]

    def figures(task: Any, sides: Sides, chosen: dict[str, Any]) -> dict[float, float]:
        return _precision(task, spec["part"], sides, chosen, options.get("keep", [0.5, 1.0]))

    def best(pairs: list[tuple[Sides, dict[str, Any]]]) -> dict[float, float]:
        return figures(tasks[1], *max(pairs, key=lambda pair: sum(figures(tasks[0], *pair).values())))

    ours = best([((0, 1), chosen) for chosen in choices])
    plain = [chosen for chosen in choices if not chosen.get("agreement")] or choices
    others = {
        "": best([((side,), chosen) for side in (0, 1) for chosen in plain]),
        ", against the first side": best([((0,), chosen) for chosen in plain]),
        ", against the second side": best([((1,), chosen) for chosen in plain]),
        ", against itself without agreement": best([((0, 1), chosen) for chosen in plain]),
        ", against random": dict.fromkeys(ours, float(tasks[1][2].mean())),
    }
    return {
        f"precision, {share:.0%} kept{words}": (found[share], ours[share])
        for words, found in others.items()
        for share in ours
    }


def _task(x: list[np.ndarray], topic: np.ndarray, of: str, many: int, rng: np.random.Generator) -> Any:
    """(items of both sides, seeds first; which are seeds; [pool] which are of the topic)."""
    mine = rng.permutation(np.flatnonzero(topic == of))
    pool = np.setdiff1d(np.arange(len(topic)), mine[:many])
    order = np.concatenate([mine[:many], pool])
    return [side[order] for side in x], np.arange(len(order)) < many, topic[pool] == of


def _precision(task: Any, part: str, sides: Sides, chosen: dict[str, Any], keep: list[float]) -> dict[float, float]:
    blocks, marks, right = task
    seen = [blocks[side] for side in sides]
    score = make("score", part, **chosen).fit(seen, marks).score([block[~marks] for block in seen])
    order = np.argsort(-score, kind="stable")
    return {share: float(right[order[: max(1, round(share * right.sum()))]].mean()) for share in keep}


@functools.cache
def items(data: str) -> tuple[list[np.ndarray], np.ndarray]:
    """(vectors of both sides, [n] topics)."""
    words = shipped("wordnet")
    files: dict[str, set[str]] = defaultdict(set)
    for lemmas, lexname in zip(words.values("lemmas"), words.values("lexname"), strict=True):
        if lexname.startswith("noun."):
            for lemma in lemmas:
                files[lemma.lower()].add(lexname)
    cache = cache_folder(None, "evidence-vectors")

    def embedded(collection: Collection, column: str, encoder: str) -> np.ndarray:
        from tellapart.engine.embed import embed

        return np.array(embed(collection, column, make("encode", encoder), cache=cache))

    if data == "openmoji":
        made, first = shipped("openmoji"), dict[str, int]()
        for row, (name, concept) in enumerate(zip(made.values("text"), made.values("concept"), strict=True)):
            if len(files.get(str(name).lower(), ())) == 1:
                first.setdefault(str(concept), row)
        made = made.take(sorted(first.values()))
        topic = np.array([next(iter(files[str(name).lower()])) for name in made.values("text")])
        return [embedded(made, "image", "lite0"), embedded(made, "text", "minilm")], topic
    if data == "wordnet":
        lexnames = np.array(words.values("lexname"))
        nouns = [np.flatnonzero(lexnames == name) for name in np.unique(lexnames) if name.startswith("noun.")]
        rows = [some[np.linspace(0, len(some) - 1, min(EACH, len(some))).astype(int)] for some in nouns]
        made = words.take(np.sort(np.concatenate(rows)))
        return [embedded(made, "anchor", "minilm"), embedded(made, "gloss", "minilm")], np.array(made.values("lexname"))
    raise DataError(f"the protocol expansion knows openmoji and wordnet, not {data!r}")
