"""The documents that are searched, where the data keep them apart from the pairs, as a BEIR folder does.

A row of such a collection is a query with one of its relevant documents. Indexed, searched and measured against are all
documents, each once: most of them belong to no query, and one may belong to many.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import make, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.data.composed import OWN
from tellapart.engine.early import encoder_for
from tellapart.engine.embed import embed
from tellapart.engine.evaluate import Relevant
from tellapart.engine.reorder import Encode
from tellapart.engine.spill import ROWS_A_BLOCK, spilled
from tellapart.recipe import Recipe

FOLDER = "corpus"
SIDE = "corpus"


@dataclass(frozen=True)
class Corpus:
    """All documents of a collection and their frozen features.

    Attributes:
        documents: what `tellapart.data.searched` gives.
        vectors: [m, width] float32, memory-mapped, one row a document.
        folder: for vectors that are needed for a while.
    """

    documents: Collection
    vectors: np.ndarray
    folder: Path

    def __len__(self) -> int:
        return len(self.documents)

    @contextmanager
    def encoded(self, encode: Encode) -> Iterator[np.ndarray]:
        """[m, d] vectors of all documents, in a file that is gone afterwards; memory holds a block of them.

        Args:
            encode: told the side `SIDE` and rows of the documents.

        Raises:
            DataError: the file cannot be written.
        """
        starts = range(0, len(self), ROWS_A_BLOCK)
        blocks = (encode(SIDE, np.arange(start, min(start + ROWS_A_BLOCK, len(self)))) for start in starts)
        with spilled(blocks, self.folder, what=f"{len(self):,} documents") as z:
            yield z

    def questions(self, collection: Collection, rows: np.ndarray) -> tuple[np.ndarray, Relevant, np.ndarray]:
        """What is asked of the corpus for some rows of the pairs.

        Returns:
            [n] places in `rows`, one for each query; the relevant documents of each, graded as the data say; and [n]
            the document that goes by the id of the query, or is its reference, and is not said to answer it, -1 where
            there is none.

        Raises:
            DataError: none of the documents is in the corpus.
        """
        asked, row_of = collection.take(rows), self.documents.row_of
        grades = asked.values("score") if "score" in asked.columns and OWN not in asked.columns else [1.0] * len(asked)
        relevant: dict[str, dict[int, float]] = {}
        first: dict[str, int] = {}
        pairs = zip(asked.values("query_id"), asked.values("document_id"), grades, strict=True)
        for place, (query, document, grade) in enumerate(pairs):
            if document in row_of:
                first.setdefault(query, place)
                relevant.setdefault(query, {})[row_of[document]] = float(grade)
        if not first:
            raise DataError(f"none of the documents of these {len(rows)} pairs is in the corpus")
        names: Any = first
        if OWN in asked.columns:
            references = asked.values(OWN)
            names = [references[place] for place in first.values()]
        own = [row_of.get(name, -1) for name in names]
        own = [-1 if row in relevant[query] else row for row, query in zip(own, first, strict=True)]
        places = np.asarray(list(first.values()), np.int64)
        return places, Relevant.of(list(relevant.values())), np.asarray(own, np.int64)


def open_corpus(
    documents: Collection | None,
    recipe: Recipe,
    *,
    cache: Path,
    stages: Stages | None = None,
    encoder: Any = None,
) -> Corpus | None:
    """The corpus with its frozen features, computed once by content; None where there are no documents apart.

    Args:
        encoder: instead of the one that the recipe names.
    """
    if documents is None:
        return None
    side = documents.sides().document
    spec = encoder_for(side.modality, recipe)
    encoder = encoder or make("encode", spec)
    with (stages or Silence()).stage(f"embed {len(documents):,} documents with {parse_spec(spec)[0]}") as told:
        return Corpus(documents, embed(documents, side.column, encoder, cache=cache, progress=told), cache)
