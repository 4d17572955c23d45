"""Whether an audit says which models hear a denial, where it is known which do.

Data, 600 items of two things each, of which the caption names both or one, so that what a caption does not name may be
there all the same:
    drawings: two of 48 OpenMoji drawings, EfficientNet-Lite0 features added up; captions in MiniLM vectors, which a
        kernel ridge regression maps onto the pictures: `deaf` is fitted on captions, `taught` on as many texts besides
        that deny something ("lemon, and there is no boat", in other words than the audit's), whose target is the one
        drawing less the other.
    generated: a direction for every thing; `deaf` adds up what a text names, `taught` takes away what it denies.
Of both there is a model that knows nothing: fitted on captions of other pictures; directions that are no thing's.

**negation**: beside it, as baseline, what a benchmark of denials says without asking the same things affirmed: that a
model fails where surely fewer than 75% of the denials are told. Metrics: `called clear, knows nothing`, `…, deaf`,
`…, taught` (a share of 1 or 0 each, at 5% over all that is looked for); `error about denials told`, over deaf and
taught: how far the audit's share of "X, not Y" told from the reverse lies from the truth, asked about the real contents
in other words; the baseline takes the share of "X" told from "Y" for it; and `told, deaf and taught`, that truth.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tellapart.core.chance import at_most, holm
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows
from tellapart.core.parts import make
from tellapart.core.report import Table
from tellapart.protocol.composites import drawings
from tellapart.protocol.regions import png
from tellapart.protocol.relations import encoded, of_pictures

LOWER_IS_BETTER = ("error", "called clear, knows nothing", "called clear, taught")
ITEMS, ASKED, THINGS, WIDTH, BOTH, ENOUGH, CLEAR = 600, 150, 48, 64, 0.6, 0.75, 0.05
TAUGHT = ("{a}, and there is no {c}", "{a} but nowhere a {c}", "there is no {c} here, only {a}")
TRUTHS = ("a picture of a {a} and of no {c}", "a picture of no {c}, but of a {a}")
MODELS = ("knows nothing", "deaf", "taught")

ALONE, CHOICE, TRUE = "no X, put after", "X or Y", "X, not Y or the reverse"

Encode = Callable[[Sequence[str]], np.ndarray]


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if data not in ("drawings", "generated"):
        raise DataError(f"the protocol denied knows drawings and generated, not {data!r}")
    names, things, captions = contents(data, seed)
    models = (_trained if data == "drawings" else _made_up)(names, things, captions, seed)
    collection = Collection.of({"id": [f"{i:04d}" for i in range(ITEMS)], "text": captions})
    audit, found = make("audit", spec["part"]), {}
    errors, truths = [], []
    for which, (image, encode) in zip(MODELS, models, strict=True):
        report = audit({"image": image, "text-encoder": encode}, collection, seed=seed)
        ours = holm([f.p for f in report.findings()]).min() < CLEAR
        (table,) = [block for block in report.blocks if isinstance(block, Table)]
        share = {name: figure for name, figure in table.rows}
        told = [share[name] for name in (ALONE, TRUE)]
        plain = holm([at_most(math.ceil(f.value * f.count), f.count, ENOUGH) for f in told]).min() < CLEAR
        found[f"called clear, {which}"] = (float(plain), float(ours))
        if which != MODELS[0]:
            truths.append(truth := _truth(image, encode, names, things, seed))
            errors.append([abs(share[name].value - truth) for name in (CHOICE, TRUE)])
    base, ours = np.mean(errors, axis=0).tolist()
    return {**found, "error about denials told": (base, ours), "told, deaf and taught": (truths[0], truths[1])}


def contents(data: str, seed: int) -> tuple[list[str], np.ndarray, list[str]]:
    """Names of things, [n, 2] which two stand in each item, and captions."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 71]))
    names = icons()[0] if data == "drawings" else [f"thing{chr(97 + n // 7)}{chr(97 + n % 7)}" for n in range(THINGS)]
    things = np.array([rng.choice(THINGS, 2, replace=False) for _ in range(ITEMS)])
    both = rng.random(ITEMS) < BOTH
    captions = [
        f"a {names[a]} and a {names[b]}" if all_ else f"a {names[a]}" for (a, b), all_ in zip(things, both, strict=True)
    ]
    return names, things, captions


