"""Grades for items that have none, learnt from those that have: `tellapart grade`, by scores of the trait `grades`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tellapart.core.collection import Collection, modality_of
from tellapart.core.crossfit import folds_of
from tellapart.core.errors import DataError, PartError, near
from tellapart.core.features import unit_rows
from tellapart.core.parts import card_of, cards, make, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.core.redraw import interval
from tellapart.core.report import Example, Examples, Figure, Report, Text
from tellapart.data.columns import ALIASES, plain
from tellapart.data.writing import check_writable, write_items
from tellapart.engine import intervals
from tellapart.recipe import usual_encoder
from tellapart.runs import embedded

PLAIN = "ridge-grades"
FEWEST, FOLDS, FEWEST_TESTS = 20, 5, 10
MOST, BLOCK = 5000, 2000
SHOWN, WORDS, COSINE = 6, 80, 4.0
Blocks = list[np.ndarray]


@dataclass(frozen=True)
class Seen:
    """A collection and how its items are looked at.

    Attributes:
        columns: which are looked at.
        vectors: [n, d] of each of them, for any collection that has them.
        one_space: whether a cosine of two of them means something.
        split: whether the part of the collection's split decides what is held out.
    """

    collection: Collection
    columns: list[str]
    vectors: Callable[[Collection], Blocks]
    one_space: bool
    split: bool

    @property
    def fit(self) -> bool:
        """Whether two columns are looked at for how they fit, too."""
        return self.one_space and len(self.columns) == 2

    def features(self, vectors: Blocks, rows: np.ndarray) -> np.ndarray:
        """[m, width] what parts are given of these rows; of two columns in one space their cosine comes last."""
        blocks = [unit_rows(np.asarray(x[rows], np.float64)) for x in vectors]
        if self.fit:
            product = blocks[0] * blocks[1]
            # A part that looks along the axes of largest spread is to see the cosine before anything else.
            blocks += [product * math.sqrt(product.shape[1]), product.sum(axis=1, keepdims=True) * COSINE]
        return np.concatenate(blocks, axis=1)


def grade(
    source: str | Path,
    *,
    by: str,
    part: str = PLAIN,
    columns: Sequence[str] = (),
    encoders: Sequence[str] = (),
    new: str | Path | None = None,
    out: str | Path | None = None,
    name: str = "",
    seed: int = 0,
    stages: Stages | None = None,
) -> Report:
    """Fit a score on the items that have a grade, measure it on held-out ones, and grade those that have none.

    Every graded item is estimated by a fit that saw neither it nor its duplicates: in five parts or, where the split of
    a run or of the data holds out items, on these. Estimates are in the unit of the grades: a line through held-out
    scores, within the grades that there are.

    Args:
        source: what `read` takes, or the folder of a run, whose trained vectors and split are used.
        by: the column of grades, numbers of which a higher one is better; an empty cell is no grade.
        part: spec of a `score` part of the trait `grades`.
        columns: what is looked at; none: `image`, or else `series`, `text` or both texts of a pair, of a run what it
            searches. Two columns in one space are looked at for how they fit, too, and their cosine is a baseline.
        encoders: specs of frozen encoders, each for the columns of what it encodes, in place of the usual ones.
        new: another collection whose items are graded in place of the source's own that have no grade.
        out: a .jsonl, .csv or .parquet file for all items, with the estimates as a further column.
        name: of that column; empty: the name of the grades and `_estimated`.

    Raises:
        DataError: grades that are missing, too few, no numbers or all alike; a column that is not there, or is.
        PartError: a part that is not fitted on grades, or an encoder that reads none of the columns.
    """
    return graded(
        source, by=by, part=part, columns=columns, encoders=encoders, new=new, out=out, name=name, seed=seed,
        stages=stages,
    )[0]  # fmt: skip


def graded(
    source: str | Path,
    *,
    by: str,
    part: str,
    columns: Sequence[str],
    encoders: Sequence[str],
    new: str | Path | None,
    out: str | Path | None,
    name: str,
    seed: int,
    stages: Stages | None,
) -> tuple[Report, Collection]:
    """`grade`, and the collection that its examples are of."""
    stages = stages or Silence()
    _fits_on_grades(part)
    check_writable(out)
    if out is not None and any(Path(out).resolve() == Path(s).resolve() for s in (source, new) if s is not None):
        raise DataError(f"--out {out} is what is read: give another file, so that yours stays as it is")
    seen, by = _seen(source, by, columns, encoders, stages)
    collection, name = seen.collection, name or f"{by}_estimated"
    other = None if new is None else _read(new, stages)
    wanted = collection if other is None else other
    if name in wanted.columns:
        raise DataError(f"there is a column {name!r} already: give the estimates another with --name")
    if other is not None and (lacking := [c for c in seen.columns if c not in other.columns]):
        raise DataError(f"{new} has no column {lacking[0]!r}, which is looked at; {near(lacking[0], other.columns)}")
    rows, y = grades_of(collection, by)
    _enough(rows, y, by, len(collection))
    rng = np.random.default_rng([seed, 41])
    if len(rows) > MOST:
        some = np.sort(rng.permutation(len(rows))[:MOST])
        rows, y = rows[some], y[some]
    group = collection.numbers("group")[rows]
    if len(np.unique(group)) < 2 * FOLDS:
        raise DataError(f"the graded items are copies of {len(np.unique(group))} different ones: give more that differ")
    vectors = seen.vectors(collection)
    x, fold = seen.features(vectors, rows), folds_of(group, FOLDS, rng)
    sides = np.asarray(collection.values("split"), object)[rows] if seen.split else np.full(len(rows), "")
    test = sides == "test"
    by_split = bool(FEWEST_TESTS <= test.sum() <= len(rows) - FEWEST)
    if by_split:
        fold[test] = -1
    ours = _estimated(part, x, y, fold, stages)
    measured = fold < 0 if by_split else fold >= 0
    report = Report(f"Grades by {by}: {part} on {int(measured.sum())} held-out items")
    base = ours if part == PLAIN else _estimated(PLAIN, x, y, fold, stages)
    cosine = x[:, -1] if seen.fit else None
    report.add(*_figures(part, ours, base, cosine, y, fold, group, measured, seed))
    how = f"{int((~measured).sum())} others of the split" if by_split else "the others, in five parts"
    report.add(Text(f"Each held-out item was estimated by a fit on {how}; duplicates of it were not among these."))
    if len(seen.columns) > 1 and not seen.one_space:
        said = " and ".join(seen.columns)
        how = "how well they fit each other is better seen with a run"
        report.add(Text(f"{said} are not in one space: {how}.", "warn"))
    estimate, rest = np.full(len(wanted), np.nan), np.arange(len(wanted))
    if other is None:
        estimate[rows], rest = ours.value, np.setdiff1d(rest, rows)
    else:
        vectors = seen.vectors(other)
    if len(rest):
        fitted, line = make("score", part).fit(x, y), _line(ours.score, y)
        with stages.stage("grade") as told:
            for start in range(0, len(rest), BLOCK):
                some = rest[start : start + BLOCK]
                estimate[some] = line(fitted.score(seen.features(vectors, some)))
                told(start + len(some), len(rest))
    asked = rest if other is not None else np.setdiff1d(rest, grades_of(collection, by)[0])
    report.add(*_shown(wanted, asked, estimate), _farthest(collection, rows, y, ours.value))
    report.facts = {
        "items": len(collection), "graded": len(rows), "estimated": len(asked), "part": part,
        "looked at": seen.columns, "seed": seed,
    }  # fmt: skip
    if out is not None:
        report.facts["written"] = str(write_items(_table(wanted, name, estimate, part), Path(out)))
        report.add(Text(f"The estimates are the column {name!r} of {out}; of graded items they are held-out ones."))
    else:
        report.add(Text("Write them to a file with --out graded.csv.", "next"))
    return report, wanted


def grades_of(collection: Collection, by: str) -> tuple[np.ndarray, np.ndarray]:
    """([n] rows that have a grade, [n] float64 the grades).

    Raises:
        DataError: no such column, or a grade that is no finite number.
    """
    rows, found = [], []
    for row, value in enumerate(collection.values(by)):
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            said = repr(value if len(str(value)) <= 40 else f"{str(value)[:40]} …")
            raise DataError(
                f"{by!r} of item {collection.ids[row]!r} is {said}, which is no number: grades are numbers, higher is "
                "better, and an empty cell is no grade"
            ) from None
        if not math.isfinite(number):
            raise DataError(
                f"{by!r} of item {collection.ids[row]!r} is {number}: leave the cell empty where there is no grade"
            )
        rows.append(row)
        found.append(number)
    return np.asarray(rows, np.int64), np.asarray(found, np.float64)


def rank_correlation(said: np.ndarray, y: np.ndarray, fold: np.ndarray) -> Callable[[np.ndarray], float]:
    """Spearman's correlation within each fold, a mean over items, from how often each item counts (`core.redraw`).

    Scores of different fits are not compared with each other. A fold whose grades are all alike does not count, and one
    whose scores are counts as 0.
    """
    fold = np.unique(fold, return_inverse=True)[1]
    a, b = (np.unique(np.stack([fold, v]), axis=1, return_inverse=True)[1] for v in (said, y))

    def ranks(codes: np.ndarray, times: np.ndarray, count: np.ndarray) -> np.ndarray:
        """About their mean in the fold, ties in the middle of the places that they share."""
        each = np.bincount(codes, times)
        place = (np.cumsum(each) - each / 2)[codes]
        found: np.ndarray = place - (np.bincount(fold, times * place) / count)[fold]
        return found

    def statistic(times: np.ndarray) -> float:
        count = np.bincount(fold, times)
        u, v = (ranks(codes, times, np.maximum(count, 1e-9)) for codes in (a, b))
        own, spread, both = (np.bincount(fold, times * p) for p in (u * u, v * v, u * v))
        counts = spread > 1e-9
        if not counts.any():
            return math.nan
        found = both / np.sqrt(np.maximum(own * spread, 1e-18))
        return float((count * found)[counts].sum() / count[counts].sum())

    return statistic


@dataclass(frozen=True)
class _Estimates:
    """Of graded items, each by a fit without it: scores, what they come to as grades, and what the mean would say."""

    score: np.ndarray
    value: np.ndarray
    mean: np.ndarray


def _estimated(part: str, x: np.ndarray, y: np.ndarray, fold: np.ndarray, stages: Stages) -> _Estimates:
    """By the fold: those below 0 are estimated by all others, and estimate none."""
    score, value, mean = np.empty(len(y)), np.empty(len(y)), np.empty(len(y))
    with stages.stage(f"fit {parse_spec(part)[0]}") as told:
        numbers = np.unique(fold)
        for place, f in enumerate(numbers):
            mine, rest = fold == f, (fold != f) & (fold >= 0)
            score[mine] = _scored(make("score", part).fit(x[rest], y[rest]), x[mine])
            told(place + 1, len(numbers))
        for f in numbers:
            mine, rest = fold == f, (fold != f) & (fold >= 0)
            value[mine], mean[mine] = _line(score[rest], y[rest])(score[mine]), y[rest].mean()
    return _Estimates(score, value, mean)


def _line(score: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Scores as grades: a line that does not fall, and no farther than the grades reach."""
    spread = float(score.var())
    slope = max(0.0, float(((score - score.mean()) * (y - y.mean())).mean()) / spread) if spread > 0 else 0.0
    return lambda given: np.clip(y.mean() + slope * (given - score.mean()), y.min(), y.max())


