"""Audits of a space that foretell what mending it would bring, against what it brought on items they had not seen.

**hubness**, **modality-gap** (`openmoji`, `docstrings`): linear heads are trained on 60% of the pairs. The audit asks
one half of the test pairs and learns from the rest; what the mending brings is measured on the other half, R@10 with
`inverted-softmax` as the audit says, fitted on training queries, or with the means of both sides taken off, less R@10
without. The space is
judged as it is and with a fault planted: hubs (a tenth of all documents is moved towards the mean query, by twice as
much as it is long), or a gap (queries and documents are moved apart, by twice as much, along the first principal
direction of the documents).

- `error of what mending brings`: how far off is what was foretold; the baseline foretells nothing.
- `right about harm`: whether a clear finding (p below 0.05) is there just where mending brings more than one query in a
  hundred. The baseline calls any gap or any hubs a fault that are surely there: separability above a half, or skewness
  above 1, by their intervals.
- `planted hubs shown` (hubness): the share of planted ones among the first 12; the baseline shows those nearest to the
  mean query.

**dimensional-collapse** (`digits`, `fashion`, `wordnet`): thirteen spaces made of frozen features without labels: 2 to
64 principal directions, random ones, and 64 principal directions whose spreads were raised to a power. The audit sees
one half of the items. The truth is the accuracy of a logistic regression fitted on one half of the others, on the rest.

- `tau of rank and accuracy`: Kendall's tau of accuracy with the effective rank; the baseline takes anisotropy, less is
  better.
- `error of what was lost`: how far what the finding says is from the loss of accuracy beside the frozen features; the
  baseline foretells none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows
from tellapart.core.gains import MARGIN
from tellapart.core.needs import require
from tellapart.core.parts import make, parse_spec
from tellapart.core.report import Report
from tellapart.protocol import _sets
from tellapart.protocol.rank import Search, encoded

LOWER_IS_BETTER = ("error",)
K, CLEAR, SHOWN = 10, 0.05, 12
Figures = dict[str, tuple[Any, Any]]
Sides = dict[str, np.ndarray]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    name = parse_spec(spec["part"])[0]
    known: dict[str, Callable[..., Figures]] = {"dimensional-collapse": collapse}
    known |= dict.fromkeys(("hubness", "modality-gap"), harm)
    if name not in known:
        raise DataError(f"the protocol spaces knows {', '.join(known)}, not {name}")
    return known[name](spec["part"], data, seed)


def harm(part: str, data: str, seed: int) -> Figures:
    """What was foretold and what came, of a space as it is and with a fault planted."""
    sides = encoded(data, seed, 20, 4000)
    hubs = parse_spec(part)[0] == "hubness"
    figures: Figures = {}
    for words in ("as it is", "planted"):
        held, planted = sides, np.zeros(0, np.int64)
        if words == "planted":
            held, planted = (with_hubs if hubs else with_gap)(sides, np.random.default_rng([seed, 6]))
        report, rows = audited(part, held, seed)
        test = held["test"]
        rest = np.setdiff1d(np.arange(len(test["query"])), rows)
        q, k = test["query"][rest], test["document"][rest]
        brought = mended(report.facts.get("temperature", 0.0), held["train"], q, k)
        finding = report.findings()[0]
        foretold = finding.figure.value
        figures[f"error of what mending brings, {words}"] = abs(brought), abs(foretold - brought)
        sure = report.figure("skewness of N" if hubs else "separability").low
        plain = sure is not None and sure > (1.0 if hubs else 0.5)
        truth = brought > MARGIN
        figures[f"right about harm, {words}"] = float(plain == truth), float((finding.p < CLEAR) == truth)
        if hubs and len(planted):
            shown = [int(example.ids[0].split()[1]) for example in finding.examples]
            near = rows[np.argsort(-test["document"][rows] @ test["query"][rows].mean(0))[:SHOWN]]
            figures["planted hubs shown"] = float(np.isin(near, planted).mean()), float(np.isin(shown, planted).mean())
    return figures


def audited(part: str, sides: dict[str, Sides], seed: int) -> tuple[Report, np.ndarray]:
    """The report on one half of the test pairs, and their numbers."""
    n = len(sides["test"]["query"])
    rows = np.sort(np.random.default_rng([seed, 7]).permutation(n)[: n // 2])
    parts = {"test": rows} | {name: np.arange(len(sides[name]["query"])) for name in ("validation", "train")}
    vectors = {
        name: np.concatenate([sides[of][side][at] for of, at in parts.items()])
        for name, side in (("q", "query"), ("k", "document"))
    }
    names = [f"{of} {i}" for of, at in parts.items() for i in at]
    split = [of for of, at in parts.items() for _ in at]
    return make("audit", part)(vectors, Collection.of({"id": names, "split": split}), seed=seed), rows


def mended(temperature: float, train: Sides, q: np.ndarray, k: np.ndarray) -> float:
    """R@10 after mending less R@10 before."""
    before = Search(q, k)
    if temperature:
        after, hits = before, before.ranked(make("rank", "inverted-softmax", temperature=temperature), train["query"])
    else:
        after = Search(*(unit_rows(x - train[s].mean(0)) for x, s in ((q, "query"), (k, "document"))))
        hits = after.hits
    return float((after.places(hits) <= K).mean() - (before.places(before.hits) <= K).mean())


def with_hubs(sides: dict[str, Sides], rng: np.random.Generator) -> tuple[dict[str, Sides], np.ndarray]:
    """A tenth of the documents of each part moved towards the mean query, and which of the test part."""
    way = unit_rows(sides["train"]["query"].mean(0)[None])[0]
    made, planted = {}, np.zeros(0, np.int64)
    for name, held in sides.items():
        rows = rng.permutation(len(held["document"]))[: len(held["document"]) // 10]
        moved = held["document"].copy()
        moved[rows] = unit_rows(moved[rows] + 2 * way)
        made[name] = {"query": held["query"], "document": moved}
        planted = rows if name == "test" else planted
    return made, planted


def with_gap(sides: dict[str, Sides], rng: np.random.Generator) -> tuple[dict[str, Sides], np.ndarray]:
    """Both sides moved apart along the direction in which documents differ most, one way or the other."""
    documents = sides["train"]["document"]
    way = np.linalg.svd(documents - documents.mean(0), full_matrices=False)[2][:1] * rng.choice([-2.0, 2.0])
    signs = {"query": way, "document": -way}
    moved = {name: {s: unit_rows(x + signs[s]) for s, x in held.items()} for name, held in sides.items()}
    return moved, np.zeros(0, np.int64)


def collapse(part: str, data: str, seed: int) -> Figures:
    """Thirteen spaces of frozen features, their ranks and their accuracies."""
    tau = require("scipy.stats", "the protocol spaces").kendalltau
    seen, fitted, asked = _sets.split(_sets.load(data), seed, (0.5, 0.25, 0.25))
    maps = spaces(seen.x.astype(np.float64), np.random.default_rng([seed, 8]))
    collection = Collection.of({"id": [f"i{i}" for i in range(len(seen.x))], "label": [str(v) for v in seen.y]})

    def accuracy(move: Callable[[np.ndarray], np.ndarray]) -> float:
        x, z = (unit_rows(move(held.x.astype(np.float64))) for held in (fitted, asked))
        probe = make("classify", "logistic-regression").fit(x.astype(np.float32), fitted.y)
        said = np.asarray(probe.classes_)[probe.predict_proba(z.astype(np.float32)).argmax(1)]
        return float((said == asked.y).mean())

    frozen, found = accuracy(lambda x: x), []
    for move in maps:
        report = make("audit", part)({"document": seen.x, "k": move(seen.x)}, collection, seed=seed)
        told = [report.figure(n).value for n in ("effective rank", "anisotropy", "lost beside the frozen features")]
        found.append([accuracy(move), *told])
    right, rank, cosine, lost = np.array(found).T
    loss = frozen - right
    return {
        "tau of rank and accuracy": (float(tau(-cosine, right).statistic), float(tau(rank, right).statistic)),
        "error of what was lost": (float(np.abs(loss).mean()), float(np.abs(loss - lost).mean())),
    }


def spaces(x: np.ndarray, rng: np.random.Generator) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Maps of frozen features that keep some of what is in them."""
    middle = x.mean(0)
    _, s, v = np.linalg.svd(x - middle, full_matrices=False)
    most = min(64, int((s > 1e-6 * s[0]).sum()))
    weights = [v[: min(dim, most)].T for dim in (2, 4, 8, 16, 32, 64)]
    weights += [rng.normal(size=(x.shape[1], dim)) for dim in (4, 16, 64)]
    weights += [v[:most].T * (s[:most] / s[0]) ** (power - 1) for power in (0.0, 0.5, 2.0, 3.0)]
    return [functools.partial(_moved, middle, w) for w in weights]


def _moved(middle: np.ndarray, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray((x - middle) @ weight)
