"""None of these: a class known by its name alone has a second vector that says no to it."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.parts import part

_SEED = 0


@part(
    paper="Wang, Li, Yao, Li: CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No, ICCV 2023",
    place="detect",
    system="clipn",
    traits=("unknown", "names"),
    aliases=("none-of-these", "say-no"),
)
class Clipn:
    """Learns of pairs what says no to a text, then tells items that belong to none of some names.

    Formula: x items and t texts of one space, both of unit length. A `no` head gives every text a second vector
        n(t) = unit(t + B relu(A t + a) + b),  B = b = 0 at the start: a copy of the text that says yes,
        p_no(x, t) = exp(x.n / temperature) / (exp(x.t / temperature) + exp(x.n / temperature)).
    Trained on batches of pairs (x_i, t_i), texts and items being frozen, with half of the sum of
        mean_i -log(1 - p_no(x_i, t_i)) + mean_(i != j) -log p_no(x_i, t_j)          binary opposite
        mean_i 2 - sqrt(2 - 2 t_i.n_i + 1e-4)                                        semantic opposite
    where a text that stands with several items of a batch is no mismatch of any of them. With names c and p_yes the
    softmax of x.t_c / temperature over them:
        agreeing to differ:  p_none = 1 - sum_c (1 - p_no(x, c)) p_yes(x, c), unknown where it exceeds every term
        competing to win:    p_no of the name of the largest p_yes, unknown above 1/2
    The score is p_none, `competing` gives the other; both decide without a threshold. Higher = more unknown.

    Losses, weight and rules are those of the authors' code. There the head is a whole text encoder with learnt prompts
    ("a photo without ..."), trained on three million pairs; here a hidden layer above the text side of a trained run.

    Use it where classes have names and no items; where they have items, `knn` or `hvcm`.
    Relations: the largest softmax over the names is MCM, the baseline; `max-softmax` asks a classifier of labels.

    Shapes: fit(x [n, d] items, y [n, d] vectors of their texts, names [c, d]); score(x [m, d]) -> [m] float32 in 0..1.
    """

    def __init__(
        self,
        *,
        temperature: Annotated[float, Field(gt=0, le=10)] = 0.05,
        hidden: Annotated[int, Field(ge=1, le=4096)] = 128,
        steps: Annotated[int, Field(ge=1, le=100_000)] = 300,
        batch_size: Annotated[int, Field(ge=2, le=8192)] = 128,
        learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.003,
    ) -> None:
        self.temperature = temperature
        self.hidden = hidden
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate

    def fit(self, x: Any, y: Any = None, *, names: Any = None) -> Clipn:
        """Learn to say no. Raises `DataError` without texts or names, and where all texts are the same."""
        if y is None or names is None:
            raise DataError("clipn needs the texts of the items and names: fit(x, texts, names=), or use knn")
        x = unit_rows(matrix(x))
        y = unit_rows(matrix(y, dim=x.shape[1], what="texts"))
        if len(y) != len(x):
            raise DataError(f"one text an item is needed: {len(x)} items, {len(y)} texts")
        code = np.unique(y, axis=0, return_inverse=True)[1]
        if not code.any():
            raise DataError("all items have the same text: what says no is learnt of texts that differ")
        rng, width, h = np.random.default_rng(_SEED), x.shape[1], self.hidden
        weights = [rng.normal(size=(width, h)) / np.sqrt(width), np.zeros(h), np.zeros((h, width)), np.zeros(width)]
        self._train(x, y, code.reshape(-1), weights, rng)
        self.weights_ = weights
        return self.named(names)

    def named(self, names: Any) -> Clipn:
        """Ask for other names [c, d], with what was learnt. Raises `DataError` for fewer than two."""
        self.names_ = unit_rows(matrix(names, dim=len(self.weights_[0]), what="names"))
        if len(self.names_) < 2:
            raise DataError("one name cannot be told from others: give two or more")
        self.no_ = _head(self.names_, self.weights_)[0]
        return self

    def _train(self, x: Any, y: Any, code: Any, weights: list[np.ndarray], rng: np.random.Generator) -> None:
        """Adam on batches of pairs; a batch in which no text mismatches an item is left out."""
        moments = [(np.zeros_like(w), np.zeros_like(w)) for w in weights]
        for step in range(1, self.steps + 1):
            rows = rng.permutation(len(x))[: self.batch_size]
            if (code[rows] == code[rows[0]]).all():
                continue
            for w, (m, v), g in zip(
                weights, moments, self.losses(x[rows], y[rows], code[rows], weights)[1], strict=True
            ):
                m += 0.1 * (g - m)
                v += 0.001 * (g**2 - v)
                w -= self.learning_rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)

    def losses(self, x: np.ndarray, y: np.ndarray, code: np.ndarray, weights: Any) -> tuple[float, list[np.ndarray]]:
        """(loss, its gradients by A, a, B, b) of unit pairs; texts of one code are equal."""
        n, (no, length, hidden) = len(x), _head(y, weights)
        own, other = np.eye(n, dtype=bool), code[:, None] != code
        lead = x @ (no - y).T / self.temperature
        p, mismatches = _sigmoid(lead), int(other.sum())
        apart = np.sqrt(2 - 2 * (y * no).sum(axis=1) + 1e-4)
        loss = np.logaddexp(0, lead[own]).mean() + np.logaddexp(0, -lead[other]).mean() + (2 - apart).mean()
        d_lead = 0.5 * (own * p / n - other * (1 - p) / mismatches)
        d_no = d_lead.T @ x / self.temperature + 0.5 * y / apart[:, None] / n
        d_u = (d_no - (d_no * no).sum(axis=1, keepdims=True) * no) / length
        d_h = d_u @ weights[2].T * (hidden > 0)
        return float(loss) / 2, [y.T @ d_h, d_h.sum(axis=0), hidden.T @ d_u, d_u.sum(axis=0)]

    def _terms(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """[m, names] p_yes, and p_no."""
        if not hasattr(self, "no_"):
            raise DataError("clipn has not been fitted yet: call fit(x, texts, names=) first")
        x = unit_rows(matrix(x, dim=self.names_.shape[1]))
        yes = x @ self.names_.T / self.temperature
        p = np.exp(yes - yes.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True), _sigmoid(x @ (self.no_ - self.names_).T / self.temperature)

    def score(self, x: Any) -> np.ndarray:
        """[m] float32 p_none."""
        p, no = self._terms(x)
        return (1 - ((1 - no) * p).sum(axis=1)).astype(np.float32)

    def competing(self, x: Any) -> np.ndarray:
        """[m] float32 p_no of the likeliest name; above 1/2 is unknown."""
        p, no = self._terms(x)
        return no[np.arange(len(p)), p.argmax(axis=1)].astype(np.float32)

    def unknown(self, x: Any) -> np.ndarray:
        """[m] bool, without a threshold: whether p_none exceeds what each name agrees to."""
        p, no = self._terms(x)
        return np.asarray(1 - ((1 - no) * p).sum(axis=1) > ((1 - no) * p).max(axis=1))


def _head(t: np.ndarray, weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n(t), its length before it was 1, and the hidden layer."""
    hidden = np.maximum(t @ weights[0] + weights[1], 0)
    u = t + hidden @ weights[2] + weights[3]
    length = np.linalg.norm(u, axis=1, keepdims=True)
    return u / length, length, hidden


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))
