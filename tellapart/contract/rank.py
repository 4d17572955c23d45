"""What every part that reorders hits promises.

    part.fit(queries, documents, *, query_ids=None, ids=None, pairs=None) -> part
    part.rank(queries, hits, vectors) -> Hits

`fit` takes what a run has at hand: vectors of queries [a, d] that are not those to be ranked later, vectors of the
documents [b, d] that are searched (or a fair sample of them), the ids of both ([a] and [b] of str; equal ids are one
item), and pairs [p, 2] of row numbers (query, document) that belong together. Where queries are documents themselves,
as in one labelled column, an item and itself are no pair. A part takes from it what it needs.
`rank` takes query vectors [n, d], their hits, whose scores are cosines, and `vectors`, a function from ids [u] to their
vectors [u, d], which is asked only for ids among the hits.

What is learnt is kept in attributes that end in `_` and are numpy arrays (of numbers or of str) or plain numbers, and
nowhere else, so that they can be saved and put into a part made with the same options.

Traits: `vectors` (asks for the vectors of hits), `pairs` (fitting needs pairs), `monotone` (never changes the order),
`cutoff` (may leave hits out), `scorer` (asks a scorer about the items themselves; `calls` then counts the pairs it
scored), `reads` (beside `scorer`: reads the items and has a scorer of its own, which it learns), `everything` (beside
`scorer`: may bring in items that were not among the hits, but none that the query may not find).

A part of trait `scorer` has `fit(..., scoring=)` and `rank(..., scoring=)`, a `core.scoring.Scoring` of the queries
that are given, and of documents by id; and an attribute `scorer`, the spec of what it asks, but with the trait `reads`.
With the trait `everything`, `fit` is given the ids of all that will be searched, and `documents` may be None.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tellapart.contract.classify import Build, Check, must_refuse
from tellapart.core.hits import Hits
from tellapart.core.parts import Card
from tellapart.core.scoring import Scoring

DIM = 12
# pairs that what reads items is fitted on, and queries it ranks: enough to keep its promises, and few, for each is read
READ, ASKED = 12, 20
CLOSE = 1e-4


class World:
    """Queries near their documents, some documents in the middle of everything; all made from one seed."""

    def __init__(self, seed: int, *, queries: int = 60, noise: float = 0.18) -> None:
        rng = np.random.default_rng(seed)
        self.queries = _unit(rng.normal(size=(queries, DIM)))
        near = self.queries + noise * rng.normal(size=self.queries.shape)
        middle = self.queries.mean(axis=0) + 0.3 * rng.normal(size=(6, DIM))
        self.documents = _unit(np.concatenate([near, middle]))
        self.ids = np.array([f"d{seed}-{i:03d}" for i in range(len(self.documents))])
        self.query_ids = np.array([f"q{seed}-{i:03d}" for i in range(queries)])
        self.pairs = np.stack([np.arange(queries)] * 2, axis=1)
        self.row_of = {id_: i for i, id_ in enumerate(self.ids.tolist())}

    def vectors(self, ids: np.ndarray) -> np.ndarray:
        """[u, d] float32 of these ids."""
        return self.documents[[self.row_of[i] for i in ids.tolist()]]

    def hits(self, k: int = 20) -> Hits:
        """The k best documents of each query by cosine."""
        scores = self.queries @ self.documents.T
        return Hits.sorted(np.tile(self.ids, (len(scores), 1)), scores, k, calls=3)

    def given(self) -> dict[str, Any]:
        """What `fit` is called with."""
        return {
            "queries": self.queries, "documents": self.documents,
            "query_ids": self.query_ids, "ids": self.ids, "pairs": self.pairs,
        }  # fmt: skip

    def scoring(self, documents: World | None = None, *, start: int = 0, there: Any = None) -> Scoring:
        """The items are texts, the score of two is the cosine of their vectors.

        Args:
            documents: the world of what is searched; None: this one.
            start: which query row 0 is.
        """
        held = documents or self

        def score(queries: Sequence[str], texts: Sequence[str]) -> np.ndarray:
            asked = [int(text.split()[-1]) for text in queries]
            found = [int(text.split()[-1]) for text in texts]
            return np.asarray((self.queries[asked] * held.documents[found]).sum(1), np.float32)

        return Scoring(lambda row: f"number {start + row}", lambda id_: f"number {held.row_of[id_]}", score, there)


def _unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def _same(a: Hits, b: Hits) -> bool:
    found = a.ids != ""
    return np.array_equal(a.ids, b.ids) and np.allclose(a.scores[found], b.scores[found], atol=CLOSE)


def _take(hits: Hits, rows: slice) -> Hits:
    return Hits(hits.ids[rows], hits.scores[rows], hits.calls)


class Checks:
    """The checks of one card."""

    def __init__(self, card: Card) -> None:
        self.cuts = "cutoff" in card.traits
        self.asks = "vectors" in card.traits
        self.scorer = "scorer" in card.traits
        self.everything = "everything" in card.traits
        self.reads = "reads" in card.traits

    def world(self, seed: int, **more: Any) -> World:
        """A world of as many queries as the part can be asked."""
        return World(seed, **({"queries": ASKED} if self.reads else {}), **more)

    def fitted(self, build: Build, world: World, asked: World, **changed: Any) -> Any:
        """A part fitted on a world, to rank the hits of another."""
        return build().fit(**self.given(world, asked, **changed))

    def given(self, world: World, asked: World, **changed: Any) -> dict[str, Any]:
        """What `fit` is called with, by the traits of the part."""
        given = world.given()
        if self.everything:
            given |= {"documents": None, "ids": asked.ids, "pairs": None}
        if self.scorer:
            given["scoring"] = world.scoring(asked if self.everything else world)
        if self.reads:
            given["pairs"] = given["pairs"][:READ]
        return given | changed

    def ranked(self, part: Any, asked: World, hits: Hits, rows: slice = slice(None), **changed: Any) -> Hits:
        """Hits of the queries at some rows, ranked."""
        more = {"scoring": asked.scoring(start=rows.start or 0)} if self.scorer else {}
        given: dict[str, Any] = {"queries": asked.queries[rows], "vectors": asked.vectors, **more, **changed}
        out: Hits = part.rank(given.pop("queries"), _take(hits, rows), given.pop("vectors"), **given)
        return out

    def check_ids(self, build: Build) -> None:
        """Each query keeps its own hits, or some of them with the trait `cutoff`; no id is made up or repeated."""
        world, asked = self.world(0), self.world(1)
        hits = asked.hits()
        out = self.ranked(self.fitted(build, world, asked), asked, hits)
        assert isinstance(out, Hits) and len(out) == len(hits), "rank must give Hits, one row a query"
        for before, after in zip(hits.ids, out.ids, strict=True):
            kept = after[after != ""].tolist()
            assert len(set(kept)) == len(kept), "an id stands twice among the hits of a query"
            known = set(before.tolist()) | (set(asked.ids.tolist()) if self.everything else set())
            assert set(kept) <= known, "an id was not among the hits"
            assert self.cuts or self.everything or set(kept) == set(before.tolist()), (
                "hits were left out without the trait `cutoff`"
            )

    def check_sorted(self, build: Build) -> None:
        """Scores fall, equal ones by id, filling last with a score of -inf; found hits have finite float32 scores."""
        world, asked = self.world(2), self.world(3)
        hits = asked.hits()
        hits.ids[:, -3:], hits.scores[:, -3:] = "", -np.inf
        hits.ids[5], hits.scores[5] = "", -np.inf
        out = self.ranked(self.fitted(build, world, asked), asked, hits)
        assert out.scores.dtype == np.float32, f"scores must be float32, they are {out.scores.dtype}"
        again = Hits.sorted(out.ids, out.scores)
        assert np.array_equal(again.ids, out.ids), "hits must be sorted by falling score, ties by id, filling last"
        assert np.isfinite(out.scores[out.ids != ""]).all(), "a hit has a score that is not finite"
        assert np.isneginf(out.scores[out.ids == ""]).all(), "filling must have a score of -inf"
        assert (out.ids[5] == "").all(), "a query without hits was given some"

    def check_calls(self, build: Build) -> None:
        """`calls` goes on counting from the hits given; only a part with the trait `scorer` adds to it."""
        world, asked = self.world(4), self.world(5)
        hits = asked.hits()
        out = self.ranked(self.fitted(build, world, asked), asked, hits)
        if self.scorer:
            assert out.calls > hits.calls, "a part that asks a scorer must count its calls"
        else:
            assert out.calls == hits.calls, f"calls must stay {hits.calls}, they are {out.calls}"

    def check_no_batch_mates(self, build: Build) -> None:
        """A query's hits do not depend on the queries ranked with it, nor on what was ranked before."""
        world, asked = self.world(6), self.world(7)
        part, hits = self.fitted(build, world, asked), asked.hits()
        whole = self.ranked(part, asked, hits)
        for i in range(0, len(hits), 7):
            row = slice(i, i + 1)
            alone = self.ranked(part, asked, hits, row)
            assert _same(_take(whole, row), alone), "a query ranked alone gets other hits than in a batch"
        assert _same(whole, self.ranked(part, asked, hits)), "ranking changes the part"

    def check_serves(self, build: Build) -> None:
        """On data that the cosine serves well, the right document still comes first."""
        world, asked = self.world(8, noise=0.1), self.world(9, noise=0.1)
        out = self.ranked(self.fitted(build, world, asked), asked, asked.hits())
        right = (out.ids[:, 0] == asked.ids[: len(out)]).mean()
        assert right >= 0.9, f"the right document comes first for only {right:.2f} of easy queries"

    def check_state(self, build: Build) -> None:
        """What is learnt is arrays and numbers in attributes that end in `_`; put into a fresh part they suffice."""
        world, asked = self.world(10), self.world(11)
        part, fresh = self.fitted(build, world, asked), build()
        state = {name: value for name, value in vars(part).items() if name.endswith("_")}
        for name, value in state.items():
            plain = isinstance(value, int | float) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiubU")
            assert plain, f"{name} is {type(value).__name__}, which cannot be saved as an array"
            setattr(fresh, name, copy.deepcopy(value))
        try:
            again = self.ranked(fresh, asked, asked.hits())
        except Exception as error:
            raise AssertionError(f"the state in attributes ending in `_` does not suffice: {error}") from error
        assert _same(self.ranked(part, asked, asked.hits()), again), "the state does not suffice"

    def check_refit_forgets(self, build: Build) -> None:
        """A second `fit` gives what a fresh part gives, and two fits on the same give the same."""
        one, two, asked = self.world(12), self.world(13), self.world(14)
        part = self.fitted(build, one, asked).fit(**self.given(two, asked))
        again = self.ranked(part, asked, asked.hits())
        assert _same(again, self.ranked(self.fitted(build, two, asked), asked, asked.hits())), (
            "a refit remembers, or two fits differ"
        )

    def check_input_unchanged(self, build: Build) -> None:
        """Neither fitting nor ranking changes what was given."""
        world, asked = self.world(15), self.world(16)
        given, hits = world.given(), asked.hits()
        before = copy.deepcopy((given, hits, asked.queries, asked.documents))
        fixed = {"documents": None, "ids": asked.ids, "pairs": None} if self.everything else {}
        self.ranked(self.fitted(build, world, asked, **(given | fixed)), asked, hits)
        for name in given:
            assert np.array_equal(given[name], before[0][name]), f"{name} was changed in place"
        assert np.array_equal(hits.ids, before[1].ids), "the hits were changed in place"
        assert np.array_equal(hits.scores, before[1].scores), "the scores of the hits were changed in place"
        assert np.array_equal(asked.queries, before[2]), "the queries were changed in place"
        assert np.array_equal(asked.documents, before[3]), "the vectors were changed in place"

    def check_vectors_asked(self, build: Build) -> None:
        """Vectors are asked for ids among the hits, each once at most a call, and only with the trait `vectors`."""
        world, asked = self.world(17), self.world(18)
        seen: list[np.ndarray] = []

        def vectors(ids: np.ndarray) -> np.ndarray:
            seen.append(ids)
            return asked.vectors(ids)

        hits = asked.hits(5)
        hits.ids[0, 4], hits.scores[0, 4] = "", -np.inf
        self.ranked(self.fitted(build, world, asked), asked, hits, vectors=vectors)
        assert self.asks or not seen, "vectors were asked for without the trait `vectors`"
        for ids in seen:
            assert set(ids.tolist()) <= set(hits.ids.ravel().tolist()) - {""}, "a vector was asked that is no hit's"
            assert len(set(ids.tolist())) == len(ids), "the vector of one item was asked for more than once"

    def check_bad_input(self, build: Build) -> None:
        """What cannot be used is refused in words."""
        world, asked = self.world(19), self.world(20)
        hits, part = asked.hits(), self.fitted(build, world, asked)
        holed = asked.queries.copy()
        holed[2, 3] = np.nan
        bad = world.queries.copy()
        bad[1, 1] = np.inf
        refused: dict[str, Callable[[], Any]] = {
            "a part that was not fitted": lambda: self.ranked(build(), asked, hits),
            "a query that is not finite": lambda: self.ranked(part, asked, hits, queries=holed),
            "queries of another width": lambda: self.ranked(part, asked, hits, queries=asked.queries[:, :5]),
            "fewer queries than hits": lambda: self.ranked(part, asked, hits, queries=asked.queries[:-1]),
            "fitting on values that are not finite": lambda: self.fitted(build, world, asked, queries=bad),
            "fitting on no queries": lambda: self.fitted(build, world, asked, queries=world.queries[:0]),
        }
        if self.asks:
            refused["vectors of another width"] = lambda: self.ranked(
                part, asked, hits, vectors=lambda ids: asked.vectors(ids)[:, :5]
            )
        if self.scorer:
            refused["ranking without items"] = lambda: self.ranked(part, asked, hits, scoring=None)
        for what, call in refused.items():
            must_refuse(what, call)

    def check_pairs_needed(self, build: Build) -> None:
        """A part that learns from pairs says so when there are none."""
        world = self.world(21)
        must_refuse("fitting without pairs", lambda: self.fitted(build, world, world, pairs=None))

    def check_monotone(self, build: Build) -> None:
        """The order of the hits that stay is the order they had, but for equal scores."""
        world, asked = self.world(22), self.world(23)
        hits = asked.hits()
        out = self.ranked(self.fitted(build, world, asked), asked, hits)
        for q in range(len(hits)):
            before = {id_: place for place, id_ in enumerate(hits.ids[q].tolist())}
            found = out[q]
            for (one, high), (two, low) in itertools.pairwise(found):
                assert high == low or before[one] < before[two], "the order of the hits was changed"

    def check_there(self, build: Build) -> None:
        """Nothing is found that the query may not find, and what is brought in is the best there is."""
        world, asked = self.world(24), self.world(25)
        part, hits = self.fitted(build, world, asked), asked.hits(3)
        odd = np.array([asked.row_of[i] % 2 for i in asked.ids.tolist()], bool)
        allowed = set(asked.ids[odd].tolist())
        inside = np.isin(hits.ids, list(allowed))
        some = Hits.sorted(hits.ids, np.where(inside, hits.scores, -np.inf))
        scoring = asked.scoring(there=lambda row, ids: np.isin(ids, list(allowed)))
        out = self.ranked(part, asked, some, scoring=scoring)
        assert set(out.ids.ravel().tolist()) - {""} <= allowed, "an item was found that the query may not find"
        free = self.ranked(part, asked, asked.hits(3))
        gained = (free.scores.max(1) >= (asked.queries @ asked.documents.T).max(1) - CLOSE).mean()
        assert gained >= 0.9, f"the best item of all comes first for only {gained:.2f} of the queries"


def checks(card: Card) -> list[Check]:
    """The checks that apply to a part, by its traits."""
    bound = Checks(card)
    found: list[Check] = [
        bound.check_ids, bound.check_sorted, bound.check_calls, bound.check_no_batch_mates, bound.check_state,
        bound.check_refit_forgets, bound.check_input_unchanged, bound.check_vectors_asked,
        bound.check_bad_input,
    ]  # fmt: skip
    if "reads" not in card.traits:  # what it learns to read is no vector that could be easy
        found.append(bound.check_serves)
    if "everything" in card.traits:
        found.append(bound.check_there)
    if "pairs" in card.traits:
        found.append(bound.check_pairs_needed)
    if "monotone" in card.traits:
        found.append(bound.check_monotone)
    return found
