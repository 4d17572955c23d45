"""How far a network leans on a shortcut that is easier to be had, on data made of two features.

The class is +1 or -1 by a coin. `latents`: z_c and z_s are the class with normal noise, so that their signs agree with
it in 90% (core) and 70% (shortcut) of the items; x = w_c z_c + availability * w_s z_s in 100 dimensions, w_c and w_s
random directions of length 1. `digits`: a 3 or an 8 (core), and beside it a patch whose brightness, one of two, agrees
with the class in 70%; its width grows with availability, from 1 to 16 columns of 8 pixels.

Two classifiers: `linear` (logistic regression) and `network` (one hidden layer of ReLU). On probes in which both
features are dealt by themselves, reliance is the mean of decision times the sign of the shortcut, and bias is reliance
less that of the best classifier, which is given the two features (for digits: the class itself stands for the core).

Metrics, in bias on probes: `network, availability 1 against 16`; `availability 16, linear against network`; and
`the audit, 1 against 16`, the part's own figure for the column of the shortcut with the network as its classifier.

Options (`[options]` of the spec):
    items: to learn from (600).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make, parse_spec
from tellapart.protocol._sets import load

KNOWN = ("items",)
NETWORK, LINEAR = "feature-split(split=0, pairs=0)", "logistic-regression"
CORE, SHORTCUT, DIM, MOST = 1.2816, 0.5244, 100, 16  # the normal quantiles of 90% and 70%

Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one kind of data and one seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol shortcuts has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in ("latents", "digits"):
        raise DataError(f"the protocol shortcuts knows latents and digits, not {data!r}")
    items, bias, audited = options.get("items", 600), {}, {}
    for size in (1, MOST):
        rng = np.random.default_rng(np.random.SeedSequence([seed, 97]))
        x, y, z = (latents if data == "latents" else digits)(items, size, rng, dealt=False)
        probes, core, shortcut = (latents if data == "latents" else digits)(items, size, rng, dealt=True)
        best = np.sign(_fitted(z, y)(np.stack([core, shortcut], axis=1)))
        for kind in (LINEAR, NETWORK):
            part = make("classify", kind).fit(x, y)
            said = np.where(part.predict_proba(probes).argmax(axis=1) == 1, 1, -1)
            bias[kind, size] = float((said * np.sign(shortcut)).mean() - (best * np.sign(shortcut)).mean())
        table = Collection.of({"label": [f"y{v}" for v in y], "shortcut": [f"s{int(v > 0)}" for v in z[:, 1]]})
        name = parse_spec(spec["part"])[0]
        report = make("audit", name, classify=NETWORK)({"document": x}, table, seed=seed)
        audited[size] = report.figure("bias to shortcut").value
    return {
        "network, availability 1 against 16": (bias[NETWORK, 1], bias[NETWORK, MOST]),
        "linear, availability 1 against 16": (bias[LINEAR, 1], bias[LINEAR, MOST]),
        "availability 16, linear against network": (bias[LINEAR, MOST], bias[NETWORK, MOST]),
        "the audit, 1 against 16": (audited[1], audited[MOST]),
    }


def latents(items: int, size: int, rng: np.random.Generator, *, dealt: bool) -> tuple[np.ndarray, ...]:
    """(x, y, [items, 2] features), or where they are dealt (probes, core, shortcut)."""
    directions = np.random.default_rng(5).normal(size=(2, DIM))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    y = rng.choice([-1, 1], items)
    z = y[:, None] * [CORE, SHORTCUT] + rng.normal(size=(items, 2))
    if dealt:
        z = rng.uniform(-3, 3, (items, 2))
    x = z @ (directions * [[1.0], [float(size)]])
    return (x, z[:, 0], z[:, 1]) if dealt else (x, y, z)


def digits(items: int, size: int, rng: np.random.Generator, *, dealt: bool) -> tuple[np.ndarray, ...]:
    """The same of digits beside a patch."""
    held = load("digits")
    y = rng.choice([-1, 1], items)
    right = rng.random(items) < 0.7
    core, shortcut = y, rng.choice([-1, 1], items) if dealt else np.where(right, y, -y)
    rows = [np.flatnonzero(held.y == number) for number in (3, 8)]
    x = held.x[[rng.choice(rows[(c + 1) // 2]) for c in core]]
    patch = np.zeros((items, 8 * MOST))
    patch[:, : 8 * size] = 0.5 + 0.15 * shortcut[:, None] + 0.3 * rng.normal(size=(items, 8 * size))
    x = np.concatenate([x + 0.4 * rng.normal(size=x.shape), patch], axis=1)
    return (x, core, shortcut) if dealt else (x, y, np.stack([core, shortcut], axis=1))


def _fitted(z: np.ndarray, y: np.ndarray) -> Any:
    """Linear discriminant analysis on the two features, the best there is where they are normal about the class."""
    means = [z[y == c].mean(axis=0) for c in (-1, 1)]
    scatter = sum(np.cov(z[y == c], rowvar=False) for c in (-1, 1)) / 2 + 1e-6 * np.eye(2)
    weight = np.linalg.solve(scatter, means[1] - means[0])
    return lambda rows: (rows - (means[0] + means[1]) / 2) @ weight
