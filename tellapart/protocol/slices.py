"""Slices that a model serves worse, planted and not, among the values of real columns.

`openmoji`: people drawn in six skin tones and three genders, told by what they do (65 roles) from EfficientNet-Lite0
features; `wordnet`: glosses of nouns, told by lexicographer file from MiniLM vectors, with the columns `length` (of the
gloss, in thirds), `words` (of the synset: one, more) and `name` (whether it begins with a capital).

Planted: the features of the items of a slice, one value or two together, have noise of twice their length added, as if
its pictures were badly lit or its texts cut; all drawings have some. Four slices a seed, two of each kind.

Figures: the baseline is the usual table of accuracy by slice, the difference from all others, Wald's interval and a
test of two shares without a correction; the variant is the part.

- `planted slice first`: the share in which it has the first place (by difference; by the part's table).
- `interval holds the size`: every item is right by a toss with its class's rate, less by `size` in the slice; the share
  of intervals that hold the gap that was tossed for.
- `called found where nothing hangs on slices`: what is right is dealt anew within every class; the share of 20 deals in
  which anything is called found at 5%.

Options (`[options]` of the spec):
    deals: how many (20); size: of the planted gap, relative (0.3).
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from tellapart.core.chance import holm
from tellapart.core.collection import Collection
from tellapart.core.crossfit import folds_of
from tellapart.core.errors import DataError, PartError
from tellapart.core.features import unit_rows
from tellapart.core.linear import ridge_map
from tellapart.core.parts import make
from tellapart.core.report import Figure, Report, Table
from tellapart.data.spool import cache_folder
from tellapart.protocol import _sets

LOWER_IS_BETTER = ("called",)
KNOWN = ("deals", "size")
FIRST, HOLDS = "planted slice first", "interval holds the size"
CALLED = "called found where nothing hangs on slices"
LEAST, CLEAR, FOLDS, SPOILT, WIDTH = 20, 0.05, 5, 2.0, 128
NOISE = {"openmoji": 1.4, "wordnet": 0.0}
Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol slices has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    x, label, columns = attributes(data)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 71]))
    cells = able(columns)
    chosen = [rng.permutation([name for name in cells if ("&" in name) == double])[:2] for double in (False, True)]
    first, holds, called = [], [], []
    for name in np.concatenate(chosen).tolist():
        said = trained(x, label, cells[name], rng, NOISE[data])
        plain, report = both(spec["part"], x, label, said, columns, cells, seed)
        first.append([max(plain, key=lambda n: plain[n][0]) == name, _first(report) == name])
    rate, names = (trained(x, label, None, rng, NOISE[data]) == label).astype(float), list(cells)
    per_class = np.array([rate[label == c].mean() for c in range(label.max() + 1)])[label]
    for _ in range(options.get("deals", 20)):
        name = names[rng.integers(len(names))]
        inside, size = cells[name], options.get("size", 0.3)
        right = rng.random(len(x)) < per_class * np.where(inside, 1 - size, 1)
        plain, report = both(spec["part"], x, label, np.where(right, label, -1), columns, cells, seed)
        figure = next((f.figure for f in report.findings() if f.figure.name == f"slice {name}"), None)
        if figure is not None:
            truth = [_expected(per_class, label, inside, size, strata) for strata in (np.zeros_like(label), label)]
            holds.append([plain[name][1] <= truth[0] <= plain[name][2], _within(figure, truth[1])])
        dealt = rate.copy()
        for c in np.unique(label):
            dealt[label == c] = rng.permutation(dealt[label == c])
        plain, report = both(spec["part"], x, label, np.where(dealt > 0, label, -1), columns, cells, seed)
        sure = holm([f.p for f in report.findings()]) < CLEAR
        called.append([any(p < CLEAR for *_, p in plain.values()), bool(sure.any())])
    found = {FIRST: np.mean(first, axis=0), HOLDS: np.mean(holds, axis=0), CALLED: np.mean(called, axis=0)}
    return {name: (float(value[0]), float(value[1])) for name, value in found.items()}


def both(
    part: str, x: np.ndarray, label: np.ndarray, said: np.ndarray, columns: dict[str, list[str]],
    cells: dict[str, np.ndarray], seed: int,
) -> tuple[dict[str, tuple[float, float, float, float]], Report]:  # fmt: skip
    """{slice: accuracy of the others less its own, ends, p} without classes, and the part's report."""
    named = {"label": [str(v) for v in label], "said": [str(v) for v in said]}
    collection = Collection.of({**columns, **named})
    report = make("audit", part, predicted="said", most=1000, least=LEAST)({"document": x}, collection, seed=seed)
    right, plain = label == said, {}
    for name, inside in cells.items():
        a, b = right[~inside], right[inside]
        wide = 1.96 * math.sqrt(a.var() / len(a) + b.var() / len(b))
        gap, spread = a.mean() - b.mean(), math.sqrt(right.var() * (1 / len(a) + 1 / len(b)))
        plain[name] = (gap, gap - wide, gap + wide, 0.5 * math.erfc(gap / max(spread, 1e-12) / math.sqrt(2)))
    return plain, report