def _scored(fitted: Any, x: np.ndarray) -> np.ndarray:
    """By blocks: some parts hold much of each item while they look at it."""
    return np.concatenate([fitted.score(x[i : i + BLOCK]) for i in range(0, len(x), BLOCK)]).astype(np.float64)


def _figures(
    part: str, ours: _Estimates, base: _Estimates, cosine: np.ndarray | None, y: np.ndarray, fold: np.ndarray,
    group: np.ndarray, measured: np.ndarray, seed: int,
) -> list[Figure | Text]:  # fmt: skip
    """How well held-out items are told, beside the plain regression, the cosine of two columns, and the mean grade."""
    y, fold, group, count = y[measured], fold[measured], group[measured], int(measured.sum())

    def correlation(said: np.ndarray) -> Callable[[np.ndarray], float]:
        return rank_correlation(said[measured], y, fold)

    def figure(name: str, statistic: Callable[[np.ndarray], float], most: float = 1.0, note: str = "") -> Figure:
        ends = interval(statistic, group, seed=seed, ends=(-most, most))
        return Figure(name, statistic(np.ones(count)), *ends, count, note=note)

    told = [figure(f"SRCC, {part}", correlation(ours.score), note="rank correlation of estimates and grades")]
    rivals = {PLAIN: base.score} if part != PLAIN else {}
    if cosine is not None:
        rivals["cosine of the two"] = cosine
    told += [figure(f"SRCC, {name}", correlation(said)) for name, said in rivals.items()]
    errors = {part: ours.value} | ({PLAIN: base.value} if part != PLAIN else {}) | {"the mean grade": ours.mean}
    for name, said in errors.items():
        wrong = np.abs(said[measured] - y)
        ends = intervals.known(*intervals.bootstrap(wrong, clusters=group, within=(0.0, math.inf)))
        told.append(Figure(f"mean error, {name}", float(wrong.mean()), *ends, count))

    def less(said: np.ndarray) -> Callable[[np.ndarray], float]:
        one, other = correlation(ours.score), correlation(said)
        return lambda times: one(times) - other(times)

    words: list[Text] = []
    for name, said in rivals.items():
        gap = figure("", less(said), 2.0)
        verdict = "cannot tell" if gap.low is None or gap.high is None else intervals.verdict(gap.low, gap.high)
        words.append(Text(f"{part} against {name}, by SRCC: {gap.value:+.3f}, {verdict}.", "verdict"))
    if told[0].low is None or told[0].low <= 0:
        doubt = f"cannot tell whether {part} sees anything of these grades: its interval holds 0. Grade more items"
        words.append(Text(f"{doubt}, or look at them otherwise with --column and --encoder.", "warning"))
    return [*told, *words]


