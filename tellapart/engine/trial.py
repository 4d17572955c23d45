"""One recipe, one seed: train on the training part, measure on held-out items. What `run` and `compare` repeat."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.progress import Progress
from tellapart.data.composed import OWN, REFERENCE
from tellapart.data.searched import DOCUMENT
from tellapart.data.votes import by_vote, shown
from tellapart.engine.compatible import check_together
from tellapart.engine.composed import composes, composing
from tellapart.engine.corpus import SIDE as CORPUS
from tellapart.engine.corpus import Corpus
from tellapart.engine.evaluate import Relevant, listed, retrieval
from tellapart.engine.fit import Fitted, fit, untrained
from tellapart.engine.prepare import FeaturesBySide, opened, train_data
from tellapart.engine.reorder import POOL, Bank, Chain, Encode, learns_from_pairs
from tellapart.engine.scorers import Reading, check_scorers
from tellapart.engine.several import of_column
from tellapart.engine.sounds import token_sets
from tellapart.engine.token_sets import Encoding, asks_tokens, held_sets
from tellapart.engine.towers import encoded
from tellapart.engine.unpaired import Unpaired, learns_from_unpaired
from tellapart.recipe import Recipe

METRICS = ("R@1", "R@10", "nDCG@10")
MOST_ASKED = 5000
ASKED_AT_ONCE = 256


@dataclass(frozen=True)
class Outcome:
    """What a trial found.

    Attributes:
        values: [n] per query by figure, such as `text-to-image R@10`.
        seconds: of training.
        encode: (side, [n] rows of the collection) -> [n, d] unit vectors.
        fitted: the trained run; None where nothing was trained.
        alone: `encode` of each side by itself, where queries are composed of a reference and words.
    """

    values: dict[str, np.ndarray]
    seconds: float
    encode: Encode = field(repr=False)
    fitted: Fitted | None = field(default=None, repr=False)
    alone: Encode | None = field(default=None, repr=False)

    def mean(self, name: str) -> float:
        """The figure over all its queries."""
        return float(np.nanmean(self.values[name]))


def held_out(collection: Collection, part: str) -> np.ndarray:
    """[n] rows of a split, one item for each concept where the collection knows concepts.

    Variants of one concept answer each other's queries; one of each keeps the question fair and the intervals honest.
    Not where queries are composed: each then says which of them it wants.
    """
    rows = np.flatnonzero(np.asarray(collection.values("split"), dtype=object) == part)
    if "concept" not in collection.columns or OWN in collection.columns:
        return rows
    concepts = collection.codes("concept")[0][rows]
    _, first = np.unique(concepts, return_index=True)
    return rows[np.sort(first)]


def directions(collection: Collection) -> list[tuple[str, str, str]]:
    """(name, side asked with, side asked for): `text-to-image`, then `image-to-text`; one for a single column, or where
    users look for items."""
    sides = collection.sides()
    there = (f"{sides.query.column}-to-{sides.document.column}", "query", "document")
    back = (f"{sides.document.column}-to-{sides.query.column}", "document", "query")
    return [there] if sides.same_space or by_vote(collection) else [there, back]


def measure(
    collection: Collection, encode: Encode, *, part: str, rank: str = "", corpus: Corpus | None = None
) -> dict[str, np.ndarray]:
    """Figures per query of a part of the split, in both directions.

    Args:
        encode: (side, [n] rows of the collection) -> [n, d] unit vectors; the side `corpus` has rows of the corpus.
        rank: a chain of parts that reorder what is found, fitted for each direction (see `fit_chain`).
        corpus: what queries are searched in, where it is more than the held-out documents.
    """
    found: dict[str, np.ndarray] = {}
    for name, asking, asked in directions(collection):
        figures = searched(collection, encode, part=part, rank=rank, asking=asking, asked=asked, corpus=corpus)
        found |= {f"{name} {metric}": figures[metric] for metric in METRICS}
    return found


def searched(
    collection: Collection,
    encode: Encode,
    *,
    part: str,
    rank: str = "",
    asking: str,
    asked: str,
    corpus: Corpus | None = None,
) -> dict[str, np.ndarray]:
    """All figures per query of one direction, see `evaluate.retrieval`; NaN for what is not asked (see `Listed`).

    With a corpus a query is asked once, whatever the number of its documents.
    """
    if corpus is not None and asking == "query" and DOCUMENT in collection.columns:
        return _in_corpus(collection, encode, corpus, part=part, rank=rank)
    rows, sides = held_out(collection, part), collection.sides()
    target = collection.codes(sides.target)[0][rows] if sides.target else np.arange(len(rows))
    if rank:
        given = reordered(collection, encode, rank, part=part, asking=asking, asked=asked)
        relevant = Relevant.by_target(target[given.asked], target)
        itself = given.asked if sides.same_space else None
        figures = listed(given.found, given.scores, relevant, len(rows), itself=itself)
        return {name: _spread(values, given.asked, len(rows)) for name, values in figures.items()}
    alone: dict[str, Any] = {"ids": (rows, rows), "own": "exclude"} if sides.same_space else {}
    return retrieval(encode(asking, rows), encode(asked, rows), Relevant.by_target(target, target), **alone)


def _in_corpus(
    collection: Collection, encode: Encode, corpus: Corpus, *, part: str, rank: str
) -> dict[str, np.ndarray]:
    rows = held_out(collection, part)
    places, relevant, own = corpus.questions(collection, rows)
    with corpus.encoded(encode) as z:
        if by_vote(collection):
            known = shown(collection, part, collection.take(rows[places]).values("query_id"))
            found, scores = _unseen(encode("query", rows[places]), z, corpus, known)
            figures = listed(found, scores, relevant, len(z))
        elif rank:
            some = np.unique(np.linspace(0, len(places) - 1, min(MOST_ASKED, len(places))).astype(np.int64))
            places, relevant, own = places[some], relevant.take(some), own[some]
            ids = corpus.documents.ids.astype(str)
            given = reordered(
                collection, encode, rank, part=part, some=places, documents=(ids, z), items=corpus.documents
            )
            figures = listed(given.found, given.scores, relevant, len(z))
        else:
            # Numbers for ids: a document that goes by the id of the query is not searched.
            itself = (np.where(own < 0, len(z), own), np.arange(len(z)))
            figures = retrieval(encode("query", rows[places]), z, relevant, ids=itself, own="exclude")
    return {name: _spread(values, places, len(rows)) for name, values in figures.items()}


def _unseen(q: np.ndarray, z: np.ndarray, corpus: Corpus, known: list[set[str]]) -> tuple[np.ndarray, np.ndarray]:
    """([n, pool] places, [n, pool] scores) of each user's best documents without those that are known already."""
    pool, row_of, parts = min(POOL, len(z)), corpus.documents.row_of, []
    for start in range(0, len(q), ASKED_AT_ONCE):
        scores = q[start : start + ASKED_AT_ONCE] @ np.asarray(z).T
        for row, items in zip(scores, known[start : start + ASKED_AT_ONCE], strict=True):
            row[[row_of[item] for item in items if item in row_of]] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :pool]
        parts.append((best, np.take_along_axis(scores, best, 1)))
    found, scores = (np.concatenate(x) for x in zip(*parts, strict=True))
    return np.where(np.isneginf(scores), -1, found), scores


