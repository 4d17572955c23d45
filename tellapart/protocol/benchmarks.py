"""Smaller benchmarks: do fewer tasks, and fewer documents, rank models as all of them do?

Models: fourteen of three families (MiniLM whole, cut, centred, as signs, projected; hashed words; hashed letters; both
together). Tasks: fourteen of one data set each, of four kinds. What is chosen is chosen on some models and judged on
others.

Data: `wordnet` (words and glosses of nouns, verbs, adjectives and adverbs), `docstrings` (docstrings and code, by
package).

Metrics (baseline, variant):
    `ranking of held-out models`: Spearman's correlation of Borda points by few tasks with those by all, on the half of
        the models that had no say; as many tasks at random, and what `core.leaderboard.shrink` leaves.
    `order on a small corpus`: Kendall's tau-b of the models' order by nDCG@10 on so many documents with that on all; of
        answers and random others, and of what three models pooled, over the other eleven.
    `order of cuts of one model`: the same as the audit part says it of MiniLM, with its own models.
    `share of tasks left`: for the first, as a number beside it (baseline 1).

Options (`[options]` of the spec):
    items: of a task (300). tasks: how many are left (5). documents: of the small corpus (200). queries: (150).
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.benching import held_out
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows
from tellapart.core.leaderboard import kendall, pooled, shrink
from tellapart.core.nearest import nearest
from tellapart.core.parts import make
from tellapart.data.spool import cache_folder
from tellapart.engine import task_scores
from tellapart.engine.evaluate import Relevant, retrieval
from tellapart.protocol import _sets

POOL, HASHED, MOST_LETTERS, POOLING = 500, 512, 600, ("minilm", "words", "letters 3")
Vectors = dict[str, np.ndarray]
Drawn = tuple[str, Vectors, Vectors, np.ndarray]
Pool = tuple[Vectors, Vectors, np.ndarray]


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = {"items": 300, "tasks": 5, "documents": 200, "queries": 150, **spec["options"]}
    drawn = _drawn(data, seed, options["items"])
    kinds, scores = _matrix(drawn, seed)
    kept, by_chance = held_out(scores, kinds, least=options["tasks"], seed=seed)
    left, _ = shrink(scores, kinds, least=options["tasks"])
    q, k, ids = _corpus(data)
    of_random, of_pooled = _small(q, k, options["queries"], options["documents"], seed)
    audited = {"q": unit_rows(q["minilm"]), "k": unit_rows(k["minilm"])}
    collection = Collection.of({"id": ids, "anchor": ids, "positive": ids, "group": list(range(len(ids)))})
    sizes = {"queries": options["queries"], "documents": options["documents"]}
    report = make("audit", spec["part"], **sizes)(audited, collection, seed=seed)
    return {
        "ranking of held-out models": (by_chance, kept),
        "order on a small corpus": (of_random, of_pooled),
        "order of cuts of one model": tuple(report.figure(f"order kept, {n}").value for n in ("random", "pooled")),
        "share of tasks left": (1.0, len(left) / len(kinds)),
    }


def _matrix(drawn: list[Drawn], seed: int) -> tuple[list[str], np.ndarray]:
    """[models, tasks] scores."""
    scores = [[_score(kind, a[model], b[model], y, seed) for model in a] for kind, a, b, y in drawn]
    return [kind for kind, *_ in drawn], np.array(scores).T


def _score(kind: str, a: np.ndarray, b: np.ndarray, y: np.ndarray, seed: int) -> float:
    own = np.arange(len(y))
    if kind == "retrieval":
        answers = Relevant.by_target(own, own)
        return task_scores.searched(a, b, answers, own, groups=(own, own), own="keep").value
    if kind == "classification":
        return task_scores.classified(a, y.tolist(), own, seed=seed).value
    if kind == "clustering":
        return task_scores.clustered(a, y.tolist(), seed=seed).value
    return task_scores.told_apart(a, b, y, own, draws=2).value


def _small(q: Vectors, k: Vectors, queries: int, documents: int, seed: int) -> tuple[float, float]:
    """Kendall's tau of the order of models that did not pool, on random and on pooled documents, with that on all."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 7]))
    n = len(next(iter(k.values())))
    asked = np.sort(rng.choice(n, queries, replace=False))
    both = {m: [unit_rows(z).astype(np.float32) for z in (q[m][asked], k[m])] for m in q}
    found = [nearest(both[m][0], [both[m][1]], documents)[1] for m in POOLING]
    kept = pooled(found, [[int(row)] for row in asked], documents)
    others = rng.choice(np.setdiff1d(np.arange(n), asked), len(kept) - len(asked), replace=False)
    means = []
    for corpus in (np.arange(n), np.concatenate([asked, others]), kept):
        right = Relevant.by_target(asked, corpus)
        means.append([
            float(np.mean(retrieval(a, b[corpus], right, ks=(10,), ids=(asked, corpus), own="keep")["nDCG@10"]))
            for m, (a, b) in both.items() if m not in POOLING
        ])  # fmt: skip
    return kendall(np.array(means[0]), np.array(means[1])), kendall(np.array(means[0]), np.array(means[2]))


