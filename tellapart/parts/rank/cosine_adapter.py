"""A map of the cosine that depends on the query, and one threshold for all queries."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.banks import Vectors, candidates
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.hits import Hits
from tellapart.core.parts import part

_BOUND = 3.0
_TINY = 1e-6
_HELD_OUT = 0.3


@part(
    paper="Rossi et al., Relevance Filtering for Embedding-based Retrieval, CIKM 2024",
    place="retrieval",
    system="cosine-adapter",
    traits=("cutoff", "monotone", "pairs"),
)
class CosineAdapter:
    """Turns cosines into match probabilities that mean the same for every query, and cuts off below a threshold.

    Formula, with u = (1 + s) / 2 of the cosine s, and (o1, o2, o3) = W2 tanh(W1 q + b1) + b2 from the query:
        score(q, g) = sigmoid( a c ((u / c)^p - 1) / p ),  a = a0 exp(o1), p = exp(o2), c = c0 exp(w o3),
    a power map A u^p + B with A > 0 (p = 1 linear, p = 1/2 square root), zero at u = c and of slope a there. a0 and
    c0 are the logistic regression of relevance on u over all queries, w the relative spread of u; the network starts
    at o = 0. Trained with the logistic loss on every (query, candidate, relevant or not): the abstract and summaries
    of the paper do not name the loss, and this is what was taken. Three tenths of the queries are held out to stop
    the training and to set the threshold: the largest that keeps the share `recall` of the relevant ones among their
    `candidates` nearest documents.

    Use it where a search must be able to answer "nothing here". Fit it on queries that the encoder was not trained
    on: pairs seen in training lie too near. The order of the hits never changes.

    Relations: with `hidden=0` nothing depends on the query, which is Platt's scaling.

    Shapes: fit(queries [a, d], documents [b, d], pairs [p, 2] rows that belong together); rank(queries [n, d], hits).
    """

    def __init__(
        self,
        *,
        recall: Annotated[float, Field(gt=0, le=1)] = 0.95,
        candidates: Annotated[int, Field(ge=2, le=10_000)] = 100,
        hidden: Annotated[int, Field(ge=0, le=4096)] = 32,
        epochs: Annotated[int, Field(ge=1, le=10_000)] = 60,
        learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.01,
        weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.003,
        seed: Annotated[int, Field(ge=0, le=2147483647)] = 0,
    ) -> None:
        self.recall = recall
        self.candidates = candidates
        self.hidden = hidden
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.seed = seed

    def fit(
        self, queries: Any, documents: Any, *, query_ids: Any = None, ids: Any = None, pairs: Any = None
    ) -> CosineAdapter:
        """Learn the map and the threshold. Raises `DataError` for fewer than 10 queries with a pair."""
        z, rows, cosines, y = candidates(queries, documents, query_ids, ids, pairs, self.candidates, least=10)
        u = np.maximum((1 + cosines) / 2, _TINY)
        rng = np.random.default_rng(self.seed)
        kinds = rng.permutation(np.unique(rows[y])), rng.permutation(np.setdiff1d(rows, rows[y]))
        held = np.isin(rows, np.concatenate([kind[: round(_HELD_OUT * len(kind))] for kind in kinds]))
        self.slope_, self.centre_ = _logistic(u[~held], y[~held])
        self.spread_ = float(u[~held].std()) / self.centre_
        self.w1_, self.b1_ = rng.normal(size=(z.shape[1], self.hidden)), np.zeros(self.hidden)
        self.w2_, self.b2_ = np.zeros((self.hidden, 3)), np.zeros(3)
        if self.hidden:
            self._train(z, rows, u, y, held, rng)
        kept = np.sort(self._map(z, rows[held], u[held])[0][y[held]])
        self.threshold_ = float(_sigmoid(kept[int(np.floor((1 - self.recall) * len(kept)))]))
        return self

    def _train(self, z: Any, rows: Any, u: Any, y: Any, held: Any, rng: np.random.Generator) -> None:
        """Adam on batches of queries; keeps the epoch of the lowest held-out loss, the start included."""
        weights = [self.w1_, self.b1_, self.w2_, self.b2_]
        low, best = np.inf, [w.copy() for w in weights]
        moments = [(np.zeros_like(w), np.zeros_like(w)) for w in weights]
        where, step = {q: np.flatnonzero(rows == q) for q in np.unique(rows[~held])}, 0
        for epoch in range(self.epochs + 1):
            order = rng.permutation(list(where)) if epoch else []
            for start in range(0, len(order), 64):
                at, step = np.concatenate([where[q] for q in order[start : start + 64]]), step + 1
                for w, (m, v), g in zip(weights, moments, self._gradients(z, rows[at], u[at], y[at]), strict=True):
                    m += 0.1 * (g - m)
                    v += 0.01 * (g**2 - v)
                    move = m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)
                    w -= self.learning_rate * (move + self.weight_decay * w)
            loss = np.logaddexp(0, np.where(y[held], -1, 1) * self._map(z, rows[held], u[held])[0]).mean()
            if loss < low:
                low, best = loss, [w.copy() for w in weights]
        self.w1_, self.b1_, self.w2_, self.b2_ = best

    def _map(self, z: np.ndarray, rows: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, ...]:
        """The logits of pairs (row of z, u), and what their gradients need."""
        h = np.tanh(z @ self.w1_ + self.b1_)
        o = _BOUND * np.tanh((h @ self.w2_ + self.b2_) / _BOUND)
        centre = self.centre_ * np.exp(self.spread_ * o[rows, 2])
        ac, p, ratio = self.slope_ * np.exp(o[rows, 0]) * centre, np.exp(o[rows, 1]), u / centre
        return ac * (ratio**p - 1) / p, ac * ratio**p, np.log(ratio), h, o

    def _gradients(self, z: np.ndarray, rows: np.ndarray, u: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
        asked, of = np.unique(rows, return_inverse=True)
        logit, power, log, h, o = self._map(z[asked], of, u)
        by_pair = np.stack([logit, power * log - logit, self.spread_ * (logit - power)], axis=1)
        d_o = np.zeros_like(o)
        np.add.at(d_o, of, ((_sigmoid(logit) - y) / len(u))[:, None] * by_pair)
        d_o *= 1 - (o / _BOUND) ** 2
        d_h = d_o @ self.w2_.T * (1 - h**2)
        return z[asked].T @ d_h, d_h.sum(0), h.T @ d_o, d_o.sum(0)

    def rank(self, queries: Any, hits: Hits, vectors: Vectors | None = None) -> Hits:
        """The hits above the threshold, in the order they had. Raises `DataError` before `fit`."""
        if not hasattr(self, "threshold_"):
            raise DataError("cosine-adapter has not been fitted yet: call fit(queries, documents, pairs=...) first")
        z = unit_rows(matrix(queries, dim=len(self.w1_), what="queries"))
        if len(z) != len(hits):
            raise DataError(f"there are {len(z)} queries, but hits of {len(hits)}")
        row, column = np.nonzero(hits.ids != "")
        u = np.maximum((1 + hits.scores[row, column].astype(np.float64)) / 2, _TINY)
        out = np.full(hits.scores.shape, -np.inf)
        out[row, column] = _sigmoid(self._map(z, row, u)[0])
        return Hits.sorted(hits.ids, np.where(out >= self.threshold_, out, -np.inf), calls=hits.calls)


def _sigmoid(x: Any) -> Any:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _logistic(u: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope > 0 and centre > 0 of the logistic regression of y on u, by Newton's method on standardised u."""
    mean, sd = float(u.mean()), max(float(u.std()), 1e-6)
    x, w = np.stack([(u - mean) / sd, np.ones_like(u)], axis=1), np.array([1.0, 0.0])
    for _ in range(50):
        p = _sigmoid(x @ w)
        w -= np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x / len(y) + 1e-3 * np.eye(2), x.T @ (p - y) / len(y))
    slope = max(float(w[0]), 1e-3)
    return slope / sd, max(mean - sd * float(w[1]) / slope, 1e-3)
