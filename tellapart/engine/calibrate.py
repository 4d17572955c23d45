"""A score that means something: the probability of a match, and from which score on there is one at all.

Fitted on held-out pairs, never on those that were trained on. Plain numbers in JSON; using it needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.needs import require

Method = Literal["platt", "isotonic"]
STEPS = 100


@dataclass(frozen=True)
class Calibration:
    """From a score to the probability that it is a match.

    Attributes:
        method: "platt" (a logistic curve in the score) or "isotonic" (rising steps, joined by lines).
        x, y: for Platt x = [slope, offset] and y is empty; for isotonic the points of the curve.
        count, matches: pairs it was fitted on, and how many of them match.
    """

    method: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    count: int
    matches: int

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """Float64 in (0, 1), of the shape of the scores; -inf (nothing found) is 0."""
        s = np.asarray(scores, np.float64)
        if np.isnan(s).any():
            raise DataError("a score is not a number")
        if self.method == "platt":
            slope, offset = self.x
            with np.errstate(over="ignore"):
                p = 1 / (1 + np.exp(-(slope * np.where(np.isneginf(s), 0, s) + offset)))
        else:
            p = np.interp(s, self.x, self.y)
        return np.where(np.isneginf(s), 0.0, p)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON takes it."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Calibration:
        """What `to_dict` gave, checked."""
        try:
            found = Calibration(
                str(data["method"]),
                tuple(float(v) for v in data["x"]),
                tuple(float(v) for v in data["y"]),
                int(data["count"]),
                int(data["matches"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is no calibration: {error}") from None
        shapes = {"platt": len(found.x) == 2 and not found.y, "isotonic": len(found.x) == len(found.y) > 0}
        if not shapes.get(found.method) or not np.isfinite([*found.x, *found.y]).all():
            raise DataError("this is no calibration: its curve is not complete")
        return found


@dataclass(frozen=True)
class Threshold:
    """From which score on there is a match; below, the answer is "nothing here".

    Attributes:
        value: answer when the score is at least this.
        precision, recall: what it reached on the pairs it was chosen on: right among answers, and among matches.
        reached: whether the precision or recall that was asked for was reached.
        count: pairs it was chosen on.
    """

    value: float
    precision: float
    recall: float
    reached: bool
    count: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON takes it."""
        return asdict(self)


def fit(scores: np.ndarray, matches: np.ndarray, *, method: Method = "platt") -> Calibration:
    """Fit the curve on held-out pairs.

    "platt" (Platt, Advances in Large Margin Classifiers, 1999, with his targets (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2))
    has two numbers and does with a few dozen pairs; "isotonic" (Zadrozny and Elkan, KDD 2002) takes any rising curve
    and wants about a thousand.

    Args:
        scores: [n] cosines, higher is nearer.
        matches: [n] bool.

    Raises:
        DataError: not both kinds, or scores that are not finite.
        MissingExtraError: "isotonic" fits with scikit-learn.
    """
    s, m = _pairs(scores, matches)
    if method == "platt":
        return Calibration("platt", _logistic(s, m), (), len(s), int(m.sum()))
    if method != "isotonic":
        raise DataError(f"method={method!r}: choose platt or isotonic")
    isotonic = require("sklearn.isotonic", "isotonic calibration").IsotonicRegression(out_of_bounds="clip")
    isotonic.fit(s, m.astype(np.float64))
    x, y = isotonic.X_thresholds_, isotonic.y_thresholds_
    return Calibration("isotonic", tuple(map(float, x)), tuple(map(float, y)), len(s), int(m.sum()))


def threshold(
    scores: np.ndarray, matches: np.ndarray, *, precision: float | None = None, recall: float | None = None
) -> Threshold:
    """The score from which on to answer, chosen on held-out pairs: one of the two is asked for.

    With `precision`, the lowest threshold at which at least this share of the answers is right (so that most are
    given); with `recall`, the highest at which at least this share of the matches is answered. Where a precision cannot
    be reached, the threshold of the best precision is given, with `reached` false.
    """
    if (precision is None) == (recall is None):
        raise DataError("ask for a precision or for a recall")
    wanted = precision if precision is not None else recall
    if wanted is None or not 0 < wanted <= 1:
        raise DataError(f"{wanted} is no share: precision and recall are above 0 and at most 1")
    s, m = _pairs(scores, matches)
    order = np.argsort(-s, kind="stable")
    last = np.append(np.flatnonzero(np.diff(s[order])), len(s) - 1)
    right = np.cumsum(m[order])[last]
    precisions, recalls = right / (last + 1), right / m.sum()
    if recall is not None:
        place, reached = int(np.argmax(recalls >= recall)), True
    else:
        enough = np.flatnonzero(precisions >= wanted)
        reached = len(enough) > 0
        place = int(enough[-1]) if reached else int(len(precisions) - 1 - np.argmax(precisions[::-1]))
    value = float(s[order][last[place]])
    return Threshold(value, float(precisions[place]), float(recalls[place]), reached, len(s))


def calibration_error(probabilities: np.ndarray, matches: np.ndarray, *, bins: int = 10) -> float:
    """Expected calibration error: mean distance of probability and share of matches over bins of equal counts."""
    p, m = np.asarray(probabilities, np.float64).ravel(), np.asarray(matches, bool).ravel()
    if len(p) != len(m) or not len(p):
        raise DataError(f"{len(p)} probabilities do not fit {len(m)} marks")
    groups = np.array_split(np.argsort(p, kind="stable"), min(bins, len(p)))
    return float(sum(len(g) * abs(p[g].mean() - m[g].mean()) for g in groups) / len(p))


def _pairs(scores: np.ndarray, matches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    s, m = np.asarray(scores, np.float64).ravel(), np.asarray(matches, bool).ravel()
    if len(s) != len(m):
        raise DataError(f"{len(s)} scores do not fit {len(m)} marks")
    if not np.isfinite(s).all():
        raise DataError("a score is not finite")
    if m.all() or not m.any():
        raise DataError("calibration needs held-out pairs that match and pairs that do not: one kind is missing")
    return s, m


def _logistic(s: np.ndarray, m: np.ndarray) -> tuple[float, float]:
    """Newton's method on Platt's likelihood, in standardised scores; slope and offset for the scores as they are."""
    positive = int(m.sum())
    target = np.where(m, (positive + 1) / (positive + 2), 1 / (len(m) - positive + 2))
    middle, spread = float(s.mean()), float(s.std()) or 1.0
    x = np.stack([(s - middle) / spread, np.ones(len(s))], 1)
    weight = np.asarray([0.0, np.log((positive + 1) / (len(m) - positive + 1))])

    def loss(w: np.ndarray) -> float:
        z = x @ w
        return float((np.logaddexp(0, z) - target * z).sum())

    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ weight, -500, 500)))
        gradient = x.T @ (p - target)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-10 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-10 and loss(weight - size * step) > loss(weight):
            size /= 2
        weight = weight - size * step
        if np.abs(size * step).max() < 1e-10:
            break
    slope = float(weight[0] / spread)
    return slope, float(weight[1] - slope * middle)