def _drawn(data: str, seed: int, items: int) -> list[Drawn]:
    """(kind, vectors by model of one side, of the other, labels) of each task, of items drawn with the seed."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 3]))
    tasks: list[Drawn] = []
    for name, (q, k, label) in _pools(data).items():
        rows = rng.permutation(len(label))[:items]
        a, b = ({m: z[rows] for m, z in side.items()} for side in (q, k))
        tasks.append(("retrieval", a, b, label[rows]))
        swap = np.where(np.arange(len(rows)) % 2, np.roll(np.arange(len(rows)), 1), np.arange(len(rows)))
        if name in _PAIRED:
            tasks.append(("pair-classification", a, {m: z[swap] for m, z in b.items()}, swap == np.arange(len(rows))))
        known, size = np.unique(label[rows], return_counts=True)
        big = np.isin(label[rows], known[size > task_scores.SHOTS])
        if len(np.unique(label[rows][big])) > 2:
            for side in (a, b):
                held = {m: z[big] for m, z in side.items()}
                tasks += [(kind, held, held, label[rows][big]) for kind in ("classification", "clustering")]
    return tasks


_PAIRED = ("n", "v", "a", "python")


@functools.cache
def _pools(data: str) -> dict[str, Pool]:
    """Both sides of pools of items under every model, and their labels."""
    if data == "wordnet":
        made, by, label = _sets.shipped("wordnet"), "pos", "lexname"
    elif data == "docstrings":
        made, by, label = _sets.shipped("docstrings"), "label", "concept"
    else:
        raise DataError(f"smaller benchmarks are judged on wordnet and docstrings, not on {data!r}")
    of, rng = np.asarray(made.values(by)), np.random.default_rng(0)
    out: dict[str, Pool] = {}
    names, size = np.unique(of, return_counts=True)
    for name in names[np.argsort(-size, kind="stable")][:5].tolist():
        rows = np.sort(rng.permutation(np.flatnonzero(of == name))[:POOL])
        held = made.take(rows)
        first = [[str(v)[:MOST_LETTERS] for v in held.values(c)] for c in ("anchor", "positive")]
        label_of = np.asarray([str(v) for v in held.values(label)])
        if data == "docstrings":
            label_of = np.asarray([v.rsplit(".", 1)[0] if v.count(".") > 1 else v for v in label_of])
        out[str(name)] = (_models(first[0]), _models(first[1]), label_of)
    return out


@functools.cache
def _corpus(data: str) -> tuple[Vectors, Vectors, list[str]]:
    """All pools together, as one corpus; ids."""
    held = list(_pools(data).values())
    q, k = ({m: np.concatenate([p[side][m] for p in held]) for m in held[0][side]} for side in (0, 1))
    return q, k, [f"{i:05d}" for i in range(len(next(iter(k.values()))))]


def _models(texts: list[str]) -> Vectors:
    """[n, d] vectors of texts under fourteen models."""
    from tellapart.engine.embed import embed

    cache = cache_folder(None, "evidence-vectors")
    x = np.array(embed(Collection.of({"text": texts}), "text", make("encode", "minilm"), cache=cache), float)
    turn = np.random.default_rng(1).normal(size=(x.shape[1], 64))
    words = _hashed(texts, lambda t: t.lower().split())
    three, five = (_hashed(texts, functools.partial(_grams, size=n)) for n in (3, 5))
    out = {"minilm": x, "words": words, "letters 3": three, "letters 5": five, "projected": x @ turn}
    out |= {"signs": np.sign(x), "centred": x - x.mean(axis=0), "words, few": words[:, :128]}
    out |= {"letters, few": three[:, :128], "both": np.concatenate([unit_rows(x), unit_rows(three)], axis=1)}
    return out | {f"minilm, {d}": x[:, :d] for d in (192, 96, 48, 24)}


def _grams(text: str, size: int) -> list[str]:
    padded = f"  {text.lower()}  "
    return [padded[i : i + size] for i in range(len(padded) - size + 1)]


def _hashed(texts: list[str], cut: Callable[[str], list[str]]) -> np.ndarray:
    """[n, 512] square roots of the counts of pieces, each at a place and with a sign that it gives itself."""
    z = np.zeros((len(texts), HASHED))
    for row, text in enumerate(texts):
        for piece in cut(text):
            code = zlib.crc32(piece.encode())
            z[row, code % HASHED] += 1 if code & (1 << 20) else -1
    return np.asarray(np.sign(z) * np.sqrt(np.abs(z)) + 1e-9)
