"""Expensive scorers of (query item, document item), found by spec, for rank parts of trait `scorer`.

`maxsim`: token vectors of the packaged text encoder, without torch (`maxsim:ENCODER` for another, by its spec);
`cross-encoder:FOLDER`: a folder of sentence-transformers, safetensors only; `tokens`: what a strategy has learnt to
read from the tokens of an item, by the query's vector (`engine.token_sets`); and whatever a program hands in by
`offer`. No spec names code.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.banks import Vectors
from tellapart.core.collection import Collection, Side, Sides
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import Card, card_of, cards, make, parse_spec, split_chain
from tellapart.core.scoring import Scorer, Scoring
from tellapart.engine.token_sets import SPEC as TOKENS
from tellapart.engine.token_sets import TokenSets

NUMBERS_KEPT = 1 << 26
BUILT_IN = ("maxsim", "cross-encoder", TOKENS)
_offered: dict[str, Scorer] = {}


def offer(name: str, score: Scorer) -> None:
    """Give this process a scorer of its own: `rank=anncur(scorer='NAME')` then asks it.

    Args:
        name: lower case, digits and hyphens.
        score: `score(queries, documents) -> [n]` numbers of n pairs of items (texts; pictures as PIL images).

    Raises:
        PartError: a name that cannot be one, or that of a scorer there is.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or name in BUILT_IN:
        raise PartError(
            f"{name!r} cannot name a scorer: take lower case letters, digits and hyphens, and no built-in one"
        )
    if not callable(score):
        raise PartError(f"the scorer {name} is no function of (queries, documents)")
    _offered[name] = score


def open_scorer(spec: str) -> Scorer:
    """The scorer of a spec.

    Raises:
        PartError: there is none of that name, or its encoder or folder cannot be used.
    """
    name, _, argument = spec.partition(":")
    if name == "maxsim":
        return _maxsim(argument or "minilm")
    if name == "cross-encoder":
        return _cross_encoder(argument)
    if spec in _offered:
        return _offered[spec]
    raise PartError(
        f"there is no scorer {spec!r}: use maxsim, maxsim:ENCODER, cross-encoder:FOLDER, or a function of your own "
        "that was given by tellapart.engine.scorers.offer in this process"
    )


@functools.lru_cache(maxsize=4)
def _maxsim(encoder: str) -> Maxsim:
    return Maxsim(encoder)


@functools.lru_cache(maxsize=2)
def _cross_encoder(folder: str) -> Scorer:
    from tellapart.engine.crossencoder import CrossEncoder

    if not folder or not Path(folder).is_dir():
        raise PartError(
            f"cross-encoder:{folder} names no folder: save one with CrossEncoder.save_pretrained, and name it"
        )
    return CrossEncoder(folder)


def check_scorers(rank: str, sides: Sides, asking: str = "query", asked: str = "document") -> None:
    """Refuse a chain of rank parts that ask a scorer there is not, or one that cannot read these items.

    Raises:
        PartError: with what to use.
    """
    for piece in split_chain(rank):
        card = card_of("rank", parse_spec(piece)[0])
        if "scorer" in card.traits:
            spec = "" if "reads" in card.traits else make("rank", piece).scorer
            if spec == TOKENS:
                if "everything" in card.traits:
                    raise PartError(f"{card.name} cannot look at the tokens of all items: rank=rerank(scorer='tokens')")
                continue
            kinds = [_side(sides, name).modality for name in (asking, asked)]
            _check_reads(card.name, spec, *kinds)


def _check_reads(name: str, spec: str, query: str, document: str) -> None:
    if spec:
        open_scorer(spec)
    if spec not in _offered and (query, document) != ("text", "text"):
        what = f"scorer {spec}" if spec else name
        raise PartError(
            f"{what} reads pairs of texts, and here {query}s are asked for {document}s: give a scorer of your own "
            "by tellapart.engine.scorers.offer, or leave the rank part out"
        )


def _side(sides: Sides, name: str) -> Side:
    return sides.query if name == "query" else sides.document