def fit_chain(
    collection: Collection,
    encode: Encode,
    rank: str,
    *,
    asking: str = "query",
    asked: str = "document",
    documents: Collection | None = None,
) -> Chain:
    """The rank parts as they are served, fitted on items that the test part does not hold.

    Parts that learn from pairs get those of the validation part, the others the training part. Those that look at all
    that is searched get it, without knowing what belongs to what.

    Args:
        documents: what is searched; None: the collection.

    Raises:
        DataError: what a part cannot be fitted on.
    """
    held = collection if documents is None else documents
    check_scorers(rank, collection.sides(), asking, asked)
    reading = Reading.of(collection, np.arange(0), asking, asked, held, held_sets(encode))
    banks = _banks(collection, encode, rank, held_out(collection, "validation"), asking, asked)
    return Chain(rank).fit(*banks, searched=(held.ids.astype(str), reading))


def _banks(
    collection: Collection, encode: Encode, rank: str, unseen: np.ndarray, asking: str, asked: str
) -> list[Bank]:
    parts = [held_out(collection, "train"), *([unseen] if learns_from_pairs(rank) else [])]
    if not all(map(len, parts)):
        raise DataError(f"rank={rank} is fitted on items of train and validation, and one of them is empty")
    return [Bank.of(collection, rows, encode, asking, asked) for rows in parts]


