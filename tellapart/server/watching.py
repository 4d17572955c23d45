"""Whether what comes in is like what is stored: scored beside the answering of requests, never in its way.

A detection score is fitted on stored vectors of the kind that comes in: on documents for items and for pictures that
are asked with where pictures are found, on the collection's own queries for words. The threshold lets all but a share
of held-out stored ones through. What lies above it is queued (`unknowns`); how the scores lie is counted by the hour.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from tellapart.core.detection import threshold_for
from tellapart.core.errors import DataError, PartError, TellapartError
from tellapart.core.needs import require
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.engine.monitor import FEWEST, FOLDER, Expected, chance, counted, shift
from tellapart.server.asking import kind_of
from tellapart.server.limits import PIXELS
from tellapart.server.service import Service
from tellapart.server.unknowns import UNKNOWN, Unknown, Unknowns

KINDS = ("words", "pictures", "items")
FIT, HELD = 5_000, 2_000
ENCODED = 1_000
FEWEST_HELD = 20
# where this process has not fitted anything yet: the bins held as many of the held-out ones each
EQUAL = 20
WAITING, WAITING_BYTES = 256, 32 * 2**20
PAUSE = 0.5
BLOCK = 8
SIDE = 384

log = logging.getLogger("tellapart.server")


class Came(NamedTuple):
    """What came in and is not scored yet."""

    kind: str
    words: str
    file: bytes | None
    ids: tuple[str, ...]
    vector: np.ndarray | None
    at: float


@dataclass(frozen=True)
class Known:
    """A score fitted on what is stored.

    Attributes:
        part: higher = more unknown.
        threshold: above it lies the unknown.
        expected: how held-out stored ones score.
        fitted, held: of how many.
        usual: how far two of the stored usually lie apart, as 1 - cosine.
    """

    part: Any
    threshold: float
    expected: Expected
    fitted: int
    held: int
    usual: float


class Watch:
    """The score of a served run, what waits for it, and what was unknown.

    Args:
        score: spec of a `score` part of trait `unknown` that is fitted on vectors alone.
        false_alarms: the share of held-out stored ones that lies above the threshold.
        heard: told of every one that was scored: its kind, and whether it was unknown.
        lost: told when one is not scored because too many wait.

    Raises:
        PartError: another part.
        DataError: the file of the unknown cannot be used.
    """

    def __init__(
        self,
        service: Service,
        score: str = "knn",
        *,
        false_alarms: float = 0.05,
        heard: Callable[[str, bool], None] = lambda kind, unknown: None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        require("sklearn", "tellapart serve --watch")
        card = card_of("score", parse_spec(score)[0])
        if "unknown" not in card.traits or {"labels", "names", "positions"} & set(card.traits):
            raise PartError(f"--watch takes a score that is fitted on vectors alone, such as knn, not {card.name}")
        make("score", score)
        self.service, self.score, self.false_alarms = service, score, false_alarms
        self.unknowns = Unknowns(service.folder / FOLDER, service.live.model_name + score)
        self.unscored = 0
        self._heard, self._lost = heard, lost
        self._known: dict[str, Known | str] = {}
        self._waiting: deque[Came] = deque()
        self._bytes = 0
        self._lock, self._woken, self._idle = threading.Lock(), threading.Event(), threading.Event()
        self._idle.set()
        self._ending = False
        self._thread: threading.Thread | None = None

    def asked(self, words: str, file: bytes | None, vector: np.ndarray) -> None:
        """Words or a picture were searched with; returns at once."""
        if not words and kind_of("", file) != "image":
            return
        self._take(Came("words" if words else "pictures", words, file, (), vector, time.time()))

    def put(self, ids: Sequence[str]) -> None:
        """Items were added or changed; returns at once."""
        self._take(Came("items", "", None, tuple(ids), None, time.time()))

    @property
    def waiting(self) -> int:
        """How many wait to be scored."""
        return len(self._waiting)

    def settle(self, seconds: float = 30.0) -> bool:
        """Wait until nothing waits to be scored; whether that was so in time."""
        return self._idle.wait(seconds)

    def close(self) -> None:
        """Score what waits, and end."""
        self._ending = True
        self._woken.set()
        if self._thread is not None:
            self._thread.join(10.0)

    def known(self, kind: str) -> Known | str | None:
        """What is fitted for a kind, or why nothing can be; None before the first of it came."""
        return self._known.get(self._like(kind))

    def drift(self) -> dict[str, tuple[int, int, float, str]]:
        """By kind: how many came, how many were unknown, how far scores are from the stored ones', and in words."""
        found: dict[str, tuple[int, int, float, str]] = {}
        hours = self.unknowns.hours()
        for kind in KINDS:
            counts = np.sum([c for (_, k), c in hours.items() if k == kind], axis=0, dtype=np.int64)
            if np.ndim(counts) == 0:
                continue
            seen = [*counts[:UNKNOWN].tolist(), 0]
            known = self.known(kind)
            expected = known.expected.counts if isinstance(known, Known) else (EQUAL,) * UNKNOWN + (0,)
            moved = shift(expected, seen)
            found[kind] = (sum(seen), int(counts[UNKNOWN]), moved, self._words(expected, seen, int(counts[UNKNOWN])))
        return found

    def groups(self) -> list[tuple[str, list[Unknown]]]:
        """What is unknown, parted by what it is about, the largest group first; each with words that tell it."""
        found: list[tuple[str, list[Unknown]]] = []
        kept = self.unknowns.all()
        rest = [each for each in kept if each.vector is None]
        for like in ("query", "document"):
            these = [each for each in kept if each.vector is not None and self._like(each.kind) == like]
            known = self._known.get(like)
            apart = known.usual / 2 if isinstance(known, Known) else 0.25
            parts = _clustered(np.stack([e.vector for e in these if e.vector is not None]), apart) if these else []
            members = [[these[row] for row in rows] for rows in parts]
            found += list(zip(_telling(members), members, strict=True))
        found.sort(key=lambda group: (-sum(each.count for each in group[1]), -group[1][0].last))
        return [*found, *([("of an earlier model", rest)] if rest else [])]

    def _words(self, expected: Sequence[int], seen: list[int], unknown: int) -> str:
        total = sum(seen)
        if total < FEWEST:
            return f"{total} of at least {FEWEST} came: too few to say whether they differ from what is stored."
        if chance(tuple(expected), seen) >= 1e-3:
            return "No difference shown from what is stored."
        share = unknown / total
        if share <= 1.5 * self.false_alarms:
            return "What comes in scores differently from what is stored, but hardly more of it is unknown."
        return (
            f"{share:.0%} of what comes in is unlike what is stored, where {self.false_alarms:.0%} would be of what is "
            "stored itself. Look at the groups: what belongs here is to be added, and the run made anew."
        )

    def _take(self, came: Came) -> None:
        size = len(came.file or b"")
        with self._lock:
            if self._ending or len(self._waiting) >= WAITING or self._bytes + size > WAITING_BYTES:
                self.unscored += 1
                lost = True
            else:
                lost = False
                self._waiting.append(came)
                self._bytes += size
                self._idle.clear()
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="tellapart-watch", daemon=True)
                    self._thread.start()
        if lost:
            self._lost()
        else:
            self._woken.set()

    def _work(self) -> None:
        while True:
            self._woken.wait()
            if not self._ending:
                # several at once cost little more than one
                time.sleep(PAUSE)
            self._woken.clear()
            with self._lock:
                came = list(self._waiting)
                self._waiting.clear()
                self._bytes = 0
            for kind in KINDS:
                try:
                    if these := [each for each in came if each.kind == kind]:
                        self._score(kind, these)
                except TellapartError as error:
                    log.warning("watching: %s", type(error).__name__)
                    log.debug("watching: %s", error)
                except Exception as error:
                    # what is told may quote what was asked
                    log.error("watching failed: %s", type(error).__name__)
            with self._lock:
                if not self._waiting:
                    self._idle.set()
                    if self._ending:
                        return

    def _like(self, kind: str) -> str:
        """The side of stored items that a kind is compared with."""
        sides = self.service.sides
        modality = {"words": "text", "pictures": "image"}.get(kind, "")
        return "query" if modality == sides.query.modality and sides.query != sides.document else "document"

    def _score(self, kind: str, came: Sequence[Came]) -> None:
        like = self._like(kind)
        if like not in self._known:
            self._known[like] = self._fitted(like)
        known = self._known[like]
        if isinstance(known, str):
            return
        entries = [entry for each in came for entry in self._entries(each)]
        if not entries:
            return
        z = np.stack([each.vector for each, _ in entries])
        scores = known.part.score(z)
        found, counts = [], Counter[tuple[int, str, int]]()
        for (each, file), score in zip(entries, scores.tolist(), strict=True):
            hour = int(each.last // 3600)
            counts[hour, kind, counted(np.asarray([score]), 0, known.expected.edges).index(1)] += 1
            unknown = score > known.threshold
            self._heard(kind, unknown)
            if unknown:
                counts[hour, kind, UNKNOWN] += 1
                found.append((replace(each, score=score), _small(file)))
        self.unknowns.add(found, dict(counts))

    def _entries(self, came: Came) -> list[tuple[Unknown, bytes | None]]:
        """What is scored, not scored yet, with the bytes of a picture."""
        if came.vector is not None:
            content = came.words.encode() if came.file is None else came.file
            one = _entry(came, hashlib.sha256(came.kind.encode() + content).hexdigest()[:24], came.words, "")
            return [(one, came.file)]
        at = self.service.live.now()
        ids = [i for i in came.ids if i in at]
        found = []
        for id_, vector in zip(ids, at.vectors(ids) if ids else (), strict=True):
            shown = self.service.line(id_, at)
            key = hashlib.sha256(b"items" + id_.encode()).hexdigest()[:24]
            found.append((_entry(came._replace(vector=vector), key, shown.text or shown.caption, id_), None))
        return found

    def _fitted(self, like: str) -> Known | str:
        """A score fitted on stored vectors of a side, or why there is none."""
        try:
            rows = self._rows(ENCODED + ENCODED // 2 if like == "query" else FIT + HELD)
            z = self._queries(rows) if like == "query" else self._documents(rows)
            z, held = self._parted(rows, z)
            if len(held) < FEWEST_HELD:
                return f"{len(held)} held-out stored items are too few to say what is unknown"
            part = make("score", self.score).fit(z)
            scores = part.score(held)
            threshold = threshold_for(scores, self.false_alarms)
            some = z[:: max(1, len(z) // 200)]
            unlike = 1 - (some @ some.T)[np.triu_indices(len(some), 1)]
            return Known(part, threshold, Expected.of(scores, -np.inf), len(z), len(held), float(np.median(unlike)))
        except DataError as error:
            return str(error)

    def _rows(self, most: int) -> np.ndarray:
        n = len(self.service.collection)
        return np.sort(np.random.default_rng(0).permutation(n)[:most])

    def _documents(self, rows: np.ndarray) -> np.ndarray:
        ids = self.service.collection.ids[rows].tolist()
        return np.asarray(self.service.index.vectors(ids), np.float32)

    def _queries(self, rows: np.ndarray) -> np.ndarray:
        side, collection = self.service.sides.query, self.service.collection
        if side.modality != "text" or side.column not in collection.columns:
            raise DataError("what is served has no queries of its own that words could be compared with")
        texts = collection.take(rows)[side.column].to_pylist()
        found = []
        for start in range(0, len(texts), BLOCK):
            begun = time.monotonic()
            block = [text or "" for text in texts[start : start + BLOCK]]
            found.append(np.asarray(self.service.model.encode_query(block), np.float32))
            if not self._ending:
                # half of one core at most, so that searches do not wait
                time.sleep(min(time.monotonic() - begun, 1.0))
        return np.concatenate(found)

    def _parted(self, rows: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is fitted on, and what the threshold is read off: by the run's split, else by duplicate group."""
        some = self.service.collection.take(rows)
        if "split" in some.columns:
            split = np.asarray(some.values("split"), object)
            train, held = split == "train", split == "validation"
        else:
            names = some.values("group") if "group" in some.columns else some.ids.tolist()
            draw = [int(hashlib.sha256(str(name).encode()).hexdigest()[:8], 16) % 4 == 0 for name in names]
            held = np.asarray(draw, bool)
            train = ~held
        return z[train], z[held]


def _entry(came: Came, key: str, text: str, item: str) -> Unknown:
    return Unknown(key, came.kind, text, item, came.file is not None, came.vector, 0.0, 1, came.at, came.at, "")


def _small(file: bytes | None) -> bytes | None:
    if file is None:
        return None
    from tellapart.data.images import thumbnail

    return thumbnail(file, size=SIDE, max_pixels=PIXELS)


def _clustered(z: np.ndarray, apart: float) -> list[list[int]]:
    """Rows whose mean 1 - cosine is below `apart`, as groups."""
    if len(z) == 1:
        return [[0]]
    from sklearn.cluster import AgglomerativeClustering

    made = AgglomerativeClustering(n_clusters=None, metric="cosine", linkage="average", distance_threshold=apart)
    named = made.fit_predict(z)
    return [np.flatnonzero(named == name).tolist() for name in range(int(named.max()) + 1)]


def _telling(groups: list[list[Unknown]]) -> list[str]:
    """For each group, up to three words that tell its texts from those of the others; empty without texts."""
    texts = [" ".join(each.text for each in group) for group in groups]
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer

        reader = TfidfVectorizer(sublinear_tf=True)
        weights = reader.fit_transform(texts).toarray()
    except ValueError:
        return [""] * len(groups)
    names = reader.get_feature_names_out()
    best = np.argsort(-weights, axis=1, kind="stable")[:, :3]
    return [", ".join(names[i] for i in row if weight[i] > 0) for row, weight in zip(best, weights, strict=True)]