def _seen(
    source: str | Path, by: str, columns: Sequence[str], encoders: Sequence[str], stages: Stages
) -> tuple[Seen, str]:
    if (Path(source) / "model").is_dir():
        return _of_run(source, by, columns, encoders, stages)
    collection = _read(source, stages)
    by = _named(collection, by)
    rows, y = grades_of(collection, by)
    # Before duplicates are looked for, which takes long.
    _enough(rows, y, by, len(collection))
    looked = list(columns) or _usual(collection)
    for column in looked:
        _ = collection[column]
    if not looked:
        raise DataError(f"which column is looked at? name one with --column: {', '.join(collection.columns)}")
    if by in looked:
        raise DataError(f"{by!r} holds the grades: look at another column")
    if "group" not in collection.columns:
        from tellapart.data.identity import curate

        with stages.stage("look for duplicates") as told:
            collection = curate(collection, progress=told)
    of = _encoders(looked, encoders)

    def vectors(items: Collection) -> Blocks:
        return [embedded(items, c, of[c][1], stages=stages) for c in looked]

    names = {parse_spec(spec)[0] for spec, _ in of.values()}
    split = "split" in collection.columns and collection.provenance("split") is None
    return Seen(collection, looked, vectors, len(names) == 1, split), by


def _usual(collection: Collection) -> list[str]:
    """What a grade is most likely of: a picture, a recording, a text, or how two texts fit."""
    there: list[str] = [c for c in ("image", "series", "text", "anchor", "positive") if c in collection.columns]
    return there if there == ["anchor", "positive"] else there[:1]


