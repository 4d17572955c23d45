"""Parts that reorder or cut off hits, on queries that neither the heads nor the parts have seen.

**Hubs** (`openmoji`, `docstrings`: pairs of texts and pictures, or of docstrings and code): two heads are trained by
InfoNCE on the training pairs; the part gets the training queries as its bank and the searched documents. Options of the
part and of its baseline are chosen on the validation pairs by the mean reciprocal rank; the test pairs are used once.
Both directions. Metrics: R@1, R@10 and `hub skew` (how unevenly documents stand among the first 10 of all queries;
lower is better), each against the baseline and against the plain order by cosine.

**Cut-off** (parts of trait `cutoff`; `wordnet`: from the gloss of a hypernym to those of its hyponyms; `fashion`: from
the photograph of a piece of clothing to those of its kind): frozen cosines; the part is fitted on half of the queries,
its options chosen on a fifth, and judged on the rest. Every test query brings its 100 nearest documents; one threshold
on all of them keeps 95% (or 90%) of the relevant ones. Metrics: precision there, and average precision over all hits
together, each against raw cosines (which Platt's scaling equals: it is one increasing map for all) and against z-scores
within each query's hits. `precision as deployed` and `recall as deployed`: at the thresholds that part and raw cosine
would take from the fitting queries.

Options (`[options]` of the spec):
    part_grid, baseline_grid: {option: list of values} to choose from on validation data.
    epochs: of the heads (20).
    pairs: at most so many pairs of a larger data set (4000).
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows
from tellapart.core.hits import Hits
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.data.spool import cache_folder
from tellapart.protocol import _sets

LOWER_IS_BETTER = ("hub skew",)
HUBS, CUTS = ("openmoji", "docstrings"), ("wordnet", "fashion")
SIDES = ("query", "document")
KEPT = (0.95, 0.9)
SEEN = 100
Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    cuts = "cutoff" in card_of("rank", parse_spec(spec["part"])[0]).traits
    if data not in (CUTS if cuts else HUBS):
        raise DataError(f"{spec['part']} is judged on {', '.join(CUTS if cuts else HUBS)}, not on {data!r}")
    return cut_off(spec, data, seed) if cuts else hubs(spec, data, seed)


def choices(spec: str, grid: dict[str, list[Any]]) -> list[Any]:
    """The part with every combination of its options; `cosine` is the plain order."""
    if spec == "cosine":
        return [None]
    made = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return [make("rank", spec, **options) for options in made]


class Search:
    """Queries and the documents one of which belongs to each, with their plain hits."""

    def __init__(self, q: np.ndarray, k: np.ndarray) -> None:
        self.q, self.k = q, k
        self.ids = np.array([f"{i:07d}" for i in range(len(k))])
        self.hits = Hits.sorted(np.tile(self.ids, (len(q), 1)), q @ k.T, SEEN)

    def ranked(self, part: Any, bank: np.ndarray) -> Hits:
        """The hits as the part, fitted on a bank of queries and on these documents, leaves them."""
        if part is None:
            return self.hits
        part.fit(bank, self.k, ids=self.ids)
        return part.rank(self.q, self.hits, lambda ids: self.k[ids.astype(int)])

    def places(self, hits: Hits) -> np.ndarray:
        """[q] place of the right document from 1, infinite where it is not among the hits."""
        right = hits.ids == self.ids[: len(self.q), None]
        return np.where(right.any(axis=1), right.argmax(axis=1) + 1.0, np.inf)

    def skew(self, hits: Hits) -> float:
        """Third standardised moment of how often each document stands among the first 10."""
        times = np.bincount(hits.ids[:, :10].astype(int).ravel(), minlength=len(self.k)).astype(float)
        return float(((times - times.mean()) ** 3).mean() / max(times.std() ** 3, 1e-12))


def hubs(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """R@1, R@10 and hub skew in both directions."""
    options = spec["options"]
    sides = encoded(data, seed, options.get("epochs", 20), options.get("pairs", 4000))
    found: Figures = {}
    for asking, asked in (SIDES, SIDES[::-1]):
        name = f"{asking} to {asked}"
        held, test = (Search(sides[part][asking], sides[part][asked]) for part in ("validation", "test"))
        bank = sides["train"][asking]
        of = {}
        for label, grid in (("part", "part_grid"), ("baseline", "baseline_grid")):
            tried = choices(spec[label], options.get(grid, {}))
            good = [float((1 / held.places(held.ranked(part, bank))).mean()) for part in tried]
            of[label] = test.ranked(tried[int(np.argmax(good))], bank)
        against = (
            {"": of["baseline"]}
            if spec["baseline"] == "cosine"
            else {"": of["baseline"], ", against cosine": test.hits}
        )
        for words, base in against.items():
            for k in (1, 10):
                pair = (test.places(base) <= k).astype(float), (test.places(of["part"]) <= k).astype(float)
                found[f"R@{k} {name}{words}"] = pair
            found[f"hub skew {name}{words}"] = test.skew(base), test.skew(of["part"])
    return found


@functools.lru_cache(maxsize=2)
def encoded(data: str, seed: int, epochs: int, pairs: int) -> dict[str, dict[str, np.ndarray]]:
    """{part of the split: {side: unit vectors}} under heads trained on the training part."""
    from tellapart.engine.fit import fit
    from tellapart.engine.prepare import train_data
    from tellapart.engine.trial import held_out
    from tellapart.recipe import Recipe

    made, vectors = frozen(data, pairs)
    from tellapart.data.splits import split

    made = split(made, seed=seed, shares=(0.6, 0.15, 0.25))
    recipe = Recipe(head="linear-head(dim=128)", epochs=epochs)
    rows = np.flatnonzero(np.asarray(made.values("split"), dtype=object) == "train")
    fitted = fit(recipe, train_data(made.take(rows), {s: x[rows] for s, x in vectors.items()}, recipe), seed=seed)
    parts = {part: held_out(made, part) for part in ("train", "validation", "test")}
    return {part: {s: fitted.encode(s, x[at]) for s, x in vectors.items()} for part, at in parts.items()}


@functools.cache
def frozen(data: str, pairs: int) -> tuple[Any, dict[str, np.ndarray]]:
    """A collection of pairs with its duplicate groups, and frozen features of both sides."""
    from tellapart.data.identity import curate
    from tellapart.engine.prepare import features
    from tellapart.recipe import Recipe

    made = _sets.shipped(data)
    if len(made) > pairs:
        made = made.take(np.linspace(0, len(made) - 1, pairs).astype(int))
    cache = cache_folder(None, "evidence-vectors")
    return curate(made), {side: np.array(x) for side, x in features(made, Recipe(), cache=cache).items()}


def cut_off(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """Precision at two recalls with one threshold, average precision, and both as deployed."""
    q, k, relevant, same = sought(data)
    order = np.random.default_rng(np.random.SeedSequence([seed, 1])).permutation(len(q))
    fit, held, test = np.split(order, [len(q) // 2, len(q) * 7 // 10])
    ids = np.array([f"{i:07d}" for i in range(len(k))])
    names = ids[same] if same is not None else None

    def hits_of(rows: np.ndarray) -> Hits:
        scores = q[rows] @ k.T
        if same is not None:
            scores[np.arange(len(rows)), same[rows]] = -np.inf
        return Hits.sorted(np.tile(ids, (len(rows), 1)), scores, SEEN)

    def right(rows: np.ndarray, hits: Hits) -> np.ndarray:
        return relevant[rows[:, None], np.where(hits.ids == "", "0", hits.ids).astype(int)] & (hits.ids != "")

    def fitted(part: Any, rows: np.ndarray) -> Any:
        pairs = np.argwhere(relevant[rows])
        return part.fit(q[rows], k, query_ids=None if names is None else names[rows], ids=ids, pairs=pairs)

    def scores_of(part: Any, rows: np.ndarray, hits: Hits) -> np.ndarray:
        """The part's scores of all hits, none cut off; the order within a query is that of the hits."""
        threshold, part.threshold_ = part.threshold_, 0.0
        scores = part.rank(q[rows], hits, None).scores
        part.threshold_ = threshold
        return scores

    before = hits_of(held)
    parts = [fitted(part, fit) for part in choices(spec["part"], spec["options"].get("part_grid", {}))]
    good = [average_precision(scores_of(p, held, before), right(held, before)) for p in parts]
    part = parts[int(np.argmax(good))]
    hits = hits_of(test)
    y, mine = right(test, hits), scores_of(part, test, hits)
    sd = hits.scores.std(axis=1, keepdims=True)
    z = (hits.scores - hits.scores.mean(axis=1, keepdims=True)) / np.maximum(sd, 1e-9)
    found: Figures = {}
    for words, base in (("", hits.scores), (", against z-scores", z)):
        for share in KEPT:
            pair = precision_at(base, y, share), precision_at(mine, y, share)
            found[f"precision at {share:.0%} recall{words}"] = pair
        found[f"average precision{words}"] = average_precision(base, y), average_precision(mine, y)
    fitting = hits_of(fit)
    least = np.sort(fitting.scores[right(fit, fitting)])
    raw = hits.scores >= least[int((1 - part.recall) * len(least))]
    kept = mine >= part.threshold_
    found["precision as deployed"] = float(y[raw].mean()), float(y[kept].mean())
    found["recall as deployed"] = float(y[raw].sum() / y.sum()), float(y[kept].sum() / y.sum())
    return found


