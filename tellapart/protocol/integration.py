"""Which rows of one table are the same thing: pairs by a threshold, and sets by components or communities.

Every thing stands in the table one to four times. The first row is as it was; in the others letters are misread
(`records.misread`, which is not what the learner's own copies are spoilt by), values are missing, and names are
replaced by others of the same thing, so that the truth is known by construction. What learns from the rows themselves
is shown none of it; all rows of the table are learnt from, as `tellapart link --learn` does. Two fifths of the things
choose options and the threshold of each contender, by the F1 of pairs; two fifths are the test, looked at once; the
last fifth are known, for `things known` alone.

Metrics: `F1` of the pairs of test rows at the chosen threshold; `, against cosine` the frozen vectors; `, things
known`: the variant without and with the last fifth as labels. With `sets`, for the variant's links with so many times
as many false ones added at random: `F1 of sets` and `ARI of sets` of communities beside components.

Data: `openmoji` (name, other name, concept), `wordnet` (words and gloss of nouns).

Options (`[options]` of the spec):
    baseline, variant: fields of the recipe; a list holds what is chosen from.
    things: in the table (120). noise: the chance of a letter to be misread, 1.5 times as much of a value to be missing,
    and 4 times as much of a name to be another one (0.12).
    sets: shares of false links ([]). communities: the way ("louvain").
    epochs, batch_size, head: the budget, the same for all.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.features import unit_rows
from tellapart.core.progress import Silence
from tellapart.data.spool import cache_folder
from tellapart.engine.links import Pairs, communities, components
from tellapart.engine.row_learning import FIELDS, learnt
from tellapart.protocol._sets import shipped
from tellapart.protocol.records import misread
from tellapart.recipe import Recipe

KNOWN = ("baseline", "variant", "things", "noise", "sets", "communities", "epochs", "batch_size", "head")
MOST = 4

Figures = dict[str, tuple[float, float]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one table and one split of its things."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol integration has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    made, thing = table(data, int(options.get("things", 120)), float(options.get("noise", 0.12)))
    rng = np.random.default_rng(np.random.SeedSequence([seed, 17]))
    known, choose, test = np.split(
        rng.permutation(thing.max() + 1), np.round(np.array([0.2, 0.6]) * (thing.max() + 1)).astype(int)
    )
    budget = {name: options[name] for name in ("epochs", "batch_size", "head") if name in options}
    alone, some = np.arange(len(thing)), np.where(np.isin(thing, known), thing, thing.max() + 1 + np.arange(len(thing)))
    parts = np.flatnonzero(np.isin(thing, choose)), np.flatnonzero(np.isin(thing, test))

    def best(fields: Mapping[str, Any], entity: np.ndarray) -> tuple[float, float, np.ndarray, float]:
        lists = {k: v if isinstance(v, list) else [v] for k, v in {**FIELDS, **budget, **fields}.items()}
        found = []
        for values in itertools.product(*lists.values()):
            recipe = Recipe.of(dict(zip(lists, values, strict=True)))
            found.append(judged(vectors(made, recipe, entity, seed), thing, *parts))
        return max(found, key=lambda one: one[0])

    ours = best(options["variant"], alone)
    base, plain = best(options["baseline"], alone), judged(frozen(made), thing, *parts)
    figures: Figures = {"F1": (base[1], ours[1]), "F1, against cosine": (plain[1], ours[1])}
    if "sets" in options:
        figures["F1, things known"] = (ours[1], best(options["variant"], some)[1])
    for share in options.get("sets", []):
        figures |= sets(ours[2], ours[3], thing[parts[1]], share, options.get("communities", "louvain"), rng)
    return figures


def vectors(made: Collection, recipe: Recipe, entity: np.ndarray, seed: int) -> np.ndarray:
    """[rows, d] learnt on the table."""
    _, entity = np.unique(entity, return_inverse=True)
    cache = cache_folder(None, "evidence-vectors")
    return learnt([made], recipe, entity.reshape(-1), cache=cache, stages=Silence(), seed=seed)[0]


def frozen(made: Collection) -> np.ndarray:
    """[rows, d] of the encoder alone."""
    from tellapart.core.parts import make
    from tellapart.engine.embed import embed

    cache = cache_folder(None, "evidence-vectors")
    return unit_rows(np.array(embed(made, "text", make("encode", "minilm"), cache=cache)))


def judged(z: np.ndarray, thing: np.ndarray, choose: np.ndarray, test: np.ndarray) -> Any:
    """(F1 of the things that choose, F1 of the test, the test's vectors, threshold)."""
    scores, same = _pairs(z[choose], thing[choose])
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(same[order])
    f1 = 2 * right / (np.arange(1, len(right) + 1) + same.sum())
    at = int(f1.argmax())
    threshold = float(scores[order[at]])
    scores, same = _pairs(z[test], thing[test])
    return float(f1[at]), _f1(scores >= threshold, same), z[test], threshold


def sets(
    z: np.ndarray, threshold: float, thing: np.ndarray, share: float, how: str, rng: np.random.Generator
) -> Figures:
    """Components beside communities, of links at a threshold and so many false ones at random."""
    from sklearn.metrics import adjusted_rand_score

    a, b = np.triu_indices(len(z), 1)
    scores, same = _pairs(z, thing)
    linked = np.flatnonzero(scores >= threshold)
    wrong = np.setdiff1d(np.flatnonzero(~same), linked)
    every = np.concatenate([linked, rng.choice(wrong, min(len(wrong), round(share * len(linked))), replace=False)])
    # A false link looks as sure as a true one.
    pairs = Pairs(
        a[every], b[every], np.concatenate([scores[linked], rng.choice(scores[linked], len(every) - len(linked))])
    )
    both = components(len(z), pairs), communities(len(z), pairs, how)
    f1 = [_f1(found[a] == found[b], same) for found in both]
    ari = [float(adjusted_rand_score(thing, found)) for found in both]
    words = f", {how} beside components, {share:.0%} false links"
    return {f"F1 of sets{words}": (f1[0], f1[1]), f"ARI of sets{words}": (ari[0], ari[1])}


def _pairs(z: np.ndarray, thing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.triu_indices(len(z), 1)
    return (z @ z.T)[a, b], thing[a] == thing[b]


def _f1(said: np.ndarray, same: np.ndarray) -> float:
    return 2 * float((said & same).sum()) / max(1, int(said.sum() + same.sum()))


@functools.cache
def table(data: str, things: int, noise: float) -> tuple[Collection, np.ndarray]:
    """Rows, and the thing that each is."""
    rng = np.random.default_rng(np.random.SeedSequence([things, 23]))
    texts, thing = [], []
    for number, (names, cells) in enumerate(_things(data, things)):
        for copy in range(1 + int(rng.integers(MOST))):
            name, more = names[0], dict(cells)
            if copy:
                if len(names) > 1 and rng.random() < 4 * noise:
                    name = names[1 + int(rng.integers(len(names) - 1))]
                name = misread(name, noise, seed=(number, copy))
                more = {
                    k: misread(v, noise, seed=(number, 10 * copy + at))
                    for at, (k, v) in enumerate(cells.items()) if rng.random() >= 1.5 * noise
                }  # fmt: skip
            texts.append("; ".join(f"{k}: {v}" for k, v in {"name": name, **more}.items()))
            thing.append(number)
    return Collection.of({"text": texts}), np.asarray(thing)


def _things(data: str, most: int) -> list[tuple[list[str], dict[str, str]]]:
    """(names of a thing, its further values), at even distances."""
    found: list[tuple[list[str], dict[str, str]]] = []
    if data == "openmoji":
        made = shipped("openmoji")
        rows = zip(*(made.values(c) for c in ("text", "alternatives", "version", "skin_tone", "gender")), strict=True)
        for name, others, version, tone, gender in rows:
            if not tone and not gender:
                found.append(([str(name), *(others or [])], {"since": str(version)}))
    elif data == "wordnet":
        made = shipped("wordnet")
        for lemmas, gloss, lexname in zip(*(made.values(c) for c in ("lemmas", "gloss", "lexname")), strict=True):
            if lexname.startswith("noun.") and len(lemmas) > 1:
                found.append((list(lemmas), {"kind": lexname[5:], "meaning": " ".join(str(gloss).split()[:6])}))
    else:
        raise DataError(f"the protocol integration knows openmoji and wordnet, not {data!r}")
    return [found[at] for at in np.linspace(0, len(found) - 1, min(most, len(found))).astype(int)]
