"""A score from comparisons with anchors: a comparator says five levels, and all it says becomes one number."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.parts import part
from tellapart.core.thurstone import scores_of
from tellapart.parts.score._graded import Axes, grades

WEIGHTS = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
_BLOCK = 256


@part(
    paper="Zhu et al., Adaptive Image Quality Assessment via Teaching Large Multimodal Model to Compare, NeurIPS 2024",
    place="evaluate",
    system="compare2score",
    traits=("grades",),
    needs=("sklearn", "scipy"),
)
class Compare2score:
    """How good an item is, of how it compares with a few anchors of known grade.

    Formula:
        level(i, j)  inferior, worse, similar, better, superior: (y_i - y_j) / (step sd(y)) cut at -2, -1, 1, 2
        p            a network's softmax over the five levels, of both items' features and their difference
        P(i > j)   = sum_l w_l p_l, w = 0, .25, .5, .75, 1, mean of both orders (the soft comparison)
        score(x)   = q_x of argmax sum_ij P_ij log Phi(q_i - q_j) - sum_i q_i^2 / 2 over x and the anchors
    the maximum a posteriori of Thurstone's Case V (`core.thurstone`). Higher = better, as y says.

    What was changed: the comparator is a small network on frozen features in place of a tuned language model, so
    sigma is `step` times the spread of the grades in place of what raters disagree by, and anchors lie at even shares
    of the grades, where the paper takes those that raters agreed on most. Grades of several sources may be compared
    within each alone before they are given, which is what the paper gains from comparing; here they are one scale.

    Use it where grades are relative or come from few items, and what is graded next is of other kinds; where a plain
    regression is good (`ridge-grades`), it costs as many comparisons as there are anchors and gives no more:
    `tellapart grade DATA --by COLUMN --part compare2score` compares the two on your own grades.

    Args:
        anchors: how many items each is compared with; pairs: that the comparator is trained on.
        step: width of a level, in standard deviations of the grades.
        dim: principal axes of the features that are looked at; hidden: units of the network.

    Relations: `q-eval` reads a grade off five words in one go. `wins(x)` gives the matrices that scores come from.

    Shapes: x [n, d], y [n] numbers; score [n] float32.
    """

    def __init__(
        self,
        *,
        anchors: Annotated[int, Field(ge=1, le=100)] = 10,
        pairs: Annotated[int, Field(ge=100, le=100_000)] = 2000,
        step: Annotated[float, Field(gt=0, le=3)] = 0.5,
        dim: Annotated[int, Field(ge=1, le=1024)] = 32,
        hidden: Annotated[int, Field(ge=1, le=1024)] = 64,
        seed: int = 0,
    ) -> None:
        self.anchors = anchors
        self.pairs = pairs
        self.step = step
        self.dim = dim
        self.hidden = hidden
        self.seed = seed

    def fit(self, x: Any, y: Any = None) -> Compare2score:
        """Train the comparator on pairs of graded items. Raises `DataError` without grades."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        given, y = grades(x, y, "compare2score")
        self.axes_ = Axes.of(given, self.dim)
        z, rng = self.axes_(given), np.random.default_rng(self.seed)
        a, b = rng.integers(0, len(z), (2, self.pairs))
        level = np.digitize((y[a] - y[b]) / (self.step * y.std()), [-2.0, -1.0, 1.0, 2.0])
        # Both orders of a pair are trained on, with the levels turned round.
        both, told = _pair(np.concatenate([z[a], z[b]]), np.concatenate([z[b], z[a]])), np.r_[level, 4 - level]
        net = MLPClassifier(
            hidden_layer_sizes=(self.hidden,), max_iter=12, alpha=1e-3, early_stopping=False, random_state=self.seed
        )
        net.n_iter_no_change = 1000
        with warnings.catch_warnings():
            # It stops after so many rounds on purpose.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.net_ = net.fit(both, told)
        order = np.argsort(y, kind="stable")
        count = min(self.anchors, len(y))
        self.at_ = order[((np.arange(count) + 0.5) / count * len(y)).astype(int)]
        self.anchor_ = z[self.at_]
        self.among_ = np.stack([self._preferred(np.repeat(row[None], count, axis=0), self.anchor_)
                                for row in self.anchor_])  # fmt: skip
        return self

    def wins(self, x: Any) -> np.ndarray:
        """[n, anchors + 1, anchors + 1] how likely each is preferred to each; the item is the last."""
        if not hasattr(self, "net_"):
            raise DataError("compare2score has not been fitted yet: call fit(x, y) first")
        z, count = self.axes_(x), len(self.anchor_)
        rows, columns = np.repeat(z, count, axis=0), np.tile(self.anchor_, (len(z), 1))
        against = self._preferred(rows, columns).reshape(len(z), count)
        out = np.full((len(z), count + 1, count + 1), 0.5)
        out[:, :count, :count] = self.among_
        out[:, count, :count], out[:, :count, count] = against, 1 - against
        return out

    def score(self, x: Any) -> np.ndarray:
        """[n] float32, higher = better."""
        wins = self.wins(x)
        blocks = [scores_of(wins[i : i + _BLOCK])[:, -1] for i in range(0, len(wins), _BLOCK)]
        return np.concatenate(blocks).astype(np.float32)

    def _preferred(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """[n] P(a > b), the mean of what is said in both orders."""
        one, other = (self._soft(_pair(*sides)) for sides in ((a, b), (b, a)))
        return (one + 1 - other) / 2

    def _soft(self, pairs: np.ndarray) -> np.ndarray:
        said: np.ndarray = self.net_.predict_proba(pairs) @ WEIGHTS[self.net_.classes_]
        return said


def _pair(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.concatenate([a - b, a, b], axis=1)