def precision_at(scores: np.ndarray, y: np.ndarray, share: float) -> float:
    """Precision with the largest threshold that keeps the share of the relevant hits."""
    least = np.sort(scores[y])[int(np.floor((1 - share) * y.sum()))]
    return float(y[scores >= least].mean())


def average_precision(scores: np.ndarray, y: np.ndarray) -> float:
    """Area under the precision-recall curve of all hits together."""
    order = np.argsort(-scores.ravel(), kind="stable")
    hit = y.ravel()[order]
    return float((np.cumsum(hit)[hit] / (np.flatnonzero(hit) + 1)).mean())


@functools.cache
def sought(data: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Unit queries, unit documents, [q, k] which are relevant, and which document a query itself is, if it is one."""
    if data == "fashion":
        held = _sets.load("fashion")
        x = unit_rows(held.x.astype(np.float64)).astype(np.float32)
        return x, x, (held.y[:, None] == held.y) & ~np.eye(len(x), dtype=bool), np.arange(len(x))
    made = _sets.shipped("wordnet").where("pos", "n")
    above, row_of = made.values("hypernym"), made.row_of
    below: dict[int, list[int]] = {}
    for row, hypernym in enumerate(above):
        if hypernym in row_of:
            below.setdefault(row_of[hypernym], []).append(row)
    rng = np.random.default_rng(0)
    asking = [row for row, under in below.items() if 3 <= len(under) <= 300]
    asking = sorted(rng.choice(asking, 2400, replace=False).tolist())
    documents = sorted({row for a in asking for row in below[a]})
    relevant = np.zeros((len(asking), len(documents)), dtype=bool)
    column = {row: j for j, row in enumerate(documents)}
    for i, row in enumerate(asking):
        relevant[i, [column[r] for r in below[row]]] = True
    q, k = (_sets_vectors(made, rows) for rows in (asking, documents))
    return q, k, relevant, None


def _sets_vectors(made: Any, rows: list[int]) -> np.ndarray:
    from tellapart.engine.embed import embed

    encoder = make("encode", "minilm")
    x = embed(made.take(rows), "gloss", encoder, cache=cache_folder(None, "evidence-vectors"))
    return unit_rows(np.array(x, dtype=np.float64)).astype(np.float32)
