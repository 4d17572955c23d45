"""Parts that condense, on digits that stand on textures: what a network learns from a few items in place of all.

A digit of 16 pixels a side is laid over a texture drawn anew for each picture, of a few waves in any direction, of no
class: pixel = (1 - s) digit + s texture, with s the share that tells nothing. Of the training pictures, `each` a class
are chosen or made; a network of one hidden layer is trained on these alone, from five starts, and judged on the test
pictures. `random` draws the items, `k-centre` takes the one farthest from those taken, within each class; `dc` is `dcc`
matched class by class throughout (`warmup=1`). Both are made at each of the `rates`, and the rate of each is the one
whose items teach most about validation pictures; the others have nothing to be tuned.

- `accuracy, S% texture, N a class`: of the mean of five trainings; `against NAME` beside another contender than the
  baseline.

Options (`[options]` of the spec):
    textures: the shares s. each: how many a class. rates: of `dcc` and `dc`, one of which is chosen. items: training
        pictures (900). controls: further contenders.

Data: `digits`, `fashion`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tellapart.core.condensed import Condensed
from tellapart.core.errors import PartError
from tellapart.core.parts import make
from tellapart.protocol._small_pictures import SIDE, flat, pictures, shares

KNOWN = ("textures", "each", "rates", "items", "controls")
MADE = {"dcc": "", "dc": ", warmup=1.0"}
STARTS, STEPS, HIDDEN, RATE = 5, 150, 64, 0.01


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol condensed has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    figures: dict[str, tuple[Any, Any]] = {}
    for share in options["textures"]:
        sets = textured(data, share, seed, options.get("items", 900))
        for each in options["each"]:
            reach = {
                how: reached(how, sets, each, seed, options.get("rates", [1.0]))
                for how in (spec["part"], spec["baseline"], *options.get("controls", []))
            }
            ours, said = reach.pop(spec["part"]), f"accuracy, {share:.0%} texture, {each} a class"
            figures[said] = (reach.pop(spec["baseline"]), ours)
            figures |= {f"{said}, against {other}": (theirs, ours) for other, theirs in reach.items()}
    return figures


def textured(data: str, share: float, seed: int, items: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(pixels [n, 256] in 0..1, labels) of the training, of the validation and of the test pictures."""
    x, y = pictures(data)
    train, _, validation, test = shares(len(x), seed, items)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 17]))
    return [((1 - share) * flat(x[r]) + share * waves(len(r), rng), y[r]) for r in (train, validation, test)]


def waves(n: int, rng: np.random.Generator) -> np.ndarray:
    """[n, 256] textures in 0..1: three waves each, of any direction, length and phase."""
    at = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")).reshape(2, -1) / SIDE
    pace = rng.uniform(-4, 4, size=(n, 3, 2)) * 2 * np.pi
    total = np.sin(pace @ at + rng.uniform(0, 2 * np.pi, size=(n, 3, 1))).sum(axis=1)
    return ((total / 3 + 1) / 2).astype(np.float32)


def reached(how: str, sets: list[tuple[np.ndarray, np.ndarray]], each: int, seed: int, rates: list[float]) -> float:
    """The accuracy on the test pictures of networks that learnt from the items of a contender, at its best rate."""
    (x, y), validation, test = sets
    names = [f"dcc(rate={rate}{MADE[how]})" for rate in rates] if how in MADE else [how]
    tried = [trained_on(few(name, x, y, each, seed), x, [validation, test], seed) for name in names]
    return max(tried, key=lambda right: right[0])[1]


def trained_on(
    held: Condensed, x: np.ndarray, asked: list[tuple[np.ndarray, np.ndarray]], seed: int
) -> tuple[float, ...]:
    """The accuracy on each set that is asked about, the mean of five trainings on chosen or made items."""
    classes, code = np.unique(held.y, return_inverse=True)
    middle, width = x.mean(), x.std()
    z, target = torch.from_numpy((held.x - middle) / width), torch.from_numpy(code)
    right = []
    for start in range(STARTS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * STARTS + start)
            layers = torch.nn.Linear(x.shape[1], HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, len(classes))
            network = torch.nn.Sequential(*layers)
            optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
            for _ in range(STEPS):
                loss = torch.nn.functional.cross_entropy(network(z), target)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        with torch.no_grad():
            answers = [network(torch.from_numpy((v - middle) / width)).argmax(1).numpy() for v, _ in asked]
        right.append([float((classes[a] == truth).mean()) for a, (_, truth) in zip(answers, asked, strict=True)])
    return tuple(np.mean(right, axis=0).tolist())


def few(how: str, x: np.ndarray, y: np.ndarray, each: int, seed: int) -> Condensed:
    """So many items a class, by a part, at random or by k-centre."""
    if how not in ("random", "k-centre"):
        return make("condense", how)(x, y, each * len(np.unique(y)), seed=seed)
    rng, rows = np.random.default_rng(np.random.SeedSequence([seed, 19])), []
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        rows += members[:each].tolist() if how == "random" else members[centres(x[members], each)].tolist()
    return Condensed(x[rows], y[rows], np.ones(len(rows), np.float32), np.array(rows))


def centres(x: np.ndarray, count: int) -> np.ndarray:
    """[count] rows: the one nearest to the mean, then always the one farthest from those taken."""
    chosen = [int(((x - x.mean(axis=0)) ** 2).sum(axis=1).argmin())]
    far = ((x - x[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < count:
        chosen.append(int(far.argmax()))
        far = np.minimum(far, ((x - x[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen)
