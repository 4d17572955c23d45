"""Retrieval and detection figures per query or item, in blocks, with ties on purpose.

Conventions, all checked in the tests against ir-measures, scikit-learn and plain enumeration:

- **Ties.** Scores closer than float32 can tell apart are tied, and a figure is the expected value over all orders of
  what is tied. A model that maps everything to one point therefore scores what chance scores, whatever the order of
  the files.
- **R@k** is found / relevant (trec_eval's recall; not divided by min(k, relevant)). **Success@k** is whether any
  relevant one is among the first k: the "R@k" of image-text papers. With one relevant document the two are equal.
- **nDCG@k** has linear gains and the discount 1 / log2(place + 1); the ideal order is over all relevant documents.
- **MRR@k** is 1 / place of the first relevant document, 0 beyond k. **rank** is its expected place, from 1.
- A query without a relevant document has no figure (NaN) and does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from tellapart.core.errors import DataError
from tellapart.core.nearest import COLUMNS, longest_row
from tellapart.core.pieces import content_key, done_once
from tellapart.core.progress import Progress
from tellapart.core.report import Figure, Report, Text
from tellapart.engine import intervals
from tellapart.engine.topk import check_vectors, topk_blocks

NUMBERS_A_BLOCK = 16_000_000
TIED = 1e-6
Own = Literal["exclude", "keep"]


@dataclass(frozen=True)
class Relevant:
    """Which documents answer which query, as rows; either written out or by equal targets.

    Attributes:
        starts, rows: query i has the documents `rows[starts[i]:starts[i + 1]]`.
        gains: one a row, > 0, for graded relevance; None: 1.
        targets: (of queries, of documents) int64 instead of rows: equal ones are relevant, -1 is equal to nothing.
    """

    starts: np.ndarray
    rows: np.ndarray
    gains: np.ndarray | None = None
    targets: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    @staticmethod
    def of(relevant: Any) -> Relevant:
        """From itself, from one row a query ([n] int), or from a list of rows (or of {row: gain}) for each query."""
        if isinstance(relevant, Relevant):
            return relevant
        if isinstance(relevant, np.ndarray) and relevant.ndim == 1 and np.issubdtype(relevant.dtype, np.integer):
            return Relevant(np.arange(len(relevant) + 1), relevant.astype(np.int64))
        lists = [sorted(r) for r in relevant]
        starts = np.cumsum([0] + [len(r) for r in lists])
        rows = np.asarray([row for r in lists for row in r], np.int64)
        if any(isinstance(r, dict) for r in relevant):
            gains = np.asarray([given[row] for given, r in zip(relevant, lists, strict=True) for row in r], np.float64)
            return Relevant(starts, rows, gains)
        return Relevant(starts, rows)

    @staticmethod
    def by_target(queries: np.ndarray, documents: np.ndarray) -> Relevant:
        """Documents of the same target (pair, label, concept); never written out, so labels of any size will do."""
        queries, documents = np.asarray(queries, np.int64), np.asarray(documents, np.int64)
        return Relevant(np.zeros(len(queries) + 1, np.int64), np.zeros(0, np.int64), None, (queries, documents))

    def take(self, queries: np.ndarray) -> Relevant:
        """The answers of some queries, by row."""
        if self.targets is not None:
            return Relevant.by_target(self.targets[0][queries], self.targets[1])
        counts = np.diff(self.starts)[queries]
        inside = [np.arange(self.starts[q], self.starts[q + 1]) for q in queries]
        at = np.concatenate([np.zeros(0, np.int64), *inside])
        starts = np.concatenate([[0], np.cumsum(counts)])
        return Relevant(starts, self.rows[at], None if self.gains is None else self.gains[at])

    def check(self, queries: int, documents: int) -> None:
        """Every query is there and every row exists, or a `DataError`."""
        if len(self) != queries:
            raise DataError(f"relevant documents are given for {len(self)} queries, and there are {queries}")
        if self.targets is not None and len(self.targets[1]) != documents:
            raise DataError(f"targets are given for {len(self.targets[1])} documents, and there are {documents}")
        if len(self.rows) and (self.rows.min() < 0 or self.rows.max() >= documents):
            raise DataError(f"a relevant document has a row outside 0 … {documents - 1}")
        if self.gains is not None and not (self.gains > 0).all():
            raise DataError("gains must be above 0: leave out what is not relevant")

    def dense(self, start: int, stop: int, documents: int) -> np.ndarray:
        """[stop - start, documents] gains as float32, 0 where not relevant."""
        if self.targets is not None:
            q = self.targets[0][start:stop, None]
            return np.asarray((q == self.targets[1]) & (q >= 0), np.float32)
        out = np.zeros((stop - start, documents), np.float32)
        first, last = int(self.starts[start]), int(self.starts[stop])
        query = np.repeat(np.arange(stop - start), np.diff(self.starts[start : stop + 1]))
        out[query, self.rows[first:last]] = 1 if self.gains is None else self.gains[first:last]
        return out


def retrieval(
    q: np.ndarray,
    k: np.ndarray,
    relevant: Any,
    *,
    ks: Sequence[int] = (1, 10),
    ids: tuple[Any, Any] | None = None,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
    own: Own | None = None,
    block: int | None = None,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Figures of a search for every query, by the conventions at the top of this module.

    Args:
        q: [n, d] and `k`: [m, d] float vectors, memory-mapped or not; scores are inner products in float32.
        relevant: what `Relevant.of` takes: [n] int (one row a query), a list of rows for each query, or a `Relevant`.
        ks: places at which to cut.
        ids: (of queries, of documents), to tell a query's own entry among the documents.
        groups: (of queries, of documents) int64 duplicate groups, -1 is in no group.
        own: must be said once `ids` or `groups` are given. "exclude" takes documents of the query's own id or
            duplicate group out of the search (one side searched by itself); "keep" leaves them in (words that look for
            the picture of the same item).
        block: queries a block; None: as many as keep a block at 16 million scores.

    Returns:
        [n] float64 each: R@k, Success@k, nDCG@k, MRR@k for every k, rank, and `tied` (1 where the cut at the greatest k
        falls among tied documents).

    Raises:
        DataError: shapes that do not fit, no query with a relevant document, or queries that are the documents without
            a word on what to do with each one's own entry.
    """
    check_vectors(q, k)
    answers = Relevant.of(relevant)
    answers.check(len(q), len(k))
    if not ks or min(ks) < 1:
        raise DataError(f"places to cut at must be 1 or more, not {tuple(ks)}")
    same = _same_entries(q, k, ids, groups, own)
    size = block or max(1, NUMBERS_A_BLOCK // max(len(k), 1))
    q, k = np.asarray(q), np.asarray(k)
    measure = _Measuring(q, k, answers, same, tuple(sorted(ks)), size, longest_row([k]))
    starts = range(0, len(q), size)
    figures: dict[str, np.ndarray] = {}
    for start, table in zip(starts, done_once(measure, starts.__getitem__, len(starts), measure.key), strict=True):
        stop = start + len(table)
        for name in table.column_names:
            figures.setdefault(name, np.full(len(q), np.nan))[start:stop] = table[name].to_numpy()
        if progress is not None:
            progress(stop, len(q))
    if not figures or np.isnan(figures["rank"]).all():
        raise DataError("no query has a relevant document that can be found: there is nothing to measure")
    return figures


@dataclass(frozen=True)
class _Measuring:
    """The figures of a block of queries among all documents: a piece is the first query of its block."""

    q: np.ndarray
    k: np.ndarray
    answers: Relevant
    same: list[tuple[np.ndarray, np.ndarray]]
    ks: tuple[int, ...]
    size: int
    longest: float

    def __call__(self, start: int) -> pa.Table:
        rows = np.ascontiguousarray(self.q[start : start + self.size], np.float32)
        stop = start + len(rows)
        scores = _scores(rows, self.k)
        gains = self.answers.dense(start, stop, len(self.k))
        for queries, documents in self.same:
            mine = (queries[start:stop, None] == documents) & (queries[start:stop, None] >= 0)
            scores[mine] = -np.inf
            gains[mine] = 0
        band = _band(rows, self.longest)
        return pa.table(_figures(scores, gains, band, list(self.ks), self.answers.gains is not None))

    def key(self) -> str:
        """All that the figures depend on."""
        answers = [self.answers.starts, self.answers.rows, self.answers.gains, *(self.answers.targets or ())]
        return content_key("figures", self.q, self.k, *answers, *sum(self.same, ()), self.ks, self.size)


def listed(
    found: np.ndarray,
    scores: np.ndarray,
    relevant: Relevant,
    documents: int,
    *,
    ks: Sequence[int] = (1, 10),
    itself: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Figures of a search that gives a list instead of a score for every document, as `retrieval` gives them.

    A relevant document that is not on the list is not found: it comes after all others, never by chance before them.

    Args:
        found: [n, length] rows of documents, -1 as filling; `scores`: [n, length], equal ones are tied.
        relevant: for the n queries; `documents`: how many there are to search.
        itself: [n] the document that each query is, which is out of the search.
    """  # fmt: skip
    relevant.check(len(found), documents)
    figures: dict[str, np.ndarray] = {}
    size = max(1, NUMBERS_A_BLOCK // max(documents, 1))
    for start in range(0, len(found), size):
        stop = min(start + size, len(found))
        gains = relevant.dense(start, stop, documents)
        level = np.where(gains > 0, 0, 1).astype(np.float32)
        query, place = np.nonzero(found[start:stop] >= 0)
        level[query, found[start:stop][query, place]] = _levels(found[start:stop], scores[start:stop])[query, place]
        if itself is not None:
            own = np.arange(stop - start), itself[start:stop]
            level[own], gains[own] = -np.inf, 0
        band = np.full((stop - start, 1), 0.5, np.float32)
        for name, values in _figures(level, gains, band, sorted(ks), relevant.gains is not None).items():
            figures.setdefault(name, np.full(len(found), np.nan))[start:stop] = values
    return figures


def _levels(found: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """[n, length] whole numbers from 2 in the order of the scores, equal where float32 cannot tell those apart."""
    order = np.argsort(-np.where(found >= 0, scores, -np.inf), axis=1, kind="stable")
    there = np.take_along_axis(found, order, 1) >= 0
    falling = np.where(there, np.take_along_axis(scores, order, 1), 0).astype(np.float64)
    steps = (falling[:, :-1] - falling[:, 1:] > TIED * np.maximum(1, np.abs(falling[:, :-1]))) & there[:, 1:]
    below = np.pad(np.cumsum(steps[:, ::-1], axis=1)[:, ::-1], ((0, 0), (0, 1)))
    out = np.empty_like(falling)
    np.put_along_axis(out, order, 2.0 + below, 1)
    return out


def chance(relevant: Any, documents: int, **options: Any) -> dict[str, np.ndarray]:
    """The figures of a search that knows nothing: the expected values over all orders of the documents."""
    answers = Relevant.of(relevant)
    return retrieval(np.ones((len(answers), 1)), np.ones((documents, 1)), answers, **{"own": "keep", **options})


def near_twins(
    test: np.ndarray,
    train: np.ndarray,
    *,
    threshold: float = 0.97,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """[n] bool: which test items have a near twin in training, by cosine or by duplicate group.

    Args:
        test, train: [n, d] and [m, d] unit vectors from before training.
        threshold: cosine from which on two items are near twins.
        groups: (of test, of train) duplicate groups; equal ones are twins too, -1 is in no group.
    """
    found = np.zeros(len(test), bool)
    if len(train):
        for start, scores, _ in topk_blocks(test, train, 1):
            found[start : start + len(scores)] = scores[:, 0] >= threshold
    if groups is not None:
        found |= np.isin(groups[0], groups[1]) & (np.asarray(groups[0]) >= 0)
    return found


def summary(
    figures: dict[str, np.ndarray],
    *,
    clusters: np.ndarray | None = None,
    twins: np.ndarray | None = None,
    seed: int = 0,
    title: str = "Retrieval",
) -> Report:
    """Means with intervals, the share of tied cuts, and what is left without the near twins of training items.

    Args:
        figures: from `retrieval`.
        clusters: [n] what the interval draws together, such as concepts.
        twins: [n] bool, from `near_twins`.
    """
    report = Report(title)
    counted = ~np.isnan(figures["rank"])
    for name, values in figures.items():
        if name != "tied":
            report.add(_figure(name, values, clusters, seed))
    if not counted.all():
        report.add(Text(f"{(~counted).sum()} of {len(counted)} queries have no relevant document and do not count"))
    tied = float(np.nanmean(figures["tied"]))
    report.facts["tied cuts"] = tied
    if tied > 0.01:
        report.add(
            Text(f"{tied:.0%} of the cuts fall among documents with one score: the vectors hardly differ", "warn")
        )
    if twins is not None:
        count = int((twins & counted).sum())
        report.add(Text(f"{count} of {counted.sum()} test items have a near twin in the training part"))
        if 0 < count < counted.sum():
            for name, values in figures.items():
                if name != "tied":
                    without = np.where(twins, np.nan, values)
                    report.add(_figure(f"{name} without near twins", without, clusters, seed))
    return report


def accuracy(predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[n] float64: 1 where the prediction is right; its mean is the accuracy, and its bootstrap the interval."""
    predicted, y = np.asarray(predicted), np.asarray(y)
    if predicted.shape != y.shape or not len(y):
        raise DataError(f"{predicted.shape} predictions do not fit {y.shape} answers")
    return np.asarray(predicted == y, np.float64)


def detection(scores: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """How well a score tells what it should find from the rest. Higher scores say "found"; the positives are found.

    AUROC counts a tie as a half. AUPR is the average precision, sum of (recall step x precision) over distinct scores:
    it depends on the share of positives, which is why `prior` stands beside it. FPR95 is the share of negatives taken
    along at the highest threshold that finds 95% of the positives; lower is better, unlike the others.

    Args:
        scores: [n] float. positive: [n] bool.

    Raises:
        DataError: no positive or no negative, or a score that is not a number.
    """
    scores, positive = np.asarray(scores, np.float64).ravel(), np.asarray(positive, bool).ravel()
    if scores.shape != positive.shape:
        raise DataError(f"{len(scores)} scores do not fit {len(positive)} marks")
    if np.isnan(scores).any():
        raise DataError("a score is not a number")
    if positive.all() or not positive.any():
        raise DataError("detection needs both items to find and items to leave: one kind is missing")
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hit = np.cumsum(positive[order])[last].astype(np.float64)
    false = 1.0 + last - hit
    recall, wrong = hit / hit[-1], false / false[-1]
    area = np.diff(wrong, prepend=0.0) * (recall + np.concatenate([[0.0], recall[:-1]])) / 2
    return {
        "AUROC": float(area.sum()),
        "AUPR": float((np.diff(recall, prepend=0.0) * hit / (hit + false)).sum()),
        "FPR95": float(wrong[np.argmax(recall >= 0.95)]),
        "prior": float(positive.mean()),
        "count": float(len(scores)),
    }


def codes(*sides: Any) -> list[np.ndarray]:
    """Int64 numbers for the values of several sides, equal where the values are; a missing value is -1."""
    number: dict[Any, int] = {}
    return [
        np.asarray([-1 if v is None else number.setdefault(v, len(number)) for v in np.asarray(s).tolist()], np.int64)
        for s in sides
    ]


def _same_entries(
    q: np.ndarray,
    k: np.ndarray,
    ids: tuple[Any, Any] | None,
    groups: tuple[np.ndarray, np.ndarray] | None,
    own: Own | None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    if own not in (None, "exclude", "keep"):
        raise DataError(f"own={own!r}: say 'exclude' or 'keep'")
    if own is None and (ids is not None or groups is not None):
        raise DataError("say own='exclude' (a query must not find itself) or own='keep' (it may)")
    if own is None and (q is k or (q.shape == k.shape and len(q) > 1 and np.array_equal(q, k))):
        raise DataError("queries and documents are the same vectors: give ids=(…, …) and own='exclude', or own='keep'")
    if own == "exclude" and ids is None and groups is None:
        raise DataError("own='exclude' needs ids=(of queries, of documents), groups=(…, …), or both")
    sides = []
    for name, given in (("ids", ids), ("groups", groups)):
        if given is None:
            continue
        if (len(given[0]), len(given[1])) != (len(q), len(k)):
            sizes = f"{len(given[0])} and {len(given[1])}"
            raise DataError(f"{name}: {sizes} are given for {len(q)} queries and {len(k)} documents")
        if own == "exclude":
            queries, documents = codes(*given) if name == "ids" else (np.asarray(g, np.int64) for g in given)
            sides.append((queries, documents))
    return sides


def _scores(rows: np.ndarray, k: np.ndarray) -> np.ndarray:
    """[b, m] inner products of float32 rows with all documents, which may be memory-mapped."""
    scores = np.empty((len(rows), len(k)), np.float32)
    for first in range(0, len(k), COLUMNS):
        scores[:, first : first + COLUMNS] = rows @ np.asarray(k[first : first + COLUMNS], np.float32).T
    return scores


def _band(q: np.ndarray, longest: float) -> np.ndarray:
    """[n, 1]: scores within it are tied. A matrix product alone moves equal vectors' scores by about a tenth of it."""
    length = np.linalg.norm(q, axis=1) * longest
    return np.asarray(length * max(TIED, np.sqrt(q.shape[1]) * 2.0**-23), np.float32)[:, None]


def _figures(s: np.ndarray, gains: np.ndarray, band: np.ndarray, ks: list[int], graded: bool) -> dict[str, np.ndarray]:
    """Expected figures of one block; `s` [b, m] scores, `gains` [b, m]."""
    positive = gains > 0
    relevant = positive.sum(1)
    out: dict[str, np.ndarray] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        gain, found, tied = _expected_top(s, gains, positive, band, min(ks[-1], s.shape[1]))
        discount = 1 / np.log2(np.arange(2, ks[-1] + 2))
        best = np.where(positive, s, -np.inf).max(1, keepdims=True)
        ahead = (s > best + band).sum(1)
        level = np.abs(s - best) <= band
        place = _FirstRelevant(ahead, level.sum(1), (level & positive).sum(1), ks[-1])
        for k in ks:
            width = min(k, gain.shape[1])
            if graded:
                top = -np.sort(-np.partition(gains, gains.shape[1] - width, axis=1)[:, -width:], axis=1)
                ideal = top @ discount[:width]
            else:
                ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(relevant, k)]
            out[f"R@{k}"] = found[:, :width].sum(1) / relevant
            out[f"Success@{k}"] = place.within(k)
            out[f"nDCG@{k}"] = gain[:, :width] @ discount[:width] / ideal
            out[f"MRR@{k}"] = place.reciprocal(k)
        out["rank"] = place.expected()
    out["tied"] = tied.astype(np.float64)
    for values in out.values():
        values[relevant == 0] = np.nan
    return out


def _expected_top(
    s: np.ndarray, gains: np.ndarray, positive: np.ndarray, band: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected gain and relevance at each of the first k places [b, k], and whether the cut is tied [b]."""
    columns = np.argpartition(s, s.shape[1] - k, axis=1)[:, -k:]
    columns = np.take_along_axis(columns, np.argsort(-np.take_along_axis(s, columns, 1), axis=1), 1)
    top = np.take_along_axis(s, columns, 1)
    group = np.zeros(top.shape, np.int64)
    group[:, 1:] = np.cumsum((top[:, :-1] - top[:, 1:]) > band, axis=1)
    last = group == group[:, -1:]
    highest = np.take_along_axis(top, last.argmax(1)[:, None], 1)
    whole = (s >= top[:, -1:] - band) & (s <= highest)
    size = whole.sum(1)
    flat = group + np.arange(len(s))[:, None] * k
    members = np.bincount(flat.ravel(), minlength=len(s) * k)
    mean = []
    for values in (gains, positive):
        total = np.bincount(flat.ravel(), np.take_along_axis(values, columns, 1).ravel(), len(s) * k)
        inside = (total / members)[flat]
        mean.append(np.where(last, ((values * whole).sum(1) / size)[:, None], inside))
    alive = top[:, -1] > -np.inf
    return mean[0], mean[1], (size > last.sum(1)) & alive


@dataclass(frozen=True)
class _FirstRelevant:
    """Where the first relevant document stands: after `ahead` others, among `size` tied ones of which `good` are
    relevant. All [b]; the chances are hypergeometric."""

    ahead: np.ndarray
    size: np.ndarray
    good: np.ndarray
    deepest: int

    def _chances(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """(j, chance that the first is the j-th of the tied, chance that it is not among the first j)."""
        left = np.ones(len(self.ahead))
        for j in range(1, self.deepest + 1):
            bad = np.maximum(self.size - self.good - (j - 1), 0) / np.maximum(self.size - (j - 1), 1)
            yield j, left * (1 - bad), left * bad
            left = left * bad

    def within(self, k: int) -> np.ndarray:
        """Chance that it is among the first k."""
        return np.asarray(sum(np.where(self.ahead + j <= k, first, 0.0) for j, first, _ in self._chances()))

    def reciprocal(self, k: int) -> np.ndarray:
        """Expected 1 / place, 0 beyond k."""
        return np.asarray(
            sum(np.where(self.ahead + j <= k, first / (self.ahead + j), 0.0) for j, first, _ in self._chances())
        )

    def expected(self) -> np.ndarray:
        """Expected place, from 1."""
        return self.ahead + (self.size + 1) / (self.good + 1)


def _figure(name: str, values: np.ndarray, clusters: np.ndarray | None, seed: int) -> Figure:
    within = (1.0, np.inf) if name.startswith("rank") else intervals.SHARE
    low, high = intervals.bootstrap(values, clusters=clusters, seed=seed, within=within)
    count = int((~np.isnan(values)).sum())
    mean = float(np.nanmean(values)) if count else float("nan")
    if np.isnan(low):
        return Figure(name, mean, count=count, note="too few to give an interval")
    return Figure(name, mean, low, high, count)
