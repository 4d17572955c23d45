"""What every index promises. The exact search, written out here, is the oracle.

A check takes a factory of fresh parts and raises AssertionError. How much of the exact answer an approximate index must
find stands in its card: the trait `recall-0.95`; without one it must find all of it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from tellapart.contract import _tokens
from tellapart.contract.classify import must_refuse
from tellapart.core.parts import Card
from tellapart.core.vectors import READING

Build = Callable[..., Any]
Check = Callable[[Build], None]

ITEMS, DIM, K = 2500, 96, 10
OLD, NEW = 40, 60
CLOSE = 1e-5
ENGINES = {"lance", "qdrant"}
MOST_STEPS = 40


def planted(seed: int, *, n: int = ITEMS, queries: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors in 50 loose clusters: ids [n] in mixed order, z [n, DIM], queries [queries, DIM].

    Their numbers are such as half precision holds, so that an index may keep them in it: of many more vectors those
    that are of length 1 after rounding too.
    """
    ids, z = _planted(seed, n, queries)
    return ids.copy(), z[:n].copy(), z[n:].copy()


@functools.lru_cache(maxsize=32)
def _planted(seed: int, n: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(50, DIM))
    found: list[np.ndarray] = []
    while sum(map(len, found)) < n + queries:
        z = centres[rng.integers(0, 50, 8192)] + rng.normal(size=(8192, DIM))
        z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
        found.append(z[np.abs(np.linalg.norm(z.astype(np.float64), axis=1) - 1) < CLOSE / 2])
    ids = np.asarray([f"item {i:05d}" for i in rng.permutation(n)], dtype=object)
    return ids, np.concatenate(found)[: n + queries]


