"""Several vectors an item in a run: its word pieces under the text encoder, through a linear head, in an index.

`tellapart run TEXTS --set index=muvera` keeps them in `tokens/` beside the index of single vectors, which answers all
that is not asked by words alone.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection, Sides
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import card_of, cards, make, parse_spec
from tellapart.core.progress import Progress
from tellapart.core.report import Figure, Text
from tellapart.engine import intervals

FOLDER = "tokens"
SINGLE = "exact"
TEXTS_A_BLOCK = 256
ASKED = 50
K = 10


def several(spec: str) -> bool:
    """Whether this index part holds several vectors an item."""
    return "tokens" in card_of("index", parse_spec(spec)[0]).traits


def check_tokens(index: str, text: str, head: str, sides: Sides) -> None:
    """Refuse an index of several vectors where the items cannot have them.

    Args:
        index, text, head: the specs of the index, of the encoder of texts, and of the head ("" for none).

    Raises:
        PartError: with what to set instead.
    """
    if not several(index):
        return
    if sides.document.modality != "text":
        raise PartError(
            f"index={index} compares word pieces, and what is searched here are {sides.document.modality}s "
            f"({sides.document.column}): take an index of single vectors, such as exact"
        )
    if "tokens" not in card_of("encode", parse_spec(text)[0]).traits:
        able = ", ".join(sorted(c.name for c in cards("encode").values() if "tokens" in c.traits))
        raise PartError(
            f"index={index} needs a vector for each word piece, which text={text} does not give: use {able}"
        )
    if head and "linear" not in card_of("encode", parse_spec(head)[0]).traits:
        able = ", ".join(sorted(c.name for c in cards("encode").values() if "linear" in c.traits))
        raise PartError(
            f"index={index} applies the head to each word piece, and head={head}, learnt on whole texts, is not "
            f"linear: what it does to a part of a text means nothing. Use {able}"
        )


def check_model(index: str, model: Any) -> None:
    """`check_tokens` for a trained model."""
    head = model.heads.get("document")
    check_tokens(index, model.specs.get("text", "minilm"), head.spec if head else "", model.sides)


def encode_tokens(model: Any, side: Any, texts: Sequence[str], *, batch_size: int = 64) -> list[np.ndarray]:
    """A matrix [t, d] of unit rows in the model's space for each text; `check_model` says whether there are any."""
    if not len(texts):
        return []
    rows = model.encoders["text"].encode_tokens(texts, batch_size=batch_size)
    ends = np.cumsum([len(r) for r in rows])
    return np.split(model.project(side, np.concatenate(rows)), ends[:-1])


def keep_tokens(
    spec: str,
    collection: Collection,
    documents: Collection,
    model: Any,
    folder: Path,
    *,
    progress: Progress | None = None,
) -> list[Any]:
    """Build the index of word pieces into a folder; for an index of single vectors, take away what is there.

    Args:
        collection: where the queries are, on which recall is measured where they are texts.
        documents: what is searched; texts in the column of the model's document side.

    Returns:
        Blocks for the report: recall against MaxSim of all, counts, and how many texts were cut.
    """
    if not several(spec):
        drop(folder.parent)
        return []
    check_model(spec, model)
    start, encoder = time.monotonic(), model.encoders["text"]
    before = getattr(encoder, "truncated_", 0)
    index = make("index", spec)
    ids, texts, count = documents.ids, documents.values(model.sides.document.column), 0
    for first in range(0, len(texts), TEXTS_A_BLOCK):
        piece = [str(t or "") for t in texts[first : first + TEXTS_A_BLOCK]]
        tokens = encode_tokens(model, "document", piece)
        count += sum(map(len, tokens))
        index.add(ids[first : first + TEXTS_A_BLOCK].tolist(), tokens)
        if progress is not None:
            progress(len(index), len(texts))
    cut = getattr(encoder, "truncated_", 0) - before
    index.save(folder)
    blocks: list[Any] = [*_recall(index, collection, model, spec)]
    blocks.append(Figure("word pieces in the index", count, count=len(texts), note="one vector each, by MaxSim"))
    blocks.append(Figure("index of word pieces built in", time.monotonic() - start, unit="s"))
    if cut:
        reads = getattr(encoder, "max_tokens", "so many")
        blocks.append(
            Text(f"{cut} of {len(texts)} texts are longer than the {reads} word pieces that are read", "warn")
        )
    said = f"Searches by words alone compare word pieces ({spec}); all others, and the figures above, single vectors."
    return [*blocks, Text(said)]


def _recall(index: Any, collection: Collection, model: Any, spec: str) -> list[Figure]:
    """Recall of the best ten by MaxSim, for queries at even distances."""
    side = model.sides.query
    if side.modality != "text":
        return []
    held = [t for t in collection.values(side.column) if t]
    asked = [str(held[i]) for i in np.linspace(0, len(held) - 1, min(ASKED, len(held))).astype(int)]
    queries = encode_tokens(model, "query", asked)
    found, true = index.search(queries, K), index.search_exactly(queries, K)
    pairs = zip(found.ids.tolist(), true.ids.tolist(), strict=True)
    shares = np.asarray([len(set(f) & set(t)) / max(len(t), 1) for f, t in pairs])
    low, high = intervals.bootstrap(shares, within=intervals.SHARE)
    ends = (None, None) if np.isnan(low) else (float(low), float(high))
    note = "of the best by MaxSim over all items, on the collection's own queries"
    name = f"recall@{K} of {parse_spec(spec)[0]}"
    return [Figure(name, float(shares.mean()), low=ends[0], high=ends[1], count=len(shares), note=note)]


def drop(run: Path) -> None:
    """Take the word pieces of a run away: what is searched by words is then searched by single vectors."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)


def open_tokens(folder: Path) -> Any:
    """The index of word pieces of a run folder; None where there is none."""
    from tellapart.engine.indexing import open_index

    if not (folder / FOLDER).is_dir():
        return None
    index = open_index(folder / FOLDER)
    if not hasattr(index, "tokens"):
        raise DataError(f"{folder / FOLDER} holds no index of several vectors: build it again with tellapart index")
    return index
