"""Records of two tables that are the same thing, or of one table: what `tellapart link` does.

found = link("museum.csv", "auction.csv", run="runs/latest", labels="pairs.csv")
found.table          # an Arrow table: a, b, score, probability, margin
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection, Side
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Example, Examples, Figure, Report, Table, Text
from tellapart.data.known_pairs import KnownPairs, read_pairs
from tellapart.data.writing import check_writable, write_items
from tellapart.engine import calibrate, intervals, links
from tellapart.engine.calibrate import Calibration
from tellapart.engine.links import Candidates, Pairs
from tellapart.engine.one_row import Resolve, majority
from tellapart.engine.one_row import merged as merged_rows
from tellapart.engine.row_learning import halves, learnt, recipe_of
from tellapart.engine.together import joined
from tellapart.runs import Run, embedded

COLUMNS = {"text": "text", "image": "image"}
SHOWN, FEW, WORDS = 12, 30, 120


@dataclass(frozen=True)
class Linked:
    """What was found.

    Attributes:
        table: one row a link, numbered: ids `a` and `b`, `score`, `margin`, and `probability` where calibrated.
        clusters: [records of the table] numbers, equal where links join two; None for two tables.
        report: figures, what is doubtful, what has no link.
        shown: the records of the report's examples.
    """

    table: Collection
    clusters: np.ndarray | None
    report: Report
    shown: Collection


@dataclass(frozen=True)
class _Rule:
    """When a candidate is a link, and what its score means."""

    threshold: float | None = None
    calibration: Calibration | None = None
    said: str = ""


def link(
    a: str | Path | Collection,
    b: str | Path | Collection | None = None,
    *,
    run: str | Path | None = None,
    labels: str | Path | None = None,
    threshold: float | None = None,
    precision: float = 0.95,
    one_to_one: bool = False,
    k: int = 10,
    index: str = "exact",
    text: str = "minilm",
    image: str = "lite0",
    columns: Mapping[str, str] | None = None,
    learn: str | None = None,
    out: str | Path | None = None,
    clusters: str | Path | None = None,
    communities: str | None = None,
    merged: str | Path | None = None,
    resolve: Resolve = majority,
    stages: Stages | None = None,
) -> Linked:
    """Say which records are the same thing, by the cosine of their pooled vectors: of picture, text, or both.

    A record of A is linked to its nearest in B where that scores at least the threshold; where there is neither a
    threshold nor labelled pairs to choose one on, pairs are linked of which each is the other's nearest. Without B the
    records of A are linked among themselves, and clusters are what links join.

    Args:
        a, b: what `tellapart.data.read` takes, with `text`, `image`, or both.
        run: a run folder whose model makes the vectors; None: frozen encoders, `text` and `image`.
        labels: a file of pairs: `a`, `b` (empty: it has no match), and `match` where some are none.
        threshold: the least cosine of a link; None: chosen on the labels.
        precision: the share of right answers among the labelled pairs that a chosen threshold is to give.
        one_to_one: a record is in one link at most.
        k: candidates of each record that are looked at.
        index: the part that finds them.
        columns: role -> column, for both tables.
        out: a .csv, .jsonl or .parquet file for the links.
        learn: a strategy that learns on the rows themselves, above the frozen vectors of their texts, from spoilt
            copies of rows and from half of the labelled pairs: `table-integration`.
        clusters: the same for clusters, with one table.
        communities: `louvain` or `label-propagation`: clusters are densely linked sets, not all that links join.
        merged: the same for one row a cluster, with one table.
        resolve: the rule for cells that differ, `resolve(column, values)`; the commonest value, then the longest.

    Raises:
        DataError: tables that have nothing to compare, labels of other records, or one table without a threshold.
    """
    stages = stages or Silence()
    _check(b, labels, threshold, precision, one_to_one, k, out, clusters)
    _check_integrated(b, run, learn, text, communities, merged)
    one = _read(a, columns, stages)
    other = one if b is None else _read(b, columns, stages)
    if len(other) - (b is None) < 1:
        raise DataError("a single record is the same as nothing: give a table with more")
    known = read_pairs(labels, one, other) if labels is not None else None
    tables = [one] if b is None else [one, other]
    taught, known = _learnt(tables, known, learn, text, stages)
    (q, z), how = _vectors(tables, run, {"text": text, "image": image}, stages, taught)
    how = how if learn is None else f"{how}, then learnt by {learn}"
    with stages.stage("look for candidates") as told:
        found = links.candidates(q, z, k, index=index, same=b is None, progress=told)
    rule = _rule(known, found, q, z, threshold, precision)
    pairs = _chosen(rule, found, q, z, index, one_to_one, dedup=b is None)
    made = _table(pairs, found, one, other, rule)
    report = Report(f"{len(one)} records" + (" among themselves" if b is None else f" and {len(other)}") + f": {how}")
    numbers = links.components(len(one), pairs) if b is None else None
    if communities is not None:
        numbers = links.communities(len(one), pairs, communities)
    report.add(_counts(pairs, one, other, rule, one_to_one, numbers))
    if known is not None:
        report.add(*_figures(known, found, q, z, precision))
    shown: dict[str, tuple[Collection, int]] = {}
    if len(pairs):
        report.add(_doubtful(pairs, made, found, one, other, rule, shown))
    report.add(*_without(pairs, found, one, other, shown, dedup=b is None))
    if merged is not None and numbers is not None:
        report.add(_merged(one, numbers, resolve, merged))
    report.add(*_files(made, one, numbers, out, clusters))
    report.facts = {"records in A": len(one), "records in B": None if b is None else len(other), "links": len(pairs),
                    "vectors": how, "threshold": rule.threshold, "index": index, "candidates": k}  # fmt: skip
    return Linked(made, numbers, report, _shown(shown))


def _check(
    b: Any, labels: Any, threshold: float | None, precision: float, one_to_one: bool, k: int, out: Any, clusters: Any
) -> None:
    check_writable(out)
    check_writable(clusters)
    if k < 1:
        raise DataError(f"--candidates {k}: look at one candidate at least")
    if threshold is not None and not -1 <= threshold <= 1:
        raise DataError(f"--threshold {threshold}: a cosine is between -1 and 1")
    if not 0 < precision <= 1:
        raise DataError(f"--precision {precision}: a share is above 0 and at most 1")
    if b is None and labels is None and threshold is None:
        raise DataError(
            "in one table every record has a nearest other one, the same thing or not: say from which cosine on two "
            "are the same with --threshold, or give pairs that are known with --labels"
        )
    if b is None and one_to_one:
        raise DataError("--one-to-one is for two tables: in one table any number of records may be the same thing")
    if b is not None and clusters is not None:
        raise DataError("--clusters is for one table; leave the second out, or give links a file with --out")


def _check_integrated(b: Any, run: Any, learn: str | None, text: str, communities: str | None, merged: Any) -> None:
    check_writable(merged)
    if b is not None and (communities is not None or merged is not None):
        raise DataError("--communities and --merged are for one table: put both into one")
    if communities is not None and communities not in links.COMMUNITIES:
        raise DataError(f"--communities {communities}: they are {' and '.join(links.COMMUNITIES)}")
    if learn is not None:
        if run is not None:
            raise DataError("a run has learnt already: leave --learn or --run out")
        recipe_of(learn, text)


def _learnt(
    tables: Sequence[Collection], known: KnownPairs | None, learn: str | None, text: str, stages: Stages
) -> tuple[Sequence[np.ndarray] | None, KnownPairs | None]:
    """Vectors of the tables' texts that were learnt on them, and the known pairs that were not learnt from."""
    from tellapart.data.spool import cache_folder

    if learn is None:
        return None, known
    if any("text" not in table.columns for table in tables):
        raise DataError("--learn learns from texts, and a table has none: name them with --column text=NAME")
    offset = len(tables[0]) if len(tables) > 1 else 0
    entity, left = halves(known, sum(map(len, tables)), offset)
    cache = cache_folder(None, "embeddings")
    return learnt(tables, recipe_of(learn, text), entity, cache=cache, stages=stages), left


