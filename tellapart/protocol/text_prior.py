"""Classifiers of pictures with a text beside them, when the text gives labels away in training and misleads later.

Beside each item stands a tag, a word that has nothing to do with its class. In training it is the tag of the item's
class for 90% of items, and of another class, drawn at random, for the rest; `in distribution` is a test with the same
share, `out of distribution` one with 10%. Items are `fashion` (pictures by EfficientNet-Lite0) and `wordnet` (glosses
of the ten most frequent kinds, by MiniLM), brought to 64 principal directions of the training part; tags are 16
principal directions of ten words' MiniLM vectors, with as much variance in all.

Compared with the part: `late fusion`, a network of the size and training of its main branch on both side by side; and
`item alone`, the same without the tag, which nobody can take who does not know what to drop. Each chooses weight decay,
and the part its rate and code, by accuracy on a validation part like training. Metrics: accuracy out of and in
distribution; `tag told (less)`, the accuracy of a ridge regression that tells the tag from what the answer is made of;
`tag told by the confounder`, from z, against from the items and tags.

Options: items (1200 to train on at most).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from tellapart.core.errors import DataError
from tellapart.core.linear import ridge_map
from tellapart.core.parts import make
from tellapart.protocol import _sets

LOWER_IS_BETTER = ("tag told (less)",)
DATA, CLASSES, SHARE = ("fashion", "wordnet"), 10, 0.9
TAGS = ("river", "violin", "carpet", "pepper", "engine", "window", "candle", "garden", "thunder", "bottle")
DECAYS, RATES, CODES = (1e-4, 1e-2, 0.3), (0.1, 0.5, 2.0), (4, 16)
EPOCHS, HIDDEN, RATE = 40, 128, 3e-3


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, part)} for one data set and one seed."""
    if data not in DATA:
        raise DataError(f"the protocol text_prior knows {', '.join(DATA)}, not {data!r}")
    (x, y, tag), held, within, outside = sets(data, seed, spec["options"].get("items", 1200))

    def best(tried: list[Any]) -> Any:
        return max(tried, key=lambda part: float((part.predict(held[0]) == held[1]).mean()))

    def accuracy(part: Any, kept: tuple[np.ndarray, np.ndarray, np.ndarray]) -> float:
        return float((part.predict(kept[0]) == kept[1]).mean())

    fused = best([Net(decay, seed, x.shape[1]).fit(x, y) for decay in DECAYS])
    alone = best([Net(decay, seed, 64).fit(x, y) for decay in DECAYS])
    grid = itertools.product(RATES, CODES, DECAYS[1:])
    ours = best([
        make("classify", spec["part"], rate=r, code=c, weight_decay=d, seed=seed, epochs=EPOCHS, hidden=HIDDEN,
             learning_rate=RATE).fit(x, y)
        for r, c, d in grid
    ])  # fmt: skip

    def told(of: Callable[[np.ndarray], np.ndarray]) -> float:
        says = ridge_map(of(x), np.eye(CLASSES)[tag], 0.01)(of(outside[0])).argmax(axis=1)
        return float((says == outside[2]).mean())

    return {
        "accuracy out of distribution": (accuracy(fused, outside), accuracy(ours, outside)),
        "accuracy in distribution": (accuracy(fused, within), accuracy(ours, within)),
        "accuracy out of distribution, against item alone": (accuracy(alone, outside), accuracy(ours, outside)),
        "tag told (less), from what is predicted from": (told(fused.debiased), told(ours.debiased)),
        "tag told by the confounder, against by all features": (told(lambda z: z), told(ours.confounder)),
    }


def sets(data: str, seed: int, items: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Training, validation, and the two tests: features with tags, classes, tags."""
    made = _sets.load(data)
    rng = np.random.default_rng([seed, 1])
    names, counts = np.unique(made.y, return_counts=True)
    kept = np.flatnonzero(np.isin(made.y, names[np.argsort(-counts, kind="stable")[:CLASSES]]))
    rows = rng.permutation(kept)
    y = np.unique(made.y[rows], return_inverse=True)[1]
    ends = np.cumsum([min(items, len(rows) // 2), len(rows) // 6, len(rows) // 6])
    part = np.searchsorted(ends, np.arange(len(rows)), side="right")
    words = make("encode", "minilm", threads=1).encode(list(TAGS)).astype(np.float64)
    words = words - words.mean(axis=0)
    words = words @ np.linalg.svd(words, full_matrices=False)[2][:16].T
    train = made.x[rows[part == 0]].astype(np.float64)
    middle = train.mean(axis=0)
    turn = np.linalg.svd(train - middle, full_matrices=False)[2][:64].T
    x = (made.x[rows] - middle) @ turn
    x, words = x / np.sqrt(x[part == 0].var(axis=0).sum()), words / np.sqrt(words.var(axis=0).sum())
    found = []
    for number, share in enumerate((SHARE, SHARE, SHARE, 1 - SHARE)):
        mine = part == number
        other = (y[mine] + rng.integers(1, CLASSES, mine.sum())) % CLASSES
        tag = np.where(rng.random(mine.sum()) < share, y[mine], other)
        found.append((np.concatenate([x[mine], words[tag]], axis=1), y[mine], tag))
    return found


class Net:
    """A network of one hidden layer on the first numbers of each item."""

    def __init__(self, decay: float, seed: int, wide: int) -> None:
        self.decay, self.seed, self.wide = decay, seed, wide

    def fit(self, x: np.ndarray, y: np.ndarray) -> Net:
        """Train as the part trains its main branch."""
        x = x[:, : self.wide]
        self.mean, self.spread = x.mean(axis=0), float(np.sqrt(x.var(axis=0).mean()))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.net = nn.Sequential(nn.Linear(self.wide, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
            optimiser = torch.optim.AdamW(self.net.parameters(), lr=RATE, weight_decay=self.decay)
            inputs, truth = self._of(x), torch.from_numpy(np.asarray(y, np.int64))
            for _ in range(EPOCHS):
                for rows in torch.randperm(len(x)).split(128):
                    optimiser.zero_grad()
                    nn.functional.cross_entropy(self.net(inputs[rows]), truth[rows]).backward()
                    optimiser.step()
        return self

    def _of(self, x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(((x[:, : self.wide] - self.mean) / self.spread).astype(np.float32))

    def debiased(self, x: np.ndarray) -> np.ndarray:
        """[n, hidden] what is predicted from."""
        with torch.no_grad():
            return np.asarray(self.net[:2](self._of(x)).double().numpy())

    def predict(self, x: np.ndarray) -> np.ndarray:
        """[n] classes."""
        with torch.no_grad():
            return np.asarray(self.net(self._of(x)).argmax(1).numpy())
