"""Budgets over source tasks, by relevance to a target with few labels, on digits under corruptions.

Each of 16 ways to look (plain and 15 corruptions of scikit-learn's digits) has 10 tasks: to tell one digit from the
others. A seed draws one way for the test and another one to tune on; its 10 tasks are targets, and those of the 15
other ways are 150 sources. Images of sources and of targets are two halves of the data. A target has 20 labels, half of
them of its digit.

All are given the same: equally many labels of every source (`explore`), and as many again as `budget` says. The shared
representation of rank `dim` is fitted on all of them, and a ridge regression in it on the target's labels. The first
labels also tell heads of all sources and of the target. Then the budget is spent

- uniform: equally (the baseline);
- nu^2: in proportion to the squares of what least squares with a ridge say of the target's head;
- L1: in proportion to the size of the part's `relevance`.

Metrics: `error`, the mean of both kinds of mistakes on all other target images, over the 10 targets, uniform against
L1; the same against nu^2; and `sources used`, those that get some of the budget, nu^2 against L1.
The ridge of the last regression (all), that of the least squares (nu^2) and the penalty (L1) are chosen on the targets
to tune on, by their error there.

Options (`[options]` of the spec):
    explore, budget: labels of each source (10) and of all (1500). part: further options of the part.
    penalty, ridge, last: the three grids, of which the first two are of one length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.core.tasks import Shared, budgets, shared
from tellapart.protocol import _sets

LOWER_IS_BETTER = ("error", "sources used")
LABELS, SIDE, DIGITS = 20, 8, 10


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one seed."""
    if spec["baseline"] != "uniform" or data != "digits":
        raise DataError(f"on digits, budgets are compared with uniform, not on {data} with {spec['baseline']}")
    world = World(spec, _sets.load(data), np.random.default_rng(np.random.SeedSequence([seed, 21])))
    tune, test = world.rng.permutation(len(world.ways))[:2]
    tuned = world.errors(int(tune), world.arms())
    best = {}
    for kind in ("uniform", "nu^2", "L1"):
        best[kind] = min((found[0], arm) for arm, found in tuned.items() if arm[0] == kind)[1]
    found = world.errors(int(test), sorted(best.values()))
    (uniform, _), (square, many), (one, few) = (found[best[kind]] for kind in ("uniform", "nu^2", "L1"))
    return {"error": (uniform, one), "error, against nu^2": (square, one), "sources used, against nu^2": (many, few)}