def _merged(one: Collection, numbers: np.ndarray, resolve: Resolve, file: Any) -> Text:
    made, conflicts = merged_rows(one, numbers, resolve)
    where = write_items(made, Path(file))
    return Text(f"One row for each of {len(made)} things, {conflicts} cells of which differed, is in {where}.", "next")


def _read(table: str | Path | Collection, columns: Mapping[str, str] | None, stages: Stages) -> Collection:
    from tellapart.data import read

    if isinstance(table, Collection):
        made = table
    else:
        with stages.stage(f"read {table}") as told:
            made = read(table, columns=columns, progress=told)
    if not any(column in made.columns for column in COLUMNS):
        raise DataError(
            f"records are compared by `text` and `image`, and a table has only {', '.join(made.columns)}: name yours "
            "with --column text=NAME"
        )
    if len(made.problems):
        stages.say(f"{len(made.problems)} rows could not be read and are in no link (tellapart curate says why)")
    return made


def _vectors(
    tables: Sequence[Collection],
    run: str | Path | None,
    specs: Mapping[str, str],
    stages: Stages,
    taught: Sequence[np.ndarray] | None = None,
) -> tuple[tuple[np.ndarray, np.ndarray], str]:
    """(unit vectors of the first table, of the last), and how they were made."""
    if run is not None:
        project, of = _trained(Run(run, stages=stages).model, run)
        found = [
            joined([project(m, embedded(t, m, of[m], stages=stages)) for m in _held(t, of)], "sum") for t in tables
        ]
        return (found[0], found[-1]), f"{run}, {_in_words([_held(t, of) for t in tables])}"
    both = [m for m in COLUMNS if all(m in table.columns for table in tables)]
    if not both:
        raise DataError("one table has texts and the other pictures: only a run trained on both compares them (--run)")
    encoders = {m: make("encode", specs[m]) for m in both}
    for modality, encoder in encoders.items():
        if encoder.modality != modality:
            raise DataError(f"--{modality} {specs[modality]} reads {encoder.modality} items")
    found = []
    for at, table in enumerate(tables):
        plain = {m: embedded(table, m, encoders[m], stages=stages) for m in both if m != "text" or taught is None}
        found.append(links.pooled([taught[at] if m not in plain and taught else plain[m] for m in both]))
    return (found[0], found[-1]), f"{' and '.join(specs[m] for m in both)}, frozen"


