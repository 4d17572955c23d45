"""What comes after the index: a chain of rank parts, fitted once, kept in a folder, applied to the nearest by cosine.

What is measured is what is served: both take the `POOL` nearest by cosine and let the same chain order them. The pool
is the same for every number of results, so that ten results are the first ten of fifty.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tellapart.core.banks import Vectors
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.files import write_atomically
from tellapart.core.hits import Hits
from tellapart.core.parts import Card, chain_cards, make_chain, split_chain
from tellapart.core.scoring import Scoring
from tellapart.core.version import VERSION
from tellapart.engine.scorers import Reading, asks
from tellapart.engine.token_sets import FOLDER as SETS
from tellapart.engine.token_sets import TokenSets, asks_tokens

FOLDER = "rank"
FILE = "rank.json"
POOL = 500
MOST_BANK = 5000
MOST_PAIRS = 4_000_000
NUMBERS_A_BLOCK = 16_000_000
LARGEST_FILE = 1_000_000
LARGEST_STATE = 1 << 31
Encode = Callable[[str, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Bank:
    """What rank parts are fitted on.

    Attributes:
        queries, documents: [b, d] unit vectors of the two sides of the same items.
        ids: [b] of str, of both.
        pairs: [p, 2] rows (query, document) that belong together.
        reading: where the items themselves are, for parts of trait `scorer`.
    """

    queries: np.ndarray
    documents: np.ndarray
    ids: np.ndarray
    pairs: np.ndarray
    reading: Reading | None = None

    @staticmethod
    def of(collection: Collection, rows: np.ndarray, encode: Encode, asking: str, asked: str) -> Bank:
        """The items at these rows, at most `MOST_BANK` of them spread evenly, fewer where labels make too many pairs.

        An item's two sides are a pair, or all of equal target are; in a single column an item is no pair of itself.

        Args:
            encode: (side, rows of the collection) -> [n, d] unit vectors.
            asking, asked: the side of the queries and that of the documents.
        """
        sides = collection.sides()
        rows = rows[np.linspace(0, len(rows) - 1, min(MOST_BANK, len(rows))).astype(np.int64)]
        pairs = np.repeat(np.arange(len(rows))[:, None], 2, axis=1)
        if sides.target:
            codes = collection.codes(sides.target)[0]
            pairs = _equal(codes[rows], itself=not sides.same_space)
            while len(pairs) > MOST_PAIRS:
                rows = rows[::2]
                pairs = _equal(codes[rows], itself=not sides.same_space)
        reading = Reading.of(collection, rows, asking, asked)
        return Bank(encode(asking, rows), encode(asked, rows), collection.ids[rows].astype(str), pairs, reading)


def _equal(codes: np.ndarray, *, itself: bool) -> np.ndarray:
    same = (codes[:, None] == codes) & (codes >= 0)
    if not itself:
        np.fill_diagonal(same, False)
    return np.argwhere(same)


def learns_from_pairs(spec: str) -> bool:
    """Whether a part of the chain has the trait `pairs`, and so wants pairs that training did not see."""
    return any("pairs" in card.traits for card in chain_cards("rank", spec))


class Chain:
    """Rank parts in a row.

    Every part is given cosines, for which all are made: a part of trait `monotone` decides by them which hits stay, one
    that reorders gives the score. So the scores are those of the part that reorders, or of the last one where none
    does, and it does not matter in which order they are named.

    Args:
        spec: such as `cosine-adapter|dbnorm(query_temperature=0.05)`.
    """

    def __init__(self, spec: str) -> None:
        self.spec = "|".join(split_chain(spec))
        self.parts = make_chain("rank", spec)
        self.cards: tuple[Card, ...] = chain_cards("rank", spec)
        check_chain(self.cards)
        self.dim = 0
        self.searched: Reading | None = None

    def __repr__(self) -> str:
        return f"Chain({self.spec!r})"

    @property
    def cuts(self) -> bool:
        """Whether it may leave hits out, all of them included."""
        return any("cutoff" in card.traits for card in self.cards)

    @property
    def asks(self) -> bool:
        """Whether a part reads the items themselves, so that `rank` needs them."""
        return asks(self.cards)

    def fit(
        self, bank: Bank, unseen: Bank | None = None, *, searched: tuple[np.ndarray, Reading] | None = None
    ) -> Chain:
        """Fit all parts.

        Args:
            bank: of items that are searched; the encoders may have been trained on them.
            unseen: of items that they were not trained on, for parts of trait `pairs`: pairs that were trained on lie
                too near. None: the same bank.
            searched: ids of all that will be searched and where their items are, for parts of trait `everything`. None:
                what the bank holds.

        Raises:
            DataError: what a part cannot be fitted on.
        """
        for part, card in zip(self.parts, self.cards, strict=True):
            own = unseen if unseen is not None and "pairs" in card.traits else bank
            given: dict[str, Any] = {
                "documents": own.documents,
                "query_ids": own.ids,
                "ids": own.ids,
                "pairs": own.pairs,
            }
            reading = own.reading
            if "everything" in card.traits and searched is not None:
                given |= {"documents": None, "ids": searched[0], "pairs": None}
                reading = replace(searched[1], query=own.reading.query) if own.reading else None
            if "scorer" in card.traits:
                given["scoring"] = _scoring(part, reading)
            part.fit(own.queries, **given)
        self.dim = bank.queries.shape[1]
        self.searched = searched[1] if searched is not None else None
        return self

    def rank(self, queries: np.ndarray, hits: Hits, vectors: Vectors, *, reading: Reading | None = None) -> Hits:
        """The hits in their new order, less those that are cut off.

        Args:
            queries: [n, d] unit vectors.
            hits: [n, k] with cosines as scores.
            vectors: from ids [u] to their unit vectors [u, d].
            reading: where the items themselves are; a part that asks a scorer refuses without.
        """
        left, shown, moved = hits, hits, False
        for part, card in zip(self.parts, self.cards, strict=True):
            more = {"scoring": _scoring(part, reading, queries, vectors)} if "scorer" in card.traits else {}
            found = part.rank(queries, left, vectors, **more)
            monotone = "monotone" in card.traits
            shown = _only(shown, found) if moved and monotone else found
            moved = moved or not monotone
            left = _only(left, found) if "cutoff" in card.traits else replace(left, calls=found.calls)
        return replace(shown, calls=left.calls)

    def reading(self, collection: Collection, rows: np.ndarray) -> Reading | None:
        """What `rank` needs for the items of a collection at these rows as queries, after `fit` was told `searched`;
        an item of a single column does not find itself. None where no part asks."""
        if not self.asks or self.searched is None:
            return None
        searched = self.searched
        found = replace(
            Reading.of(collection, rows, "query", "document"), document=searched.document, sets=searched.sets
        )
        if not collection.sides().same_space:
            return found
        itself = collection.ids[rows].astype(str)
        return found.only(lambda row, ids: ids != itself[row])

    def search(
        self,
        queries: np.ndarray,
        documents: np.ndarray,
        ids: np.ndarray,
        *,
        own: np.ndarray | None = None,
        reading: Reading | None = None,
    ) -> Hits:
        """The hits of an exact search of the pool, ranked: what an index and this chain find together.

        Args:
            queries: [n, d] and `documents`: [m, d] unit vectors.
            ids: [m] of str.
            own: [n] the document that each query is itself, which it does not find; None: queries are no documents.
            reading: see `rank`.
        """
        if reading is not None and own is not None:
            itself = ids[own]
            reading = reading.only(lambda row, among: among != itself[row])
        order = np.argsort(ids, kind="stable")
        names, keys = ids[order], documents[order]
        place = np.argsort(order)

        def vectors(wanted: np.ndarray) -> np.ndarray:
            found: np.ndarray = keys[np.searchsorted(names, wanted)]
            return found

        ranked = []
        size = max(1, NUMBERS_A_BLOCK // max(len(keys), 1))
        for start in range(0, len(queries), size):
            block = slice(start, start + size)
            scores = queries[block] @ keys.T
            if own is not None:
                scores[np.arange(len(scores)), place[own[block]]] = -np.inf
            best = np.argsort(-scores, axis=1, kind="stable")[:, :POOL]
            scores = np.take_along_axis(scores, best, 1)
            hits = Hits(np.where(np.isneginf(scores), "", names[best]), scores)
            looked = reading.after(start) if reading is not None else None
            ranked.append(self.rank(queries[block], hits, vectors, reading=looked))
        return Hits(
            np.concatenate([h.ids for h in ranked]),
            np.concatenate([h.scores for h in ranked]),
            sum(h.calls for h in ranked),
        )

    def save(self, folder: str | Path, *, model: str | Path | None = None) -> Path:
        """Write what was learnt: numbers and names in `rank.json`, arrays in a safetensors file beside it.

        The file is named by its content and `rank.json` comes last, so a killed write leaves the old chain or the new.

        Args:
            model: the folder of the model whose vectors it was fitted on.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, np.ndarray] = {}
        parts = [
            _SavedPart(part=spec, state=_state(part, f"{at}.", arrays))
            for at, (spec, part) in enumerate(zip(split_chain(self.spec), self.parts, strict=True))
        ]
        content = save(arrays)
        digest = hashlib.sha256(content).hexdigest()
        name = f"state-{digest[:16]}.safetensors"
        write_atomically(folder / name, content)
        saved = _Saved(
            format=1, tellapart=VERSION, model=model_hash(model), dim=self.dim, parts=parts, file=name,
            size=len(content), sha256=digest,
        )  # fmt: skip
        write_atomically(folder / FILE, saved.model_dump_json(indent=2).encode())
        for old in folder.glob("state-*.safetensors"):
            if old.name != name:
                old.unlink(missing_ok=True)
        return folder

    @staticmethod
    def load(folder: str | Path, *, model: str | Path | None = None) -> Chain:
        """Read a saved chain, ready to rank.

        Raises:
            DataError: a file that is missing, damaged or too large, or another model than it was fitted with.
            PartError: a part that is not installed here.
        """
        folder = Path(folder)
        again = f"Make the run again, or delete {folder} to search by cosine alone"
        saved = _read(folder, again)
        if saved.model != model_hash(model):
            raise DataError(f"{folder} was fitted with another model than the one beside it. {again}")
        arrays = _arrays(folder, saved, again)
        chain = Chain("|".join(part.part for part in saved.parts))
        for part, kept in zip(chain.parts, saved.parts, strict=True):
            for name, value in kept.state.items():
                if isinstance(value, _SavedArray):
                    if value.tensor not in arrays:
                        raise DataError(f"{folder} lacks {value.tensor}: it is damaged. {again}")
                    setattr(part, name, _words(arrays[value.tensor]) if value.words else arrays[value.tensor])
                else:
                    setattr(part, name, value)
        chain.dim = saved.dim
        try:
            chain._probe()
        except Exception as error:
            raise DataError(f"{folder} is damaged: {error}. {again}") from None
        return chain

    def _probe(self) -> None:
        """Rank one hit, so that arrays which do not fit are found when they are read and not when they are needed."""
        z, hits = np.eye(1, self.dim, dtype=np.float32), Hits(np.asarray([["probe"]]), np.ones((1, 1), np.float32))
        for part, card in zip(self.parts, self.cards, strict=True):
            if "reads" in card.traits:
                continue  # it would load what it reads with
            scoring = Scoring(str, str, lambda queries, documents: np.zeros(len(queries)))
            part.rank(z, hits, lambda ids: z, **({"scoring": scoring} if "scorer" in card.traits else {}))


