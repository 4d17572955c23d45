"""What a strategy of the trait `sides` has learnt: measured and kept; `engine/together.py` uses it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tellapart.core.collection import Collection, Sides
from tellapart.core.report import Table, Text
from tellapart.engine.captions import learns_from_captions
from tellapart.engine.composed import composes
from tellapart.engine.composed import figures as composed_figures
from tellapart.engine.corpus import Corpus
from tellapart.engine.evaluate import Relevant, retrieval
from tellapart.engine.fit import Fitted
from tellapart.engine.keep import SIDES, keep
from tellapart.engine.prepare import FeaturesBySide, opened
from tellapart.engine.several import learns_from_sides, named, present, same_content
from tellapart.engine.together import FOLDER, joined, keep_joined
from tellapart.engine.towers import encoded
from tellapart.engine.trial import METRICS, Outcome, held_out
from tellapart.recipe import Recipe


def vectors_of(
    collection: Collection, vectors: FeaturesBySide, fitted: Fitted, rows: np.ndarray
) -> dict[str, np.ndarray]:
    """[n, d] vectors of some rows under every tower, by its name; NaN where an item has nothing there."""
    found, tuned = {}, fitted.recipe.tune != "head"
    inputs = opened(collection, fitted.recipe) if tuned else {}
    for name, side in named(collection).items():
        there = present(collection, side.column)[rows]
        if tuned:
            device = next(fitted.towers.parameters()).device
            z = encoded(fitted.towers[name], inputs[name], rows, device).cpu().numpy()
        else:
            z = fitted.encode(name, np.nan_to_num(np.asarray(vectors[name][rows])))
        found[name] = np.where(there[:, None], z, np.float32(np.nan))
    return found


def figures(
    collection: Collection, vectors: FeaturesBySide, fitted: Fitted, *, part: str = "test"
) -> dict[str, dict[str, np.ndarray]]:
    """By column: figures per item of finding what stands there, given all that the item has in the other columns.

    Items of equal content in the column searched are equally right.
    """
    rows, towers = held_out(collection, part), named(collection)
    z, found = vectors_of(collection, vectors, fitted, rows), {}
    for name, side in towers.items():
        codes = same_content(collection, side)[rows]
        there = np.flatnonzero(codes >= 0)
        if len(there) < 2:
            continue
        q = joined([x[there] for other, x in z.items() if other != name], fitted.strategy.joins)
        values = retrieval(q, z[name][there], Relevant.by_target(codes[there], codes[there]))
        found[side.column] = {metric: values[metric] for metric in METRICS}
    return found


def keep_others(
    collection: Collection,
    vectors: FeaturesBySide,
    corpus: Corpus | None,
    recipe: Recipe,
    outcome: Outcome,
    out: Path,
) -> list[Table | Text]:
    """Write the further towers of a run beside its model, and tell what all sides together find on the test part.

    Nothing for recipes whose strategy has neither the trait `sides` nor `captions`.
    """
    shutil.rmtree(out / FOLDER, ignore_errors=True)
    fitted = outcome.fitted
    if fitted is not None and learns_from_captions(recipe):
        (out / FOLDER).mkdir(parents=True)
        keep_joined(out / FOLDER, "composer", [], fitted.strategy.composer.saved())
        said = "Words with a picture, or with an item to be like, are read as a change of it; captions taught that"
        return [Text(f"{said}, and how well is not known: there are no changed pictures to measure it on.")]
    if fitted is None or not learns_from_sides(recipe, collection):
        return []
    if composes(recipe, collection):
        (out / FOLDER).mkdir(parents=True)
        keep_joined(out / FOLDER, "composer", [], fitted.strategy.composer.saved())
        return _composed(collection, corpus, outcome)
    others = collection.others()
    for side in others:
        tower = nn.ModuleDict({name: fitted.towers[side.column] for name in SIDES})
        alone = replace(fitted, towers=tower, state=dict.fromkeys(SIDES, fitted.state[side.column]))
        keep(Sides(side, side), recipe, alone, out / FOLDER / side.column)
    keep_joined(out / FOLDER, fitted.strategy.joins, [side.column for side in others])
    rows: list[list[Any]] = [
        [column, *(float(np.nanmean(values[metric])) for metric in METRICS), len(values[METRICS[0]])]
        for column, values in figures(collection, vectors, fitted).items()
    ]
    note = "found by all the other columns of the item at once; in Python, tellapart.engine.together"
    table = Table("All other sides known", ["searched", *METRICS, "held-out items"], rows, note)
    names = ", ".join(side.column for side in others)
    said = f"What is searched with here and on the served page are the two sides alone; {names} can be added in Python."
    return [table, Text(said)]


def _composed(collection: Collection, corpus: Corpus | None, outcome: Outcome) -> list[Table | Text]:
    """What reference and words find among all pictures, beside each alone and their sum."""
    if corpus is None or (alone := outcome.alone) is None:
        return []
    rows = held_out(collection, "test")
    places, relevant, own = corpus.questions(collection, rows)
    kept = own >= 0
    places, relevant, own = places[kept], relevant.take(np.flatnonzero(kept)), own[kept]
    if not len(places):
        return [Text("no held-out row has a reference: nothing to say of composed queries", "warn")]
    with corpus.encoded(outcome.encode) as z:
        r, t = np.asarray(z)[own], alone("query", rows[places])
        asked = {"reference alone": r, "words alone": t, "sum of both": joined([r, t], "sum")}
        asked["reference and words"] = outcome.encode("query", rows[places])
        found = {name: composed_figures(q, np.asarray(z), relevant, own) for name, q in asked.items()}
    names = list(found["words alone"])
    told = [[name, *(float(np.mean(values[n])) for n in names)] for name, values in found.items()]
    note = f"{len(places)} held-out queries among all {len(corpus):,} pictures; a query's own reference is no answer"
    table = Table("A reference and a change in words", ["searched with", *names], told, note)
    said = "Words with a picture, or with an item to be like, are read as a change of it; words alone are as trained."
    return [table, Text(said)]
