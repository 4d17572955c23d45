"""A run's encoder replaced without embedding everything again: what it would find first, then in place, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError, TellapartError
from tellapart.core.files import write_atomically
from tellapart.core.needs import installed, require
from tellapart.core.parts import card_of, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Figure, Report, Table, Text
from tellapart.data.composed import REFERENCE
from tellapart.engine import intervals, versions
from tellapart.engine.calibrating import FILE as CALIBRATION
from tellapart.engine.calibrating import keep_calibration
from tellapart.engine.composed import composing
from tellapart.engine.indexing import FILE as INDEX_FILE
from tellapart.engine.indexing import build, open_index
from tellapart.engine.model import Model
from tellapart.engine.reorder import Encode
from tellapart.engine.several import of_column
from tellapart.engine.spaces import METRICS, SHARES, Both, Known, fitted, held, suits
from tellapart.engine.together import composer_of
from tellapart.run import LATEST, write_report
from tellapart.runs import Run, embedded

TRIED = ("ridge", "procrustes", "relative-representations", "xbt")
JUDGED_BY, SERVED = "nDCG@10", "R@10"
FEWEST, MOST_TEXTS, MOST_ASKED, K = 20, 20_000, 1000, 10
SHARE = 0.1
BACKFILLED, CORPUS = "backfilled.json", "corpus"
SIDES = ("query", "document")
OF_OTHER_SCORES = ("model", "rank", "sets", "served", "report.html", "report.json", "manifest.json")
OF_OTHER_SPACES = ("index", "sides", "regions")


def upgrade(
    folder: str | Path = LATEST,
    to: str | Path = "",
    *,
    part: str = "",
    share: float = SHARE,
    check: bool = False,
    anyway: bool = False,
    seed: int = 0,
    stages: Stages | None = None,
) -> Report:
    """Let new queries of another encoder search the vectors that a run has stored.

    Only a share of the training documents is embedded anew, and what the figures are measured on. The run folder is
    exchanged for its new version in one step; the old one is kept (`engine.versions`).

    Args:
        to: a run folder with the new model, or the spec of a frozen encoder where both sides are of its modality.
        part: of shape `align`; empty: the best of `TRIED` on the validation items.
        share: of the training documents, embedded anew to fit the map on.
        check: report, and change nothing.
        anyway: upgrade although new queries are shown to find less than the old ones did.

    Returns:
        What was found beforehand and, if the upgrade was made, as served afterwards.

    Raises:
        TellapartError: no run, another modality, no or too few common items, or a map that finds less.
    """
    require("torch", "upgrading a run")
    stages, folder = stages or Silence(), Path(folder)
    run = Run(folder, stages=stages)
    old, index = run.model, open_index(folder / "index")
    new = _new_model(to, old)
    if not 0 < share <= 1:
        raise DataError(f"--share is a share of the training items, more than 0 and at most 1, not {share}")
    if part:
        card_of("align", parse_spec(part)[0])
    items = _Items(run, index, old, new, share, seed)
    known, validation, test = items.known(), items.both("validation"), items.both("test")
    parts = {}
    for spec in [part] if part else [s for s in TRIED if installed("torch") or s != "xbt"]:
        if suits(spec, known):
            with stages.stage(f"fit {spec}"):
                parts[spec] = fitted(spec, known, seed=seed)
        elif part:
            raise DataError(f"{part} is fitted on texts, and neither side of this run holds texts; take another part")
    chosen = max(parts, key=lambda spec: float(np.nanmean(validation.across(parts[spec])[JUDGED_BY])))
    report = Report("tellapart upgrade")
    report.facts = _facts_before(folder) | {"to": str(to), "part": chosen, "seed": seed, "folder": str(folder)}
    worse = _before(report, test, parts, chosen, len(known.new), seed)
    if check:
        report.add(Text("Nothing was changed: this is what an upgrade would find.", "next"))
        return report
    if worse and not anyway:
        raise TellapartError(
            f"new queries through {chosen} find less in this index than the old ones did "
            f"({worse}). Look at the whole report with --check, take another part with --with, a larger --share, or "
            "upgrade all the same with --anyway"
        )
    converts = hasattr(parts[chosen], "convert")
    made = versions.begin(folder, without=(*OF_OTHER_SCORES, *(OF_OTHER_SPACES if converts else ()), BACKFILLED))
    try:
        recipe = {**new.recipe, "rank": "", "index": _index_spec(folder)}
        model = Model(old.sides, new.specs, new.heads, recipe=recipe, aligned=held(chosen, parts[chosen]))
        model.save(made / "model")
        if converts:
            with stages.stage("convert the index") as told:
                z = _stored(index, parts[chosen].convert)
                build(_index_spec(folder), index.ids.tolist(), z, made / "index", progress=told)
        report.add(*_calibrate(made, items), *_left_out(folder, converts))
        _after(report, items, folder, made)
        write_report(report, made, run.collection)
        versions.finish(folder, made, {"to": str(to), "part": chosen, "share": share, "seed": seed})
    except BaseException:
        versions.drop(made)
        raise
    report.add(Text(f"Before this: {versions.kept_in(folder)}. Back to it: tellapart upgrade {folder} --back", "next"))
    return report


def backfill(
    folder: str | Path = LATEST,
    count: int = 1000,
    *,
    first: str | Path | None = None,
    seed: int = 0,
    stages: Stages | None = None,
) -> Report:
    """Embed some documents of an upgraded run anew, through the map, so that its index moves bit by bit.

    Args:
        count: how many of those that were not yet.
        first: a file of ids, one a line, that come first in this order, such as those that are used most; the others
            follow at random.

    Raises:
        DataError: the run was not upgraded, or nothing is left.
    """
    require("torch", "backfilling a run")
    stages, folder = stages or Silence(), Path(folder)
    facts = versions.facts_of(folder)
    if facts is None:
        raise DataError(f"{folder} was not upgraded, so its index holds nothing to be embedded anew: give --to first")
    if count < 1:
        raise DataError(f"--backfill takes a number of items, at least 1, not {count}")
    run, index, done = Run(folder, stages=stages), open_index(folder / "index"), _backfilled(folder)
    documents = Collection.open(folder / CORPUS) if (folder / CORPUS).is_dir() else run.collection
    waiting = [i for i in index.ids.tolist() if i in documents.row_of and i not in done]
    if not waiting:
        raise DataError(f"all {len(done)} documents of {folder} are embedded by the new encoder already")
    ids = _in_order(waiting, first, seed)[:count]
    side, rows = run.model.sides.document, np.asarray([documents.row_of[i] for i in ids])
    x = embedded(documents.take(rows), side.column, run.model.encoders[side.modality], stages=stages)
    fresh = run.model.project("document", np.asarray(x))
    made = versions.begin(folder, without=("index", "served", "report.html", "report.json", "manifest.json"))
    try:
        names = index.ids.tolist()
        z, at = _stored(index), {name: row for row, name in enumerate(names)}
        z[[at[i] for i in ids]] = fresh
        with stages.stage("build the index") as told:
            build(_index_spec(folder), names, z, made / "index", progress=told)
        write_atomically(made / BACKFILLED, json.dumps(sorted({*done, *ids})).encode())
        items = _Items(run, index, run.model, run.model, 1.0, seed, measured=True)
        meaning = _calibrate(made, items)
        share = (len(done) + len(ids)) / len(names)
        report = Report("tellapart upgrade --backfill")
        report.facts = _facts_before(folder) | {"part": facts.get("part"), "folder": str(folder)}
        said = f"{len(ids):,} documents were embedded anew; {share:.1%} of the index is of the new encoder now."
        report.add(Text(said, "verdict"), Figure("share of the index backfilled", share), *meaning)
        _after(report, items, folder, made)
        write_report(report, made, run.collection)
        told = {k: facts.get(k) for k in ("to", "part", "share", "seed")} | {"backfilled": len(done) + len(ids)}
        versions.finish(folder, made, told)
    except BaseException:
        versions.drop(made)
        raise
    return report


def back(folder: str | Path = LATEST, *, anyway: bool = False) -> Report:
    """Put the version before the last upgrade or backfill in place again, bit for bit.

    Raises:
        DataError: nothing to go back to, or items were taken since (`anyway` leaves them behind).
    """
    folder = _run_folder(folder)
    facts = versions.back(folder, anyway=anyway)
    report = Report("tellapart upgrade --back", facts={"part": facts.get("part"), "folder": str(folder)})
    step = "documents were embedded anew" if facts.get("backfilled") else f"the upgrade to {facts.get('to')}"
    said = f"{folder} is as it was before {step}; the version that was taken back is kept beside it."
    return report.add(Text(said, "verdict"))


def forget(folder: str | Path = LATEST) -> Report:
    """Delete the versions that are kept beside a run folder; what is served stays."""
    folder = _run_folder(folder)
    count = versions.forget(folder)
    return Report("tellapart upgrade --forget").add(Text(f"{count} kept versions of {folder} were deleted.", "verdict"))


@dataclass
class _Items:
    """The items of a run under both models; each vector is made once."""

    run: Run
    index: Any
    old: Model
    new: Model
    share: float
    seed: int
    measured: bool = False

    def __post_init__(self) -> None:
        from tellapart.engine.trial import held_out

        run, sides = self.run, self.old.sides
        apart = (run.folder / CORPUS).is_dir()
        named = run.collection.values("document_id") if apart else run.collection.ids.tolist()
        self.names = np.asarray(named, dtype=object)
        stored = set(self.index.ids.tolist())
        self.rows: dict[str, np.ndarray] = {}
        for name in ("train", "validation", "test"):
            rows = run.rows("train") if name == "train" else held_out(run.collection, name)
            rows = rows[[i in stored for i in self.names[rows].tolist()]]
            if name != "train":
                rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_ASKED)).astype(np.int64))]
            self.rows[name] = rows
        if not sum(map(len, self.rows.values())):
            raise DataError(f"no item of {run.folder}/collection stands in its index: build it again (tellapart index)")
        few = {name: len(rows) for name, rows in self.rows.items() if len(rows) < (2 if name == "validation" else K)}
        if few:
            told = ", ".join(f"{count} in the {name} part" for name, count in few.items())
            raise DataError(f"too few items to judge an upgrade by: {told}; at least {K} are needed")
        train = self.rows["train"]
        count = int(np.ceil(self.share * len(train)))
        if count < FEWEST and not self.measured:
            raise DataError(
                f"{self.share:g} of {len(train)} training items are {count}: too few to fit a map on. At least "
                f"{FEWEST} are needed: give a larger --share"
            )
        self.sample = np.sort(np.random.default_rng(self.seed).choice(train, count, replace=False))
        texts = sides.query.modality == "text" and not sides.same_space
        self.asked = train[:MOST_TEXTS] if texts else self.sample
        self.right = run.collection.codes(sides.target)[0] if sides.target else np.arange(len(self.names))

    def new_vectors(self, side: str, rows: np.ndarray) -> np.ndarray:
        """[n, d] of the new model."""
        return self._made(self.new, side, rows)

    def old_vectors(self, side: str, rows: np.ndarray) -> np.ndarray:
        """[n, d] of the old model; documents as the index stores them."""
        if side == "document":
            return np.asarray(self.index.vectors(self.names[rows].tolist()), np.float32)
        return self._made(self.old, side, rows)

    def known(self) -> Known:
        """What maps are fitted on, of the training part."""
        sides = self.old.sides
        rows = {"query": self.asked, "document": self.sample}
        used = ("document",) if sides.same_space else SIDES
        new = {side: self.new_vectors(side, rows[side]) for side in used}
        old = {side: self.old_vectors(side, rows[side]) for side in used}
        text = [np.full(len(rows[side]), getattr(sides, side).modality == "text") for side in used]
        pairs = None
        if not sides.same_space:
            pairs = self.new_vectors("query", self.sample), new["document"]
        return Known(*(np.concatenate([x[side] for side in used]) for x in (new, old)), np.concatenate(text), pairs)

    def both(self, name: str) -> Both:
        """The held-out items of a part of the split in both spaces."""
        rows = self.rows[name]
        new = {side: self.new_vectors(side, rows) for side in SIDES}
        old = {side: self.old_vectors(side, rows) for side in SIDES}
        return Both(new, old, self.right[rows], self.old.sides.same_space)

    def _made(self, model: Model, side: str, rows: np.ndarray) -> np.ndarray:
        where = getattr(self.old.sides, side)
        encoder = model.encoders[where.modality]
        x = embedded(self.run.collection.take(rows), where.column, encoder, stages=self.run.stages)
        return np.asarray(model.project(side, np.asarray(x)))  # type: ignore[arg-type]


def _new_model(to: str | Path, old: Model) -> Model:
    """The model of a run folder, of a model folder, or of a frozen encoder alone."""
    if not str(to):
        raise DataError("say what to upgrade to: --to RUN, a run folder with the new model, or an encoder part")
    place = Path(to)
    if place.is_dir():
        new = Model.load(place / "model" if (place / "model").is_dir() else place)
    else:
        name, _ = parse_spec(str(to))
        encoder = card_of("encode", name)
        modalities = {old.sides.query.modality, old.sides.document.modality}
        if len(modalities) > 1:
            raise PartError(
                f"{encoder.name} alone gives no search from {old.sides.query.modality}s to "
                f"{old.sides.document.modality}s: train a run with the new encoders and name its folder (--to RUN)"
            )
        new = Model(old.sides, {modalities.pop(): str(to)})
    for side in SIDES:
        ours, theirs = (getattr(model.sides, side).modality for model in (old, new))
        if ours != theirs:
            raise DataError(f"the {side} side of this run holds {ours}s, and that of {to} {theirs}s")
    heads = {side: new.heads.get(side) for side in SIDES}
    if old.sides.same_space and heads["query"] is not heads["document"]:
        raise DataError(f"this run searches one column with itself, and {to} has two heads for two columns")
    if new.aligned is not None:
        raise DataError(f"{to} was itself upgraded, and its vectors are of an older model: name the run of its model")
    return new


def _before(report: Report, test: Both, parts: Mapping[str, Any], chosen: str, fitted_on: int, seed: int) -> str:
    """The table of what each map finds; gives words if new queries are shown to find less than old ones."""
    old = test.figures(test.old["query"], test.old["document"])
    rows: list[list[Any]] = [["old queries, old index", *_figures(old), ""]]
    rows.append(["new queries, new index", *_figures(test.figures(test.new["query"], test.new["document"])), ""])
    found = {spec: test.across(part) for spec, part in parts.items()}
    said = {}
    for spec, figures in found.items():
        low, high = intervals.paired(old[JUDGED_BY], figures[JUDGED_BY])[1:]
        said[spec] = intervals.verdict(low, high)
        rows.append([f"new queries, old index: {spec}", *_figures(figures), said[spec]])
    count = len(test.new["query"])
    note = (
        f"{count} held-out queries among {count} held-out documents, 95% intervals over queries; the verdict is on "
        f"{JUDGED_BY} against old queries in the old index. Maps were fitted on {fitted_on:,} vectors"
    )
    difference, low, high = intervals.paired(old[JUDGED_BY], found[chosen][JUDGED_BY])
    amount = f"{JUDGED_BY} {difference:+.3f}, 95% interval {low:+.3f} to {high:+.3f}"
    words = {
        intervals.HELPS: f"Compatible: through {chosen}, queries of the new encoder find more in the old index",
        intervals.HURTS: f"Not compatible: through {chosen}, queries of the new encoder find less in the old index",
    }.get(said[chosen], f"No difference shown between old queries and new ones through {chosen} in the old index")
    report.add(Text(f"{words} ({amount}).", "verdict"))
    report.add(Table("Before the upgrade", ["", *METRICS, "verdict"], rows, note))
    curve = [
        [f"{share:.0%}", *_figures(figures)]
        for share, figures in zip(SHARES, test.curve(parts[chosen], seed=seed), strict=True)
    ]
    note = f"new queries through {chosen}; that share of the held-out documents, drawn once, embedded anew and mapped"
    report.add(Table("When a share of the index is backfilled", ["share", *METRICS], curve, note))
    return amount if said[chosen] == intervals.HURTS else ""


def _after(report: Report, items: _Items, folder: Path, made: Path) -> None:
    """What held-out queries find in the whole index, by the files that are served."""
    rows = items.rows["test"]
    found = [_as_served(items, place, rows) for place in (folder, made)]
    low, high = intervals.paired(*found)[1:]
    told = [[name, _figure(values, SERVED)] for name, values in zip(("before", "after"), found, strict=True)]
    difference = Figure(SERVED, float(np.mean(found[1] - found[0])), low, high, len(rows))
    told.append(["after less before", difference])
    note = f"{len(rows)} held-out queries among all {len(items.index):,} documents, asked of the saved model and index"
    report.add(Table("As served", ["", SERVED], told, f"{note}; {intervals.verdict(low, high)}"))


def _as_served(items: _Items, place: Path, rows: np.ndarray) -> np.ndarray:
    """[n] whether a right document is among the first 10, by the model and index of a folder."""
    model, index, collection = Model.load(place / "model"), open_index(place / "index"), items.run.collection
    sides, names = model.sides, items.names
    hits = index.search(_asked(place, model, collection)("query", rows), K + 1)
    right: dict[Any, set[str]] = {}
    for row in range(len(collection)):
        right.setdefault(items.right[row], set()).add(names[row])
    found = np.zeros(len(rows))
    for at, row in enumerate(rows.tolist()):
        mine = {names[row]} if sides.same_space else set()
        first = [i for i in hits.ids[at].tolist() if i and i not in mine][:K]
        found[at] = bool(set(first) & (right[items.right[row]] - mine))
    return found


def _calibrate(made: Path, items: _Items) -> list[Text]:
    """What a score of the new version means and how held-out queries score, fitted as a run fits it."""
    (made / "model" / CALIBRATION).unlink(missing_ok=True)
    model, index, collection = Model.load(made / "model"), open_index(made / "index"), items.run.collection
    queries = _asked(made, model, collection)

    def encode(side: str, rows: np.ndarray) -> np.ndarray:
        if side == "query":
            return queries(side, rows)
        return np.asarray(index.vectors(items.names[rows].tolist()), np.float32)

    return keep_calibration(collection, encode, None, index, made, items.rows["validation"])


def _asked(place: Path, model: Model, collection: Collection) -> Encode:
    """The queries of a collection at some rows as a run folder encodes them, composed where it does that."""
    encoders, sides = model.encoders, model.sides

    def project(side: str, column: str, modality: str, rows: np.ndarray) -> np.ndarray:
        x = embedded(collection.take(rows), column, encoders[modality], stages=Silence())
        return np.asarray(model.project(side, np.asarray(x)))  # type: ignore[arg-type]

    def queries(side: str, rows: np.ndarray) -> np.ndarray:
        return project("query", sides.query.column, sides.query.modality, rows)

    composer = composer_of(place, of_captions=False)
    if composer is None:
        return queries
    looked = sides.document.modality
    return composing(
        queries, composer, of_column(collection, REFERENCE, lambda rows: project("document", REFERENCE, looked, rows))
    )


def _stored(index: Any, change: Any = None) -> np.ndarray:
    """[n, d] what an index holds, in blocks, each changed first."""
    ids = index.ids.tolist()
    pieces = []
    for start in range(0, len(ids), 8192):
        z = np.asarray(index.vectors(ids[start : start + 8192]), np.float32)
        pieces.append(change(z) if change else z)
    return np.concatenate(pieces)


def _in_order(waiting: Sequence[str], first: str | Path | None, seed: int) -> list[str]:
    """The ids of a file first, as far as they wait, then the others at random."""
    others = [waiting[i] for i in np.random.default_rng(seed).permutation(len(waiting))]
    if first is None:
        return others
    try:
        lines = [line.strip() for line in Path(first).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{first} cannot be read ({error}): give a file of ids, one a line") from None
    there = set(waiting)
    named = list(dict.fromkeys(line for line in lines if line in there))
    if not named:
        raise DataError(f"no line of {first} is the id of a document that waits to be embedded anew")
    return named + [i for i in others if i not in set(named)]


def _backfilled(folder: Path) -> set[str]:
    file = folder / BACKFILLED
    return set(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else set()


def _left_out(folder: Path, converts: bool) -> list[Text]:
    """What the new version does without."""
    names = ["rank", "sets", *(OF_OTHER_SPACES[1:] if converts else ())]
    lost = [name for name in names if (folder / name).is_dir()]
    said = f"Not carried over, being fitted on the old vectors: {', '.join(lost)}. They come back with --back."
    return [Text(said, "warning")] if lost else []


def _index_spec(folder: Path) -> str:
    try:
        return str(json.loads((folder / "index" / INDEX_FILE).read_text(encoding="utf-8"))["spec"])
    except (OSError, ValueError, KeyError):
        return "exact"


def _facts_before(folder: Path) -> dict[str, Any]:
    try:
        told = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return {name: told[name] for name in ("source", "data", "items", "about") if name in told}
    except (OSError, ValueError, TypeError):
        return {}


def _run_folder(folder: str | Path) -> Path:
    folder = Path(folder)
    if not (folder / "model").is_dir():
        raise TellapartError(f"{folder} holds no run; make one: tellapart run PATH --out {folder}")
    return folder


def _figures(values: Mapping[str, np.ndarray]) -> list[Figure]:
    return [_figure(values[metric], metric) for metric in METRICS]


def _figure(values: np.ndarray, name: str) -> Figure:
    seen = values[~np.isnan(values)]
    return Figure(name, float(seen.mean()), *intervals.bootstrap(seen, within=intervals.SHARE), count=len(seen))