class Maxsim:
    """Token vectors of both texts: the mean over the query's tokens of the best cosine with a token of the document.

    A text is encoded once, as long as those last seen have less than 2^26 numbers together. numpy and ONNX Runtime.

    Args:
        encoder: spec of an `encode` part of trait `tokens`.
    """

    def __init__(self, encoder: str) -> None:
        card = card_of("encode", parse_spec(encoder)[0])
        if "tokens" not in card.traits:
            able = ", ".join(sorted(c.name for c in cards("encode").values() if "tokens" in c.traits))
            raise PartError(f"maxsim needs a vector for each token, which {card.name} does not give: use {able}")
        self.encoder = make("encode", encoder)
        self._tokens: dict[str, np.ndarray] = {}
        self._numbers, self._looking = 0, threading.Lock()

    def __call__(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        """[n] float32 scores of n pairs of texts."""
        for text in (*queries[:1], *documents[:1]):
            if not isinstance(text, str):
                raise DataError(f"maxsim reads texts, and was given a {type(text).__name__}")
        asked, query = np.unique(np.asarray(queries, object), return_inverse=True)
        held, document = np.unique(np.asarray(documents, object), return_inverse=True)
        tokens = self._encoded([*asked.tolist(), *held.tolist()])
        q, k = tokens[: len(asked)], tokens[len(asked) :]
        out = np.empty(len(queries), np.float32)
        order = np.argsort(query, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(query[order])) + 1):
            mine, place = np.unique(document[rows], return_inverse=True)
            ends = np.cumsum([len(k[d]) for d in mine])
            every = q[query[rows[0]]] @ np.concatenate([k[d] for d in mine]).T
            best = np.maximum.reduceat(every, np.concatenate([[0], ends[:-1]]), axis=1)
            out[rows] = best.mean(0)[place]
        return out

    def _encoded(self, texts: list[str]) -> list[np.ndarray]:
        with self._looking:
            known = self._tokens
            missing = [text for text in dict.fromkeys(texts) if text not in known]
            if missing:
                found = dict(zip(missing, self.encoder.encode_tokens(missing), strict=True))
                self._numbers += sum(rows.size for rows in found.values())
                if self._numbers > NUMBERS_KEPT:
                    known = {text: known[text] for text in set(texts) if text in known}
                    self._numbers = sum(rows.size for rows in (*found.values(), *known.values()))
                self._tokens = known = known | found
        return [known[text] for text in texts]


@dataclass(frozen=True)
class Reading:
    """Where a chain finds the items that its scorers read.

    Attributes:
        query: from the row of a query to its item.
        document: from an id to its item.
        there: which items a query may find, see `Scoring`.
        sets: the tokens of the items, for the scorer `tokens`.
        asker: from the row of a query to its id, where it is an item that has tokens and texts are asked for.
    """

    query: Callable[[int], Any]
    document: Callable[[str], Any]
    there: Callable[[int, np.ndarray], np.ndarray] | None = None
    sets: TokenSets | None = None
    asker: Callable[[int], str] | None = None

    @staticmethod
    def of(
        collection: Collection,
        rows: np.ndarray,
        asking: str,
        asked: str,
        documents: Collection | None = None,
        sets: TokenSets | None = None,
    ) -> Reading:
        """Queries are the items of a collection at these rows; documents all of it, or of another collection.

        Args:
            asking, asked: the side of the queries and that of the documents.
            sets: the tokens of the items of the document side.
        """
        from tellapart.engine.embed import items_of

        sides, held = collection.sides(), collection if documents is None else documents
        query, document = _side(sides, asking), _side(sides, asked)
        questions = items_of(collection, query.column, query.modality)
        answers, row_of = items_of(held, document.column, document.modality), held.row_of
        found = Reading(lambda row: questions.at(int(rows[row])), lambda id_: answers.at(row_of[id_]), sets=sets)
        turned = asking == "document" and not sides.same_space
        return replace(found, asker=lambda row: str(collection.ids[rows[row]])) if turned else found

    def only(self, there: Callable[[int, np.ndarray], np.ndarray]) -> Reading:
        """The same items, of which a query may find some alone."""
        return replace(self, there=there)

    def after(self, start: int) -> Reading:
        """The queries from one on."""
        there, asker = self.there, self.asker
        return replace(
            self,
            query=lambda row: self.query(start + row),
            there=None if there is None else lambda row, ids: there(start + row, ids),
            asker=None if asker is None else lambda row: asker(start + row),
        )

    def scoring(self, spec: str | None, queries: np.ndarray | None = None, vectors: Vectors | None = None) -> Scoring:
        """What a part is handed, with the scorer of its spec.

        Args:
            queries, vectors: those of `rank`, which the scorer `tokens` reads; None where nothing is ranked.
        """
        if spec != TOKENS:
            return Scoring(self.query, self.document, open_scorer(spec) if spec else None, self.there)
        if queries is None or vectors is None:
            return Scoring(self.query, self.document, None, self.there)
        sets, asker = self.sets, self.asker
        if sets is None:
            raise PartError(
                "scorer='tokens' scores items by their tokens, and there are none: train with strategy=tefal or "
                "strategy=glscl, and search that run"
            )

        def vector(id_: str) -> np.ndarray:
            found: np.ndarray = vectors(np.array([id_]))[0]
            return found

        if asker is None:
            return Scoring(queries.__getitem__, lambda id_: sets.tokens(id_, vector(id_)), sets.score, self.there)
        return Scoring(
            lambda row: sets.tokens(asker(row), queries[row]),
            vector,
            lambda items, texts: sets.score(texts, items),
            self.there,
        )


def asks(chain_cards: Sequence[Card]) -> bool:
    """Whether a part of a chain reads items."""
    return any("scorer" in card.traits for card in chain_cards)