@dataclass(frozen=True)
class Listed:
    """What a served search with rank parts gives for held-out queries, among the held-out documents.

    Attributes:
        asked: [n] which of the held-out items were asked for: at most `MOST_ASKED`, spread evenly.
        found: [n, pool] places of documents among the held-out items, -1 as filling; a query in a single column does
            not find itself.
        scores: [n, pool] those of the chain; -inf as filling.
    """

    asked: np.ndarray
    found: np.ndarray
    scores: np.ndarray


def reordered(
    collection: Collection,
    encode: Encode,
    rank: str,
    *,
    part: str,
    asking: str = "query",
    asked: str = "document",
    some: np.ndarray | None = None,
    documents: tuple[np.ndarray, np.ndarray] | None = None,
    items: Collection | None = None,
) -> Listed:
    """Search the held-out items of a part by the chain that is fitted for this direction.

    Where pairs of the part itself are learnt from, one half of it is asked of the chain that the other half taught.

    Args:
        some: which of the held-out items are asked for.
        documents: ids and vectors of what is searched instead of the held-out items.
        items: where these documents are; None: the collection.
    """
    check_scorers(rank, collection.sides(), asking, asked)
    rows = held_out(collection, part)
    if some is None:
        some = np.linspace(0, len(rows) - 1, min(MOST_ASKED, len(rows))).astype(np.int64)
    q = encode(asking, rows[some])
    ids, k = documents if documents is not None else (collection.ids[rows].astype(str), encode(asked, rows))
    unseen, folds = held_out(collection, "validation"), [np.arange(len(some))]
    if part == "validation" and learns_from_pairs(rank):
        folds = np.array_split(np.random.default_rng(0).permutation(len(some)), 2)
    found = np.full((len(some), min(POOL, len(ids))), -1)
    scores = np.full(found.shape, -np.inf, dtype=np.float32)
    order = np.argsort(ids)
    for these in folds:
        others = unseen if len(folds) == 1 else np.delete(rows, some[these])
        reading = Reading.of(collection, rows[some[these]], asking, asked, items, held_sets(encode))
        chain = Chain(rank).fit(*_banks(collection, encode, rank, others, asking, asked), searched=(ids, reading))
        own = some[these] if collection.sides().same_space else None
        hits = chain.search(q[these], k, ids, own=own, reading=reading)
        found[these] = np.where(hits.ids == "", -1, order[np.searchsorted(ids, hits.ids, sorter=order) % len(ids)])
        scores[these] = hits.scores
    return Listed(some, found, scores)


def _spread(values: np.ndarray, places: np.ndarray, length: int) -> np.ndarray:
    out = np.full(length, np.nan)
    out[places] = values
    return out


def key(collection: Collection, recipe: Recipe, seed: int) -> str:
    """What a trial depends on, as the name of a file: recipe, sources of its parts, data, seed."""
    return f"{recipe.hash}-{recipe.code}-{collection.fingerprint}-{seed}"