@functools.cache
def icons() -> tuple[list[str], np.ndarray]:
    """Drawings whose names are one word, and their features."""
    called, pictures, _ = drawings()
    one = [n for n, name in enumerate(called) if re.fullmatch("[a-z]{3,}", name)][:THINGS]
    if len(one) < THINGS:
        raise DataError(f"{THINGS} drawings with names of one word are needed, there are {len(one)}")
    return [called[n] for n in one], of_pictures([png(pictures[n]) for n in one])


def _trained(names: list[str], things: np.ndarray, captions: list[str], seed: int) -> list[tuple[np.ndarray, Encode]]:
    rng = np.random.default_rng(np.random.SeedSequence([seed, 72]))
    x = icons()[1]
    image = x[things].sum(axis=1) + 0.3 * x.std() * rng.normal(size=(len(things), x.shape[1]))
    denying, wanted = [], []
    for row, (a, b) in enumerate(things):
        one, absent = int((a, b)[int(rng.integers(2))]), int(rng.choice(_absent(things[row])))
        denying.append(TAUGHT[row % len(TAUGHT)].format(a=names[one], c=names[absent]))
        wanted.append(x[one] - x[absent])
    plain = encoded(captions)
    maps = (
        _mapped(plain, rng.permutation(image)),
        _mapped(plain, image),
        _mapped(np.concatenate([plain, encoded(denying)]), np.concatenate([image, wanted])),
    )

    def encode(asked: Sequence[str], of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return of(encoded(list(asked)))

    return [(image, functools.partial(encode, of=of)) for of in maps]


def _mapped(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A kernel ridge regression from vectors of texts to those of pictures: exp(-|a - b|^2), ridge 0.01."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(2 * unit_rows(a.astype(float)) @ unit_rows(b.astype(float)).T - 2))

    centre = y.mean(axis=0)
    weight = np.linalg.solve(kernel(x, x) + 0.01 * np.eye(len(x)), y - centre)
    return lambda rows: np.asarray(centre + kernel(rows, x) @ weight)


def _made_up(names: list[str], things: np.ndarray, captions: list[str], seed: int) -> list[tuple[np.ndarray, Encode]]:
    rng = np.random.default_rng(np.random.SeedSequence([seed, 73]))
    of_thing, of_nothing, common = (rng.normal(size=(THINGS, WIDTH)) for _ in range(3))
    image = of_thing[things].sum(axis=1) + 2 * rng.normal(size=(len(things), WIDTH))
    at = {name: n for n, name in enumerate(names)}

    def encode(asked: Sequence[str], *, of: np.ndarray, hears: bool) -> np.ndarray:
        out = np.zeros((len(asked), WIDTH))
        for row, text in enumerate(asked):
            deny = 1
            for word in re.findall("[a-z]+", text):
                deny = -1 if word in ("no", "not", "without") and hears else deny
                if word in at:
                    out[row] += deny * of[at[word]]
                    deny = 1
            out[row] += common[len(text) % THINGS] * 0.5
        return out

    kinds = ((of_nothing, False), (of_thing, False), (of_thing, True))
    return [(image, functools.partial(encode, of=of, hears=hears)) for of, hears in kinds]


def _truth(image: np.ndarray, encode: Encode, names: list[str], things: np.ndarray, seed: int) -> float:
    """How often an item is nearer to what is true of its real contents than to the reverse."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 74]))
    rows = rng.choice(len(things), ASKED, replace=False)
    pairs = [(names[int(rng.choice(things[r]))], names[int(rng.choice(_absent(things[r])))]) for r in rows]
    z, margins = unit_rows(np.asarray(image, float)[rows]), []
    for way in TRUTHS:
        right, wrong = (
            unit_rows(np.asarray(encode([way.format(a=one[i], c=one[1 - i]) for one in pairs]), float)) for i in (0, 1)
        )
        margins.append(np.einsum("nd,nd->n", z, right - wrong))
    margin = np.concatenate(margins)
    return float(np.where(np.abs(margin) <= 1e-6, 0.5, margin > 0).mean())


def _absent(things: np.ndarray) -> np.ndarray:
    return np.setdiff1d(np.arange(THINGS), things)
