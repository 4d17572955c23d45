"""A grade as one of five words, and the number that their probabilities make."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import softmax
from tellapart.core.parts import part
from tellapart.parts.score._graded import Axes, grades

WORDS = ("bad", "poor", "fair", "good", "excellent")
WEIGHTS = np.array([0.0, 0.25, 0.5, 0.75, 1.0])


@part(
    paper="Zhang et al., Q-Eval-100K: Evaluating Visual Quality and Alignment Level for Text-to-Vision, CVPR 2025",
    place="evaluate",
    system="q-eval",
    traits=("grades",),
    needs=("scipy",),
    aliases=("ordinal-words",),
)
class QEval:
    """How good an item is: the expected value of a word from bad to excellent.

    Formula:
        word(y)  = the fifth of the range of the grades that y lies in
        p        = softmax(W z + b), z the principal axes of the features
        score(x) = 0 p_bad + .25 p_poor + .5 p_fair + .75 p_good + 1 p_excellent
        loss     = mean(-log p_word(y)) + mse mean((score - (y - min) / (max - min))^2) + decay |W|^2 / 2
    Higher = better, as y says; between 0 and 1.

    What was taken: the words and weights, which are those of the published code. There the words are a language
    model's next token; here a linear softmax on frozen features says them. The term of squared errors is said of the
    paper, not checked: `mse=0` leaves it out. Long prompts and their parts are left out, as there are no prompts.

    Use it where people graded in words, or where a word is wanted that can be told to others: `words(x)`. With fewer
    than some 200 grades take a `dim` of 8 or so and a larger `decay`: as many axes as items are learnt by heart.
    `tellapart grade DATA --by COLUMN --part q-eval` says how well it does on your own grades.

    Relations: `compare2score` compares with anchors instead; `ridge-grades`, a regression, gives no words.

    Shapes: x [n, d], y [n] numbers; score [n] float32.
    """

    def __init__(
        self,
        *,
        mse: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        decay: Annotated[float, Field(gt=0, le=100)] = 1e-3,
        dim: Annotated[int, Field(ge=1, le=1024)] = 64,
    ) -> None:
        self.mse = mse
        self.decay = decay
        self.dim = dim

    def fit(self, x: Any, y: Any = None) -> QEval:
        """Learn the words of grades. Raises `DataError` without grades."""
        from scipy.optimize import minimize

        given, y = grades(x, y, "q-eval")
        self.axes_ = Axes.of(given, self.dim)
        z = self.axes_(given)
        share = (y - y.min()) / (y.max() - y.min())
        word = np.eye(len(WORDS))[np.minimum((share * len(WORDS)).astype(int), len(WORDS) - 1)]
        n, d = z.shape
        one = np.concatenate([z, np.ones((n, 1))], axis=1)

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            w = flat.reshape(d + 1, len(WORDS))
            p = softmax(one @ w)
            said = p @ WEIGHTS
            off = said - share
            value = -float(np.log((p * word).sum(axis=1) + 1e-300).mean()) + self.mse * float((off**2).mean())
            slope = (p - word) / n + 2 * self.mse / n * off[:, None] * p * (WEIGHTS - said[:, None])
            gradient = one.T @ slope
            gradient[:-1] += self.decay * w[:-1]
            return value + self.decay * float((w[:-1] ** 2).sum()) / 2, gradient.ravel()

        start = np.zeros((d + 1) * len(WORDS))
        self.weight_ = minimize(loss, start, jac=True, method="L-BFGS-B").x.reshape(d + 1, len(WORDS))
        return self

    def probabilities(self, x: Any) -> np.ndarray:
        """[n, 5] float64 of the words from bad to excellent; rows sum to 1."""
        if not hasattr(self, "weight_"):
            raise DataError("q-eval has not been fitted yet: call fit(x, y) first")
        return softmax(self.axes_(x) @ self.weight_[:-1] + self.weight_[-1])

    def words(self, x: Any) -> np.ndarray:
        """[n] the likeliest word."""
        return np.array(WORDS)[self.probabilities(x).argmax(axis=1)]

    def score(self, x: Any) -> np.ndarray:
        """[n] float32 between 0 and 1, higher = better."""
        return np.asarray(self.probabilities(x) @ WEIGHTS, np.float32)
