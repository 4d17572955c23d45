"""Scores that order encoders before anything is trained, against the order after a head was trained on each.

Candidates are encoders of one data set. Pictures (`digits`, `fashion`; 16 pixels a side): the pixels, blurred ones,
principal directions, random projections and random rectified features, oriented gradients, sums of rows and columns,
a histogram of greys, pixels with noise, and the two hidden layers of a network that was trained on the labels of the
other data set for 1 and for 20 epochs. `wordnet` (glosses, 26 kinds): MiniLM vectors, principal directions, random
projections, its first numbers, noise added, their signs, and hashed words.

One half of the items is scored, with labels. The truth is the accuracy, on a quarter, of a network of one hidden layer
trained on all but that quarter. Metrics are Kendall's tau of a score with that accuracy over the candidates: TMI by the
audit part, with its common footing, against `LogME` (You et al., ICML 2021), `H-score` (Bao et al., ICIP 2019), `NCC`
(accuracy of the nearest class mean), `5 nearest` (accuracy of the five nearest neighbours, as the audit gives it) and
`TMI as published` (features as they are, distances of at least 1). NCC and 5 nearest are of other items than they stand
on: means of one half of what is scored, and neighbours among the others.

Options: none.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import torch
from torch import nn

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows
from tellapart.core.gradients import oriented_gradients
from tellapart.core.needs import require
from tellapart.core.parts import make
from tellapart.protocol import _sets
from tellapart.protocol._small_pictures import pictures

DATA = ("digits", "fashion", "wordnet")
ITEMS, EPOCHS, HIDDEN = 1200, 30, 128


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, TMI)} for one data set and one seed."""
    if data not in DATA:
        raise DataError(f"the protocol transferability knows {', '.join(DATA)}, not {data!r}")
    tau = require("scipy.stats", "the protocol transferability").kendalltau
    x, y = items(data, seed)
    held = candidates(data, x, seed)
    part = np.random.default_rng([seed, 1]).permutation(len(y)) % 4
    scored, asked = np.flatnonzero(part < 2), np.flatnonzero(part == 3)
    collection = Collection.of({"id": [f"i{i}" for i in scored], "label": [f"c{c}" for c in y[scored]]})
    found = []
    for z in held.values():
        z = z.astype(np.float64)
        told = [make("audit", spec["part"])({"document": z[scored]}, collection, seed=seed)]
        told.append(
            make("audit", spec["part"], dimensions=0, floor=1.0)({"document": z[scored]}, collection, seed=seed)
        )
        values = [report.figure("TMI, document").value for report in told]
        others = [logme(z[scored], y[scored]), h_score(z[scored], y[scored]), ncc(z[scored], y[scored])]
        near = told[0].figure("5 nearest, document").value
        found.append([accuracy(z, y, part < 3, asked, seed), *values, *others, near])
    right, *scores = np.array(found).T
    taus = [float(np.nan_to_num(tau(score, right).statistic)) for score in scores]
    names = ("TMI as published", "LogME", "H-score", "NCC", "5 nearest")
    return {f"tau with accuracy, against {name}": (t, taus[0]) for name, t in zip(names, taus[1:], strict=True)}