def check_chain(cards: Sequence[Card]) -> None:
    """Refuse a chain of a part that cuts hits off and one that brings in others, which the first never saw."""
    cuts, brings = ([card.name for card in cards if trait in card.traits] for trait in ("cutoff", "everything"))
    if cuts and brings:
        raise PartError(
            f"rank: {brings[0]} brings in items that {cuts[0]} has not judged: name one of them, or rerank instead of "
            f"{brings[0]}"
        )


def _scoring(
    part: Any, reading: Reading | None, queries: np.ndarray | None = None, vectors: Vectors | None = None
) -> Scoring | None:
    """What a part of trait `scorer` is handed: its own scorer where it names one."""
    return reading.scoring(getattr(part, "scorer", None), queries, vectors) if reading is not None else None


def drop(folder: str | Path) -> None:
    """Take a saved chain away, its description first; no folder is nothing to do."""
    folder = Path(folder)
    for file in (folder / FILE, *folder.glob("state-*.safetensors")):
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def open_chain(run: str | Path) -> Chain | None:
    """The chain of a run folder; None where the run has none."""
    folder = Path(run) / FOLDER
    return Chain.load(folder, model=Path(run) / "model") if folder.is_dir() else None


def open_sets(run: str | Path, rank: str) -> TokenSets | None:
    """The token sets of a run folder, where a part of its chain asks for them; None where none does."""
    return TokenSets.open(Path(run) / SETS, model=model_hash(Path(run) / "model")) if asks_tokens(rank) else None