def _trained(model: Any, run: Any) -> tuple[Callable[[str, np.ndarray], np.ndarray], dict[str, Any]]:
    """(modality, frozen vectors) -> vectors of the run's space, and the encoder of each modality that it reads."""
    sides: dict[str, list[tuple[str, Side]]] = {}
    for name, side in (("query", model.sides.query), ("document", model.sides.document)):
        sides.setdefault(side.modality, []).append((name, side))
    of = {m: model.encoders[m] for m in sides if m in COLUMNS}
    several = [m for m, named in sides.items() if len(named) > 1 and not model.sides.same_space]
    if several or not of:
        raise DataError(
            f"the model of {run} compares {model.sides.query.column} with {model.sides.document.column}: records are "
            "linked by a run on pictures with texts, or on one of them with labels"
        )
    return lambda modality, x: model.project(sides[modality][0][0], np.asarray(x)), of


def _held(table: Collection, of: Mapping[str, Any]) -> list[str]:
    found = [m for m in COLUMNS if m in of and m in table.columns]
    if not found:
        raise DataError(f"the run reads {' and '.join(of)}, and a table has only {', '.join(table.columns)}")
    return found


def _in_words(held: Sequence[Sequence[str]]) -> str:
    told = [" and ".join(each) for each in held]
    return told[0] if len(set(told)) == 1 else f"{told[0]} in A, {told[1]} in B"


def _rule(
    known: KnownPairs | None, found: Candidates, q: np.ndarray, z: np.ndarray, threshold: float | None, precision: float
) -> _Rule:
    if known is None:
        if threshold is None:
            return _Rule(said="each is the other's nearest")
        return _Rule(threshold, said="the cosine is at least the threshold that was given")
    _, scores, matches = links.sample(known.matches, known.wrong, found, q, z)
    calibration = calibrate.fit(scores, matches)
    if threshold is not None:
        return _Rule(threshold, calibration, "the cosine is at least the threshold that was given")
    chosen = calibrate.threshold(scores, matches, precision=precision)
    reached = "" if chosen.reached else f"; {precision:.0%} right could not be reached, so the best there is"
    return _Rule(chosen.value, calibration, f"the cosine is at least a threshold chosen on labelled pairs{reached}")


