"""What `diffusionret` and `attention-reranker` share: a network that looks at a query and its candidates together.

It is written once for arrays of numpy and tensors of torch (`xp` is either module): fitting needs torch, ranking none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from tellapart.core.banks import Vectors, bank, distinct, pairs_of
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.hits import Hits
from tellapart.core.needs import require

Weights = dict[str, Any]
QUERIES_A_BLOCK = 256
LEAST = 10
NOWHERE = -1e9


def shapes(width: int) -> dict[str, tuple[int, ...]]:
    """The arrays of a denoiser of vectors [.., width], by name; `_b` are added."""
    square, wide = (width, width), (2 * width, 2 * width)
    own = {"query": square, "key": square, "value": square, "out": square, "out_b": (width,)}
    time = {"time": square, "time_b": (width,), "step": square, "step_b": (width,)}
    return own | time | {"hidden": wide, "hidden_b": (2 * width,), "last": (1, 2 * width), "last_b": (1,)}


def denoise(xp: Any, w: Weights, x: Any, time: Any, q: Any, k: Any, there: Any) -> Any:
    """[b, n] what each candidate is worth, from noisy worths x [b, n] at times [b, d].

    c = W_step silu(W_time time + b) + b;  a = softmax_j( W_q (q + c) . W_k (k_j + c) + x_j );
    m = W_out sum_j a_j W_v (k_j + c) + b;  worth_j = W_last relu(W_hidden [m; k_j] + b) + b + a_j.

    Args:
        q: [b, d] queries; k: [b, n, d] candidates; there: [b, n] 1 where there is one, 0 for filling.
    """
    inner = time @ w["time"].T + w["time_b"]
    c = (inner / (1 + xp.exp(-inner))) @ w["step"].T + w["step_b"]
    moved = k + c[:, None]
    scores = xp.einsum("bd,bnd->bn", (q + c) @ w["query"].T, moved @ w["key"].T) + x
    a = softmax(xp, scores + NOWHERE * (1 - there))
    mixed = xp.einsum("bn,bnd->bd", a, moved @ w["value"].T) @ w["out"].T + w["out_b"]
    both = xp.concatenate([mixed[:, None] + 0 * k, k], 2)
    hidden = xp.clip(both @ w["hidden"].T + w["hidden_b"], 0, None)
    return (hidden @ w["last"].T)[..., 0] + w["last_b"] + a


def softmax(xp: Any, scores: Any) -> Any:
    """[b, n] over the last axis."""
    raised = xp.exp(scores - xp.amax(scores, 1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def at_time(step: np.ndarray, width: int) -> np.ndarray:
    """[b, width] sines and cosines of the numbers of steps [b]."""
    speed = np.exp(np.arange(0, width, 2) * (-np.log(10_000.0) / width))
    angle = np.asarray(step, np.float64)[:, None] * speed
    return np.stack([np.sin(angle), np.cos(angle)], 2).reshape(len(angle), -1)[:, :width].astype(np.float32)


class Reranker(ABC):
    """Adds to the cosines of the best `candidates` hits what a network makes of them together.

    A part says how it learns (`_loss`) and what it adds (`_worth`).
    """

    candidates: int
    weight: float
    epochs: int
    learning_rate: float
    seed: int

    @abstractmethod
    def _loss(self, w: Weights, q: Any, k: Any, there: Any, draw: Any) -> Any:
        """The loss of queries [b, d] whose first candidate [b, n, d] is the right one, in torch."""

    @abstractmethod
    def _worth(self, w: Weights, q: np.ndarray, k: np.ndarray, there: np.ndarray) -> np.ndarray:
        """[b, n] what is added to the cosines, between 0 and 1."""

    def fit(self, queries: Any, documents: Any, *, query_ids: Any = None, ids: Any = None, pairs: Any = None) -> Any:
        """Learn from pairs [p, 2] of rows that belong together, each with the hardest wrong documents of its query.

        Raises:
            DataError: vectors, ids or pairs that cannot be used, or fewer than 10 pairs.
        """
        torch = require("torch", f"fitting {type(self).__name__}")
        z, keys, right, wrong = _hardest(queries, documents, query_ids, ids, pairs, self.candidates - 1)
        draw = torch.Generator().manual_seed(self.seed)
        w = {
            name: torch.randn(shape, generator=draw) * (0 if name.endswith("_b") else shape[-1] ** -0.5)
            for name, shape in shapes(z.shape[1]).items()
        }
        for value in w.values():
            value.requires_grad_()
        optimiser = torch.optim.Adam(list(w.values()), self.learning_rate)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(right), generator=draw).split(64):
                asked, among = right[rows.numpy()], wrong[rows.numpy()]
                chosen = np.concatenate([asked[:, 1:], among], 1)
                there = torch.from_numpy((chosen >= 0).astype(np.float32))
                loss = self._loss(w, torch.from_numpy(z[asked[:, 0]]), torch.from_numpy(keys[chosen]), there, draw)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        for name, value in w.items():
            setattr(self, f"{name}_", value.detach().numpy())
        self.noise_ = torch.randn(self.candidates, generator=draw).numpy()
        return self

    def rank(self, queries: Any, hits: Hits, vectors: Vectors) -> Hits:
        """The hits in their new order; those beyond the best `candidates` stay below. `DataError` before `fit`."""
        name = type(self).__name__
        if not hasattr(self, "query_"):
            raise DataError(f"{name} has not been fitted yet: call fit(queries, documents, pairs=...) first")
        width = len(self.query_)
        z = unit_rows(matrix(queries, dim=width, what="queries")).astype(np.float32)
        best = Hits(hits.ids[:, : self.candidates], hits.scores[:, : self.candidates], hits.calls)
        _, keys, place = distinct(queries, best, vectors, width)
        w, added = {n: getattr(self, f"{n}_") for n in shapes(width)}, np.zeros(hits.scores.shape, np.float32)
        there = (best.ids != "").astype(np.float32)
        some = np.flatnonzero(there.any(1))
        for start in range(0, len(some), QUERIES_A_BLOCK):
            rows = some[start : start + QUERIES_A_BLOCK]
            worth = self._worth(w, z[rows], keys[place[rows]], there[rows])
            added[rows, : worth.shape[1]] = self.weight * worth * there[rows]
        return Hits.sorted(hits.ids, hits.scores + added, calls=hits.calls)


def _hardest(
    queries: Any, documents: Any, query_ids: Any, ids: Any, pairs: Any, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Unit queries and documents, the pairs [p, 2], and [p, k] the wrong documents nearest to the query, -1 filling."""
    z, names = bank(queries, query_ids, what="queries")
    keys, key_ids = bank(documents, ids, what="documents")
    matrix(keys, dim=z.shape[1], what="documents")
    right = pairs_of(pairs, len(z), len(keys))
    if len(right) < LEAST:
        raise DataError(f"at least {LEAST} pairs are needed to learn an order from, not {len(right)}: give more")
    wrong = np.full((len(right), k), -1, np.int64)
    for query in np.unique(right[:, 0]):
        of = right[:, 0] == query
        scores = keys @ z[query]
        scores[right[of, 1]] = -np.inf
        scores[(key_ids == names[query]) & (key_ids != "")] = -np.inf
        at = np.argsort(-scores, kind="stable")[:k]
        at = at[np.isfinite(scores[at])]
        wrong[np.ix_(of, np.arange(len(at)))] = at
    if (wrong < 0).all():
        raise DataError("no document is wrong for any query: there is nothing to tell apart")
    return z, keys, right, wrong
