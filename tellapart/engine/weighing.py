"""Weights of terms for all documents of a run, after a strategy of the trait `texts`, and what they find."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.parts import make
from tellapart.core.progress import Progress
from tellapart.core.report import Figure, Table, Text
from tellapart.core.terms import counted, rarity
from tellapart.engine.evaluate import Relevant, listed
from tellapart.engine.fit import Fitted
from tellapart.engine.sparse import FOLDER, Cutter, SparseSearch, learns_terms, numbered, token_vectors
from tellapart.engine.trial import METRICS, held_out
from tellapart.recipe import Recipe


def keep_sparse(
    collection: Collection,
    documents: Collection,
    recipe: Recipe,
    fitted: Fitted | None,
    out: Path,
    *,
    progress: Progress | None = None,
) -> list[Any]:
    """Weigh all documents of a run into its folder, and tell what they find on the test part.

    Nothing for recipes whose strategy does not learn terms.

    Args:
        documents: what is searched: the collection itself, or its corpus.
    """
    folder = out / FOLDER
    if fitted is None or not learns_terms(recipe):
        shutil.rmtree(folder, ignore_errors=True)
        return []
    words = weigher(documents, collection, recipe, fitted)
    texts = [text or "" for text in documents.values(documents.sides().document.column)]
    words.add(documents.ids, texts, progress)
    words.save(folder)
    held = words.index.numbers / max(len(texts), 1)
    blocks: list[Any] = [Figure("terms a document", held, count=len(texts), note="on the average, all documents")]
    if documents is collection:
        blocks.append(_figures(collection, words))
    said = "tellapart search --sparse finds by these weights, without running the text model; --hybrid with vectors too"
    return [*blocks, Text(said)]


def weigher(documents: Collection, collection: Collection, recipe: Recipe, fitted: Fitted) -> SparseSearch:
    """An empty index with the tables that were learnt: terms of the documents and the queries, idf of the documents."""
    encoder = make("encode", recipe.text)
    cutter = Cutter.of(encoder)
    texts = [text or "" for text in documents.values(documents.sides().document.column)]
    starts, tokens = cutter.documents(texts)
    asked = [cutter.query(text or "") for text in collection.values(collection.sides().query.column)]
    vocabulary = np.unique(np.concatenate([tokens[tokens >= 0], *asked]))
    terms = numbered(tokens, vocabulary)
    idf = rarity(counted(starts, terms, len(vocabulary)), len(vocabulary))
    head = fitted.strategy
    map_, bias = head.map.detach().cpu().numpy(), float(head.bias.detach())
    return SparseSearch(cutter, vocabulary, idf, token_vectors(encoder)[vocabulary], map_, bias, recipe.text)


def _figures(collection: Collection, words: SparseSearch) -> Table:
    rows, sides = held_out(collection, "test"), collection.sides()
    target = collection.codes(sides.target)[0][rows] if sides.target else np.arange(len(rows))
    ids = collection.ids[rows].astype(str)
    asked = [text or "" for text in collection.take(rows).values(sides.query.column)]
    hits = words.index.search(words.encode_queries(asked), max(len(rows), 1), filter=ids.tolist())
    place = {name: at for at, name in enumerate(ids.tolist())}
    found = np.asarray([[place.get(name, -1) for name in row] for row in hits.ids.tolist()]).reshape(hits.ids.shape)
    values = listed(found, hits.scores, Relevant.by_target(target, target), len(rows))
    row = [f"{sides.query.column}-to-{sides.document.column}", *(float(np.nanmean(values[m])) for m in METRICS)]
    return Table(
        "Learned sparse search", ["", *METRICS], [row], f"{len(rows)} held-out items; no model reads the query"
    )