def _chosen(
    rule: _Rule, found: Candidates, q: np.ndarray, z: np.ndarray, index: str, one_to_one: bool, *, dedup: bool
) -> Pairs:
    if rule.threshold is None:
        return links.mutual(found, links.candidates(z, q, 1, index=index))
    if dedup:
        return links.within(found, rule.threshold)
    return (links.one_to_one if one_to_one else links.nearest)(found, rule.threshold)


def _table(pairs: Pairs, found: Candidates, one: Collection, other: Collection, rule: _Rule) -> Collection:
    next_ = [found.best_but(a, {b})[1] for a, b in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)]
    margin = [float(s - n) if np.isfinite(n) else None for s, n in zip(pairs.scores, next_, strict=True)]
    columns: dict[str, Any] = {
        "a": one.ids[pairs.a].tolist(), "b": other.ids[pairs.b].tolist(), "score": pairs.scores.astype(float),
    }  # fmt: skip
    if rule.calibration is not None:
        columns["probability"] = rule.calibration.probability(pairs.scores)
    return Collection.of({**columns, "margin": _numbers(margin)})


def _numbers(values: Sequence[float | None]) -> Any:
    import pyarrow as pa

    return pa.array(values, pa.float64())


def _counts(
    pairs: Pairs, one: Collection, other: Collection, rule: _Rule, one_to_one: bool, clusters: np.ndarray | None
) -> Table:
    rows: list[list[Any]] = [["links", len(pairs)]]
    if clusters is None:
        for name, table, linked in (("A", one, pairs.a), ("B", other, pairs.b)):
            there = len(np.unique(linked))
            rows += [[f"records of {name} with a link", there], [f"records of {name} without", len(table) - there]]
    else:
        sizes = np.bincount(clusters)
        rows += [
            ["different things", len(sizes)],
            ["records that are one of several", int(sizes[sizes > 1].sum())],
            ["largest cluster", int(sizes.max())],
        ]
    if rule.threshold is not None:
        rows.append(["least cosine of a link", float(rule.threshold)])
    said = "linked where " + rule.said + ("; a record is in one link at most" if one_to_one else "")
    return Table("Links", ["what", "found"], rows, note=said)


def _figures(
    known: KnownPairs, found: Candidates, q: np.ndarray, z: np.ndarray, precision: float
) -> list[Table | Text]:
    """How often labelled records find their match, by a threshold chosen on the other half of them."""
    records = np.asarray(sorted(known.matches), np.int64)
    best = found.rows[records, 0]
    right = np.asarray([int(b) in known.matches[int(a)] for a, b in zip(records, best, strict=True)], bool)
    has = np.asarray([bool(known.matches[int(a)]) for a in records], bool)
    rows: list[list[Any]] = [["the nearest is right", _share("accuracy@1", right[has])]]
    fold = np.random.default_rng(0).permutation(len(records)) % 2
    answered = np.zeros(len(records), bool)
    a, scores, matches = links.sample(known.matches, known.wrong, found, q, z)
    for half in (0, 1):
        mine = np.isin(a, records[fold != half])
        if matches[mine].all() or not matches[mine].any():
            note = Text(
                "The labelled pairs are too few for figures of the threshold: both halves need matches.", "warn"
            )
            return [Table("On the labelled records", ["what", "share"], rows), note]
        cut = calibrate.threshold(scores[mine], matches[mine], precision=precision).value
        answered[fold == half] = found.scores[records[fold == half], 0] >= cut
    if answered.any():
        rows.append(["right among links", _share("precision", right[answered])])
    rows.append(["found among matches", _share("recall", (answered & right)[has])])
    note = "threshold chosen on one half of the labelled records and measured on the other; nearest only"
    told: list[Table | Text] = [Table("On the labelled records", ["what", "share"], rows, note=note)]
    if len(records) < FEW:
        told.append(
            Text(f"Only {len(records)} records are labelled: the threshold may be far off. Label more.", "warn")
        )
    return told


