"""What the page, the HTTP API and `tellapart search` ask of a run folder; it knows nothing of HTTP."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection, Sides
from tellapart.core.errors import DataError
from tellapart.engine.fusion import fused
from tellapart.engine.reorder import POOL, open_chain, open_sets
from tellapart.engine.scorers import Reading
from tellapart.engine.together import composer_of
from tellapart.server import filters
from tellapart.server.answers import Column, Item, Result, Results
from tellapart.server.asking import Asking
from tellapart.server.by_items import opener, reading
from tellapart.server.by_scorer import BUDGET, MIXED, TOLD, WEIGHTS, rescored
from tellapart.server.by_tokens import ByTokens
from tellapart.server.by_words import FUSED, NO_MODEL, NO_WORDS, WEIGHED, ByWords
from tellapart.server.limits import TEXT_CHARACTERS, NoSuchItemError, check_examples, check_k, check_query
from tellapart.server.live import Live, collection_folder
from tellapart.server.pairs import Pairs
from tellapart.server.pictures import Pictures
from tellapart.server.snapshot import Base, Passing, Snapshot

CALIBRATION_FILE = "calibration.json"
TITLES = ("title", "caption", "name", "label", "concept")


class Service:
    """A run folder opened for searching.

    Args:
        folder: what `tellapart run` wrote: `collection/`, `model/`, `index/`, `rank/` where its recipe has a chain of
            rank parts, and `corpus/` where what is searched is kept apart from the pairs; and `served/` and a journal
            where it was changed since (`live.Live`).
        model, index, collection: in place of those in the folder.

    Raises:
        DataError: the folder is none, lacks a piece, or holds a damaged one.
    """

    def __init__(
        self, folder: str | Path, *, model: Any = None, index: Any = None, collection: Collection | None = None
    ) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(
                f"there is no run folder {self.folder}; make one with: tellapart run PATH --out {self.folder}"
            )
        base = None
        if index is not None or collection is not None:
            held = collection if collection is not None else Collection.open(collection_folder(self.folder))
            base = Base(held, index if index is not None else _load_index(self.folder / "index"))
        else:
            Collection.open(collection_folder(self.folder))
        self.model = model if model is not None else _load_model(self.folder / "model")
        self.live = Live(self.folder, self.model, base=base)
        self.chain = open_chain(self.folder)
        self.sets = open_sets(self.folder, self.chain.spec) if self.chain is not None else None
        self.asking = Asking(self.model, self.stored, composer_of(self.folder), self._opened)
        self.by_words = ByWords(self.folder, self.live)
        self.by_tokens = ByTokens(self.folder, self.model, self.live)
        self._version: tuple[Base, str] | None = None
        self._of_base: tuple[Base, Pictures | None, list[Column] | None] | None = None
        self.pairs = Pairs(self)

    @property
    def sides(self) -> Sides:
        """What is searched with and what is searched."""
        return self.model.sides

    @property
    def collection(self) -> Collection:
        """The items as they lie on the disk; what was changed since is in `live.now()` alone."""
        return self.live.base.collection

    @property
    def index(self) -> Any:
        """The index of `collection`."""
        return self.live.base.index

    @property
    def items(self) -> int:
        """How many items are searched."""
        return len(self.live.now())

    @property
    def version(self) -> str:
        """Changes whenever a file of the collection, the model, the index or the chain does."""
        base = self.live.base
        kept = self._version
        if kept is None or kept[0] is not base:
            kept = self._version = (base, self._version_of(base))
        return kept[1]

    def _version_of(self, base: Base) -> str:
        digest = hashlib.sha256(base.version.encode())
        for part in ("collection", "corpus", "model", "index", "fulltext", "rank", "sets", "sides"):
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

    def search(
        self,
        words: str | None = None,
        image: bytes | None = None,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        where: Mapping[str, Any] | None = None,
        k: int = 24,
        hybrid: bool = False,
        sparse: bool = False,
        rerank: str = "",
        budget: int = BUDGET,
        heard: Callable[[np.ndarray], None] | None = None,
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
            hybrid: look for the words as words too, and fuse both lists by their places (`engine.fusion`); scores then
                have no probability, and there is no "nothing here".
            sparse: by the learned weights of words that the run keeps (`engine.sparse`): alone, without running the
                text model; with `hybrid`, in place of full text.
            rerank: a scorer (`engine.scorers`) that gives the order of the first `budget` items, in place of the run's
                own rank parts; not for a mixture with examples.
            heard: given the vector that is searched with, where there is one.

        Raises:
            DataError: whatever cannot be searched with, in words.
        """
        k = check_k(k)
        words = check_query(words or "")
        like, unlike = check_examples("like", list(like)), check_examples("unlike", list(unlike))
        at = self.live.now()
        passing = at.passing(where or {})
        searched = len(at) if passing is None else passing.count
        if not (words or image or like or unlike):
            return self._browse(at, passing, searched, k)
        if sparse and words and not hybrid:
            if rerank:
                raise DataError(WEIGHTS)
            if image or like or unlike:
                raise DataError("learned weights are of words alone: leave the rest out, or search with hybrid as well")
            return self._weighed(at, words, k, passing)
        z, notes = self.asking.vector(words, image, like, unlike)
        if heard is not None:
            heard(z)
        if searched == 0:
            return Results((), searched=0, notes=(*notes, "No item passes the filters; take one away."))
        hidden = {*like, *unlike}
        alone = self.asking.as_measured(words, image, like, unlike)
        if rerank:
            if not alone:
                raise DataError(MIXED.format(self.asking.measured))
            return self._rescored(at, z, words, image, k, passing, notes, hybrid, sparse, rerank, budget)
        if hybrid and words:
            read = self._reading(at, words, image, passing) if alone else None
            return self._fused(at, z, words, k, passing, hidden, alone, notes, sparse, read)
        if hybrid or sparse:
            notes = (*notes, NO_WORDS)
        if not alone:
            hits = at.nearest(z[None], k + len(hidden), passing)[0]
            results = [Result(i, s) for i, s in hits if i not in hidden][:k]
            return Results(results, searched=searched, notes=(*notes, *self._by_cosine))
        if words and self.by_tokens.index is not None:
            found, told = self.by_tokens.search(words, k, at, passing)
            return Results([Result(i, s) for i, s in found], searched=searched, notes=(*notes, *told))
        read = self._reading(at, words, image, passing)
        return self._asked_alone(at, z, k, passing, searched, notes, read)

    def _reading(self, at: Snapshot, words: str, image: bytes | None, passing: Passing | None) -> Reading | None:
        """The items themselves, for a chain that asks a scorer about them."""
        if self.chain is None or not self.chain.asks:
            return None
        return replace(reading(self.asking, at, words, image, passing, self.live.file), sets=self.sets)

    def _rescored(
        self,
        at: Snapshot,
        z: np.ndarray,
        words: str,
        image: bytes | None,
        k: int,
        passing: Passing | None,
        notes: tuple[str, ...],
        hybrid: bool,
        sparse: bool,
        scorer: str,
        budget: int,
    ) -> Results:
        """The search whose first hits a scorer orders, found by similarity alone or fused with words."""
        most, by = max(k, budget), "similarity"
        near = at.nearest(z[None], most, passing)
        if hybrid and words:
            allowed, by = None if passing is None else at.ids_of(passing), FUSED
            text, told = self.by_words.search(words, most, at, allowed, sparse=sparse)
            near, notes = fused([near, text], most), (*notes, *told)
        read = replace(reading(self.asking, at, words, image, passing, self.live.file), sets=self.sets)
        hits, ranked = rescored(scorer, budget, self.sides, z, near, lambda ids: at.vectors(ids.tolist()), read)
        results = [Result(i, s) for i, s in hits[0][:k]]
        searched = len(at) if passing is None else passing.count
        return Results(results, searched=searched, notes=(*notes, TOLD.format(hits.calls, by, scorer)), ranked=ranked)

    def _asked_alone(
        self,
        at: Snapshot,
        z: np.ndarray,
        k: int,
        passing: Passing | None,
        searched: int,
        notes: tuple[str, ...],
        read: Reading | None,
    ) -> Results:
        """The search that the figures of the run are about: through the chain, with probabilities."""
        chain = self.chain
        if chain is None:
            hits = at.nearest(z[None], k, passing)[0]
        else:
            near = at.nearest(z[None], POOL, passing)
            hits = chain.rank(z[None], near, lambda ids: at.vectors(ids.tolist()), reading=read)[0][:k]
            if not hits and near[0]:
                closest = [Result(i, s, None, passes=False) for i, s in near[0][:k]]
                return Results((), closest, nothing_here=True, searched=searched, notes=notes)
        ranked = chain.spec if chain else ""
        cut = chain is not None and chain.cuts
        lowest = -math.inf if cut or self.threshold is None else self.threshold
        chances = self._probabilities([s for _, s in hits])
        results = [Result(i, s, p, s >= lowest) for (i, s), p in zip(hits, chances, strict=True)]
        if any(r.passes for r in results) or not results:
            return Results(results, searched=searched, notes=notes, ranked=ranked)
        return Results((), closest=results, nothing_here=True, searched=searched, notes=notes, ranked=ranked)

    def _fused(
        self,
        at: Snapshot,
        z: np.ndarray,
        words: str,
        k: int,
        passing: Passing | None,
        hidden: set[str],
        alone: bool,
        notes: tuple[str, ...],
        sparse: bool,
        read: Reading | None,
    ) -> Results:
        """The search by vectors, through the chain where it applies, and that by words, as one list."""
        near = at.nearest(z[None], POOL, passing)
        if alone and self.chain is not None:
            near = self.chain.rank(z[None], near, lambda ids: at.vectors(ids.tolist()), reading=read)
        allowed = None if passing is None else at.ids_of(passing)
        text, told = self.by_words.search(words, POOL, at, allowed, sparse=sparse)
        hits = [(i, s) for i, s in fused([near, text], 2 * POOL)[0] if i not in hidden]
        results = [Result(i, s) for i, s in hits[:k]]
        notes = (*notes, *self.by_words.notes(words, sparse=sparse), *told)
        searched = len(at) if passing is None else passing.count
        return Results(results, searched=searched, notes=notes, ranked=FUSED)

    def _weighed(self, at: Snapshot, words: str, k: int, passing: Passing | None) -> Results:
        """The search by learned weights of words alone: no model reads the query."""
        allowed = None if passing is None else at.ids_of(passing)
        found, told = self.by_words.search(words, k, at, allowed, sparse=True)
        results = [Result(i, s) for i, s in found[0]]
        searched = len(at) if passing is None else passing.count
        return Results(results, searched=searched, notes=(NO_MODEL, *told), ranked=WEIGHED)

    @property
    def _by_cosine(self) -> tuple[str, ...]:
        """What is said where the run has a chain that does not apply."""
        if self.chain is None:
            return ()
        kind = self.asking.measured
        return (f"This order is by similarity alone: {self.chain.spec} ranks only what is asked for by {kind}.",)

    def _browse(self, at: Snapshot, passing: Passing | None, searched: int, k: int) -> Results:
        notes = () if searched else ("No item passes the filters; take one away.",)
        if searched and passing is not None and self.chain is not None:
            notes = (f"Nothing is ranked where only filters are given: {self.chain.spec} needs something to look for.",)
        return Results([Result(i) for i in at.spread(k, passing)], searched=searched, notes=notes)

    def stored(self, ids: Sequence[str]) -> np.ndarray:
        """[n, d] float32 vectors by which these items are found; an unknown id raises `NoSuchItemError`."""
        return self.live.now().vectors(ids)

    def _opened(self, ids: Sequence[str]) -> list[Any]:
        """These items as an encoder takes them."""
        return list(map(opener(self.asking, self.live.now(), self.live.file), ids))

    def item(self, id_: str, at: Snapshot | None = None) -> Item:
        """One item as it is shown; an unknown id raises `NoSuchItemError`.

        Args:
            at: what was searched; None: what is searched now.
        """
        at = at or self.live.now()
        row = at.row(id_)
        caption, text = self._told(id_, row.get)
        shown = {name: _plain(value) for name, value in row.items() if not isinstance(value, bytes | dict)}
        pictured = self._picture_column is not None and row.get(self._picture_column) is not None
        return Item(id_, self.sides.document.modality, caption, text, pictured, shown)

    def line(self, id_: str, at: Snapshot) -> Item:
        """One item as a list shows it, without its columns: of those, only what is shown is read."""
        caption, text = self._told(at.known(id_), lambda column: at.value(id_, column))
        pictured = self._picture_column is not None and at.has(id_, self._picture_column)
        return Item(id_, self.sides.document.modality, caption, text, pictured, {})

    def _told(self, id_: str, value: Callable[[str], Any]) -> tuple[str, str]:
        """Caption and text of an item, by what gives the value of a column."""
        document, query = self.sides.document, self.sides.query
        text = _text(value(document.column)) if document.modality == "text" else ""
        caption = _text(value(query.column)) if query.modality == "text" and query != document else ""
        titles = (_text(found) for name in self._titles if (found := value(name)) is not None)
        return caption or next(titles, "") or id_, text

    @cached_property
    def _titles(self) -> list[str]:
        columns = self.collection.columns
        return [name for name in TITLES if name in columns]

    def picture_version(self, id_: str, at: Snapshot | None = None) -> str:
        """Changes whenever the picture of an item may have."""
        filed = (at or self.live.now()).filed.get(id_)
        return self.version if filed is None else f"{self.version}-{filed}"

    @cached_property
    def _picture_column(self) -> str | None:
        side = next((s for s in (self.sides.document, self.sides.query) if s.modality != "text"), None)
        return side.column if side else ("image" if "image" in self.collection.columns else None)

    @property
    def _pictures(self) -> Pictures | None:
        """The pictures of the base."""
        base = self.live.base
        if self._of_base is None or self._of_base[0] is not base:
            column = self._picture_column
            self._of_base = (base, Pictures(base.collection, column) if column else None, None)
        return self._of_base[1]

    def picture(self, id_: str, size: int = 384) -> bytes:
        """A WebP thumbnail of an item of the collection; see `Pictures.thumbnail`."""
        at, pictures = self.live.now(), self._pictures
        at.known(id_)
        if pictures is None or self._picture_column is None:
            raise NoSuchItemError("the items of this collection have no pictures")
        if not at.has(id_, self._picture_column):
            raise DataError(f"the item {id_!r} has no picture")
        if id_ in at.filed:
            return pictures.thumbnail(id_, size, lambda: self.live.file(id_), at.filed[id_])
        return pictures.thumbnail(id_, size)

    def source(self, id_: str) -> bytes | Path | None:
        """What an item's picture is read from; None where it has none or it may not be read."""
        at, pictures = self.live.now(), self._pictures
        at.known(id_)
        if pictures is None or self._picture_column is None or not at.has(id_, self._picture_column):
            return None
        try:
            return self.live.file(id_) if id_ in at.filed else pictures.source(id_)
        except DataError:
            return None

    def columns(self) -> list[Column]:
        """The columns that can be filtered, with their values or ranges as they lie on the disk."""
        base, pictures = self.live.base, self._pictures
        kept = self._of_base[2] if self._of_base is not None and self._of_base[0] is base else None
        if kept is None:
            kept = filters.filterable(base.collection)
            self._of_base = (base, pictures, kept)
        return kept

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
        return self._probabilities([score])[0]

    def _probabilities(self, scores: Sequence[float]) -> Sequence[float | None]:
        if self._calibration is None:
            return [None] * len(scores)
        found: list[float | None] = self._calibration[0].probability(np.asarray(scores, np.float64)).tolist()
        return found


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