def nearest(ids: np.ndarray, z: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The exact answer, ties by id: ids and scores [queries, k]."""
    scores = np.stack([(z.astype(np.float64) * q).sum(1) for q in queries.astype(np.float64)]).astype(np.float32)
    order = np.stack([sorted(range(len(z)), key=lambda j, s=s: (-s[j], ids[j]))[:k] for s in scores])
    return ids[order].astype(str), np.take_along_axis(scores, order, 1)


def recall(found: np.ndarray, true: np.ndarray) -> float:
    """Share of the true ids that were found."""
    pairs = zip(found, true, strict=True)
    return float(np.mean([len(set(f.tolist()) & set(t.tolist())) / max(len(t), 1) for f, t in pairs]))


def filled(build: Build, seed: int, **options: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """A fresh index with `planted` items in it, added in three pieces."""
    ids, z, queries = planted(seed)
    index = build(**options)
    for piece in np.array_split(np.arange(len(ids)), [1000, 1001]):
        index.add(ids[piece], z[piece])
    return index, ids, z, queries


def stated_recall(card: Card) -> float:
    """What the card promises: 1 without a trait `recall-…`."""
    return next((float(t.removeprefix("recall-")) for t in card.traits if t.startswith("recall-")), 1.0)


def check_recall_of(share: float) -> Check:
    """The check that at least this share of the exact answer is found."""

    def check_recall(build: Build) -> None:
        """As much of the exact answer is found as the card says."""
        index, ids, z, queries = filled(build, 0)
        reached = recall(index.search(queries, K).ids, nearest(ids, z, queries, K)[0])
        assert reached >= share, f"recall@{K} is {reached:.3f}, and {share} is promised"

    return check_recall


def check_hits(build: Build) -> None:
    """[queries, k] different ids of the collection with their true cosines, best first."""
    index, ids, z, queries = filled(build, 1)
    hits = index.search(queries, K)
    row = {i: n for n, i in enumerate(ids)}
    assert len(index) == len(ids), f"{len(index)} items are counted where {len(ids)} were added"
    assert hits.ids.shape == (len(queries), K), f"hits have the shape {hits.ids.shape}"
    for query, found, scores in zip(queries, hits.ids, hits.scores, strict=True):
        assert len(set(found.tolist())) == K, "an item is found twice"
        assert set(found.tolist()) <= set(row), "an id is found that was never added"
        true = z[[row[i] for i in found]] @ query
        assert np.abs(scores - true).max() <= CLOSE, "a score is not the cosine of the item it stands beside"
    assert (np.diff(hits.scores, axis=1) <= 0).all(), "hits are not sorted by falling score"


def check_places(build: Build) -> None:
    """An index that gives places in its ids (`search_places`, for many queries) gives those of its hits."""
    index, ids, _, queries = filled(build, 12)
    if not hasattr(index, "search_places"):
        return
    index.delete(ids[::7])
    hits, (scores, places) = index.search(queries, K), index.search_places(queries, K)
    assert places.shape == hits.ids.shape, f"places have the shape {places.shape}"
    assert (index.ids[places] == hits.ids).all(), "places are not those of the ids that are found"
    assert (scores == hits.scores).all(), "places come with other scores than ids"


def check_lengths_of(close: float) -> Check:
    """The check that lengths do not count, but for rounding."""

    def check_lengths_do_not_count(build: Build) -> None:
        """Longer vectors and queries give the same cosines."""
        ids, z, queries = planted(2)
        index, longer = build(), build()
        index.add(ids, z)
        longer.add(ids, z * np.random.default_rng(0).uniform(0.5, 3, (len(z), 1)).astype(np.float32))
        a, b = index.search(queries[:5], 3), longer.search(queries[:5] * 7, 3)
        assert np.abs(a.scores[:, 0] - b.scores[:, 0]).max() <= close, "scores depend on the length of vectors"

    return check_lengths_do_not_count


def check_ties_of(exact: bool) -> Check:
    """The check of ties; an exact index must also cut them by id."""

    def check_ties_by_id(build: Build) -> None:
        """Items with one vector have one score and come in the order of their ids."""
        ids, z, _ = planted(3, n=400)
        z[100:160] = z[7]
        index = build()
        index.add(ids, z)
        group = np.sort(ids[[7, *range(100, 160)]].astype(str)).tolist()
        hits = index.search(z[7:8], 20)
        found = hits.ids[0].tolist()
        assert set(found) <= set(group), "another item comes before one with the very vector of the query"
        assert len(set(hits.scores[0].tolist())) == 1, "items with one vector have several scores"
        assert found == sorted(found), "items with one vector are not in the order of their ids"
        assert not exact or found == group[:20], "of items with one vector not the first by id are given"

    return check_ties_by_id


def check_batch_mates_do_not_count(build: Build) -> None:
    """A query finds alone what it finds among others."""
    index, _, _, queries = filled(build, 4)
    together = index.search(queries[:9], K)
    for n in range(9):
        alone = index.search(queries[n : n + 1], K)
        assert (alone.ids[0] == together.ids[n]).all(), "hits depend on the other queries of the batch"


def check_few(build: Build) -> None:
    """More than there are gives what there is; nothing gives nothing."""
    ids, z, queries = planted(5, n=7)
    index = build()
    assert index.search(queries, 3).ids.shape == (len(queries), 0), "an empty index must find nothing"
    index.add(ids, z)
    hits = index.search(queries, 50)
    assert hits.ids.shape == (len(queries), 7), f"50 of 7 items gave {hits.ids.shape}"
    assert all(set(row.tolist()) == set(ids) for row in hits.ids), "not every item was found"
    index.delete(ids)
    assert len(index) == 0 and index.search(queries, 3).ids.shape[1] == 0, "deleted items are still there"


def check_delete(build: Build) -> None:
    """What was deleted is found no more, in small and in large numbers, and may come back."""
    index, ids, z, queries = filled(build, 6)
    gone = np.zeros(len(ids), bool)
    rng = np.random.default_rng(6)
    for share in (0.02, 0.1, 0.5, 0.9):
        more = (rng.random(len(ids)) < share) & ~gone
        index.delete(ids[more])
        gone |= more
        hits = index.search(queries, K)
        assert len(index) == (~gone).sum(), "deleted items are counted"
        assert not set(hits.ids.ravel().tolist()) & set(ids[gone]), "a deleted item is found"
        assert hits.ids.shape[1] == K and (hits.ids != "").all(), "fewer than k are found although there are more"
    index.add(ids[gone], z[gone])
    assert len(index) == len(ids), "items that were deleted cannot be added again"
    assert (index.search(z[gone][:20], 1).ids[:, 0] == ids[gone][:20]).all(), "an item that came back is not found"


def check_filter(build: Build) -> None:
    """Only what passes the filter is found: never fewer than k where k pass, however few or many do."""
    index, ids, z, queries = filled(build, 7)
    rng = np.random.default_rng(7)
    for share in (0.0, 0.002, 0.03, 0.3, 0.97, 1.0):
        passing = rng.random(len(ids)) < share
        chosen = set(ids[passing])
        wanted = min(K, len(chosen))
        kinds = {
            "set": chosen,
            "array": ids[passing],
            "function": lambda names, c=chosen: np.asarray([i in c for i in names], bool),
        }
        for kind, given in kinds.items():
            hits = index.search(queries, K, filter=given)
            assert hits.ids.shape == (len(queries), wanted), f"{kind} of {len(chosen)}: {hits.ids.shape} are found"
            assert set(hits.ids.ravel().tolist()) <= chosen, f"{kind}: an item is found that the filter leaves out"
        if 0 < share < 0.05:
            true = nearest(ids[passing], z[passing], queries, wanted)[0]
            assert (index.search(queries, K, filter=chosen).ids == true).all(), "few allowed items are not all compared"
    assert index.search(queries, 3, filter={"no such item"}).ids.shape[1] == 0, "an unknown id passed the filter"


def check_replace(build: Build) -> None:
    """An id that is added again stands for the new vector alone; the same vector again changes nothing."""
    index, ids, z, _ = filled(build, 8)
    index.add(ids[:300], z[:300])
    assert len(index) == len(ids), "an item that was added twice is counted twice"
    index.add(ids[:3], -z[:3])
    assert len(index) == len(ids), "a replaced item is counted twice"
    assert (index.search(-z[:3], 1).ids[:, 0] == ids[:3]).all(), "the new vector of an item is not found"
    hits = index.search(z[:3], len(ids) // 2)
    assert not any(i in row for i, row in zip(ids[:3], hits.ids.tolist(), strict=True)), "an old vector is still found"


def check_save_load(build: Build) -> None:
    """A loaded index finds the same and can be changed; no file needs code to be read."""
    index, ids, _, queries = filled(build, 9)
    index.delete(ids[:50])
    before = index.search(queries, K)
    with tempfile.TemporaryDirectory() as folder:
        index.save(folder)
        loaded = build().load(folder)
        files = [f.relative_to(folder) for f in Path(folder).rglob("*") if f.is_file()]
        kinds = {f.suffix for f in files if not ENGINES & set(f.parts) and not f.parts[0].startswith(READING)}
        after = loaded.search(queries, K)
        assert len(loaded) == len(index), "a loaded index has another number of items"
        assert (after.ids == before.ids).all(), "a loaded index finds other items"
        assert (after.scores == before.scores).all(), "a loaded index gives other scores"
        assert kinds <= {".npy", ".json", ".arrow", ".faiss", ".safetensors"}, f"files of unexpected kinds: {kinds}"
        loaded.add(["new"], queries[:1])
        loaded.delete(ids[60:70])
        assert loaded.search(queries[:1], 1).ids[0, 0] == "new", "a loaded index takes in nothing"
        loaded.save(folder)
        again = build().load(folder)
        assert len(again) == len(ids) - 59 and again.search(queries[:1], 1).ids[0, 0] == "new", "a change was not saved"
        assert len(list(Path(folder).glob("v*"))) == 1, "old versions are left behind"


def check_atomic(build: Build) -> None:
    """A save that is broken off at any step leaves the old index whole; one that ends leaves the new."""
    ids, z, queries = planted(10, n=NEW)
    old, new = build(), build()
    old.add(ids[:OLD], z[:OLD])
    new.add(ids, z)
    for step in _some_of(_steps(old, new)):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(os, "fsync", lambda descriptor: None):
            old.save(folder)
            ended = _broken_off(new, folder, step)
            loaded = build().load(folder)
            assert len(loaded) in (OLD, NEW), f"half an index is left after a stop at step {step}"
            assert len(loaded) == NEW or not ended, "an index that was saved is not the one that is loaded"
            assert loaded.search(queries, 5).ids.shape == (len(queries), 5), "what is left cannot be searched"
            new.save(folder)
            assert len(build().load(folder)) == NEW, f"after a stop at step {step} nothing more can be saved"
    assert ended, "saving never ended"


def check_bad_input(build: Build) -> None:
    """What cannot be meant is refused in words, and the index stays as it was."""
    index, ids, z, queries = filled(build, 11)
    holes, zeros = z[:3].copy(), z[:3].copy()
    holes[1, 2], zeros[2] = np.nan, 0
    new = ["a", "b", "c"]
    wrong: dict[str, Callable[[], Any]] = {
        "vectors of another width": lambda: index.add(new, z[:3, :-1]),
        "NaN in a vector": lambda: index.add(new, holes),
        "a vector of zeros": lambda: index.add(new, zeros),
        "one id twice": lambda: index.add(["a", "a", "b"], z[:3]),
        "an empty id": lambda: index.add(["a", "", "b"], z[:3]),
        "fewer ids than vectors": lambda: index.add(["a"], z[:3]),
        "deleting an unknown id": lambda: index.delete([ids[0], "unknown"]),
        "a query of another width": lambda: index.search(queries[:, :-1], 3),
        "NaN in a query": lambda: index.search(holes, 3),
        "a query of zeros": lambda: index.search(zeros, 3),
        "one query without its batch": lambda: index.search(queries[0], 3),
        "k = 0": lambda: index.search(queries, 0),
        "a filter of the wrong length": lambda: index.search(queries, 3, filter=lambda names: np.ones(1, bool)),
        "loading from nowhere": lambda: build().load(Path(tempfile.gettempdir()) / "no such index"),
        "saving nothing": lambda: build().save(Path(tempfile.gettempdir()) / "no such index"),
    }
    for what, call in wrong.items():
        must_refuse(what, call)
    assert len(index) == len(ids), "a call that was refused changed the index"
    assert set(index.search(queries, K).ids.ravel().tolist()) <= set(ids), "a call that was refused left items behind"


def checks(card: Card) -> list[Check]:
    """All checks for an index with this card."""
    found = [
        check_recall_of(stated_recall(card)),
        check_hits,
        check_places,
        check_lengths_of(_tokens.CLOSE if "tokens" in card.traits else CLOSE),
        check_ties_of(stated_recall(card) == 1),
        check_batch_mates_do_not_count,
        check_few,
        check_delete,
        check_filter,
        check_replace,
        check_save_load,
        check_atomic,
        check_bad_input,
    ]
    if "tokens" in card.traits:
        return [*map(_tokens.for_one_vector, found), *_tokens.checks(stated_recall(card))]
    return found


def _steps(old: Any, new: Any) -> int:
    """At which step a save over another is over."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(os, "fsync", lambda descriptor: None):
        old.save(folder)
        return 1 + _calls(new, folder, None)


def _some_of(last: int) -> list[int]:
    """Steps to stop at: all, or of an engine's many files a few, and all of those at the end."""
    if last <= MOST_STEPS:
        return list(range(1, last + 1))
    return sorted({*range(1, last, last // 3), *range(last - 6, last + 1)})


class _PulledPlug(BaseException):
    """What stands for a killed process: nothing catches it."""


def _broken_off(index: Any, folder: str, step: int) -> bool:
    """Save, stopping before the `step`-th call that changes names on the disk; whether it ended before that."""
    return _calls(index, folder, step) < step


def _calls(index: Any, folder: str, stop: int | None) -> int:
    """Save, and count the calls that change names on the disk; before the one of that number it is broken off."""
    made = [0]

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            made[0] += 1
            if made[0] == stop:
                raise _PulledPlug
            return call(*args, **options)

        return counted

    calls = ("replace", "rename", "fsync", "unlink", "mkdir")
    broken = mock.patch.multiple(os, **{name: counting(getattr(os, name)) for name in calls})
    with broken, contextlib.suppress(_PulledPlug):
        index.save(folder)
    return made[0]
