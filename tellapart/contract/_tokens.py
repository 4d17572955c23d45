"""What an index of several vectors an item (trait `tokens`) promises beside what every index does.

With one vector an item MaxSim is the cosine, so the checks of `contract.index` run on such items through `OneVector`.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tellapart.contract.classify import must_refuse

Build = Callable[..., Any]
Check = Callable[[Build], None]

ITEMS, DIM, K = 900, 48, 10
CLOSE = 3e-4


class OneVector:
    """An index of several vectors an item, asked as one of single vectors."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    def add(self, ids: Any, z: np.ndarray) -> None:
        self._index.add(ids, _singly(z))

    def search(self, z: np.ndarray, k: int, **options: Any) -> Any:
        return self._index.search(_singly(z), k, **options)

    def search_places(self, z: np.ndarray, k: int, **options: Any) -> Any:
        return self._index.search_places(_singly(z), k, **options)

    def load(self, folder: Any) -> OneVector:
        self._index.load(folder)
        return self


def for_one_vector(check: Check) -> Check:
    """A check of single vectors, for an index of several."""

    @functools.wraps(check)
    def checked(build: Build) -> None:
        check(lambda **options: OneVector(build(**options)))

    return checked


def ragged(seed: int, n: int = ITEMS, queries: int = 30) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """Ids, 1 to 9 unit vectors an item about one of 40 topics, and 1 to 5 a query, as half precision holds them."""
    rng = np.random.default_rng(seed)
    topics = rng.normal(size=(40, DIM))

    def drawn(most: int) -> np.ndarray:
        x = topics[rng.integers(0, 40)] + topics[rng.integers(0, 40, rng.integers(1, most + 1))]
        x = x + 0.8 * rng.normal(size=x.shape)
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)

    ids = [f"text {i:04d}" for i in rng.permutation(n)]
    return ids, [drawn(9) for _ in range(n)], [drawn(5) for _ in range(queries)]


def maxsim(query: np.ndarray, tokens: Sequence[np.ndarray]) -> np.ndarray:
    """[n] float64: the mean over the query's vectors of their greatest cosine with each item's."""
    q = query.astype(np.float64)
    return np.asarray([(q @ t.astype(np.float64).T).max(1).mean() for t in tokens])


def check_maxsim_of(share: float) -> Check:
    """The check that this share of the exact answer is found."""

    def check_maxsim(build: Build) -> None:
        """Scores are MaxSim over the number of query vectors, best first, and enough of the best are found."""
        ids, tokens, queries = ragged(0)
        index, row = build(), {i: n for n, i in enumerate(ids)}
        for piece in np.array_split(np.arange(len(ids)), 3):
            index.add([ids[n] for n in piece], [tokens[n] for n in piece])
        hits, found = index.search(queries, K), []
        for query, names, scores in zip(queries, hits.ids.tolist(), hits.scores, strict=True):
            true = maxsim(query, tokens)
            given = true[[row[i] for i in names]]
            assert np.abs(scores - given).max() <= CLOSE, "a score is not the mean of the greatest cosines"
            assert (np.diff(scores) <= 0).all(), "hits are not sorted by falling score"
            found.append((given >= np.sort(true)[-K] - CLOSE).mean())
        assert np.mean(found) >= share, f"recall@{K} is {np.mean(found):.3f}, and {share} is promised"

    return check_maxsim


def check_order_of_tokens(build: Build) -> None:
    """The order of an item's vectors, and of a query's, changes nothing."""
    ids, tokens, queries = ragged(1, n=200)
    index, turned = build(), build()
    index.add(ids, tokens)
    turned.add(ids, [t[::-1] for t in tokens])
    a, b = index.search(queries, 3), turned.search([q[::-1] for q in queries], 3)
    assert np.abs(a.scores - b.scores).max() <= CLOSE, "scores depend on the order of the vectors"


def check_tokens_kept(build: Build) -> None:
    """What was added is given back by id after deletion, replacement, saving and loading."""
    ids, tokens, queries = ragged(2, n=300)
    index, held = build(), dict(zip(ids, tokens, strict=True))
    index.add(ids, tokens)
    index.delete(ids[:90])
    index.add(ids[100:103], tokens[:3])
    held.update(zip(ids[100:103], tokens[:3], strict=True))
    with tempfile.TemporaryDirectory() as folder:
        index.save(folder)
        loaded = build().load(folder)
        for name, found in zip(ids[90:], loaded.tokens(ids[90:]), strict=True):
            assert found.dtype == np.float32 and np.array_equal(found, held[name]), f"{name} has other vectors"
        before, after = index.search(queries, K), loaded.search(queries, K)
        assert (before.ids == after.ids).all() and (before.scores == after.scores).all(), "a loaded index differs"


def check_exact_oracle(build: Build) -> None:
    """`search_exactly` compares every item."""
    ids, tokens, queries = ragged(3, n=250)
    index = build()
    index.add(ids, tokens)
    hits = index.search_exactly(queries, K)
    for query, scores in zip(queries, hits.scores, strict=True):
        best = np.sort(maxsim(query, tokens))[::-1][:K]
        assert np.abs(scores - best).max() <= CLOSE, "the exact search misses one of the best"


def check_bad_tokens(build: Build) -> None:
    """What cannot be meant is refused in words, and the index stays as it was."""
    ids, tokens, queries = ragged(4, n=60)
    index = build()
    index.add(ids, tokens)
    holed = tokens[0].copy()
    holed[0, 0] = np.nan
    wrong: dict[str, Callable[[], Any]] = {
        "an item without vectors": lambda: index.add(["a", "b"], [tokens[0], tokens[0][:0]]),
        "one vector in place of a matrix": lambda: index.add(["a"], [tokens[0][0]]),
        "items of two widths": lambda: index.add(["a", "b"], [tokens[0], tokens[1][:, :-1]]),
        "NaN in an item": lambda: index.add(["a", "b"], [tokens[1], holed]),
        "a query without vectors": lambda: index.search([queries[0][:0]], 3),
        "single vectors as queries": lambda: index.search(np.ones((2, DIM), np.float32), 3),
        "tokens of an unknown id": lambda: index.tokens(["nobody"]),
        "single vectors of items": lambda: index.vectors(ids[:1]),
    }
    for what, call in wrong.items():
        must_refuse(what, call)
    assert len(index) == len(ids), "a call that was refused changed the index"
    assert set(index.search(queries, K).ids.ravel().tolist()) <= set(ids), "a call that was refused left items behind"


def checks(share: float) -> list[Check]:
    """The checks for several vectors an item, with this share of the exact answer promised."""
    return [check_maxsim_of(share), check_order_of_tokens, check_tokens_kept, check_exact_oracle, check_bad_tokens]


def _singly(z: Any) -> list[np.ndarray]:
    return [np.asarray(row)[None] for row in z]