@dataclass
class World:
    """Tasks of one seed."""

    spec: dict[str, Any]
    digits: _sets.Labelled
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.options = self.spec["options"]
        self.part = make("score", self.spec["part"], **self.options.get("part", {}))
        self.ways = corrupted(self.digits.x.astype(float), self.rng)
        half = self.rng.permutation(len(self.digits.y))
        self.sources, self.targets = np.array_split(half, 2)
        y = self.digits.y[self.sources]
        self.of = [(self.sources[y == d], self.sources[y != d]) for d in range(DIGITS)]

    def arms(self) -> list[tuple[str, float, float]]:
        """(way to spend, its own option, the last ridge) of all that is tried."""
        own = {"uniform": [0.0], "nu^2": self.options["ridge"], "L1": self.options["penalty"]}
        return [(kind, value, last) for kind, grid in own.items() for value in grid for last in self.options["last"]]

    def errors(self, way: int, arms: list[tuple[str, float, float]]) -> dict[tuple[str, float, float], Any]:
        """(mean error, mean number of sources used) of each arm, over the targets that look in this way."""
        tasks = [(w, d) for w in range(len(self.ways)) if w != way for d in range(DIGITS)]
        first = self.drawn(tasks, np.full(len(tasks), self.options.get("explore", 10)))
        before = self.learnt(first, len(tasks))
        found: dict[tuple[str, float, float], list[tuple[float, float]]] = {arm: [] for arm in arms}
        for digit in range(DIGITS):
            y = np.where(self.digits.y[self.targets] == digit, 1.0, -1.0)
            order = self.rng.permutation(len(y))
            train = np.concatenate([order[y[order] == sign][: LABELS // 2] for sign in (1.0, -1.0)])
            test = np.setdiff1d(order, train)
            x = self.ways[way][self.targets]
            head = before.basis.T @ ((x[train] - before.mean).T @ y[train] / LABELS)
            for kind, value in sorted({arm[:2] for arm in arms}):
                n = budgets(self.weights(kind, value, before, head), self.options.get("budget", 1500), _enough(tasks))
                more = self.drawn(tasks, n)
                both = tuple(np.concatenate(pair) for pair in zip(first, more, strict=True))
                z = self.learnt(both, len(tasks)).project(x)
                for arm in (each for each in arms if each[:2] == (kind, value)):
                    said = regressed(z[train], y[train], z[test], arm[2])
                    wrong = [float(((said > 0) != (sign > 0))[y[test] == sign].mean()) for sign in (1.0, -1.0)]
                    found[arm].append((float(np.mean(wrong)), float((n > 0).sum())))
        return {arm: tuple(np.mean(values, axis=0).tolist()) for arm, values in found.items()}

    def weights(self, kind: str, value: float, before: Shared, head: np.ndarray) -> np.ndarray:
        """[tasks] in proportion to which the budget is spent."""
        heads = before.heads
        if kind == "uniform":
            return np.ones(heads.shape[1])
        if kind == "nu^2":
            gram = heads @ heads.T
            ridge = value * float(np.trace(gram)) / len(gram) * np.eye(len(gram))
            square: np.ndarray = (heads.T @ np.linalg.solve(gram + ridge, head)) ** 2
            return square
        spec = self.options.get("part", {}) | {"penalty": value}
        found: np.ndarray = np.abs(make("score", self.spec["part"], **spec).relevance(heads, head))
        return found

    def drawn(self, tasks: list[tuple[int, int]], n: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features, labels of both signs, and the task of each, for n items of each task, drawn with replacement."""
        x, y = [np.zeros((0, SIDE * SIDE))], [np.zeros(0)]
        for (way, digit), size in zip(tasks, n.tolist(), strict=True):
            for sign, rows, count in zip((1.0, -1.0), self.of[digit], (size - size // 2, size // 2), strict=True):
                x.append(self.ways[way][rows[self.rng.integers(0, len(rows), count)]])
                y.append(np.full(count, sign))
        return np.concatenate(x), np.concatenate(y), np.repeat(np.arange(len(tasks)), n)

    def learnt(self, labels: tuple[np.ndarray, ...], tasks: int) -> Shared:
        """The shared representation and the heads of the tasks."""
        x, y, task = labels
        mean, count = x.mean(axis=0), np.bincount(task, minlength=tasks)
        of = np.zeros((tasks, len(x)))
        of[task, np.arange(len(x))] = y
        moments = (of @ (x - mean)).T / count
        covariance = (x - mean).T @ (x - mean) / len(x)
        return shared(mean, covariance, moments, count, dim=self.part.dim, ridge=self.part.ridge)


def regressed(x: np.ndarray, y: np.ndarray, new: np.ndarray, ridge: float) -> np.ndarray:
    """[m] what a ridge regression with a free height says of new rows."""
    middle = x.mean(axis=0)
    c = x - middle
    w = np.linalg.solve(c.T @ c / len(x) + ridge * np.eye(c.shape[1]), c.T @ (y - y.mean()) / len(x))
    said: np.ndarray = (new - middle) @ w + y.mean()
    return said


def corrupted(x: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """16 x [n, 64] the same images [n, 64] between 0 and 1, plain and under 15 corruptions of one strength each."""
    from scipy import ndimage

    g = x.reshape(-1, SIDE, SIDE)
    shape, noise = g.shape, rng.random
    row, column = rng.integers(0, SIDE - 2, (2, len(g), 1, 1))
    down, right = np.arange(SIDE)[:, None], np.arange(SIDE)
    hole = (down >= row) & (down < row + 3) & (right >= column) & (right < column + 3)
    cosine, sine = np.cos(0.6), np.sin(0.6)

    def turned(matrix: list[list[float]]) -> np.ndarray:
        whole = np.eye(3)
        whole[1:, 1:] = matrix
        middle = np.array([0, (SIDE - 1) / 2, (SIDE - 1) / 2])
        return np.asarray(ndimage.affine_transform(g, whole, offset=middle - whole @ middle, order=1))

    found = [
        g,
        g + 0.35 * rng.normal(size=shape),
        rng.poisson(4 * g) / 4,
        np.where(noise(shape) < 0.2, noise(shape) < 0.5, g),
        ndimage.gaussian_filter(g, (0, 1, 1)),
        ndimage.uniform_filter(g, (0, 1, 4)),
        g + 0.5,
        0.5 + 0.3 * (g - 0.5),
        1 - g,
        np.where(down % 3 == 0, 1 - g, g),
        0.5 * g + 0.5 * ndimage.gaussian_filter(noise(shape), (0, 2, 2)),
        np.where(hole, 0, g),
        turned([[cosine, -sine], [sine, cosine]]),
        turned([[1.0, 0.0], [0.6, 1.0]]),
        turned([[1.5, 0.0], [0.0, 1.5]]),
        ndimage.shift(g, (0, 1, 1), order=0),
    ]
    return [np.clip(each, 0, 1).reshape(len(g), -1) for each in found]


def _enough(tasks: list[tuple[int, int]]) -> np.ndarray:
    """Items are drawn with replacement: no source runs dry."""
    return np.full(len(tasks), 1_000_000)
