"""Generators of known diversity, and what measures of it say of what they make.

A generator of a concept draws items of one attribute with a mix of values that is its own: even, skewed, or nearly all
of one value (0.92, a default). `openmoji`: pictures of people, EfficientNet-Lite0 features, attributes skin tone and
gender; `fashion`: photographs of ten kinds of clothes, the kind is the attribute. Of the items drawn, three in four do
not say their value: the part answers for them by a probe of those that do (other items, drawn evenly).

Baseline: the mean cosine distance of two items, as measures of diversity by vectors have it, and as a default what is
below its 20% quantile. Variant: the part. Figures, over 30 generators a seed:

- `correlation with the true entropy` of the mix that was drawn.
- `defaults found`: the share of generators with a default that are called found (the part: p below 0.05 over all, Holm;
  the baseline: by its quantile, which knows how many
  there are), and `called default`, the share of the others.

Options (`[options]` of the spec):
    generators: how many (30); items: of each (200).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tellapart.core.chance import holm
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.features import unit_rows
from tellapart.core.parts import make
from tellapart.core.report import Table
from tellapart.data.spool import cache_folder
from tellapart.protocol import _sets

LOWER_IS_BETTER = ("called",)
KNOWN = ("generators", "items")
DEFAULT, CLEAR, SAID, QUANTILE = 0.92, 0.05, 0.25, 0.2
Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol diversity has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    figures: dict[str, list[tuple[float, float]]] = {}
    for number, (x, values) in enumerate(attributes(data)):
        rng = np.random.default_rng(np.random.SeedSequence([seed, 91, number]))
        for name, pair in judged(spec["part"], x, values, options, rng, seed).items():
            figures.setdefault(name, []).append(pair)
    return {name: (float(np.mean([p[0] for p in pairs])), float(np.mean([p[1] for p in pairs])))
            for name, pairs in figures.items()}  # fmt: skip


def judged(
    part: str, x: np.ndarray, values: np.ndarray, options: dict[str, Any], rng: np.random.Generator, seed: int
) -> Figures:
    """The figures of one attribute."""
    kinds, count, size = int(values.max()) + 1, options.get("generators", 30), options.get("items", 200)
    order = rng.permutation(len(x))
    known, pool = order[: len(x) // 3], order[len(x) // 3 :]
    mixes = [_mix(number, kinds, rng) for number in range(count)]
    rows = [_drawn(mix, pool, values, size, rng) for mix in mixes]
    truth = np.array([_entropy(np.bincount(values[r], minlength=kinds) / len(r), kinds) for r in rows])
    planted = np.array([mix.max() >= DEFAULT for mix in mixes])
    apart = np.array([1 - float(np.triu(x[r] @ x[r].T, 1).sum()) / (len(r) * (len(r) - 1) / 2) for r in rows])
    every = np.concatenate([*rows, known])
    said = rng.random(len(every)) < SAID
    said[-len(known) :] = True
    concept = [*(f"generator {g:03d}" for g, r in enumerate(rows) for _ in r), *(None for _ in known)]
    told = [f"v{values[r]}" if s else "" for r, s in zip(every, said, strict=True)]
    collection = Collection.of({"label": concept, "value": told})
    report = make("audit", part, probe=True, least=20, most=200)({"document": x[every]}, collection, seed=seed)
    table = next(b for b in report.blocks if isinstance(b, Table))
    found = {row[0]: row[3] for row in table.rows}
    names = sorted({c for c in concept if c is not None})
    ours = np.array([found[name] for name in names])
    findings = report.findings()
    clear = {f.figure.name.split(" of ")[1] for f, p in zip(findings, holm([f.p for f in findings]), strict=True)
             if p < CLEAR}  # fmt: skip
    called = np.array([name in clear for name in names])
    low = apart <= np.quantile(apart, QUANTILE)
    return {
        "correlation with the true entropy": (_correlation(apart, truth), _correlation(ours, truth)),
        "defaults found": (float(low[planted].mean()), float(called[planted].mean())),
        "called default": (float(low[~planted].mean()), float(called[~planted].mean())),
    }


def _mix(number: int, kinds: int, rng: np.random.Generator) -> np.ndarray:
    """Every fifth generator has a default; the others are even to skewed."""
    if number % 5 == 0:
        mix = np.full(kinds, (1 - DEFAULT) / (kinds - 1))
        mix[rng.integers(kinds)] = DEFAULT
        return mix
    mix = rng.dirichlet(np.full(kinds, (0.5, 1.0, 3.0, 10.0)[number % 4]))
    return np.asarray(0.5 * mix + 0.5 / kinds)


def _drawn(mix: np.ndarray, pool: np.ndarray, values: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    wanted = rng.multinomial(size, mix)
    return np.concatenate([rng.choice(pool[values[pool] == v], n) for v, n in enumerate(wanted) if n])


def _entropy(share: np.ndarray, kinds: int) -> float:
    held = share[share > 0]
    return float(-(held * np.log(held)).sum() / np.log(kinds))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


@functools.cache
def attributes(data: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(unit features, numbers of the values) for each attribute of a data set."""
    from tellapart.engine.embed import embed

    if data == "fashion":
        held = _sets.load("fashion")
        return [(unit_rows(held.x), np.unique(held.y, return_inverse=True)[1])]
    if data != "openmoji":
        raise DataError(f"the protocol diversity knows openmoji and fashion, not {data!r}")
    made = _sets.shipped("openmoji")
    concept = made.codes("concept")[0]
    made = made.take(np.flatnonzero(np.bincount(concept)[concept] == 18))
    x = unit_rows(np.array(embed(made, "image", make("encode", "lite0"), cache=cache_folder(None, "evidence-vectors"))))
    return [(x, made.codes(name)[0]) for name in ("skin_tone", "gender")]
