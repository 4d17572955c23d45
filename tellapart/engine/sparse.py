"""Learned sparse search: documents as weights of terms, queries as their terms; after a strategy of the trait `texts`.

    words = SparseSearch.open("runs/latest/sparse")
    hits = words.search("brass valve", 10)

A query is cut into terms and looked up in a table: no model runs. What is learnt is how the tokens of a document
weigh terms, also ones that it does not hold (`parts/strategy/idf_flops.py`).
"""

from __future__ import annotations

import itertools
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.hits import Hits
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.core.progress import Progress
from tellapart.core.terms import Weighted, beside_own, counted, rarity, weighed
from tellapart.core.vectors import Filter, read_version, write_version
from tellapart.engine.inverted import Inverted
from tellapart.recipe import Recipe

if TYPE_CHECKING:
    from tellapart.engine.inputs import TrainData

FOLDER = "sparse"
HEAD, TOKENIZER = "head.safetensors", "tokenizer.json"
TEXTS_A_BLOCK = 256
LARGEST_HEAD = 1 << 31
ENDS = 2


def learns_terms(recipe: Recipe) -> bool:
    """Whether the recipe's strategy learns weights of terms."""
    return "texts" in card_of("strategy", parse_spec(recipe.strategy)[0]).traits


class Cutter:
    """Texts as token numbers of a text encoder, special ones left out: -1 stands for none.

    Args:
        source: the tokenizer of an encoder, as JSON.
    """

    def __init__(self, source: str) -> None:
        from tokenizers import Tokenizer

        self.source = source
        self._tokenizer = Tokenizer.from_str(source)
        self._tokenizer.no_padding()
        special = [at for at, token in self._tokenizer.get_added_tokens_decoder().items() if token.special]
        self._special, self._left_out = np.asarray(sorted(special), np.int64), frozenset(special)

    @staticmethod
    def of(encoder: Any) -> Cutter:
        """That of a text encoder.

        Raises:
            PartError: it gives no vectors of tokens.
        """
        if not hasattr(encoder, "encode_tokens") or not hasattr(encoder, "write_tokenizer"):
            raise PartError("weights of terms need a text encoder that gives a vector for each token: set text=minilm")
        with tempfile.TemporaryDirectory() as folder:
            encoder.write_tokenizer(Path(folder) / TOKENIZER)
            return Cutter((Path(folder) / TOKENIZER).read_text(encoding="utf-8"))

    def documents(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(starts [n + 1], tokens) as `encode_tokens` gives states: the ends left out where there is anything else."""
        found = [np.asarray(one.ids, np.int64) for one in self._tokenizer.encode_batch(list(texts))]
        found = [ids[1:-1] if len(ids) > ENDS else ids for ids in found]
        starts = np.concatenate([[0], np.cumsum([len(ids) for ids in found])]).astype(np.int64)
        tokens = np.concatenate([np.zeros(0, np.int64), *found])
        return starts, np.where(np.isin(tokens, self._special), -1, tokens)

    def query(self, text: str) -> np.ndarray:
        """The different tokens of a text, rising."""
        return np.asarray(self.pieces(text), np.int64)

    def pieces(self, text: str) -> list[int]:
        """The same as numbers: arrays take longer than the few tokens of a query."""
        return sorted({*self._tokenizer.encode(text, add_special_tokens=False).ids} - self._left_out)


def numbered(tokens: np.ndarray, vocabulary: np.ndarray) -> np.ndarray:
    """Places of tokens in a rising vocabulary, -1 where they are not in it."""
    at = np.minimum(np.searchsorted(vocabulary, tokens), max(len(vocabulary) - 1, 0))
    return np.where(vocabulary[at] == tokens, at, -1) if len(vocabulary) else np.full(len(tokens), -1)


def token_vectors(encoder: Any) -> np.ndarray:
    """[tokens, width] the embeddings that a text encoder begins with."""
    weights = encoder.module().state_dict()
    found: np.ndarray = weights["embeddings.word_embeddings.weight"].numpy()
    return found


def states_of(encoder: Any, texts: Sequence[str], progress: Progress | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(starts [n + 1], states [tokens, width] float16) of texts, root mean square 1."""
    pieces: list[np.ndarray] = []
    for start in range(0, len(texts), TEXTS_A_BLOCK):
        found = encoder.encode_tokens(list(texts[start : start + TEXTS_A_BLOCK]))
        pieces += [(z * z.shape[1] ** 0.5).astype(np.float16) for z in found]
        if progress is not None:
            progress(len(pieces), len(texts))
    starts = np.concatenate([[0], np.cumsum([len(p) for p in pieces])]).astype(np.int64)
    return starts, np.concatenate(pieces)


def with_terms(data: TrainData, collection: Collection, recipe: Recipe) -> TrainData:
    """Training data with what `parts/strategy/_terms.py` reads of it.

    Memory: 2 w bytes a token of the documents (768 for minilm).
    """
    sides, encoder = collection.sides(), make("encode", recipe.text)
    cutter = Cutter.of(encoder)
    texts = [text or "" for text in collection.values(sides.document.column)]
    starts, tokens = cutter.documents(texts)
    asked = [cutter.query(text or "") for text in collection.values(sides.query.column)]
    vocabulary = np.unique(np.concatenate([tokens[tokens >= 0], *asked]))
    bounds, states = states_of(encoder, texts)
    if not np.array_equal(bounds, starts):
        raise PartError(f"text={recipe.text} gives other tokens than it has vectors of: this is a bug, report it")
    terms = numbered(tokens, vocabulary)
    query_terms = np.full((len(asked), max(1, *map(len, asked))), -1, np.int64)
    for row, found in enumerate(asked):
        query_terms[row, : len(found)] = numbered(found, vocabulary)
    held = {
        "term_starts": starts, "term_states": states, "terms": terms, "query_terms": query_terms,
        "term_vectors": token_vectors(encoder)[vocabulary].astype(np.float32),
        "idf": rarity(counted(starts, terms, len(vocabulary)), len(vocabulary)),
    }  # fmt: skip
    return replace(data, extra={**data.extra, **held})


class SparseSearch:
    """Documents as weights of terms in an inverted index, with the tables that turn texts into such weights.

    Args:
        cutter: cuts texts into tokens.
        vocabulary: [v] rising token numbers, those that count.
        idf: [v] weight of each in a query.
        vectors, map_, bias: [v, w], [2 w, w] and a number: how tokens' states weigh terms.
        text: the spec of the encoder that gives the states; it is made when a document is added.
    """

    def __init__(
        self, cutter: Cutter, vocabulary: np.ndarray, idf: np.ndarray, vectors: np.ndarray, map_: np.ndarray,
        bias: float, text: str,
    ) -> None:  # fmt: skip
        self.cutter, self.vocabulary, self.idf, self.text = cutter, vocabulary, idf, text
        self.vectors, self.map, self.bias = vectors, map_, bias
        self.index = Inverted(len(vocabulary))
        self._encoder: Any = None
        self._lock = threading.Lock()

    def emptied(self) -> SparseSearch:
        """The same tables over no documents."""
        made = SparseSearch(self.cutter, self.vocabulary, self.idf, self.vectors, self.map, self.bias, self.text)
        made._encoder = self._encoder
        return made

    def encode_queries(self, texts: Sequence[str]) -> Weighted:
        """The terms of each query with their idf; what no document holds counts for nothing and is left out."""
        place = self._place
        rows = [[place[token] for token in self.cutter.pieces(text) if token in place] for text in texts]
        starts = np.asarray([0, *itertools.accumulate(map(len, rows))], np.int64)
        terms = np.asarray([term for row in rows for term in row], np.int32)
        return Weighted(starts, terms, self.idf[terms])

    @cached_property
    def _place(self) -> dict[int, int]:
        return {token: at for at, token in enumerate(self.vocabulary.tolist())}

    def encode_documents(self, texts: Sequence[str]) -> Weighted:
        """The weights of documents, through the text encoder."""
        with self._lock:
            self._encoder = self._encoder or make("encode", self.text)
        pieces = []
        for start in range(0, len(texts), TEXTS_A_BLOCK):
            piece = texts[start : start + TEXTS_A_BLOCK]
            bounds, states = states_of(self._encoder, piece)
            terms = numbered(self.cutter.documents(piece)[1], self.vocabulary)
            spans = (beside_own(states[a:b], terms[a:b], self.vectors) for a, b in itertools.pairwise(bounds))
            pieces += [Weighted.of(weighed(span, self.map, self.vectors, self.bias)[None]) for span in spans]
        return Weighted.joined(pieces)

    def add(self, ids: Sequence[str] | np.ndarray, texts: Sequence[str], progress: Progress | None = None) -> None:
        """Take in documents; one whose id is there already replaces it. Terms new to the collection do not count."""
        done = 0
        for start in range(0, len(texts), TEXTS_A_BLOCK):
            piece = slice(start, start + TEXTS_A_BLOCK)
            self.index.add(ids[piece], self.encode_documents(texts[piece]))
            done += len(texts[piece])
            if progress is not None:
                progress(done, len(texts))

    def delete(self, ids: Iterable[str]) -> None:
        """Take documents out; an unknown id raises `DataError`."""
        self.index.delete(ids)

    def search(self, words: str, k: int, *, filter: Filter | None = None) -> Hits:
        """The k best documents, [1, at most k]; see `Inverted.search`. No model runs."""
        return self.index.search(self.encode_queries([words]), k, filter=filter)

    def save(self, folder: str | Path) -> Path:
        """Write the next version into a folder; killed at any point, the one before stands."""
        from safetensors.numpy import save_file

        def write(into: Path) -> None:
            arrays: dict[str, np.ndarray] = {
                "vocabulary": self.vocabulary.astype(np.int64), "idf": self.idf.astype(np.float32),
                "vectors": self.vectors.astype(np.float32), "map": self.map.astype(np.float32),
                "bias": np.asarray([self.bias], np.float32),
            }  # fmt: skip
            save_file(arrays, into / HEAD)
            (into / TOKENIZER).write_text(self.cutter.source, encoding="utf-8")
            self.index.write(into)

        return write_version(folder, write, {"part": "SparseSearch", "text": self.text, "items": len(self.index)})

    @staticmethod
    def open(folder: str | Path) -> SparseSearch:
        """What was saved.

        Raises:
            DataError: nothing there, or damaged files.
        """
        return read_version(folder, _opened)


def _opened(version: Path, facts: dict[str, Any]) -> SparseSearch:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if facts["part"] != "SparseSearch":
        raise DataError(f"{version.parent} holds an index of {facts['part']}, not of weights of terms")
    if (version / HEAD).stat().st_size > LARGEST_HEAD:
        raise ValueError(f"{HEAD} is too large to be what its name says")
    try:
        held = load_file(version / HEAD)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    count, width = held["vectors"].shape
    if held["vocabulary"].shape != (count,) or held["idf"].shape != (count,) or held["map"].shape != (2 * width, width):
        raise ValueError("the tables of terms do not fit each other")
    try:
        cutter = Cutter((version / TOKENIZER).read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ValueError(f"{TOKENIZER}: {error}") from None
    made = SparseSearch(
        cutter, held["vocabulary"], held["idf"], held["vectors"], held["map"], float(held["bias"][0]), facts["text"]
    )
    made.index = Inverted.read(version)
    if made.index.width != count:
        raise ValueError("the index has other terms than the tables")
    return made
