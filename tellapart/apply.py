"""Classifiers, detectors and selections on a collection of one's own: what `classify`, `detect` and `select` do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection, Side
from tellapart.core.detection import threshold_for
from tellapart.core.errors import DataError, PartError, near
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Example, Examples, Figure, Report, Table, Text
from tellapart.data.texts import Texts
from tellapart.data.writing import check_writable, with_result, write_items
from tellapart.recipe import usual_encoder
from tellapart.runs import embedded

LATEST = Path("runs/latest")
MOST_CLASSES = 10_000
SHOWN = 12
LEFT_OUT = 10_000
EACH_CLASS = "the mean over classes of the share that is found, so that small classes count as much as large ones"


def classify(
    source: str | Path = LATEST,
    *,
    by: str,
    part: str = "clip-gda",
    column: str = "",
    encoder: str = "",
    seed: int = 0,
    stages: Stages | None = None,
) -> Report:
    """Fit a classifier on the training items of a collection and measure it on items held out by duplicate group.

    Args:
        source: the folder of a run, whose trained vectors and split are used, or what `read` takes: then a frozen
            encoder gives the vectors, and the collection is split here unless it comes with a split.
        by: the column of labels; items without one are left out, but for parts of the trait `unlabelled`.
        part: spec of a `classify` part; one of the trait `unlabelled` is shown the vectors of the held-out items and of
            those without a label.
        column: what to embed; empty: `image`, or else `series` or `text`.
        encoder: spec of a frozen encoder; empty: `lite0` for pictures, `rocket` for recordings, `minilm` for texts.

    Returns:
        Accuracy beside that of the nearest mean and of the commonest class, with intervals over duplicate groups,
        balanced accuracy, recall of every class, and the classes most often taken for each other.

    Raises:
        DataError: no such column, fewer than two classes, or no class on both sides of the split.
    """
    from tellapart.engine import intervals

    stages = stages or Silence()
    make("classify", part)
    shown = "unlabelled" in card_of("classify", parse_spec(part)[0]).traits
    collection, x, others = _vectors(source, by, column, encoder, seed, stages, others=shown)
    y, sides = np.asarray(collection.values(by)), np.asarray(collection.values("split"))
    groups = collection.numbers("group")
    train, test = np.flatnonzero(sides == "train"), np.flatnonzero(sides == "test")
    known = np.isin(y[test], y[train])
    if not known.any():
        raise DataError(f"no value of {by!r} stands in both train and test: the split keeps equal values together")
    with stages.stage(f"fit {parse_spec(part)[0]}"):
        more = {"unlabelled": np.concatenate([x[test], others])} if shown else {}
        said = make("classify", part).fit(x[train], y[train], **more).predict(x[test])
        plain = make("classify", "nearest-mean").fit(x[train], y[train]).predict(x[test])
    values, counts = np.unique(y[train], return_counts=True)
    right = (said == y[test]).astype(float)
    report = Report(f"Classes by {by}: {part} on {len(test)} held-out items")
    for name, hit in (
        (part, right),
        ("nearest-mean", plain == y[test]),
        ("the commonest class", values[counts.argmax()] == y[test]),
    ):
        low, high = intervals.bootstrap(np.asarray(hit, dtype=float), clusters=groups[test], within=intervals.SHARE)
        report.add(Figure(f"accuracy, {name}", float(np.mean(hit)), *intervals.known(low, high), len(test)))
    value, each = _balanced(right, y[test])
    low, high = intervals.bootstrap(each, clusters=groups[test], within=intervals.SHARE)
    report.add(Figure(f"balanced accuracy, {part}", value, *intervals.known(low, high), len(test), note=EACH_CLASS))
    difference = intervals.paired(np.asarray(plain == y[test], dtype=float), right, clusters=groups[test])
    report.add(Text(f"{part} against nearest-mean: {intervals.verdict(*difference[1:])}.", "verdict"))
    if shown:
        report.add(Text(f"{part} saw the {len(test)} held-out items and {len(others)} without a label, but no label."))
    if not known.all():
        report.add(Text(f"{(~known).sum()} held-out items are of classes with no training item; all count as wrong."))
    report.add(_by_class(y[test], said, dict(zip(values.tolist(), counts.tolist(), strict=True))))
    report.add(_confusions(collection.ids[test], y[test], said))
    report.facts = {"items": len(collection), "classes": len(np.unique(y)), "train": len(train), "test": len(test),
                    "part": part, "seed": seed}  # fmt: skip
    return report


def detect(
    run: str | Path,
    source: str | Path,
    *,
    score: str = "",
    by: str = "",
    names: str = "",
    false_alarms: float = 0.05,
    out: str | Path | None = None,
    stages: Stages | None = None,
) -> Report:
    """Find the items of a collection that are like nothing a run holds.

    The score is fitted on the vectors of the run's training items. The threshold lets all but a share `false_alarms` of
    its validation items through, and the share that is really stopped is measured on its test items.

    Args:
        run: the folder of a run.
        source: the new collection, as `read` takes it.
        score: spec of a `score` part that finds the unknown; empty: `knn`, or `clipn` where there are names. One of the
            trait `positions` says which region of a picture is odd, too (see `locating`).
        by: the column of labels, where the score needs them; empty: the run's own target.
        names: what is known by names alone, parted by commas, for a score of the trait `names` (see `naming`).
        out: a .jsonl, .csv or .parquet file for id, score and unknown of every new item.

    Raises:
        DataError: the run or the new collection lacks what is needed.
    """
    from tellapart import detecting
    from tellapart.runs import Run

    stages = stages or Silence()
    if not 0 < false_alarms < 1:
        raise DataError(f"false alarms are a share between 0 and 1, not {false_alarms}")
    score = score or ("clipn" if names else "knn")
    card = _scores(score, "unknown")
    check_writable(out)
    if "names" in card.traits:
        from tellapart.naming import without_a_name

        return without_a_name(run, source, score=score, names=names, by=by, out=out, stages=stages)
    if names:
        raise PartError(f"{card.name} is fitted on items and takes no names; leave --score out, or use clipn")
    if "positions" in card.traits:
        from tellapart.locating import odd_regions

        return odd_regions(run, source, score=score, false_alarms=false_alarms, out=out, stages=stages)
    opened = Run(run, stages=stages)
    side = opened.collection.sides().document
    new = detecting.incoming(source, side.column, run, stages)
    labels = _labels(opened, by) if "labels" in card.traits else None
    z = opened.vectors["document"]
    train = opened.rows("train")
    if labels is not None:
        train = train[[labels[r] is not None for r in train]]
    with stages.stage(f"fit {card.name}"):
        y = None if labels is None else np.asarray([labels[r] for r in train])
        fitted = make("score", score).fit(z[train], y)
    held = [fitted.score(z[opened.rows(part)]) for part in ("validation", "test")]
    threshold = threshold_for(held[0], false_alarms)
    found = fitted.score(opened.model.project("document", _embedded(new, side, opened.model, stages)))
    unknown = found > threshold
    groups = opened.collection.numbers("group")[opened.rows("test")]
    report = Report(f"Unknown items by {score}: {int(unknown.sum())} of {len(new)}")
    report.add(detecting.unknown_share(unknown), detecting.false_alarms(held[1] > threshold, groups))
    report.add(*detecting.of_threshold(threshold, false_alarms, len(held[0])))
    report.add(detecting.listed(new, found, unknown))
    columns = {"score": found, "unknown": unknown}
    return detecting.finished(report, new, columns, out, run=str(run), score=score)


def select(
    source: str | Path,
    *,
    like: str | Path,
    keep: str = "20%",
    score: str = "dsir",
    column: str = "",
    out: str | Path | None = None,
    seed: int = 0,
    stages: Stages | None = None,
) -> Report:
    """Pick the items of a pool that are most use for a target.

    A part of the trait `stream` reads texts by blocks, several times, and only what is kept stands in memory. A part
    that reads vectors instead of texts is shown those of all sides that both have (`expanding`).

    Args:
        source: the pool, as `read` takes it.
        like: a collection of what is wanted.
        keep: how many, as a number or a share such as `20%`.
        score: spec of a `score` part that finds the target; one with `select` draws, others take the highest.
        column: the text column of both; empty: `text`, or else `anchor`; of vectors, the one side to go by.
        out: a .jsonl, .csv or .parquet file for the selected items.

    Raises:
        DataError: no texts, or a number that cannot be kept.
    """
    stages = stages or Silence()
    card = _scores(score, "target")
    check_writable(out)
    if "texts" not in card.traits:
        return _expanded(source, like, keep, score, column, out, stages)
    pool, wanted = (_texts(which, column, stages) for which in (source, like))
    n = how_many(keep, len(pool))
    given: Callable[[Iterable[Any]], Any] = iter if "stream" in card.traits else list
    told = {"sources": given(_sources(pool, score))} if "sources" in card.traits else {}
    of_pool = _sources(pool, score) if told else itertools.repeat(False, len(pool))
    marks = itertools.chain(itertools.repeat(True, len(wanted)), of_pool)
    with stages.stage(f"fit {card.name}"):
        part = make("score", score).fit(given(itertools.chain(wanted, pool)), given(marks))
    rng = np.random.default_rng(seed)
    with stages.stage("score"):
        if "select" in card.traits:
            rows = part.select(given(pool), n, rng=rng, **told)
        else:
            rows = np.sort(np.argsort(-part.score(given(pool)), kind="stable")[:n])
        values = part.score(given(pool.some(rows)))
    report = Report(f"{n} of {len(pool)} texts like {like}")
    report.add(Figure("kept", n / len(pool), count=len(pool)))
    if hasattr(part, "kl_reduction"):
        usual = np.sort(rng.choice(len(pool), n, replace=False))
        nearer = part.kl_reduction(given(pool.some(rows)), given(pool.some(usual)))
        report.add(Figure("nearer to the target than a random selection", nearer, unit="nats", count=n))
    if told:
        report.add(_budgets(part.relevance_, _sources(pool, score), rows))
    best = np.argsort(-values, kind="stable")[:SHOWN]
    report.add(_shown("Most like the target", pool, rows[best], values[best]))
    rest, title = np.setdiff1d(np.arange(len(pool)), rows), "Least like it, left out"
    if len(rest) > LEFT_OUT:
        rest, title = np.sort(rng.choice(rest, LEFT_OUT, replace=False)), f"Least like it, of {LEFT_OUT} left out"
    lowest = part.score(given(pool.some(rest))) if len(rest) else np.zeros(0)
    worst = np.argsort(lowest, kind="stable")[:SHOWN]
    report.add(_shown(title, pool, rest[worst], lowest[worst]))
    report.facts = {"pool": len(pool), "target": len(wanted), "score": score, "seed": seed}
    if out is not None:
        kept = with_result(pool.collection.take(pool.rows[rows]), "score", values)
        report.facts["written"] = str(write_items(kept, Path(out)))
    return report


def _vectors(
    source: str | Path, by: str, column: str, encoder: str, seed: int, stages: Stages, *, others: bool = False
) -> tuple[Collection, np.ndarray, np.ndarray]:
    """Items that have a label, with `group` and `split`, their vectors, and, if asked for, those of the other items."""
    if (Path(source) / "model").is_dir():
        from tellapart.runs import Run

        if column or encoder:
            raise DataError(
                "a run has its own vectors: leave --column and --encoder out, or give the collection itself"
            )
        opened = Run(source, stages=stages)
        rows = _labelled(opened.collection, by)
        opened.rows("test")
        z = opened.vectors["document"]
        rest = np.setdiff1d(np.arange(len(z)), rows) if others else rows[:0]
        return opened.collection.take(rows), z[rows], z[rest]
    from tellapart.data.given import completed
    from tellapart.data.identity import curate
    from tellapart.data.sources import read

    with stages.stage("read") as told:
        collection = read(source, progress=told)
    rows = _labelled(collection, by)
    left = collection.take(np.setdiff1d(np.arange(len(collection)), rows) if others else rows[:0])
    collection = collection.take(rows)
    with stages.stage("look for duplicates") as told:
        collection = curate(collection, progress=told)
    column = column or next(
        (c for c in ("image", "series", "text", "anchor") if c in collection.columns and c != by), ""
    )
    if not column:
        raise DataError(f"which column is embedded? name one with --column: {', '.join(collection.columns)}")
    # Labels keep their shares and no duplicate group is cut; concepts are, since they may be the labels themselves.
    collection = completed(collection.with_column("label", collection[by]), seed=seed, by="group")
    spec = encoder or usual_encoder(column)
    if "frozen" not in card_of("encode", parse_spec(spec)[0]).traits:
        raise PartError(f"{spec} is no frozen encoder")
    x = embedded(collection, column, make("encode", spec), stages=stages)
    return collection, x, embedded(left, column, make("encode", spec), stages=stages) if len(left) else x[:0]


def _labelled(collection: Collection, by: str) -> np.ndarray:
    values = collection.values(by)
    rows = np.asarray([r for r, v in enumerate(values) if v is not None], dtype=np.int64)
    distinct = {values[r] for r in rows if not isinstance(values[r], list | dict | bytes)}
    if not 2 <= len(distinct) <= MOST_CLASSES:
        raise DataError(
            f"{by!r} holds {len(distinct)} different labels; a classifier needs between 2 and {MOST_CLASSES}"
        )
    return rows


def _labels(opened: Any, by: str) -> list[Any]:
    collection = opened.collection
    name = by or collection.sides().target or ("label" if "label" in collection.columns else "")
    if not name:
        raise DataError(f"the score needs labels: name their column with --by: {', '.join(collection.columns)}")
    values: list[Any] = collection.values(name)
    return values


def _scores(spec: str, what: str) -> Any:
    """The card of a score part that finds `what`; another is refused with those that do."""
    from tellapart.core.parts import cards

    card = card_of("score", parse_spec(spec)[0])
    if what not in card.traits:
        fitting = [name for name, c in cards("score").items() if what in c.traits]
        raise PartError(f"{card.name} does not score what is {what}; {near(card.name, fitting)}")
    make("score", spec)
    return card


def _embedded(collection: Collection, side: Side, model: Any, stages: Stages) -> np.ndarray:
    return np.asarray(embedded(collection, side.column, model.encoders[side.modality], stages=stages))


def _texts(source: str | Path, column: str, stages: Stages) -> Texts:
    return Texts(_read(source, stages), column, source=source)


def _read(source: str | Path, stages: Stages) -> Collection:
    from tellapart.data.sources import read

    with stages.stage(f"read {Path(str(source)).name}") as told:
        return read(source, progress=told)


def _expanded(
    source: str | Path, like: str | Path, keep: str, score: str, column: str, out: str | Path | None, stages: Stages
) -> Report:
    from tellapart.expanding import compared, expand

    pool, seeds = (_read(which, stages) for which in (source, like))
    columns = compared(pool, seeds, column, (str(source), str(like)))
    n = how_many(keep, len(pool), "items")
    return expand(pool, seeds, n, score=score, columns=columns, out=None if out is None else Path(out), stages=stages)


def _sources(pool: Texts, score: str) -> Iterator[Any]:
    """The source of each text of a pool; refused where there is none."""
    if "source" not in pool.collection.columns:
        raise DataError(f"{score} spends a budget over sources, and the pool has no column `source`")
    for row, source in zip(pool.rows, pool.beside("source"), strict=True):
        if isinstance(source, bool) or not isinstance(source, str | int) or source == "":
            id_ = pool.collection.table["id"][int(row)].as_py()
            raise DataError(f"{score} needs the source of every text, by its name, and that of {id_} is {source!r}")
        yield str(source)


def _budgets(relevance: dict[str, float], sources: Iterator[str], rows: np.ndarray) -> Table:
    """How relevant each source was found, and how much of it was kept."""
    names = sorted(relevance, key=lambda name: (-relevance[name], name))
    code = {name: i for i, name in enumerate(names)}
    of = np.fromiter((code[name] for name in sources), dtype=np.int64)
    there, kept = (np.bincount(each, minlength=len(names)).tolist() for each in (of, of[rows]))
    count = sum(value > 0 for value in relevance.values())
    note = f"{count} of {len(names)} sources are relevant"
    if (more := len(rows) - sum(there[:count])) > 0:
        note += f", and hold {more} texts less than are kept: these are taken evenly from the others"
    cells = [[name, there[i], relevance[name], kept[i]] for i, name in enumerate(names[:SHOWN])]
    return Table("Sources by relevance", ["source", "texts", "relevance", "kept"], cells, note)


def _shown(title: str, pool: Texts, numbers: np.ndarray, scores: np.ndarray) -> Table:
    """Ids, scores and beginnings of a few texts of the pool, in this order."""
    order = np.argsort(numbers)
    said = dict(zip(numbers[order].tolist(), pool.some(numbers[order]), strict=True))
    rows = zip(pool.ids(numbers), scores.tolist(), numbers.tolist(), strict=True)
    return Table(title, ["id", "score", "text"], [[id_, score, said[number][:120]] for id_, score, number in rows])


def how_many(keep: str, of: int, what: str = "texts") -> int:
    """`"20%"` or `"500"` as a number of items."""
    try:
        share = keep.strip().endswith("%")
        value = float(keep.strip().rstrip("%"))
        n = round(value / 100 * of) if share else int(keep)
    except ValueError:
        raise DataError(f"write --keep as a number of items or a share such as 20%, not {keep!r}") from None
    if not 1 <= n <= of:
        raise DataError(f"cannot keep {n} of {of} {what}: --keep {keep}")
    return n


def _by_class(truth: np.ndarray, said: np.ndarray, trained: dict[Any, int]) -> Table:
    rows = []
    for label in np.unique(truth):
        mine = truth == label
        rows.append([str(label), trained.get(label.item(), 0), int(mine.sum()), float((said[mine] == label).mean())])
    rows.sort(key=lambda row: (row[3], row[0]))
    note = "" if len(rows) <= SHOWN else f"the {SHOWN} worst of {len(rows)} classes"
    return Table("Classes, worst first", ["class", "training items", "held-out items", "found"], rows[:SHOWN], note)


def _balanced(right: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean recall of the classes, and [n] values whose mean it is and whose spread is that of the recalls alone.

    How many items of a class happen to be drawn must not move the figure: an item counts by what it differs from the
    recall of its class (the delta method for a mean of ratios).
    """
    _, place, count = np.unique(y, return_inverse=True, return_counts=True)
    recall = np.bincount(place, weights=right) / count
    weight = len(y) / (len(count) * count)
    return float(recall.mean()), recall.mean() + weight[place] * (right - recall[place])


def _confusions(ids: np.ndarray, truth: np.ndarray, said: np.ndarray) -> Examples:
    pairs: dict[tuple[str, str], list[str]] = {}
    for id_, a, b in zip(ids, truth, said, strict=True):
        if a != b:
            pairs.setdefault((str(a), str(b)), []).append(id_)
    worst = sorted(pairs.items(), key=lambda item: (-len(item[1]), item[0]))[:SHOWN]
    return Examples(
        "Taken for another",
        [
            Example(found[:6], f"{a} taken for {b}, {len(found)} time{'s' * (len(found) > 1)}")
            for (a, b), found in worst
        ],
    )