def trial(
    collection: Collection,
    vectors: FeaturesBySide,
    recipe: Recipe,
    *,
    seed: int,
    part: str = "test",
    folder: Path | None = None,
    progress: Progress | None = None,
    corpus: Corpus | None = None,
    unpaired: Unpaired | None = None,
) -> Outcome:
    """Train a recipe on the training part, if it trains anything, and measure it on another part.

    Args:
        collection: with the column `split`.
        vectors: frozen features by side, one row an item of the collection.
        folder: for checkpoints, each in a folder of its `key`, so that a killed trial goes on.
        corpus: see `measure`.
        unpaired: items of one side only, for a strategy that learns from such; others leave them aside.
    """
    if recipe.tune == "none":
        check_together(collection, recipe)
        encode = _own(vectors, corpus)
        return Outcome(measure(collection, encode, part=part, rank=recipe.rank, corpus=corpus), 0.0, encode)
    rows = np.flatnonzero(np.asarray(collection.values("split"), dtype=object) == "train")
    data = train_data(collection.take(rows), {side: x[rows] for side, x in vectors.items()}, recipe)
    if unpaired is not None and learns_from_unpaired(recipe):
        data = replace(data, alone=unpaired.inputs(collection))
    place = folder / key(collection, recipe, seed) if folder else None
    fitted = fit(recipe, data, seed=seed, folder=place, progress=progress)
    encode = _encode(collection, vectors, fitted, corpus)
    alone = encode
    if composes(recipe, collection):
        composer = fitted.strategy.composer.saved()
        below: Encode = (lambda side, rows: np.asarray(vectors[side][rows])) if composer.of_features else alone
        reference = of_column(collection, REFERENCE, lambda rows: below(REFERENCE, rows))
        encode = composing(alone, composer, reference, below)
    if asks_tokens(recipe.rank):
        encode = Encoding(encode, token_sets(collection, vectors, fitted))
    figures = measure(collection, encode, part=part, rank=recipe.rank, corpus=corpus)
    return Outcome(figures, fitted.seconds, encode, fitted, alone)


def _frozen(vectors: FeaturesBySide, corpus: Corpus | None) -> FeaturesBySide:
    return vectors if corpus is None else {**vectors, CORPUS: corpus.vectors}


def _encode(collection: Collection, vectors: FeaturesBySide, fitted: Fitted, corpus: Corpus | None = None) -> Encode:
    """The towers on rows of the collection: on their frozen features, or on the items where an encoder was tuned."""
    tower = {"query": "query", "document": "document", CORPUS: "document", REFERENCE: "document"}
    if fitted.recipe.tune == "head":
        x = _frozen(vectors, corpus)
        return lambda side, rows: fitted.encode(tower[side], np.asarray(x[side][rows]))
    inputs, towers = opened(collection, fitted.recipe), fitted.towers
    if corpus is not None:
        inputs = {**inputs, CORPUS: opened(corpus.documents, fitted.recipe)["document"]}
    device = next(towers.parameters()).device
    return lambda side, rows: encoded(towers[tower[side]], inputs[side], rows, device).cpu().numpy()


def without_training(
    collection: Collection,
    vectors: FeaturesBySide,
    recipe: Recipe,
    *,
    seed: int,
    part: str = "test",
    corpus: Corpus | None = None,
) -> Outcome:
    """The same figures before any training.

    Where both sides come from one encoder its own vectors are compared; otherwise heads of random weights are, which
    is chance. An encoder that the recipe tunes is as yet what gave the features.
    """
    recipe = recipe.but(tune="head")
    if collection.sides().comparable:
        own = _own(vectors, corpus)
        return Outcome(measure(collection, own, part=part, corpus=corpus), 0.0, own)
    rows = np.flatnonzero(np.asarray(collection.values("split"), dtype=object) == "train")
    data = train_data(collection.take(rows), {side: x[rows] for side, x in vectors.items()}, recipe)
    fitted = untrained(recipe, data, seed=seed)
    encode = _encode(collection, vectors, fitted, corpus)
    return Outcome(measure(collection, encode, part=part, corpus=corpus), 0.0, encode)


def _own(vectors: FeaturesBySide, corpus: Corpus | None) -> Encode:
    """The encoder's own vectors, of unit length."""
    frozen = _frozen(vectors, corpus)

    def encode(side: str, rows: np.ndarray) -> np.ndarray:
        x = np.asarray(frozen[side][rows])
        return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), dtype=np.float32)

    return encode
