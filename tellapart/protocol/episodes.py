"""Few-shot episodes: a classifier that is also shown the unlabelled items it is asked about, against its baseline.

An episode draws `ways` classes, some labelled items of each (the shots) and `queries` items of each that are to be
classified. Part and baseline get the same labelled items; the part (trait `unlabelled`) sees the queries' vectors as
well. Every item is standardised over its own numbers for both, so that the difference is not one of scale. Options of
both are chosen, for each number of shots, on episodes of a part of the items; the others are used once.

Metrics: accuracy at each number of shots with as many queries of every class, and `unequal queries`: the same with
shares of 1, 2, 4, 8 and so on, in random order, of as many queries together.

Options (`[options]` of the spec):
    ways, shots, queries: classes (5), list of labelled items a class ([1, 5]), queries a class (15).
    episodes: how many a seed (120), and as many again of the items that options are chosen on.
    part_grid, baseline_grid: {option: list of values} to choose from.
    also: specs of further classifiers, untuned, that the part is compared with.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.protocol import _sets
from tellapart.protocol._sets import Labelled

SHARES = (0.3, 0.7)


@dataclass(frozen=True)
class Episode:
    """Labelled items x [n, d], y [n] and queries z [m, d] with their true labels."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    truth: np.ndarray


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)}, both [episodes] accuracies."""
    options = spec["options"]
    everything = _sets.load(data)
    everything = Labelled(standardised(everything.x), everything.y, everything.group)
    tuning, test = _sets.split(everything, seed, SHARES)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 4]))
    found: dict[str, tuple[Any, Any]] = {}
    for shots in options.get("shots", [1, 5]):
        drawn = drawn_episodes(tuning, options, shots, rng)
        part = chosen(spec["part"], options.get("part_grid", {}), drawn)
        baseline = chosen(spec["baseline"], options.get("baseline_grid", {}), drawn)
        for uneven in (False, True):
            drawn = drawn_episodes(test, options, shots, rng, uneven=uneven)
            mine, words = accuracies(*part, drawn), ", unequal queries" if uneven else ""
            found[f"accuracy, {shots} shots{words}"] = accuracies(*baseline, drawn), mine
            for other in options.get("also", []):
                found[f"accuracy, {shots} shots{words}, against {other}"] = accuracies(other, {}, drawn), mine
    return found


def standardised(x: np.ndarray) -> np.ndarray:
    """[n, d] with mean 0 and deviation 1 in every row; a row of one value becomes zeros."""
    x = x.astype(np.float64) - x.mean(axis=1, keepdims=True)
    return x / np.maximum(x.std(axis=1, keepdims=True), 1e-12)


def drawn_episodes(
    items: Labelled, options: dict[str, Any], shots: int, rng: np.random.Generator, *, uneven: bool = False
) -> list[Episode]:
    """Episodes of classes that have enough items for the shots and for the most queries a class may get."""
    ways, queries = options.get("ways", 5), options.get("queries", 15)
    share = 2.0 ** np.arange(ways) if uneven else np.ones(ways)
    counts = np.diff(np.round(np.cumsum([0.0, *share]) / share.sum() * queries * ways)).astype(int)
    classes = [c for c in np.unique(items.y) if (items.y == c).sum() >= shots + counts.max()]
    if len(classes) < ways:
        raise DataError(f"{len(classes)} classes have {shots + counts.max()} items, and an episode takes {ways}")
    made = []
    for _ in range(options.get("episodes", 120)):
        support, asked = [], []
        for c, count in zip(rng.permutation(classes)[:ways], rng.permutation(counts), strict=True):
            rows = rng.permutation(np.flatnonzero(items.y == c))
            support.append(rows[:shots])
            asked.append(rows[shots : shots + count])
        few, held = np.concatenate(support), np.concatenate(asked)
        made.append(Episode(items.x[few], items.y[few], items.x[held], items.y[held]))
    return made


def chosen(spec: str, grid: dict[str, list[Any]], episodes: list[Episode]) -> tuple[str, dict[str, Any]]:
    """The spec with the options of the grid that do best on these episodes."""
    tries = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if len(tries) == 1:
        return spec, tries[0]
    means = [float(accuracies(spec, options, episodes).mean()) for options in tries]
    return spec, tries[int(np.argmax(means))]


def accuracies(spec: str, options: dict[str, Any], episodes: list[Episode]) -> np.ndarray:
    """[episodes] share of the queries whose class is named."""
    sees = "unlabelled" in card_of("classify", parse_spec(spec)[0]).traits
    found = []
    for e in episodes:
        more = {"unlabelled": e.z} if sees else {}
        found.append(float((make("classify", spec, **options).fit(e.x, e.y, **more).predict(e.z) == e.truth).mean()))
    return np.asarray(found)
