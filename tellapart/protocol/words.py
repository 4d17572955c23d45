"""Searching texts by vectors, by words, by learnt weights of words, and by two of these together.

Pairs: docstrings to code (`docstrings`), the words of a synset to its gloss (`glosses`) and the other way round
(`words`, for `hybrid` alone). Groups (source files, runs of neighbouring synsets) are on one side of the split; a
held-out query is searched in all documents, those of the training pairs too. nDCG@10.

Arms, all with word pieces of MiniLM as terms and, after training, cut at one weight so that a document has on the
average as many terms as for BM25, its number of different word pieces:

- `BM25`;
- `flops`: the document encoder with the penalty, every term of a query counting 1, cross-entropy of the own document;
- `idf`: the same with the idf of the query's terms in the score;
- `idf-flops`: the same taught by the ensemble;
- `dense`: the cosines of frozen MiniLM; `full text`: SQLite FTS5; `hybrid`: reciprocal rank fusion of these two;
  `hybrid, sparse`: of `dense` and `idf-flops`.

Each trained arm chooses its learning rate by the validation part; the test part is looked at once.

Metrics: `nDCG@10` (flops; idf-flops), the same against each other arm, and hybrid against both of its lists; terms a
document before the cut (`terms`), which steering should have brought near the wanted number.

Options (`[options]` of the spec): pairs, tokens, epochs, batch_size, learning_rates, sampled.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows
from tellapart.core.hits import Hits
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.core.terms import Weighted, beside_own, bm25, counted, rarity, weighed
from tellapart.engine.evaluate import Relevant, listed
from tellapart.engine.fit import fit
from tellapart.engine.fulltext import FullText
from tellapart.engine.fusion import fused
from tellapart.engine.inputs import Features, TrainData
from tellapart.engine.inverted import Inverted
from tellapart.engine.sparse import with_terms
from tellapart.protocol._sets import shipped
from tellapart.recipe import Recipe

LOWER_IS_BETTER = ("terms",)
SHARES = (0.6, 0.15, 0.25)
DEPTH = 500
METRIC = "nDCG@10"
DATA = {"docstrings": ("anchor", "positive"), "glosses": ("anchor", "positive"), "words": ("positive", "anchor")}
PIECES = 400

Figures = dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Texts:
    """Pairs of texts with all that does not depend on a seed."""

    pairs: Collection
    group: np.ndarray
    data: TrainData
    text: FullText

    @property
    def vocabulary(self) -> int:
        return len(self.data.extra["idf"])


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if data not in DATA:
        raise DataError(f"the protocol words knows {', '.join(DATA)}, not {data!r}")
    options = spec["options"]
    texts = opened(data, options.get("pairs", 1000), options.get("tokens", 48))
    train, validation, test = parted(texts.group, seed)
    dense, words = by_vectors(texts, test), by_full_text(texts, test)
    both = fused([dense, words], DEPTH)
    figure = functools.partial(measured, texts, test)
    found: Figures = {
        "hybrid against vectors alone": (figure(dense), figure(both)),
        "hybrid against full text alone": (figure(words), figure(both)),
    }
    if data == "words":
        return found
    counts = counted(texts.data.extra["term_starts"], texts.data.extra["terms"], texts.vocabulary)
    idf = rarity(counts, texts.vocabulary)
    length = float(np.diff(counts.starts).mean())
    plain = found_by(texts, bm25(counts), idf, test)
    arms, terms = {}, {}
    for name, weight, taught in (("flops", np.ones_like(idf), 0.0), ("idf", idf, 0.0), ("idf-flops", idf, 1.0)):
        tried = [
            trained(texts, train, weight, taught, length, rate, seed, options)
            for rate in options.get("learning_rates", [1e-3])
        ]
        good = [measured(texts, validation, found_by(texts, cut, weight, validation)).mean() for cut, _ in tried]
        rows, terms[name] = tried[int(np.argmax(good))]
        arms[name] = found_by(texts, rows, weight, test)
    ours = figure(arms["idf-flops"])
    found[METRIC] = figure(arms["flops"]), ours
    found[f"{METRIC} of idf alone against flops"] = figure(arms["flops"]), figure(arms["idf"])
    found[f"{METRIC} against idf alone"] = figure(arms["idf"]), ours
    found[f"{METRIC} against BM25"] = figure(plain), ours
    found[f"{METRIC} against dense vectors"] = figure(dense), ours
    found["hybrid, sparse against vectors alone"] = figure(dense), figure(fused([dense, arms["idf-flops"]], DEPTH))
    found["terms before the cut"] = terms["flops"], terms["idf-flops"]
    return found


@functools.cache
def opened(data: str, pairs: int, tokens: int) -> Texts:
    """The pairs of a data set, evenly over it, with vectors and token states of all."""
    query, document = DATA[data]
    made = shipped("docstrings" if data == "docstrings" else "wordnet")
    rows = np.unique(np.linspace(0, len(made) - 1, min(pairs, len(made))).astype(int))
    made = made.take(rows)
    asked, texts = made.values(query), made.values(document)
    if data == "docstrings":
        group = made.codes("concept")[0]
    else:
        group = np.arange(len(made)) * PIECES // len(made)
    ids = [f"{n:05d}" for n in range(len(made))]
    made = Collection.of({"id": ids, "anchor": asked, "positive": texts})
    recipe = Recipe(text=f"minilm(max_tokens={tokens})")
    encoder = make("encode", recipe.text)
    q, k = (unit_rows(encoder.encode(made.values(c))) for c in ("anchor", "positive"))
    item = torch.arange(len(made))
    vectors = TrainData(
        Features(q), Features(k), Keys(item, item, item), guide=(torch.from_numpy(q), torch.from_numpy(k))
    )
    text = FullText()
    text.add(ids, texts)
    return Texts(made, group, with_terms(vectors, made, recipe), text)


def parted(group: np.ndarray, seed: int) -> list[np.ndarray]:
    """Rows of training, validation and test, groups whole."""
    groups = np.random.default_rng(np.random.SeedSequence([seed, 8])).permutation(np.unique(group))
    parts = np.split(groups, (np.cumsum(SHARES)[:2] * len(groups)).astype(int))
    return [np.flatnonzero(np.isin(group, part)) for part in parts]


def trained(
    texts: Texts, train: np.ndarray, idf: np.ndarray, taught: float, length: float, rate: float, seed: int,
    options: dict[str, Any],
) -> tuple[Weighted, float]:  # fmt: skip
    """All documents under a document encoder trained on some rows, cut at `length` terms, and their terms before."""
    strategy = f"idf-flops(terms={max(1, round(length))}, taught={taught}, sampled={options.get('sampled', 300)})"
    recipe = Recipe.of(
        {"strategy": strategy, "learning_rate": rate, "epochs": options.get("epochs", 4),
         "batch_size": options.get("batch_size", 32), "head": "linear-head(dim=32)"}
    )  # fmt: skip
    head = fit(recipe, some(texts.data, train, idf), seed=seed).strategy
    held = texts.data.extra
    map_, bias = head.map.detach().numpy(), head.bias.detach().numpy()
    vectors, bounds = held["term_vectors"], itertools.pairwise(held["term_starts"].tolist())
    spans = (beside_own(held["term_states"][a:b], held["terms"][a:b], vectors) for a, b in bounds)
    made = (weighed(span, map_, vectors, float(bias)) for span in spans)
    rows = Weighted.joined([Weighted.of(row[None]) for row in made])
    return cut_at(rows, length), len(rows.terms) / len(rows)


def some(data: TrainData, rows: np.ndarray, idf: np.ndarray) -> TrainData:
    """The training data of some rows."""
    held, at = data.extra, torch.from_numpy(rows)
    spans = [np.arange(held["term_starts"][row], held["term_starts"][row + 1]) for row in rows]
    tokens = np.concatenate(spans)
    extra = held | {
        "term_starts": np.concatenate([[0], np.cumsum([len(s) for s in spans])]).astype(np.int64),
        "terms": held["terms"][tokens], "term_states": held["term_states"][tokens],
        "query_terms": held["query_terms"][rows], "idf": idf,
    }  # fmt: skip
    sides = [Features(side.batch(rows, seed=None).numpy()) for side in (data.query, data.document)]
    assert data.guide is not None
    guide = (data.guide[0][at], data.guide[1][at])
    return replace(data, query=sides[0], document=sides[1], keys=data.keys[at], guide=guide, extra=extra)


def cut_at(rows: Weighted, length: float) -> Weighted:
    """The greatest weights of all rows, so many a row on the average."""
    keep = min(round(length * len(rows)), len(rows.weights))
    if not keep:
        return rows
    chosen = rows.weights >= np.partition(rows.weights, len(rows.weights) - keep)[len(rows.weights) - keep]
    starts = np.concatenate([[0], np.cumsum(chosen)])[rows.starts]
    return Weighted(starts.astype(np.int64), rows.terms[chosen], rows.weights[chosen])


def found_by(texts: Texts, rows: Weighted, idf: np.ndarray, asking: np.ndarray) -> Hits:
    """What the queries of some rows find by weights of terms."""
    index = Inverted(texts.vocabulary)
    index.add(texts.pairs.ids, rows)
    terms = texts.data.extra["query_terms"][asking]
    asked = np.zeros((len(asking), texts.vocabulary), np.float32)
    row, at = np.nonzero(terms >= 0)
    asked[row, terms[row, at]] = idf[terms[row, at]]
    return index.search(Weighted.of(asked), DEPTH)


def by_vectors(texts: Texts, asking: np.ndarray) -> Hits:
    """What they find by the frozen encoder."""
    assert texts.data.guide is not None
    q, k = (side.numpy() for side in texts.data.guide)
    return Hits.sorted(np.tile(texts.pairs.ids.astype(str), (len(asking), 1)), q[asking] @ k.T, DEPTH)


def by_full_text(texts: Texts, asking: np.ndarray) -> Hits:
    """What they find by full text."""
    lists = [texts.text.search(query, DEPTH) for query in texts.pairs.take(asking).values("anchor")]
    width = max(hits.ids.shape[1] for hits in lists)
    ids = np.full((len(lists), width), "", dtype=object)
    scores = np.full(ids.shape, -np.inf, np.float32)
    for row, hits in enumerate(lists):
        ids[row, : hits.ids.shape[1]], scores[row, : hits.ids.shape[1]] = hits.ids[0], hits.scores[0]
    return Hits(ids.astype(str), scores)


def measured(texts: Texts, asking: np.ndarray, hits: Hits) -> np.ndarray:
    """[queries] nDCG@10."""
    found = np.where(hits.ids == "", -1, np.where(hits.ids == "", "0", hits.ids).astype(np.int64))
    return listed(found, hits.scores, Relevant.by_target(asking, np.arange(len(texts.pairs))), len(texts.pairs))[METRIC]