def able(columns: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """{name: [n] bool} of all slices with items enough, named as the part names them; one that is a value is none."""
    single = {f"{c}={v or '(empty)'}": np.array([h == v for h in held])
              for c, held in columns.items() for v in sorted(set(held))}  # fmt: skip
    every, names = dict(single), list(single)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            cell = single[a] & single[b]
            if cell.sum() < min(single[a].sum(), single[b].sum()):
                every[f"{a} & {b}"] = cell
    return {name: cell for name, cell in every.items() if LEAST <= cell.sum() <= len(cell) - LEAST}


def trained(
    x: np.ndarray, label: np.ndarray, spoilt: np.ndarray | None, rng: np.random.Generator, noise: float
) -> np.ndarray:
    """[n] what ridge regressions on the other folds say of features with noise, more of it in a slice."""
    fold, said = folds_of(np.arange(len(x)), FOLDS, rng), np.zeros(len(x), np.int64)
    level = np.full(len(x), noise) if spoilt is None else np.where(spoilt, math.hypot(noise, SPOILT), noise)
    z = unit_rows(x + level[:, None] * rng.normal(size=x.shape) / math.sqrt(x.shape[1]))
    wanted = np.eye(label.max() + 1)[label]
    for f in range(FOLDS):
        rest = fold != f
        said[~rest] = ridge_map(z[rest], wanted[rest], 1.0)(z[~rest]).argmax(axis=1)
    return said


def _first(report: Report) -> str:
    return str(next(b for b in report.blocks if isinstance(b, Table)).rows[0][0])


def _within(figure: Figure, truth: float) -> bool:
    return figure.low is not None and figure.high is not None and figure.low <= truth <= figure.high


def _expected(rate: np.ndarray, label: np.ndarray, inside: np.ndarray, size: float, strata: np.ndarray) -> float:
    """The gap that is tossed for, within strata."""
    right, top, base = rate * np.where(inside, 1 - size, 1), 0.0, 0.0
    for c in np.unique(strata):
        here, there = right[(strata == c) & inside], right[(strata == c) & ~inside]
        if len(here) and len(there):
            weight = len(here) * len(there) / (len(here) + len(there))
            top, base = top + weight * (there.mean() - here.mean()), base + weight
    return float(top / base)


def _narrow(x: np.ndarray) -> np.ndarray:
    """Unit rows of the first 128 principal components."""
    z = x - x.mean(axis=0)
    return unit_rows(z @ np.linalg.svd(z, full_matrices=False)[2][:WIDTH].T)


@functools.cache
def attributes(data: str) -> tuple[np.ndarray, np.ndarray, dict[str, list[str]]]:
    """Unit features, class numbers, and the columns to slice by."""
    from tellapart.engine.embed import embed

    if data not in ("openmoji", "wordnet"):
        raise DataError(f"the protocol slices knows openmoji and wordnet, not {data!r}")
    cache = cache_folder(None, "evidence-vectors")
    made = _sets.shipped(data)
    if data == "openmoji":
        codes = made.codes("concept")[0]
        rows = np.flatnonzero(np.bincount(codes)[codes] == 18)
        made = made.take(rows)
        x = np.array(embed(made, "image", make("encode", "lite0"), cache=cache))
        return _narrow(x), made.codes("concept")[0], {c: made.values(c) for c in ("skin_tone", "gender")}
    made = made.where("pos", "n")
    kind = made.codes("lexname")[0]
    rng = np.random.default_rng(0)
    made = made.take(
        np.sort(np.concatenate([rng.permutation(np.flatnonzero(kind == c))[:80] for c in np.unique(kind)]))
    )
    size = np.array([len(text.split()) for text in made.values("gloss")])
    third = np.searchsorted(np.quantile(size, [1 / 3, 2 / 3]), size)
    columns = {
        "length": [("short", "medium", "long")[t] for t in third],
        "words": ["one" if len(lemmas) == 1 else "more" for lemmas in made.values("lemmas")],
        "name": ["capital" if text[:1].isupper() else "small" for text in made.values("anchor")],
    }
    x = np.array(embed(made, "gloss", make("encode", "minilm"), cache=cache))
    return _narrow(x), made.codes("lexname")[0], columns
