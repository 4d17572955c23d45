"""What the page, the HTTP API and `tellapart search` ask of a run folder; it knows nothing of HTTP."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection, Sides
from tellapart.core.errors import DataError
from tellapart.core.files import write_atomically
from tellapart.core.hits import Hits
from tellapart.data.marks import FILE as MARKS
from tellapart.data.marks import Mark, Said, add_mark, read_marks
from tellapart.engine.borderline import FILE as BORDERLINE
from tellapart.engine.reorder import POOL, open_chain
from tellapart.server import confusions, filters
from tellapart.server.limits import (
    CONFUSION_QUERIES,
    CONFUSIONS,
    ID_CHARACTERS,
    PIXELS,
    TEXT_CHARACTERS,
    NoSuchItemError,
    check_examples,
    check_k,
    check_query,
    check_upload,
)
from tellapart.server.pictures import Pictures

CALIBRATION_FILE = "calibration.json"
CONFUSIONS_FILE = "confusions.json"
UNLIKE_WEIGHT = 1.0
KINDS = {"text": "words", "image": "a picture", "series": "a window of a recording"}
TITLES = ("title", "caption", "name", "label", "concept")
ENCODED_AT_ONCE = 256


@dataclass(frozen=True)
class Result:
    """One item that was found.

    Attributes:
        score: similarity to the query, or what the chain of rank parts makes of it (`Results.ranked`); None where
            nothing was asked for but a filter.
        probability: that it matches, where the model is calibrated for such a query.
        passes: whether the score reaches the threshold of the calibration; True where there is none.
    """

    id: str
    score: float | None = None
    probability: float | None = None
    passes: bool = True


@dataclass(frozen=True)
class Results:
    """What a search gives back.

    Attributes:
        results: best first.
        closest: what came nearest when nothing passed the threshold; `results` is empty then.
        nothing_here: whether the calibrated model says that the collection holds no match.
        searched: how many items were searched after the filters.
        notes: what the user should know, in words.
        ranked: the chain of rank parts that the scores come from; "" where they are similarities.
    """

    results: Sequence[Result]
    closest: Sequence[Result] = ()
    nothing_here: bool = False
    searched: int = 0
    notes: Sequence[str] = ()
    ranked: str = ""


@dataclass(frozen=True)
class Item:
    """One item as it is shown.

    Attributes:
        modality: what it is found by: `image`, `text` or `series`.
        caption: a line that names it.
        text: what stands in it, for a text item; "" for any other.
        picture: whether it has a picture, or curves that are shown as one.
        columns: what else is known of it.
    """

    id: str
    modality: str
    caption: str
    text: str
    picture: bool
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class Confused:
    """The pairs a model cannot tell apart.

    Attributes:
        pairs: the widest gap first.
        total: how many pairs there are in all.
        confused: how many queries have a wrong document at least as near as the right one.
        asked: how many queries were asked.
        of: how many items could have been asked.
    """

    pairs: Sequence[confusions.Confusion]
    total: int
    confused: int
    asked: int
    of: int


@dataclass
class Progress:
    """How far a long computation is: a share, and whether it runs."""

    share: float = 0.0
    running: bool = field(default=False)


class Service:
    """A run folder opened for searching.

    Args:
        folder: what `tellapart run` wrote: `collection/`, `model/`, `index/`, `rank/` where its recipe has a chain of
            rank parts, and `corpus/` where what is searched is kept apart from the pairs.
        model, index: in place of those in the folder.

    Raises:
        DataError: the folder is none, lacks a piece, or holds a damaged one.
    """

    def __init__(self, folder: str | Path, *, model: Any = None, index: Any = None) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(
                f"there is no run folder {self.folder}; make one with: tellapart run PATH --out {self.folder}"
            )
        whole = self.folder / "corpus"
        self.collection = Collection.open(whole if whole.is_dir() else self.folder / "collection")
        self.model = model if model is not None else _load_model(self.folder / "model")
        self.index = index if index is not None else _load_index(self.folder / "index")
        self.chain = open_chain(self.folder)
        self.progress = Progress()
        self._computing = threading.Lock()
        self._marking = threading.Lock()
        self._reading = threading.Lock()
        self._confused: Confused | None = None

    @property
    def sides(self) -> Sides:
        """What is searched with and what is searched."""
        return self.model.sides

    @cached_property
    def version(self) -> str:
        """Changes whenever a file of the collection, the model, the index or the chain does."""
        digest = hashlib.sha256()
        for part in ("collection", "corpus", "model", "index", "rank"):
            for file in sorted((self.folder / part).rglob("*")):
                if file.is_file():
                    seen = file.stat()
                    digest.update(f"{file.relative_to(self.folder)} {seen.st_size} {seen.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:12]

    @cached_property
    def about(self) -> dict[str, str]:
        """Name, licence and attribution of the collection, those that it carries."""
        from tellapart.data.provenance import about

        known = about(self.collection)
        return {k: _text(known[k]) for k in ("name", "licence", "attribution") if isinstance(known.get(k), str)}

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """What can be searched with, of `text`, `image` and `series`."""
        sides = {self.sides.query.modality, self.sides.document.modality}
        return tuple(m for m in ("text", "image", "series") if m in sides)

    def search(
        self,
        words: str | None = None,
        image: bytes | None = None,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        where: Mapping[str, Any] | None = None,
        k: int = 24,
    ) -> Results:
        """The k nearest items to everything that was given, taken together.

        Words, a picture and the mean of what is liked are added as vectors of length 1; then that part of the sum
        which points towards the mean of what is unliked is taken away, so that the query stands at a right angle to
        it. The items that are liked and unliked are not shown again. With nothing but filters, or nothing at all, the
        items come spread over the collection in its own order.

        Where the run has a chain of rank parts, it orders the nearest items by cosine anew, and may cut some or all of
        them off, when one text or one picture of the kind that it was fitted on is asked for alone. A note says where
        a search was another.

        Args:
            image: the bytes of a picture file, or of an .npy file with a window of a recording.
            like, unlike: ids of items, compared by their vectors in the index.
            where: conditions on columns, see `filters.mask`.

        Raises:
            DataError: whatever cannot be searched with, in words.
        """
        k = check_k(k)
        words = check_query(words or "")
        like, unlike = check_examples("like", list(like)), check_examples("unlike", list(unlike))
        passing = filters.mask(self.collection, where or {})
        searched = len(self.collection) if passing is None else int(passing.sum())
        if not (words or image or like or unlike):
            return self._browse(passing, searched, k)
        z, notes = self._vector(words, image, like, unlike)
        if searched == 0:
            return Results((), searched=0, notes=(*notes, "No item passes the filters; take one away."))
        if like or unlike or bool(words) == bool(image) or _kind(words, image) != self.sides.query.modality:
            hidden = {*like, *unlike}
            hits = self._nearest(z, min(k + len(hidden), len(self.collection)), passing)[0]
            results = [Result(i, s) for i, s in hits if i not in hidden][:k]
            return Results(results, searched=searched, notes=(*notes, *self._by_cosine))
        return self._asked_alone(z, k, passing, searched, notes)

    def _asked_alone(
        self, z: np.ndarray, k: int, passing: np.ndarray | None, searched: int, notes: tuple[str, ...]
    ) -> Results:
        """The search that the figures of the run are about: through the chain, with probabilities."""
        chain = self.chain
        if chain is None:
            near = self._nearest(z, min(k, len(self.collection)), passing)
            hits = near[0]
        else:
            near = self._nearest(z, min(POOL, len(self.collection)), passing)
            hits = chain.rank(z[None], near, lambda ids: self._stored(ids.tolist()))[0][:k]
            if not hits and near[0]:
                closest = [Result(i, s, None, passes=False) for i, s in near[0][:k]]
                return Results((), closest, nothing_here=True, searched=searched, notes=notes)
        ranked = chain.spec if chain else ""
        cut = chain is not None and chain.cuts
        lowest = -math.inf if cut or self.threshold is None else self.threshold
        results = [Result(i, s, self.probability(s), s >= lowest) for i, s in hits]
        if any(r.passes for r in results) or not results:
            return Results(results, searched=searched, notes=notes, ranked=ranked)
        return Results((), closest=results, nothing_here=True, searched=searched, notes=notes, ranked=ranked)

    @property
    def _by_cosine(self) -> tuple[str, ...]:
        """What is said where the run has a chain that does not apply."""
        if self.chain is None:
            return ()
        one = KINDS[self.sides.query.modality]
        return (f"This order is by similarity alone: {self.chain.spec} ranks only what is asked for by {one} alone.",)

    def _browse(self, passing: np.ndarray | None, searched: int, k: int) -> Results:
        rows = np.arange(len(self.collection)) if passing is None else np.flatnonzero(passing)
        spread = (
            rows[np.unique(np.linspace(0, len(rows) - 1, min(k, len(rows))).astype(np.int64))] if len(rows) else rows
        )
        notes = () if searched else ("No item passes the filters; take one away.",)
        if searched and passing is not None and self.chain is not None:
            notes = (f"Nothing is ranked where only filters are given: {self.chain.spec} needs something to look for.",)
        return Results([Result(self.collection.ids[r]) for r in spread], searched=searched, notes=notes)

    def _vector(
        self, words: str, image: bytes | None, like: list[str], unlike: list[str]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        notes: list[str] = []
        towards = []
        if words:
            self._check_reads("text")
            towards.append(self._words(words, notes))
        if image is not None:
            kind = _kind("", image)
            self._check_reads(kind)
            towards.append(self._encode(kind, self._decode(image, kind)))
        if like:
            towards.append(_unit(self._stored(like).mean(0), "what is liked"))
        away = _unit(self._stored(unlike).mean(0), "what is not liked") if unlike else None
        if not towards:
            assert away is not None
            notes.append("These are the items least like those you marked; add words or something you like.")
            return -away, tuple(notes)
        z = _unit(np.sum(towards, 0), "what is asked for")
        if away is not None:
            z = _unit(
                z - UNLIKE_WEIGHT * max(0.0, float(z @ away)) * away, "what is asked for, less what is not liked,"
            )
        return z, tuple(notes)

    def _check_reads(self, modality: str) -> None:
        if modality not in self.reads:
            raise DataError(f"this model does not read {KINDS[modality]}; search with {KINDS[self.reads[0]]}")

    def _encode(self, modality: str, item: Any) -> np.ndarray:
        encode = self.model.encode_query if modality == self.sides.query.modality else self.model.encode_document
        return _unit(np.asarray(encode([item]), np.float32)[0], "the query")

    def _opened(self, source: bytes | Path, kind: str) -> Any:
        from tellapart.data.images import open_image
        from tellapart.data.series import open_series

        return open_series(source) if kind == "series" else open_image(source, max_pixels=PIXELS)

    def _decode(self, image: bytes, kind: str) -> Any:
        check_upload(len(image))
        try:
            return self._opened(image, kind)
        except DataError as error:
            raise DataError(
                f"the {'window' if kind == 'series' else 'picture'} you gave cannot be used: {error}"
            ) from None

    def _words(self, words: str, notes: list[str]) -> np.ndarray:
        encoder = getattr(self.model, "encoders", {}).get("text")
        with self._reading:
            before = getattr(encoder, "truncated_", 0)
            z = self._encode("text", words)
            if getattr(encoder, "truncated_", 0) > before:
                reads = getattr(encoder, "max_tokens", None)
                notes.append(
                    "The text is longer than the model reads: it was cut"
                    + (f" after {reads} tokens, about {reads * 3 // 4} words." if reads else ".")
                )
        return z

    def _stored(self, ids: Sequence[str]) -> np.ndarray:
        for id_ in ids:
            self._known(id_)
        return np.asarray(self.index.vectors(list(ids)), np.float32)

    def _nearest(self, z: np.ndarray, k: int, passing: np.ndarray | None) -> Hits:
        if passing is None:
            allowed = set(self.collection.row_of) if self._strays else None
        else:
            allowed = set(self.collection.ids[passing].tolist())
        hits: Hits = self.index.search(z[None].astype(np.float32), k, filter=allowed)
        return hits

    @cached_property
    def _strays(self) -> bool:
        """Whether the index holds items that the collection does not: it may be older than the collection beside it."""
        return any(i not in self.collection.row_of for i in self.index.ids)

    def _known(self, id_: str) -> str:
        if len(id_) > ID_CHARACTERS or id_ not in self.collection.row_of:
            raise NoSuchItemError(f"there is no item {id_[:80]!r} in this collection of {len(self.collection)}")
        return id_

    def item(self, id_: str) -> Item:
        """One item as it is shown; an unknown id raises `NoSuchItemError`."""
        row = self.collection.item(self._known(id_))
        document, query = self.sides.document, self.sides.query
        text = _text(row.get(document.column)) if document.modality == "text" else ""
        caption = _text(row.get(query.column)) if query.modality == "text" and query != document else ""
        caption = caption or next((_text(row[c]) for c in TITLES if row.get(c) is not None), "") or id_
        shown = {name: _plain(value) for name, value in row.items() if not isinstance(value, bytes | dict)}
        return Item(id_, document.modality, caption, text, self.pictured(id_), shown)

    def pictured(self, id_: str) -> bool:
        """Whether the item has a picture."""
        column = self._picture_column
        return column is not None and self.collection[column][self.collection.row_of[id_]].is_valid

    @cached_property
    def _picture_column(self) -> str | None:
        side = next((s for s in (self.sides.document, self.sides.query) if s.modality != "text"), None)
        return side.column if side else ("image" if "image" in self.collection.columns else None)

    @cached_property
    def _pictures(self) -> Pictures | None:
        return Pictures(self.collection, self._picture_column) if self._picture_column else None

    def picture(self, id_: str, size: int = 384) -> bytes:
        """A WebP thumbnail of an item of the collection; see `Pictures.thumbnail`."""
        self._known(id_)
        if self._pictures is None:
            raise NoSuchItemError("the items of this collection have no pictures")
        return self._pictures.thumbnail(id_, size)

    def source(self, id_: str) -> bytes | Path | None:
        """What an item's picture is read from; None where it has none or it may not be read."""
        if self._pictures is None or not self.pictured(self._known(id_)):
            return None
        try:
            return self._pictures.source(id_)
        except DataError:
            return None

    @cached_property
    def _columns(self) -> list[filters.Column]:
        return filters.filterable(self.collection)

    def columns(self) -> list[filters.Column]:
        """The columns that can be filtered, with their values or ranges."""
        return self._columns

    @cached_property
    def _calibration(self) -> tuple[Any, float] | None:
        from tellapart.engine.calibrate import Calibration

        file = self.folder / "model" / CALIBRATION_FILE
        if not file.is_file():
            return None
        try:
            read = json.loads(file.read_text(encoding="utf-8"))
            threshold = float(read["threshold"]["value"])
            if not math.isfinite(threshold):
                raise ValueError("the threshold is not finite")
            if read.get("rank", "") != (self.chain.spec if self.chain else ""):
                return None
            return Calibration.from_dict(read["calibration"]), threshold
        except (OSError, ValueError, KeyError, TypeError):
            raise DataError(f"{file} is damaged; fit the model again") from None

    @property
    def threshold(self) -> float | None:
        """The score from which on there is a match; None where there is no calibration of such scores."""
        return self._calibration[1] if self._calibration else None

    def probability(self, score: float) -> float | None:
        """The probability that a document of this score matches; None where there is no calibration of such scores."""
        return float(self._calibration[0].probability(np.asarray(score))) if self._calibration else None

    def confusions(self, k: int = 50) -> Confused:
        """The pairs the model cannot tell apart, the widest gap first.

        Of a collection of more than 20,000 items that many are asked, those held out for testing first. The outcome
        is kept in the run folder and computed anew when collection, model or index change.
        """
        if not 1 <= k <= CONFUSIONS:
            raise DataError(f"k={k}: between 1 and {CONFUSIONS} pairs can be asked for")
        with self._computing:
            found = self._kept_confusions()
            if found is None:
                found = self._find_confusions()
                self._keep_confusions(found)
        self._confused = found
        return replace(found, pairs=found.pairs[:k])

    def borderline(self) -> list[confusions.Confusion]:
        """The pairs that the miner was least sure of, if `tellapart mine --explain` wrote some of this collection."""
        try:
            kept = json.loads((self.folder / BORDERLINE).read_text(encoding="utf-8"))
            found = [confusions.Confusion(**pair) for pair in kept["pairs"][:CONFUSIONS]]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        row_of = self.collection.row_of
        return [pair for pair in found if {pair.query, pair.right, pair.wrong} <= row_of.keys()]

    @cached_property
    def marks(self) -> dict[frozenset[str], Said]:
        """What was said of pairs of items, by their ids."""
        return {frozenset((m.a, m.b)): m.said for m in read_marks(self.folder / MARKS, missing_ok=True)}

    def mark(self, a: str, b: str, said: Said) -> int:
        """Keep in the run folder that two items are the same or different, for the next run; how many pairs are marked.

        Raises:
            NoSuchItemError: the collection does not hold one of them.
            DataError: they are one item, or the folder cannot be written.
        """
        for id_ in (a, b):
            if id_ not in self.collection.row_of:
                raise NoSuchItemError(f"there is no item {id_!r}")
        with self._marking:
            kept = add_mark(self.folder / MARKS, Mark(a, b, said))
            self.marks = {frozenset((m.a, m.b)): m.said for m in kept}
        return len(kept)

    @property
    def confusions_ready(self) -> bool:
        """Whether `confusions` answers at once."""
        return self._kept_confusions() is not None

    def _kept_confusions(self) -> Confused | None:
        if self._confused is None:
            try:
                kept = json.loads((self.folder / CONFUSIONS_FILE).read_text(encoding="utf-8"))
                if kept["version"] == self.version:
                    pairs = [confusions.Confusion(**p) for p in kept["pairs"]]
                    counts = {name: int(kept[name]) for name in ("total", "confused", "asked", "of")}
                    self._confused = Confused(pairs, **counts)
            except (OSError, ValueError, KeyError, TypeError):
                return None
        return self._confused

    def _keep_confusions(self, found: Confused) -> None:
        kept = {"version": self.version, **asdict(found)}
        # a folder that cannot be written only means that it is computed again next time
        with contextlib.suppress(OSError):
            write_atomically(self.folder / CONFUSIONS_FILE, json.dumps(kept).encode())

    def _find_confusions(self) -> Confused:
        ids = self.collection.ids
        rows = self._asked()
        self.progress = Progress(0.0, running=True)
        try:
            pairs, confused = confusions.find(
                ids, rows, confusions.Belonging.of(self.collection, self.sides), self._query_vectors,
                lambda r: self._stored(ids[r].tolist()), self._indexed(), progress=self._at,
            )  # fmt: skip
        finally:
            self.progress = Progress()
        return Confused(pairs[:CONFUSIONS], len(pairs), confused, len(rows), len(ids))

    def _at(self, share: float) -> None:
        self.progress.share = share

    def _indexed(self) -> np.ndarray:
        rows = [self.collection.row_of[i] for i in self.index.ids if i in self.collection.row_of]
        return np.sort(np.asarray(rows, np.int64))

    def _asked(self) -> np.ndarray:
        rows = self._indexed()
        rows = rows[self.collection[self.sides.query.column].is_valid().to_numpy(zero_copy_only=False)[rows]]
        if len(rows) <= CONFUSION_QUERIES:
            return rows
        order = np.random.default_rng(0).permutation(len(rows))
        if "split" in self.collection.columns:
            held_out = np.asarray([v == "test" for v in self.collection.values("split")])[rows]
            order = order[np.argsort(~held_out[order], kind="stable")]
        return np.sort(rows[order[:CONFUSION_QUERIES]])

    def _query_vectors(self, rows: np.ndarray) -> np.ndarray:
        if self.sides.same_space:
            return self._stored(self.collection.ids[rows].tolist())
        return np.concatenate(
            [self._asked_vectors(rows[i : i + ENCODED_AT_ONCE]) for i in range(0, len(rows), ENCODED_AT_ONCE)]
        )

    def _asked_vectors(self, rows: np.ndarray) -> np.ndarray:
        kind = self.sides.query.modality
        if kind == "text":
            items: list[Any] = self.collection.take(rows).values(self.sides.query.column)
        else:
            pictures = Pictures(self.collection, self.sides.query.column)
            items = [self._opened(pictures.source(id_), kind) for id_ in self.collection.ids[rows]]
        return np.asarray(self.model.encode_query(items), np.float32)


def _kind(words: str, file: bytes | None) -> str:
    """The modality of what was given: words, or else a file, which says itself whether it is a picture."""
    return "text" if words else "series" if (file or b"").startswith(b"\x93NUMPY") else "image"


def _unit(z: np.ndarray, what: str) -> np.ndarray:
    length = float(np.linalg.norm(z))
    if not math.isfinite(length) or length < 1e-4:
        raise DataError(f"{what} leaves no direction to search in: likes and dislikes cancel out; remove one")
    return (z / length).astype(np.float32)


def _text(value: Any) -> str:
    return "" if value is None else str(value)[:TEXT_CHARACTERS]


def _plain(value: Any) -> Any:
    """A value as JSON takes it, cut to what a page shows."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_plain(v) for v in value[:50]]
    return _text(value)


def _load_model(folder: Path) -> Any:
    from tellapart.engine.model import Model

    return Model.load(folder)


def _load_index(folder: Path) -> Any:
    from tellapart.engine.indexing import open_index

    return open_index(folder)
