"""Hard negatives with their reasons, block by block: never an n x m matrix, never a Python list of pairs.

For each query the `depth` nearest documents are listed, and each gets the first rule of this order that applies:

- `mark`: the user said that the two are really the same;
- `self`, `positive`: the query's own entry, or a known positive;
- `group`: a near duplicate of the query or of one of its positives;
- `margin`: scores above `p - |p| * margin`, where p is the score of the weakest positive (with `p * (1 - margin)`, a
  negative p would raise the bar; with the strongest positive, other true answers would pass);
- `guide`: a second, better model finds it nearer than the weakest positive (GISTEmbed's rule, over a corpus);
- `check`: of those that would be kept, what a costly scorer of pairs (a cross-encoder) rates above the positive that
  the model finds weakest; nothing takes their place;
- `kept`: a negative, up to `keep` a query in the order of the scores;
- `beyond`: would pass, but there are `keep` already.

A pair that the user marked as really different passes `margin`, `guide` and `check`.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tellapart.core.errors import DataError
from tellapart.core.nearest import PAIRS_A_CHUNK, exact_scores, longest_row, nearest
from tellapart.core.pieces import Remade, done, read_table
from tellapart.core.progress import Progress
from tellapart.core.report import Report, Table, Text
from tellapart.engine.evaluate import Relevant, codes
from tellapart.engine.topk import ROWS, check_vectors

RULES = ("mark", "self", "positive", "group", "margin", "guide", "check", "kept", "beyond")
MARK, SELF, POSITIVE, GROUP, MARGIN, GUIDE, CHECK, KEPT, BEYOND = range(len(RULES))
SCHEMA = pa.schema(
    [
        ("query", pa.int32()),
        ("document", pa.int32()),
        ("score", pa.float32()),
        ("rank", pa.int32()),
        ("rule", pa.dictionary(pa.int8(), pa.string())),
        ("kept", pa.bool_()),
        ("guide", pa.float32()),
        ("check", pa.float32()),
    ]
)
ROWS_A_BATCH = 65_536
ROWS_THROUGH_INDEX = 16_384
COMPARED_ONE_BY_ONE = 16

Check = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Known:
    """What is known of queries and documents before any score: numbers for ids, groups, positives, marks."""

    ids: tuple[np.ndarray, np.ndarray] | None
    groups: tuple[np.ndarray, np.ndarray] | None
    positives: Relevant
    same: np.ndarray
    different: np.ndarray
    documents: int

    def rule(self, start: int, columns: np.ndarray) -> np.ndarray:
        """[b, depth] int8: the rule of each candidate as far as no score is needed; `KEPT` where none applies."""
        stop = start + len(columns)
        rows = np.arange(start, stop)[:, None]
        rule = np.full(columns.shape, KEPT, np.int8)
        query, positive = np.divmod(self._positive_pairs(start, stop), self.documents)
        if self.groups is not None:
            queries, documents = self.groups
            group = documents[columns]
            near = (group == queries[rows]) | _of_its_row(group, query - start, documents[positive])
            if self.positives.targets is not None and len(self.groups_by_target):
                targets = self.positives.targets[0][rows]
                pairs = targets * (int(documents.max()) + 1) + group
                at = np.searchsorted(self.groups_by_target, pairs).clip(max=len(self.groups_by_target) - 1)
                near |= (self.groups_by_target[at] == pairs) & (targets >= 0)
            rule[near & (group >= 0)] = GROUP
        rule[_of_its_row(columns, query - start, positive)] = POSITIVE
        if self.positives.targets is not None:
            queries, documents = self.positives.targets
            rule[(queries[rows] == documents[columns]) & (queries[rows] >= 0)] = POSITIVE
        if self.ids is not None:
            rule[(self.ids[0][rows] == self.ids[1][columns]) & (self.ids[1][columns] >= 0)] = SELF
        if len(self.same):
            rule[np.isin(rows * self.documents + columns, self.same)] = MARK
        return rule

    def really_different(self, start: int, columns: np.ndarray) -> np.ndarray:
        """[b, depth] bool: marked by the user as different."""
        if not len(self.different):
            return np.zeros(columns.shape, bool)
        rows = np.arange(start, start + len(columns))[:, None]
        return np.isin(rows * self.documents + columns, self.different)

    def _positive_pairs(self, start: int, stop: int) -> np.ndarray:
        """Known positives of these queries as query * documents + document."""
        if self.positives.targets is not None:
            return np.zeros(0, np.int64)
        first, last = self.positives.starts[start], self.positives.starts[stop]
        queries = np.repeat(np.arange(start, stop), np.diff(self.positives.starts[start : stop + 1]))
        return queries * self.documents + self.positives.rows[first:last]

    def weakest(self, q: np.ndarray, k: np.ndarray, start: int, stop: int) -> np.ndarray:
        """[b] float32: score of the weakest positive other than the query itself; NaN where there is none."""
        out = np.full(stop - start, np.nan, np.float32)
        for queries, rows in self._own_positives(start, stop):
            if self.ids is not None:
                other = self.ids[0][queries] != self.ids[1][rows]
                queries, rows = queries[other], rows[other]
            np.fmin.at(out, queries - start, _pair_scores(q, k, queries, rows, exact_scores))
        return out

    def weakest_of(self, q: np.ndarray, k: np.ndarray, start: int, least: np.ndarray) -> np.ndarray:
        """[b] int64: the positive whose score is the `least` of its query, the first of equal ones; -1 for none."""
        stop = start + len(least)
        found = np.full(len(least), self.documents, np.int64)
        for queries, rows in self._own_positives(start, stop):
            other = np.ones(len(rows), bool) if self.ids is None else self.ids[0][queries] != self.ids[1][rows]
            queries, rows = queries[other], rows[other]
            same = _pair_scores(q, k, queries, rows, exact_scores) == least[queries - start]
            np.minimum.at(found, queries[same] - start, rows[same])
        return np.where(found < self.documents, found, -1)

    def _own_positives(self, start: int, stop: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(queries, documents) of the known positives, query after query, in pieces."""
        if self.positives.targets is None:
            yield np.divmod(self._positive_pairs(start, stop), self.documents)
            return
        documents, targets = self.by_target, self.positives.targets[0][start:stop]
        found = self.positives.targets[1][documents]
        first, last = (np.searchsorted(found, targets, side) for side in ("left", "right"))
        count = np.where(targets >= 0, last - first, 0)
        ends = np.cumsum(count)
        for piece in range(0, int(count.sum()), ROWS_A_BATCH):
            place = np.arange(piece, min(piece + ROWS_A_BATCH, int(ends[-1])))
            query = np.searchsorted(ends, place, side="right")
            yield start + query, documents[first[query] + place - (ends - count)[query]]

    @cached_property
    def groups_by_target(self) -> np.ndarray:
        """Sorted target x groups + group of the documents that have both."""
        assert self.positives.targets is not None and self.groups is not None
        targets, groups = self.positives.targets[1], self.groups[1]
        both = (targets >= 0) & (groups >= 0)
        return np.unique(targets[both] * (int(groups.max(initial=-1)) + 1) + groups[both])

    @cached_property
    def by_target(self) -> np.ndarray:
        """Documents sorted by their target."""
        assert self.positives.targets is not None
        return np.argsort(self.positives.targets[1], kind="stable")