def _of_run(
    source: str | Path, by: str, columns: Sequence[str], encoders: Sequence[str], stages: Stages
) -> tuple[Seen, str]:
    from tellapart.runs import Run

    if encoders:
        raise DataError("a run has its own encoders: leave --encoder out, or give the collection itself")
    opened = Run(source, stages=stages)
    sides, model = opened.sides, opened.model
    side_of = {sides.query.column: "query", sides.document.column: "document"}
    looked = list(columns) or [sides.document.column]
    if odd := [c for c in looked if c not in side_of]:
        raise DataError(f"the run has no vectors of {odd[0]!r}; {near(odd[0], side_of)}")

    def vectors(items: Collection) -> Blocks:
        found = []
        for column in looked:
            side = sides.document if side_of[column] == "document" else sides.query
            x = embedded(items, column, model.encoders[side.modality], stages=stages)
            found.append(np.asarray(model.project(side_of[column], np.asarray(x))))
        return found

    collection = opened.collection
    return Seen(collection, looked, vectors, True, "split" in collection.columns), _named(collection, by)


def _encoders(columns: Sequence[str], given: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Spec and encoder of each column."""
    made = {spec: make("encode", spec) for spec in given}
    for spec in given:
        if "frozen" not in card_of("encode", parse_spec(spec)[0]).traits:
            raise PartError(f"{spec} is no frozen encoder")
    found, used = {}, set()
    for column in columns:
        modality = modality_of(column) or "text"
        spec = next((s for s in given if made[s].modality == modality), usual_encoder(column))
        found[column] = (spec, made[spec] if spec in made else make("encode", spec))
        used.add(spec)
    if idle := [spec for spec in given if spec not in used]:
        raise PartError(f"{idle[0]} encodes {made[idle[0]].modality}s, and what is looked at is {', '.join(columns)}")
    return found


def _named(collection: Collection, by: str) -> str:
    """The column of that name, also where reading has given it the name of its role."""
    if by not in collection.columns:
        roles = [role for role, aliases in ALIASES.items() if plain(by) in aliases and role in collection.columns]
        by = roles[0] if len(roles) == 1 else by
    _ = collection[by]
    return by


def _enough(rows: np.ndarray, y: np.ndarray, by: str, of: int) -> None:
    if len(rows) < FEWEST:
        raise DataError(f"{len(rows)} of {of} items have a grade in {by!r}, and {FEWEST} at least are needed")
    values, counts = np.unique(y, return_counts=True)
    if len(values) < 2:
        raise DataError(f"all {len(rows)} grades in {by!r} are {values[0]:g}: give items of other grades, too")
    if len(rows) - counts.max() < FOLDS:
        raise DataError(
            f"all but {len(rows) - counts.max()} of {len(rows)} grades in {by!r} are {values[counts.argmax()]:g}: give "
            f"{FOLDS} items of other grades at least"
        )


def _fits_on_grades(part: str) -> None:
    card = card_of("score", parse_spec(part)[0])
    if "grades" not in card.traits:
        fitting = [name for name, c in cards("score").items() if "grades" in c.traits]
        raise PartError(f"{card.name} is not fitted on grades; {near(card.name, fitting)}")
    make("score", part)


def _read(source: str | Path, stages: Stages) -> Collection:
    from tellapart.data.sources import read

    with stages.stage(f"read {Path(str(source)).name}") as told:
        return read(source, progress=told)


def _table(wanted: Collection, name: str, estimate: np.ndarray, part: str) -> Collection:
    """The items as they were read, with the estimates: what was found out on the way is no column of the user's."""
    own = [c for c in wanted.columns if wanted.provenance(c) is None]
    values = pa.array(estimate, pa.float64(), from_pandas=True)
    return Collection(wanted.table.select(own)).with_column(name, values, by={"part": part})


def _shown(wanted: Collection, asked: np.ndarray, estimate: np.ndarray) -> list[Examples | Text]:
    if not len(asked):
        return [Text("All items have a grade: the estimates are of these. Name others with --new.")]
    order = asked[np.argsort(-estimate[asked], kind="stable")]
    best = [_example(wanted, row, f"estimated {estimate[row]:.3g}") for row in order[:SHOWN].tolist()]
    worst = [_example(wanted, row, f"estimated {estimate[row]:.3g}") for row in order[SHOWN:][-SHOWN:][::-1].tolist()]
    told: list[Examples | Text] = [Examples(f"Of {len(asked)} without a grade, the best by estimate", best)]
    return [*told, Examples("and the worst", worst)] if worst else told


def _farthest(collection: Collection, rows: np.ndarray, y: np.ndarray, value: np.ndarray) -> Examples:
    order = np.argsort(-np.abs(value - y), kind="stable")[:SHOWN].tolist()
    items = [_example(collection, int(rows[i]), f"graded {y[i]:.3g}, estimated {value[i]:.3g}") for i in order]
    return Examples("Graded otherwise than estimated: the grade may be wrong, or what makes it is not seen", items)


def _example(collection: Collection, row: int, why: str) -> Example:
    said = next((c for c in ("text", "anchor") if c in collection.columns), "id")
    words = collection[said][row].as_py()
    return Example([str(collection.ids[row])], why, names=[str(words or collection.ids[row])[:WORDS]])