def items(data: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What is encoded, and its labels."""
    rng = np.random.default_rng([seed, 2])
    if data == "wordnet":
        made = _sets.load("wordnet")
        rows = rng.permutation(len(made.y))[:ITEMS]
        return made.x[rows], np.unique(made.y, return_inverse=True)[1][rows]
    x, y = pictures(data)
    rows = rng.permutation(len(y))[:ITEMS]
    return x[rows] / 255.0, y[rows]


def candidates(data: str, x: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """{name: [n, d]} features."""
    rng = np.random.default_rng([seed, 3])
    flat = x.reshape(len(x), -1)
    u, s, _ = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    made = {"as they are": flat}
    made |= {f"{d} principal directions": u[:, :d] * s[:d] for d in (2, 8, 32)}
    made |= {f"{d} random directions": flat @ rng.normal(size=(flat.shape[1], d)) for d in (4, 64)}
    made |= {f"noise of {a}": flat + a * flat.std() * rng.normal(size=flat.shape) for a in (1, 3)}
    made["rectified"] = np.maximum(flat @ rng.normal(size=(flat.shape[1], 256)) / flat.shape[1] ** 0.5, 0)
    if data == "wordnet":
        return made | {
            "first numbers": flat[:, :16],
            "signs": np.sign(flat),
            "normal numbers": rng.normal(size=flat.shape),
        }
    made["blurred"] = x.reshape(-1, 4, 4, 4, 4).mean(axis=(2, 4)).reshape(len(x), -1)
    made["oriented gradients"] = oriented_gradients(x.repeat(3, axis=1).repeat(3, axis=2))
    made["rows and columns"] = np.concatenate([x.sum(1), x.sum(2)], axis=1)
    made["greys"] = np.stack([np.histogram(row, 16, (0, 1))[0] for row in flat]) / 256
    for epochs in (1, 20):
        net = learnt("fashion" if data == "digits" else "digits", epochs)
        with torch.no_grad():
            for layer in (1, 3):
                z = net[: layer + 1](torch.from_numpy(flat.astype(np.float32))).numpy()
                made[f"layer {layer} after {epochs}"] = z
    return made


@functools.cache
def learnt(data: str, epochs: int) -> nn.Sequential:
    """A network trained on the labels of a data set."""
    x, y = pictures(data)
    x = (x.reshape(len(x), -1) / 255.0).astype(np.float32)
    return trained(x, y, epochs, 0, (256, 64))


def trained(x: np.ndarray, y: np.ndarray, epochs: int, seed: int, widths: tuple[int, ...]) -> nn.Sequential:
    """A network of these hidden widths after so many epochs of Adam."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = [x.shape[1], *widths]
        layers = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
        net = nn.Sequential(*layers, nn.Linear(sizes[-1], int(y.max()) + 1))
        optimiser = torch.optim.Adam(net.parameters(), lr=2e-3, weight_decay=1e-4)
        inputs, labels = torch.from_numpy(x.astype(np.float32)), torch.from_numpy(np.asarray(y, np.int64))
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(128):
                optimiser.zero_grad()
                nn.functional.cross_entropy(net(inputs[rows]), labels[rows]).backward()
                optimiser.step()
    return net.eval()


def accuracy(z: np.ndarray, y: np.ndarray, fitted: np.ndarray, asked: np.ndarray, seed: int) -> float:
    """Of a network of one hidden layer on features brought to variance 1."""
    spread = z[fitted].std(0)
    x = (z - z[fitted].mean(0)) / np.where(spread > 1e-9, spread, 1.0)
    net = trained(x[fitted], y[fitted], EPOCHS, seed, (HIDDEN,))
    with torch.no_grad():
        said = net(torch.from_numpy(x[asked].astype(np.float32))).argmax(1).numpy()
    return float((said == y[asked]).mean())


def h_score(z: np.ndarray, y: np.ndarray) -> float:
    """tr(cov(z)^+ cov(E[z | y]))."""
    x = z - z.mean(0)
    means = np.stack([x[y == c].mean(0) for c in np.unique(y)])[np.unique(y, return_inverse=True)[1]]
    return float(np.trace(np.linalg.pinv(x.T @ x / len(x), rcond=1e-6) @ (means.T @ means / len(x))))


def ncc(z: np.ndarray, y: np.ndarray) -> float:
    """Accuracy of the nearest class mean of one half on the other half."""
    x = unit_rows(z - z.mean(0))
    first = np.arange(len(x)) % 2 == 0
    classes = np.unique(y[first])
    means = np.stack([x[first & (y == c)].mean(0) for c in classes])
    return float((classes[((x[~first][:, None] - means) ** 2).sum(2).argmin(1)] == y[~first]).mean())


def logme(z: np.ndarray, y: np.ndarray) -> float:
    """The log evidence of a Bayesian linear model of each class against the others, an item, at its best a and b."""
    n, d = z.shape
    u, s, _ = np.linalg.svd(z, full_matrices=False)
    s2, total = s**2, []
    for c in np.unique(y):
        t = (y == c).astype(float)
        p2, rest = (u.T @ t) ** 2, float(t @ t - ((u.T @ t) ** 2).sum())
        a = b = 1.0
        for _ in range(30):
            gamma = (b * s2 / (a + b * s2)).sum()
            m2 = (b**2 * s2 * p2 / (a + b * s2) ** 2).sum()
            wrong = (p2 * (a / (a + b * s2)) ** 2).sum() + rest
            a, b = gamma / max(m2, 1e-12), (n - gamma) / max(wrong, 1e-12)
        m2 = (b**2 * s2 * p2 / (a + b * s2) ** 2).sum()
        wrong = (p2 * (a / (a + b * s2)) ** 2).sum() + rest
        logdet = np.log(a + b * s2).sum() + (d - len(s2)) * np.log(a)
        total.append((d * np.log(a) + n * np.log(b) - n * np.log(2 * np.pi) - b * wrong - a * m2 - logdet) / 2 / n)
    return float(np.mean(total))