def _only(hits: Hits, kept: Hits) -> Hits:
    """Those hits that are also in `kept`, query by query."""
    rows = [np.isin(found, among) for found, among in zip(hits.ids, kept.ids, strict=True)]
    inside = np.asarray(rows, dtype=bool).reshape(hits.ids.shape)
    return Hits.sorted(hits.ids, np.where(inside, hits.scores, -np.inf), calls=kept.calls)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _SavedArray(_Strict):
    tensor: Annotated[str, Field(max_length=256)]
    words: bool


class _SavedPart(_Strict):
    part: Annotated[str, Field(max_length=4096)]
    state: dict[Annotated[str, Field(pattern=r"^[a-z](_?[a-z0-9])*_$")], float | int | _SavedArray]


class _Saved(_Strict):
    format: Literal[1]
    tellapart: Annotated[str, Field(max_length=64)]
    model: Annotated[str, Field(max_length=64)]
    dim: Annotated[int, Field(ge=1, le=1 << 20)]
    parts: Annotated[list[_SavedPart], Field(min_length=1, max_length=64)]
    file: Annotated[str, Field(pattern=r"^state-[0-9a-f]{16}\.safetensors$")]
    size: Annotated[int, Field(ge=8, le=LARGEST_STATE)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _state(part: Any, prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What a part has learnt; its arrays are put among `arrays`, words as the numbers of their characters."""
    state: dict[str, Any] = {}
    for name, value in vars(part).items():
        if not name.endswith("_"):
            continue
        if isinstance(value, np.ndarray):
            words = value.dtype.kind == "U"
            kept = np.ascontiguousarray(value)
            arrays[prefix + name] = kept.view(np.uint32).reshape(*value.shape, -1) if words else kept
            state[name] = _SavedArray(tensor=prefix + name, words=words)
        else:
            state[name] = value
    return state


def _words(characters: np.ndarray) -> np.ndarray:
    """[n] of str from their characters, [n, longest] uint32."""
    made: np.ndarray = np.ascontiguousarray(characters, dtype=np.uint32).view(f"<U{characters.shape[-1]}")[..., 0]
    return made


def _read(folder: Path, again: str) -> _Saved:
    file = folder / FILE
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise DataError(f"{file} is too large to be what its name says, and was not read. {again}")
        return _Saved.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{folder} holds no {FILE}. {again}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise DataError(f"{file} is damaged: {where}: {first['msg'].lower()}. {again}") from None
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file} cannot be read: {error}. {again}") from None


def _arrays(folder: Path, saved: _Saved, again: str) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    file = folder / saved.file
    if not file.is_file() or file.stat().st_size != saved.size:
        raise DataError(f"{file} is missing or has another size than {FILE} says. {again}")
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != saved.sha256:
        raise DataError(f"{file} is not the file that {FILE} names (its hash differs). {again}")
    try:
        return load(content)
    except SafetensorError as error:
        raise DataError(f"{file} cannot be read: {error}. {again}") from None


def model_hash(folder: str | Path | None) -> str:
    """A hash that tells a saved model from another; "" where there is none."""
    file = Path(folder) / "model.json" if folder is not None else None
    if file is None or not file.is_file():
        return ""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
