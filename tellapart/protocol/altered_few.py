"""Strategies that alter few items: the accuracy on held-out pictures against how many training pictures are altered.

A head of two layers on pixels is trained from the same start, on the same batches, with vectors of the classes. Copies
of the pictures, cropped, 16 of each, stand for an alteration that costs much. Test pictures are cropped as well, each
once, by draws of their own: what the alteration teaches is asked for. Beside the part, which items are altered
is chosen by `random`, by `max-loss` (those that the network answers worst), or they are `full` (all) or `none`, with
equal weights and the same loss. A share `noise` of the training labels is another class, drawn at random.

- `accuracy, P% altered, CHOICE`: of the test pictures one by one, by that choice and by the part.
- `share of the gain, P% altered`: of what altering all pictures gains over altering none, what the baseline (altering
  that share at random) and the part reach; without noise.
- The same with `noisy labels,` before it.

Options (`[options]` of the spec):
    shares, noise, noisy_shares: shares that are altered, the share of wrong labels, and shares altered with these.
    recipe: fields of it; `strategy` is the part. items, epochs, batch_size, rate: training pictures, and the budget.

Data: `digits`, `fashion`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tellapart.core.errors import PartError
from tellapart.core.maths import unit
from tellapart.core.parts import make, make_chain, parse_spec
from tellapart.core.relation import Keys
from tellapart.engine import towers
from tellapart.engine.inputs import Features, TrainData, Views
from tellapart.engine.memory import Chain
from tellapart.engine.session import Run
from tellapart.protocol._small_pictures import copies, flat, pictures, shares
from tellapart.protocol.small_networks import _fit, answered
from tellapart.recipe import Recipe

KNOWN = ("shares", "noise", "noisy_shares", "recipe", "items", "epochs", "batch_size", "rate")
CROP = "flip-crop(flip=0.0, smallest=0.5)"
OURS, CHOICES = "the part", ("random", "max-loss")


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options, name = spec["options"], parse_spec(spec["part"])[0]
    unknown = [each for each in options if each not in KNOWN]
    if unknown:
        raise PartError(f"the protocol altered_few has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    figures: dict[str, tuple[Any, Any]] = {}
    settings = (("", 0.0, options["shares"]), ("noisy labels, ", options["noise"], options.get("noisy_shares", [])))
    for words, noise, wanted in settings:
        if not wanted:
            continue
        ends = [trained(name, how, 1.0, data, seed, noise, options) for how in ("none", "full")]
        for share in wanted:
            said = f"{share:.0%} altered"
            ours = trained(name, OURS, share, data, seed, noise, options)
            other = {how: trained(name, how, share, data, seed, noise, options) for how in CHOICES}
            for how, right in (other | {"none": ends[0], "full": ends[1]}).items():
                figures[f"{words}accuracy, {said}, {how}"] = (right, ours)
            gain = float(ends[1].mean() - ends[0].mean())
            if not noise and gain > 0:
                reached = [float(right.mean() - ends[0].mean()) / gain for right in (other["random"], ours)]
                figures[f"share of the gain, {said}"] = (reached[0], reached[1])
    return figures


def trained(
    name: str, how: str, share: float, data: str, seed: int, noise: float, options: Mapping[str, Any]
) -> np.ndarray:
    """[test pictures] right or wrong, after training with a share altered that is chosen so."""
    x, y = pictures(data)
    items = options.get("items", 900)
    train, spare, _, test = shares(len(x), seed, items)
    views = copies(data, CROP, seed, items)
    inputs, item = Views(flat(x[train]), views), torch.arange(len(train))
    held = TrainData(inputs, inputs, Keys(item, item, torch.from_numpy(mislabelled(y[train], noise, seed))), True)
    recipe = Recipe.of(dict(options["recipe"]) | {"strategy": f"{name}(share={share})"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Run(recipe, held, towers.build(recipe, held), Chain.of(recipe.objective), seed, torch.device("cpu"))
        strategy = make("strategy", recipe.strategy)
        if how != OURS:
            strategy.chosen = lambda session: otherwise(how, strategy, session)
        strategy.begin(made)
        _fit(made, strategy, options)
    rows = np.concatenate([test, spare])
    asked = Features(cropped(data, tuple(rows.tolist()), seed))
    return (answered(made.towers["query"], strategy, asked) == y[rows]).astype(np.float64)


@functools.lru_cache(maxsize=4)
def cropped(data: str, rows: tuple[int, ...], seed: int) -> np.ndarray:
    """[n, 256] pixels in 0..1 of a cropped copy of each of some pictures."""
    (part,), made = make_chain("augment", CROP), []
    for row in rows:
        rng = np.random.default_rng([seed, row, 99])
        made.append(np.asarray(part(Image.fromarray(pictures(data)[0][row]), rng=rng), np.float32).ravel() / 255)
    return np.stack(made)


@torch.no_grad()
def otherwise(how: str, strategy: Any, session: Run) -> Tensor:
    """[n] weights of the items that are altered, by another rule than the part's."""
    n = len(session.data)
    if how in ("full", "none"):
        return torch.full((n,), float(how == "full"))
    if how == "random":
        key = torch.rand(n, generator=torch.Generator().manual_seed(session.draw("which are altered")))
    elif how == "max-loss":
        answers = (session.encode_all("query") @ unit(strategy.vectors).T / strategy.temperature).log_softmax(1)
        key = -answers[torch.arange(n), torch.searchsorted(strategy._keys.target, session.data.keys.target)]
    else:
        raise PartError(f"items to alter are chosen by random, max-loss, full or none, not {how!r}")
    weight = torch.zeros(n)
    weight[key.argsort(descending=True, stable=True)[: round(strategy.share * n)]] = 1.0
    return weight


def mislabelled(y: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """[n] labels, a share of which is another class at random."""
    rng, classes = np.random.default_rng(np.random.SeedSequence([seed, 13])), np.unique(y)
    wrong = rng.permutation(len(y))[: round(noise * len(y))]
    made = y.copy()
    for row in wrong:
        made[row] = rng.choice(classes[classes != y[row]])
    return made