def _share(name: str, values: np.ndarray) -> Figure:
    low, high = intervals.bootstrap(values.astype(float), within=(0, 1)) if len(values) > 1 else (None, None)
    return Figure(name, float(values.mean()), low, high, count=len(values))


def _doubtful(
    pairs: Pairs, made: Collection, found: Candidates, one: Collection, other: Collection, rule: _Rule, shown: Any
) -> Examples:
    """The links that are worth a look: of least probability, or of least margin; beside each the next candidate."""
    doubt = np.asarray(made.values("probability" if rule.calibration else "margin"), float)
    order = np.argsort(np.where(np.isnan(doubt), np.inf, doubt), kind="stable")[:SHOWN]
    items = []
    for at in order.tolist():
        a, b, score = int(pairs.a[at]), int(pairs.b[at]), float(pairs.scores[at])
        row, next_ = found.best_but(a, {b})
        ids = [_note(shown, "A", one, a), _note(shown, "B", other, b)] + (
            [_note(shown, "B", other, row)] if row >= 0 else []
        )
        names = [_words(one, a), _words(other, b)] + ([f"or {_words(other, row)}"] if row >= 0 else [])
        said = f"{one.ids[a]} is {other.ids[b]}"
        if rule.calibration is not None:
            said += f", probability {doubt[at]:.2f}"
        items.append(Example(ids, said, [1.0, score, next_][: len(ids)], names))
    return Examples("Most doubtful links: record, its link, the next candidate", items)


def _without(
    pairs: Pairs, found: Candidates, one: Collection, other: Collection, shown: Any, *, dedup: bool
) -> list[Examples | Text]:
    """What has no link, the nearest misses first."""
    if dedup:
        return []
    told: list[Examples | Text] = []
    left = np.setdiff1d(np.arange(len(one)), pairs.a)
    items = []
    for a in left[np.argsort(-found.scores[left, 0], kind="stable")][:SHOWN].tolist():
        b, score = found.best_but(a, set())
        ids = [_note(shown, "A", one, a), _note(shown, "B", other, b)]
        said = f"{one.ids[a]}: nearest is {other.ids[b]}"
        items.append(Example(ids, said, [1.0, score], [_words(one, a), _words(other, b)]))
    if items:
        told.append(Examples(f"Of A, {len(left)} have no link; those with the nearest candidates", items))
    unlinked = np.setdiff1d(np.arange(len(other)), pairs.b)
    if len(unlinked):
        names = ", ".join(map(str, other.ids[unlinked[:SHOWN]]))
        told.append(Text(f"Of B, {len(unlinked)} are in no link: {names}{' …' if len(unlinked) > SHOWN else ''}."))
    return told


def _note(shown: dict[str, tuple[Collection, int]], table: str, records: Collection, row: int) -> str:
    id_ = f"{table} {records.ids[row]}"
    shown[id_] = (records, row)
    return id_


def _words(records: Collection, row: int) -> str:
    said = records["text"][row].as_py() if "text" in records.columns else None
    return str(said)[:WORDS] if said else str(records.ids[row])


def _shown(shown: Mapping[str, tuple[Collection, int]]) -> Collection:
    """The records of the examples as one collection, pictures as bytes."""
    from tellapart.data.images import image_source

    pictures: list[bytes | None] = []
    for records, row in shown.values():
        source = None
        if "image" in records.columns and (value := records["image"][row].as_py()) is not None:
            source = image_source(value, records.root)
        pictures.append(source.read_bytes() if isinstance(source, Path) else source)
    names = [_words(records, row) for records, row in shown.values()]
    return Collection.of({"id": list(shown), "text": names, "image": pictures})


def _files(made: Collection, one: Collection, numbers: np.ndarray | None, out: Any, clusters: Any) -> list[Text]:
    told = []
    if out is not None:
        told.append(Text(f"The links are in {write_items(made, Path(out))}.", "next"))
    if clusters is not None and numbers is not None:
        table = Collection.of({"id": one.ids.tolist(), "cluster": numbers.tolist()})
        told.append(Text(f"Every record's cluster is in {write_items(table, Path(clusters))}.", "next"))
    if out is None and clusters is None:
        told.append(Text("Write the links to a file with --out links.csv.", "next"))
    return told
