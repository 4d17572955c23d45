"""Queries that are failed for their form or their length, planted and not, and what an audit says of them.

Texts are those of functions (`docstrings`, asked by what they say of themselves) and of words (`wordnet`, asked by
their glosses). Documents are drawn at random; the vector of a query is that of its document and noise, which is drawn
anew for every text, so that another form of a query has other luck and not less of it. Every form also has a direction
of its own, more or less of it, which no document has: it moves vectors and no ranks. Where something is planted,
queries of that form or length have more noise.

**query-variations**: metrics are `planted way first` (the share in which it has the smallest p; the baseline orders the
ways by how far the vectors of both forms are apart, as is usual) and `called found where nothing is planted` (the share
of collections in which anything is, at 5%; the baseline tests the two shares of every way as if they were of different
queries, without a correction). With MiniLM in place of the planted encoder, `error about a drop`: the mean distance of
the reported drops from those of three times as many other queries; the baseline is their mean, said of each way.

**query-length**: `planted length clear` (short, long; at 5% for both findings together) and `called clear where the
queries are hard, not short or long`: those of one length have more noise whole and cut. The baseline is the gap between
short and long queries alone, by the same test and correction.

Options (`[options]` of the spec):
    items: queries (200); deals: collections a seed of each kind (8); real: queries that MiniLM is asked (0: none).
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tellapart.core.chance import difference, holm
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.features import unit_rows
from tellapart.core.parts import make, parse_spec
from tellapart.parts.audit._query_forms import WAYS
from tellapart.protocol import _sets

LOWER_IS_BETTER = ("called", "error")
KNOWN = ("items", "deals", "real")
FIRST, CALLED, ERROR = "planted way first", "called found where nothing is planted", "error about a drop"
CLEAR, HARD = "planted length clear", "called clear where the queries are hard, not short or long"
PLANTED = ("capitals", "no punctuation", "no small words", "a spelling mistake")
DIM, STYLES, USUAL, MORE, AT = 32, 8, 1.5, 2.2, 0.05
SETS = {"docstrings": "anchor", "wordnet": "gloss"}
Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and seed."""
    name, options = parse_spec(spec["part"])[0], spec["options"]
    if unknown := [option for option in options if option not in KNOWN]:
        raise PartError(f"the protocol queries has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if name not in ("query-variations", "query-length"):
        raise DataError(f"the protocol queries knows query-variations and query-length, not {name}")
    items, deals = options.get("items", 200), options.get("deals", 8)
    if name == "query-length":
        return lengths(data, seed, items, deals)
    first, called = [], []
    for number in range(2 * deals):
        planted = PLANTED[number // 2 % len(PLANTED)] if number % 2 else ""
        made, texts, vectors = world(data, items, [seed, number], functools.partial(_of_form, planted))
        report = make("audit", spec["part"], items=items)(vectors, made, seed=seed)
        p = {f.figure.name.removeprefix("drop with "): f.p for f in report.findings()}
        if planted:
            first.append([_farthest(texts, vectors["text-encoder"], seed) == planted, _least(p) == planted])
        else:
            share = report.figure("found as they are").value
            apart = any(_unpaired(f.values, share, seed) < AT for f in report.findings())
            called.append([apart, bool((holm(list(p.values())) < AT).any())])
    found = {FIRST: np.mean(first, axis=0), CALLED: np.mean(called, axis=0)}
    if options.get("real"):
        found[ERROR] = real(spec["part"], data, seed, options["real"])
    return {metric: (float(value[0]), float(value[1])) for metric, value in found.items()}


def lengths(data: str, seed: int, items: int, deals: int) -> Figures:
    """What is clear of planted lengths, and of queries that are hard and only happen to have one."""
    clear: list[list[bool]] = []
    called: list[list[bool]] = []
    for number in range(2 * deals):
        kind, hard = ("short", "long")[number // 2 % 2], number % 2 == 0

        def worse(way: str, size: int, whole: int, ends: tuple[int, int], kind: str = kind, hard: bool = hard) -> bool:
            counted = whole if hard else size
            return counted <= ends[0] if kind == "short" else counted > ends[1]

        made, texts, vectors = world(data, items, [seed, number, 7], worse)
        report = make("audit", "query-length", items=items, pool=items)(vectors, made, seed=seed)
        ours = {f.figure.name: f.p for f in report.findings()}
        both = [dict(zip(p, holm(list(p.values())), strict=True)) for p in (_gaps(vectors, texts, seed), ours)]
        said = [any(v < AT for v in p.values()) if hard else p.get(f"{kind} queries", 1.0) < AT for p in both]
        (called if hard else clear).append(said)
    return {CLEAR: tuple(np.mean(clear, axis=0).tolist()), HARD: tuple(np.mean(called, axis=0).tolist())}


def world(
    data: str, items: int, seed: Sequence[int], worse: Callable[..., bool]
) -> tuple[Collection, list[str], dict[str, Any]]:
    """A collection of queries, its texts, and what an audit is given of the planted encoder.

    Args:
        worse: (way, number of words, that of the whole query, their thirds) -> whether there is more noise.
    """
    rng = np.random.default_rng(np.random.SeedSequence([*seed, 91]))
    every = texts_of(data)
    texts = [every[i] for i in np.sort(rng.choice(len(every), items, replace=False))]
    z = np.zeros((items, DIM + STYLES))
    z[:, :DIM] = unit_rows(rng.normal(size=(items, DIM)))
    style = {way: float(v) for way, v in zip(WAYS, rng.permutation(len(WAYS)) * 0.5, strict=True)}
    size = np.array([len(t.split()) for t in texts])
    ends = tuple(int(v) for v in np.quantile(size, [1 / 3, 2 / 3], method="lower"))
    marks = _marks(texts)
    salt = ".".join(str(s) for s in seed)

    def encode(given: Sequence[str]) -> np.ndarray:
        which = (_marks(given) @ marks.T).argmax(axis=1)
        out = np.empty((len(given), DIM + STYLES))
        for row, (text, i) in enumerate(zip(given, which, strict=True)):
            draw = np.random.default_rng(zlib.crc32(f"{salt} {text}".encode()))
            way = _way(text, texts[i])
            level = MORE if worse(way, len(text.split()), int(size[i]), ends) else USUAL
            out[row] = z[i]
            out[row, :DIM] += level * draw.normal(size=DIM) / np.sqrt(DIM)
            if way:
                out[row, DIM + list(WAYS).index(way)] += style[way]
        return unit_rows(out)

    made = Collection.of({"anchor": texts, "positive": [f"document {i}" for i in range(items)]})
    return made, texts, {"k": z, "text-encoder": encode}


@functools.cache
def texts_of(data: str) -> list[str]:
    """Different texts of four words or more."""
    if data not in SETS:
        raise DataError(f"the protocol queries knows {', '.join(SETS)}, not {data!r}")
    held = [" ".join(str(t or "").split()) for t in _sets.shipped(data).values(SETS[data])]
    return sorted({t for t in held if 4 <= len(t.split()) <= 24})


def real(part: str, data: str, seed: int, items: int) -> np.ndarray:
    """How far the drops of MiniLM that the part reports are from those of three times as many other queries."""
    made = _sets.shipped(data)
    side, other = (made.values(c) for c in (SETS[data], "positive" if data == "docstrings" else "anchor"))
    rows = np.random.default_rng(np.random.SeedSequence([seed, 92])).permutation(len(made))[: 4 * items]
    encoder = make("encode", "minilm(max_tokens=64)")
    k = unit_rows(np.asarray(encoder.encode([str(other[r]) for r in rows]), float))

    def drops(mine: np.ndarray) -> dict[str, float]:
        held = Collection.of({"anchor": [str(side[rows[i]]) for i in mine], "positive": ["-"] * len(mine)})
        # Both look among as many documents, and share none.
        said = make("audit", part, items=len(mine), pool=10_000, k=1)
        given = {"k": k[mine], "text-encoder": lambda texts: np.asarray(encoder.encode(list(texts)))}
        return {f.figure.name: f.figure.value for f in said(given, held, seed=seed).findings()}

    parts = np.array_split(np.arange(len(rows)), 4)
    told, truth = drops(parts[0]), [drops(p) for p in parts[1:]]
    ways = [w for w in told if all(w in t for t in truth)]
    middle = float(np.mean([told[w] for w in ways]))
    known = {w: float(np.mean([t[w] for t in truth])) for w in ways}
    return np.array([[abs(middle - known[w]), abs(told[w] - known[w])] for w in ways]).mean(axis=0)


def _marks(texts: Sequence[str]) -> np.ndarray:
    """[n, 512] how often each three signs stand in a text, whatever their case."""
    z = np.zeros((len(texts), 512))
    for row, text in enumerate(texts):
        low = text.lower()
        for at in range(max(1, len(low) - 2)):
            z[row, zlib.crc32(low[at : at + 3].encode()) % 512] += 1
    return unit_rows(z)


def _way(text: str, whole: str) -> str:
    """Which way makes this text of that one; "" of itself and of its first words."""
    if text == whole:
        return ""
    rng = np.random.default_rng(0)
    fixed = next((w for w in WAYS if w != "a spelling mistake" and WAYS[w](whole, rng) == text), "")
    cut = whole.startswith(text)
    return fixed or ("" if cut else "a spelling mistake")


def _farthest(texts: list[str], encode: Any, seed: int) -> str:
    """The way whose vectors are farthest from those of the queries as they are."""
    apart = {}
    for name, way in WAYS.items():
        both = [(t, m) for i, t in enumerate(texts) if (m := way(t, np.random.default_rng([seed, i]))) not in ("", t)]
        if len(both) >= 20:
            a, b = (encode([pair[side] for pair in both]) for side in (0, 1))
            apart[name] = float(np.einsum("nd,nd->n", a, b).mean())
    return min(apart, key=lambda name: apart[name])


def _least(p: dict[str, float]) -> str:
    best = sorted(p, key=lambda name: p[name])
    return best[0] if len(best) == 1 or (best and p[best[0]] < p[best[1]]) else ""


def _unpaired(drops: Sequence[float], share: float, seed: int) -> float:
    """p of a drop as if the queries of both forms were different ones."""
    n = len(drops)
    before = round(share * n)
    after = min(n, max(0, before - round(sum(drops))))
    v = np.concatenate([np.arange(n) < before, np.arange(n) < after]).astype(float)
    found = difference(v, np.arange(2 * n) < n, np.arange(2 * n), seed=seed, alternative="greater")
    return 1.0 if found is None else found.p


def _of_form(planted: str, way: str, *_: Any) -> bool:
    return way == planted != ""


def _gaps(vectors: dict[str, Any], texts: list[str], seed: int) -> dict[str, float]:
    """p of the gap between the shortest, or longest, third and the others, of which nothing more is asked."""
    s = vectors["text-encoder"](texts) @ vectors["k"].T
    right = ((s > np.diag(s)[:, None]).sum(axis=1) < 10).astype(float)
    size = np.array([len(t.split()) for t in texts])
    ends = np.quantile(size, [1 / 3, 2 / 3], method="lower")
    p = {}
    for name, inside in (("short queries", size <= ends[0]), ("long queries", size > ends[1])):
        found = difference(right, ~inside, np.arange(len(size)), seed=seed, alternative="greater")
        p[name] = 1.0 if found is None else found.p
    return p
