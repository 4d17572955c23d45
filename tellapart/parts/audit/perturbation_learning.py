"""Whether what fools a classifier carries its classes: a new network that learns from wrongly labelled items alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.chance import mean_above
from tellapart.core.collection import Collection
from tellapart.core.crossfit import FEWEST
from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.parts import part
from tellapart.core.report import Figure, Finding, Report, Text

_FEWEST, _TEST, _STEPS, _RATE = 60, 0.3, 150, 3e-3


@part(
    paper="Kumano, Kera, Yamasaki: Theoretical Understanding of Learning from Adversarial Perturbations, ICLR 2024; "
    "Wide Two-Layer Networks can Learn from Adversarial Perturbations, NeurIPS 2024",
    place="audit",
    system="perturbation-learning",
    traits=("image", "labels", "long"),
    needs=("torch",),
)
def perturbation_learning(
    vectors: Mapping[str, np.ndarray],
    collection: Collection,
    *,
    seed: int = 0,
    size: Annotated[float, Field(gt=0, le=10)] = 1.0,
    width: Annotated[int, Field(ge=4, le=20_000)] = 256,
    steps: Annotated[int, Field(ge=1, le=100)] = 1,
    items: Annotated[int, Field(ge=60, le=20_000)] = 2000,
) -> Report:
    """Train a new network on items that were moved towards a wrong class and labelled so; ask it about clean ones.

    Formula:
        f        a network of one hidden layer of `width`, trained on x and its labels
        t        another label than that of x, drawn evenly
        d        -grad_x loss(f(x), t), summed over `steps`, each brought to the length `size` |x - mean| / steps
        g        a network like f, trained on (x + d, t) alone: every label is wrong to who looks at it
    Measured on held-out items as they are: how often g names the right label, and how often it says what f says.
    Controls: noise of the same length in place of d; d of another item (with that item's own t no more beside it).

    What it shows: perturbations that fool a classifier are features of its classes, not noise, wherever g does well and
    the controls do not. A classifier with this property can be fooled, and fools others, by the same perturbations.

    The published theory is of wide networks in the lazy regime; here they are trained whole, with Adam for a fixed
    number of steps.

    Args:
        vectors: `image` [n, d]; collection: with `label`; duplicates (`group`) stay on one side of the split.
        items: above this many, so many are drawn.

    Raises `DataError` for rows that do not match or values that are not finite."""
    x = matrix(vectors.get("image"), what="image")
    if len(x) != len(collection) or "label" not in collection.columns:
        raise DataError("as many vectors as items are needed, and a column 'label': audit a labelled collection")
    codes, names = collection.codes("label")
    rng = np.random.default_rng(seed)
    count = np.bincount(codes[codes >= 0], minlength=len(names))
    rows = np.flatnonzero((codes >= 0) & np.append(count >= FEWEST, False)[codes])
    rows = np.sort(rng.choice(rows, min(items, len(rows)), replace=False))
    report = Report("Learning from perturbations", facts={"seed": seed, "items": len(rows)})
    kinds, y = np.unique(codes[rows], return_inverse=True)
    if len(rows) < _FEWEST or len(kinds) < 2:
        few = f"{len(rows)} items of {len(kinds)} classes, {_FEWEST} items of two are needed"
        return report.add(Text(f"cannot tell: {few}", "verdict"))
    groups = collection.numbers("group")[rows] if "group" in collection.columns else np.arange(len(rows))
    _, of = np.unique(groups, return_inverse=True)
    held = (rng.random(int(of.max()) + 1) < _TEST)[of]
    z = x[rows] - x[rows][~held].mean(axis=0)
    z = (z / max(float(np.sqrt((z[~held] ** 2).mean())), 1e-12)).astype(np.float32)
    train, test, truth = z[~held], z[held], y[held]
    wrong = (y[~held] + rng.integers(1, len(kinds), len(train))) % len(kinds)
    plain = _Network(train, y[~held], width, seed)
    moved = plain.towards(train, wrong, size, steps)
    noise = rng.normal(size=moved.shape)
    noise *= np.linalg.norm(moved, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    shuffled = moved[rng.permutation(len(moved))]
    said = {"as labelled": plain.named(test)}
    for name, d in (("perturbed", moved), ("noise", noise), ("shuffled", shuffled)):
        said[name] = _Network(train + d, wrong, width, seed + 1).named(test)
    each = groups[held]
    for name, answer in said.items():
        report.add(_figure(f"right, {name}", answer == truth, each, seed))
    report.add(_figure("agrees with the clean network", said["perturbed"] == said["as labelled"], each, seed))
    right = {name: (answer == truth).astype(float) for name, answer in said.items()}
    more = right["perturbed"] - np.maximum(1 / len(kinds), (right["noise"] + right["shuffled"]) / 2)
    low, high = redraw.interval(redraw.mean(more), each, seed=seed, ends=(-1.0, 1.0))
    sentence = (
        f"A network that saw only items moved towards a wrong class, labelled so, names "
        f"{right['perturbed'].mean():.0%} of clean ones right; with noise instead, {right['noise'].mean():.0%}."
    )
    return report.add(
        Finding(
            Figure("classes carried by perturbations", float(more.mean()), low, high, len(more)), sentence,
            mean_above(more, each, seed=seed), ids=[str(i) for i in collection.ids[rows[held]]], values=more.tolist(),
        )
    )  # fmt: skip


def _figure(name: str, right: np.ndarray, groups: np.ndarray, seed: int) -> Figure:
    ends = redraw.interval(redraw.mean(right.astype(float)), groups, seed=seed, draws=300)
    return Figure(name, float(right.mean()), *ends, count=len(right), note="of held-out items")


class _Network:
    """One hidden layer of rectifiers, trained whole on all items at once."""

    def __init__(self, x: np.ndarray, y: np.ndarray, width: int, seed: int) -> None:
        import torch

        inputs, labels = torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.int64))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.net = torch.nn.Sequential(
                torch.nn.Linear(x.shape[1], width), torch.nn.ReLU(), torch.nn.Linear(width, int(y.max()) + 1)
            )
        optimiser = torch.optim.Adam(self.net.parameters(), lr=_RATE)
        for _ in range(_STEPS):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(self.net(inputs), labels).backward()
            optimiser.step()

    def towards(self, x: np.ndarray, wanted: np.ndarray, size: float, steps: int) -> np.ndarray:
        """[n, d] how far each item is moved towards the class that is wanted of it."""
        import torch

        length, moved = np.linalg.norm(x, axis=1, keepdims=True) * size / steps, np.zeros_like(x)
        for _ in range(steps):
            at = torch.from_numpy((x + moved).astype(np.float32)).requires_grad_()
            torch.nn.functional.cross_entropy(self.net(at), torch.from_numpy(wanted), reduction="sum").backward()
            assert at.grad is not None
            slope = at.grad.numpy()
            moved -= length * slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-300)
        return moved

    def named(self, x: np.ndarray) -> np.ndarray:
        """[n] the class of each item."""
        import torch

        with torch.no_grad():
            return np.asarray(self.net(torch.from_numpy(x)).argmax(dim=1))