def _of_its_row(values: np.ndarray, rows: np.ndarray, own: np.ndarray) -> np.ndarray:
    """[b, c] bool: whether a value is one of those that its row has, as pairs (row, value) sorted by row."""
    if not len(rows):
        return np.zeros(values.shape, bool)
    count = np.bincount(rows, minlength=len(values))
    if count.max() > COMPARED_ONE_BY_ONE:
        span = int(max(values.max(initial=0), own.max())) + 2
        return np.isin(np.arange(len(values))[:, None] * span + values + 1, rows * span + own + 1)
    padded = np.full((len(values), int(count.max())), -2, np.int64)
    padded[rows, np.arange(len(rows)) - (np.cumsum(count) - count)[rows]] = own
    found = values == padded[:, :1]
    for column in padded.T[1:]:
        found |= values == column[:, None]
    return np.asarray(found)


def mine(
    q: np.ndarray,
    k: np.ndarray,
    *,
    query_ids: Any,
    document_ids: Any,
    query_groups: np.ndarray | None,
    document_groups: np.ndarray | None,
    positives: Any,
    depth: int = 100,
    keep: int = 10,
    margin: float | None = 0.05,
    guide_q: np.ndarray | None = None,
    guide_k: np.ndarray | None = None,
    check: Check | None = None,
    index: Any = None,
    marks: Iterable[tuple[Any, Any, str]] | None = None,
    block: int | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """The nearest documents of every query, each with the rule that keeps or drops it as a negative.

    Args:
        q: [n, d] and `k`: [m, d] unit vectors, memory-mapped or not.
        query_ids, document_ids: to know a query's own entry; None for both where no item is on both sides.
        query_groups, document_groups: int64 duplicate groups, -1 is in none; None for both where none are known.
        positives: query row -> document rows, as `evaluate.Relevant.of` takes it.
        depth: candidates a query.
        keep: negatives a query.
        margin: how far below the weakest positive a negative must score, relative to it; None: wherever it scores.
        guide_q, guide_k: [n, g] and [m, g] vectors of a second model.
        check: a costly scorer, asked about few pairs: (query rows [n], document rows [n]) -> [n], higher = they belong
            together more. With a folder it needs an attribute `name` that changes when its scores do.
        index: an index over the documents (above about 200,000 of them), its ids the `document_ids`; candidates are
            then those that it finds, with exact scores. None: compare with all.
        marks: (query id, document id, "same" or "different") by the user.
        block: queries a block; memory is bounded by it. None: 2,048, or 16,384 through an index.
        folder: where each block is written when it is done. A run that was killed goes on there and ends with the same
            bits; other data or options go into a folder of their own within it.
        progress: called with (queries done, queries).

    Returns:
        A table of n x depth rows: `query`, `document` (row numbers), `score`, `rank` (from 1), `rule`, `kept`, `guide`
        and `check` (the scores of both, empty where they were not asked). With a folder it is memory-mapped.

    Raises:
        DataError: shapes, rows or marks that do not fit.
    """
    check_vectors(q, k)
    if block is None:
        block = ROWS if index is None else ROWS_THROUGH_INDEX
    if depth < 1 or keep < 0 or block < 1:
        raise DataError(f"depth={depth}, keep={keep}, block={block}: depth and block are at least 1, keep at least 0")
    if margin is not None and not 0 <= margin < 2:
        raise DataError(f"margin={margin}: a share of the positive's score, from 0 to 2")
    if (guide_q is None) != (guide_k is None):
        raise DataError("a guide needs the vectors of both sides: guide_q and guide_k")
    if guide_q is not None and guide_k is not None:
        check_vectors(guide_q, guide_k)
        if (len(guide_q), len(guide_k)) != (len(q), len(k)):
            raise DataError("the guide's vectors are not as many as the queries and documents")
    known = _known(q, k, query_ids, document_ids, query_groups, document_groups, positives, marks or ())
    options = {"depth": depth, "keep": keep, "margin": margin, "block": block, "index": _named(index)}
    options["check"] = None if check is None else getattr(check, "name", "")
    if folder is not None and options["check"] == "":
        raise DataError("blocks in a folder are found again by the name of the check: give it an attribute `name`")
    place = _place(folder, options, known, q, k, guide_q, guide_k) if folder is not None else None
    documents = _documents_of(index, document_ids) if index is not None else None
    guide = None if guide_q is None or guide_k is None else (np.asarray(guide_q), np.asarray(guide_k))
    q, k = np.asarray(q), np.asarray(k)
    judge = _Judging(
        known,
        q,
        k,
        guide,
        index,
        documents,
        longest_row([k]),
        check,
        depth=depth,
        keep=keep,
        margin=margin,
        block=block,
    )
    files = {s: place / f"block-{s // block:06d}.arrow" if place is not None else None for s in range(0, len(q), block)}
    left = [start for start, file in files.items() if file is None or not file.is_file()]
    fresh, missing = done(judge, left, len(left)), set(left)
    tables = []
    for start, file in files.items():
        table = next(fresh) if start in missing else None
        if file is not None:
            if table is not None:
                _write(table, file)
            table = read_table(file)
        tables.append(table)
        if progress is not None:
            progress(min(start + block, len(q)), len(q))
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def summary(table: pa.Table) -> Report:
    """How many candidates each rule took, and how many queries were left with how many negatives."""
    report = Report("Hard negatives")
    counts = dict.fromkeys(RULES, 0)
    for entry in pc.value_counts(table["rule"].cast(pa.string())).to_pylist():
        counts[entry["values"]] = entry["counts"]
    total = max(len(table), 1)
    rows = [[rule, count, round(count / total, 4)] for rule, count in counts.items()]
    report.add(Table("What became of the candidates", ["rule", "pairs", "share"], rows))
    queries = len(pc.unique(table["query"]))
    with_some = len(pc.unique(table.filter(table["kept"])["query"]))
    report.facts.update({"counts": counts, "queries": queries, "queries with a negative": with_some})
    if with_some < queries:
        report.add(Text(f"{queries - with_some} of {queries} queries have no negative left", "warn"))
    return report


def _known(
    q: np.ndarray,
    k: np.ndarray,
    query_ids: Any,
    document_ids: Any,
    query_groups: np.ndarray | None,
    document_groups: np.ndarray | None,
    positives: Any,
    marks: Iterable[tuple[Any, Any, str]],
) -> _Known:
    sides: list[tuple[np.ndarray, np.ndarray] | None] = []
    for name, a, b in (("ids", query_ids, document_ids), ("groups", query_groups, document_groups)):
        if (a is None) != (b is None):
            raise DataError(f"{name} must be given for queries and documents, or for neither")
        if a is not None and b is not None and (len(a), len(b)) != (len(q), len(k)):
            raise DataError(f"{len(a)} and {len(b)} {name} do not fit {len(q)} queries and {len(k)} documents")
        if a is None or b is None:
            sides.append(None)
        else:
            left, right = codes(a, b) if name == "ids" else (np.asarray(g, np.int64) for g in (a, b))
            sides.append((left, right))
    answers = Relevant.of(positives)
    answers.check(len(q), len(k))
    same: list[int] = []
    different: list[int] = []
    marks = list(marks)
    if marks:
        if query_ids is None or document_ids is None:
            raise DataError("marks name ids: give query_ids and document_ids")
        query_row = {i: row for row, i in enumerate(np.asarray(query_ids).tolist())}
        document_row = {i: row for row, i in enumerate(np.asarray(document_ids).tolist())}
        for query, document, said in marks:
            if said not in ("same", "different"):
                raise DataError(f"a mark says 'same' or 'different', not {said!r}")
            if query not in query_row or document not in document_row:
                raise DataError(f"the mark ({query!r}, {document!r}) names an id that is not there")
            pair = query_row[query] * len(k) + document_row[document]
            (same if said == "same" else different).append(pair)
    twice = set(same) & set(different)
    if twice:
        query, document = divmod(next(iter(twice)), len(k))
        raise DataError(f"query {query} and document {document} are marked both as same and as different")
    return _Known(
        sides[0], sides[1], answers, np.asarray(same, np.int64), np.asarray(different, np.int64), max(len(k), 1)
    )


@dataclass(frozen=True)
class _Judging:
    """The candidates of a block of queries, each with its rule: a piece is the first query of its block."""

    known: _Known
    q: np.ndarray
    k: np.ndarray
    guide: tuple[np.ndarray, np.ndarray] | None
    index: Any
    documents: np.ndarray | None
    longest: float
    check: Check | None
    depth: int
    keep: int
    margin: float | None
    block: int

    def __getstate__(self) -> dict[str, Any]:
        """An index travels as the files that it saves: what a library holds in memory does not."""
        made = Remade.of("index", self.index)
        if made is None:
            return dict(self.__dict__)
        with tempfile.TemporaryDirectory() as folder:
            self.index.save(folder)
            files = {str(f.relative_to(folder)): f.read_bytes() for f in Path(folder).rglob("*") if f.is_file()}
        return self.__dict__ | {"index": (made, files)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["index"], tuple):
            made, files = state["index"]
            with tempfile.TemporaryDirectory() as folder:
                for name, content in files.items():
                    (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                    (Path(folder) / name).write_bytes(content)
                state["index"] = made.make().load(folder)
        self.__dict__.update(state)

    def __call__(self, start: int) -> pa.Table:
        piece = np.ascontiguousarray(self.q[start : start + self.block], np.float32)
        if self.documents is None:
            scores, columns = nearest(piece, [self.k], self.depth, longest=self.longest)
        else:
            scores, columns = found_by(self.index, piece, self.depth, self.documents)
        return _judged(
            self.known, self.q, self.k, start, scores, columns, self.margin, self.keep, self.guide, self.check
        )


def _judged(
    known: _Known,
    q: np.ndarray,
    k: np.ndarray,
    start: int,
    scores: np.ndarray,
    columns: np.ndarray,
    margin: float | None,
    keep: int,
    guide: tuple[np.ndarray, np.ndarray] | None,
    check: Check | None,
) -> pa.Table:
    """The table of one block."""
    stop = start + len(columns)
    found = columns >= 0
    rule = known.rule(start, np.where(found, columns, 0))
    filtered = (rule == KEPT) & ~known.really_different(start, columns) & found
    least = known.weakest(q, k, start, stop) if margin is not None or check is not None else np.zeros(0, np.float32)
    if margin is not None:
        with np.errstate(invalid="ignore"):
            above = filtered & (scores > (least - np.abs(least) * np.float32(margin))[:, None])
        rule[above] = MARGIN
        filtered &= ~above
    asked = np.zeros(columns.shape, bool)
    opinion = np.zeros(columns.shape, np.float32)
    if guide is not None:
        asked = filtered
        rows, place = np.nonzero(asked)
        opinion[rows, place] = _pair_scores(*guide, rows + start, columns[rows, place], _dots)
        bar = known.weakest(guide[0], guide[1], start, stop)
        with np.errstate(invalid="ignore"):
            rule[asked & (opinion > bar[:, None])] = GUIDE
    left = rule == KEPT
    rule[left & (np.cumsum(left & found, axis=1, dtype=np.int32) > keep)] = BEYOND
    checked = np.zeros(columns.shape, bool)
    rated = np.zeros(columns.shape, np.float32)
    if check is not None:
        checked = filtered & (rule == KEPT)
        rated[checked], bar = _rated(check, checked, columns, start, known.weakest_of(q, k, start, least))
        with np.errstate(invalid="ignore"):
            rule[checked & (rated > bar[:, None])] = CHECK
    flat = found.ravel()
    rows = np.repeat(np.arange(start, stop, dtype=np.int32), columns.shape[1])
    ranks = np.tile(np.arange(1, columns.shape[1] + 1, dtype=np.int32), stop - start)
    rules = rule.ravel()[flat]
    arrays = [
        pa.array(rows[flat]),
        pa.array(columns.ravel()[flat].astype(np.int32)),
        pa.array(scores.ravel()[flat]),
        pa.array(ranks[flat]),
        pa.DictionaryArray.from_arrays(pa.array(rules), pa.array(RULES)),
        pa.array(rules == KEPT),
        pa.array(opinion.ravel()[flat], mask=~asked.ravel()[flat]),
        pa.array(rated.ravel()[flat], mask=~checked.ravel()[flat]),
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _rated(
    check: Check, checked: np.ndarray, columns: np.ndarray, start: int, weakest: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the marked pairs, row by row, and [b] of the weakest positives, NaN where there is none."""
    rows, place = np.nonzero(checked)
    asked = np.flatnonzero(checked.any(1) & (weakest >= 0))
    queries = np.concatenate([rows, asked]) + start
    scores = np.asarray(check(queries, np.concatenate([columns[rows, place], weakest[asked]])), np.float32)
    if scores.shape != (len(queries),) or not np.isfinite(scores).all():
        raise DataError(f"the check must give a finite score for each of {len(queries)} pairs, not {scores.shape}")
    bar = np.full(len(checked), np.nan, np.float32)
    bar[asked] = scores[len(rows) :]
    return scores[: len(rows)], bar


def _pair_scores(a: np.ndarray, b: np.ndarray, rows: np.ndarray, columns: np.ndarray, score: Any) -> np.ndarray:
    out = np.empty(len(rows), np.float32)
    for s in range(0, len(rows), PAIRS_A_CHUNK):
        piece = slice(s, s + PAIRS_A_CHUNK)
        out[piece] = score(np.asarray(a[rows[piece]], np.float32), np.asarray(b[columns[piece]], np.float32))
    return out


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("nd,nd->n", a, b))


def _named(index: Any) -> Any:
    """What an index is, as far as blocks of another must not be taken for its own."""
    return None if index is None else [type(index).__name__, getattr(index, "options", {}), len(index)]


def _documents_of(index: Any, document_ids: Any) -> np.ndarray:
    """[items] the document of each item of the index; every item must be one."""
    if document_ids is None:
        raise DataError("an index finds ids: give document_ids")
    row_of = {str(i): row for row, i in enumerate(document_ids)}
    documents = np.asarray([row_of.get(i, -1) for i in index.ids], np.int64)
    missing = documents < 0
    if missing.any():
        name, count = index.ids[missing][0], int(missing.sum())
        raise DataError(f"the index holds {name!r}, which is no document ({count} ids do not fit)")
    return documents


def found_by(index: Any, q: np.ndarray, depth: int, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows of what an index finds; -1 where it finds too few."""
    if hasattr(index, "search_places"):
        scores, places = index.search_places(q, depth)
        return scores, documents[places]
    place = {i: n for n, i in enumerate(index.ids)}
    hits = index.search(q, depth)
    places = np.asarray([place.get(i, -1) for i in hits.ids.ravel().tolist()], np.int64).reshape(hits.ids.shape)
    return hits.scores, np.where(places >= 0, documents[places], -1)


def _place(
    folder: str | Path,
    options: dict[str, Any],
    known: _Known,
    q: np.ndarray,
    k: np.ndarray,
    guide_q: np.ndarray | None,
    guide_k: np.ndarray | None,
) -> Path:
    """A folder of its own for these data and options, so that a block of others is never taken for one of these."""
    digest = hashlib.blake2b(json.dumps(options, sort_keys=True).encode(), digest_size=10)
    arrays = [q, k, guide_q, guide_k, *(known.ids or ()), *(known.groups or ()), known.same, known.different]
    arrays += [known.positives.starts, known.positives.rows, *(known.positives.targets or ())]
    for array in arrays:
        digest.update(b"none" if array is None else f"{array.dtype}{array.shape}".encode())
        if array is not None:
            for start in range(0, len(array), ROWS_A_BATCH):
                digest.update(np.ascontiguousarray(array[start : start + ROWS_A_BATCH]).data)
    place = Path(folder) / digest.hexdigest()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror}") from None
    return place


def _write(table: pa.Table, file: Path) -> None:
    temporary = file.with_name(f".{file.name}-{os.getpid()}")
    try:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"cannot write {file}: {error.strerror}. Blocks that are done are kept") from None
