"""What the sources of a collection teach: one small model fitted on each, on all, and on all but one of them.

Every item is asked for by models that have not seen it. The model is two linear maps of the leading directions of both
sides, trained with InfoNCE in numpy for some seconds at most: closed-form maps are hardly hurt by wrong pairs, which
cancel out in a covariance, and would tell nothing of what is trained by gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tellapart.core.features import unit_rows

BLOCK, BATCH = 1000, 256
TEMPERATURE, RATE, DECAY = 0.07, 0.01, (0.9, 0.999)
SHARES = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Sources:
    """Pairs that came from several places.

    Attributes:
        x, y: [n, d] and [n, e] both sides, of few directions.
        source: [n] int64 from 0; same: [n] int64, equal where two items are no wrong answer to each other.
        fold: [n] int64, by which items are held out.
        k: a pair counts as found where fewer than so many wrong answers score above it.
    """

    x: np.ndarray
    y: np.ndarray
    source: np.ndarray
    same: np.ndarray
    fold: np.ndarray
    epochs: int = 20
    k: int = 10

    def found(self, learnt: np.ndarray) -> np.ndarray:
        """[n] share of both directions in which each pair is found, by models of what is `learnt` [n] outside its fold.

        NaN where too little is left to learn from.
        """
        hits = np.full(len(self.x), np.nan)
        for f in np.unique(self.fold):
            train, held = np.flatnonzero(learnt & (self.fold != f)), np.flatnonzero(self.fold == f)
            if len(train) < 8:
                continue
            maps = contrasted(
                self.x[train], self.y[train], self.same[train], epochs=self.epochs, rng=np.random.default_rng(f)
            )
            for rows in np.array_split(held, -(-len(held) // BLOCK)):
                s = unit_rows(self.x[rows] @ maps[0]) @ unit_rows(self.y[rows] @ maps[1]).T
                wrong = self.same[rows][:, None] != self.same[rows]
                own = np.diagonal(s)
                above = ((s > own[:, None]) & wrong).sum(1), ((s > own) & wrong).sum(0)
                hits[rows] = sum((each < self.k).astype(float) for each in above) / 2
        return hits

    def accuracy(self, hits: np.ndarray) -> np.ndarray:
        """[sources] share that is found of the pairs of each source, with half a pair added to both sides of it."""
        kept = np.isfinite(hits)
        size = np.bincount(self.source[kept], minlength=self.source.max() + 1)
        return (np.bincount(self.source[kept], hits[kept], self.source.max() + 1) + 0.5) / (size + 1)

    def curve(self, of: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """[3, sources] accuracies on each source of models of a quarter, a half and all of some items [n] bool."""
        order = rng.permutation(np.flatnonzero(of))
        found = []
        for share in SHARES:
            some = np.zeros(len(of), bool)
            some[order[: max(8, round(share * len(order)))]] = True
            found.append(self.accuracy(self.found(some)))
        return np.stack(found)


def contrasted(
    x: np.ndarray, y: np.ndarray, same: np.ndarray, *, epochs: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two square maps, trained so that a pair's rows come to lie together: InfoNCE both ways, Adam, batches of 256.

    Items that are the `same` are not each other's negatives.
    """
    sides = (x, y)
    maps = [rng.normal(size=(side.shape[1], x.shape[1])) / np.sqrt(side.shape[1]) for side in sides]
    first, second = [np.zeros_like(m) for m in maps], [np.zeros_like(m) for m in maps]
    step = 0
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(x)), max(1, round(len(x) / BATCH))):
            step += 1
            gradients = _gradients(x[rows], y[rows], same[rows], maps)
            for side, gradient in enumerate(gradients):
                first[side] += (1 - DECAY[0]) * (gradient - first[side])
                second[side] += (1 - DECAY[1]) * (gradient**2 - second[side])
                size = np.sqrt(second[side] / (1 - DECAY[1] ** step)) + 1e-8
                maps[side] = maps[side] - RATE * first[side] / (1 - DECAY[0] ** step) / size
    return maps[0], maps[1]


def _gradients(x: np.ndarray, y: np.ndarray, same: np.ndarray, maps: list[np.ndarray]) -> list[np.ndarray]:
    """Of the mean InfoNCE of both directions, for each map."""
    z = [x @ maps[0], y @ maps[1]]
    length = [np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in z]
    q, k = (v / size for v, size in zip(z, length, strict=True))
    itself = np.eye(len(x), dtype=bool)
    logits = np.where((same[:, None] == same) & ~itself, -np.inf, q @ k.T / TEMPERATURE)
    pull = (_shares(logits) + _shares(logits.T).T - 2 * itself) / (2 * len(x) * TEMPERATURE)
    found = []
    for rows, unit, size, raw in ((x, q, length[0], pull @ k), (y, k, length[1], pull.T @ q)):
        along = (raw * unit).sum(axis=1, keepdims=True)
        found.append(rows.T @ ((raw - unit * along) / size))
    return found


def _shares(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: np.ndarray = e / e.sum(axis=1, keepdims=True)
    return found


def reduced(x: np.ndarray, dim: int) -> np.ndarray:
    """[n, dim] the leading directions of centred rows, scaled to deviation 1 in all."""
    x = x - x.mean(axis=0)
    _, vectors = np.linalg.eigh(x.T @ x)
    x = x @ vectors[:, ::-1][:, :dim]
    found: np.ndarray = x / max(float(x.std()), 1e-12)
    return found


def trend(home: np.ndarray, shift: np.ndarray) -> tuple[float, float]:
    """(slope, height at 0) of the line through accuracies under shift against those at home, both as logits.

    Where all are equally good at home the line has slope 1.
    """
    a, b = logit(home), logit(shift)
    spread = ((a - a.mean()) ** 2).sum()
    slope = float(((a - a.mean()) * (b - b.mean())).sum() / spread) if spread > 1e-9 else 1.0
    return slope, float(b.mean() - slope * a.mean())


def robustness(curves: list[np.ndarray]) -> np.ndarray:
    """[sources] effective robustness: how many logits each lies above the trend of the other sources.

    Args:
        curves: `Sources.curve` of each source; home is its own pairs, shift the mean of the others.
    """
    home = np.stack([curve[:, s] for s, curve in enumerate(curves)])
    shift = np.stack([np.delete(curve, s, axis=1).mean(axis=1) for s, curve in enumerate(curves)])
    found = []
    for s in range(len(curves)):
        slope, height = trend(np.delete(home, s, axis=0).ravel(), np.delete(shift, s, axis=0).ravel())
        found.append(float((logit(shift[s]) - slope * logit(home[s]) - height).mean()))
    return np.array(found)


def logit(p: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of shares between 0 and 1."""
    found: np.ndarray = np.log(p) - np.log1p(-p)
    return found
