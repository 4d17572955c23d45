"""`tellapart bench`: tasks and models of one's own, who is best, and which tasks and documents would suffice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tellapart.core.collection import Collection, Side, modality_of
from tellapart.core.errors import DataError, TellapartError, near
from tellapart.core.features import unit_rows
from tellapart.core.files import cache_home, write_atomically
from tellapart.core.leaderboard import FEWEST_MODELS, FEWEST_TASKS, borda, places, pooled, shrink, spearman
from tellapart.core.nearest import nearest
from tellapart.core.parts import cards, make, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Figure, Report, Table, Text
from tellapart.core.strict_toml import read_toml
from tellapart.engine import task_scores
from tellapart.engine.evaluate import Relevant

HALVES, RANDOM = 20, 100
Kind = Literal["retrieval", "classification", "clustering", "pair-classification", "sts"]
YES, NO = ("1", "1.0", "yes", "true", "same"), ("0", "0.0", "no", "false", "different")


class Task(BaseModel):
    """One task, as a TOML file says it.

    Attributes:
        data: what `run` takes; a relative path is from the folder of the file.
        columns: role -> column, where the names of columns do not say it.
        query, document: columns of the two sides, where they are not those that `run` would take; `query` alone is what
            classification and clustering look at.
        label: the column of classes; in pair-classification whether a pair belongs together (yes or no, 1 or 0).
        score: the column of what people said (sts).
        items: so many are drawn where there are more.
        queries, documents: of retrieval: so many queries are drawn, and a corpus of so many documents made: their
            answers, and what the models of the leaderboard find first (0: all).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w .-]{1,60}$")
    kind: Kind
    data: str
    columns: dict[str, str] = {}
    query: str = ""
    document: str = ""
    label: str = "label"
    score: str = "score"
    items: int = Field(default=2000, ge=task_scores.FEWEST, le=100_000)
    queries: int = Field(default=0, ge=0)
    documents: int = Field(default=0, ge=0)
    folder: Path = Path()

    @cached_property
    def collection(self) -> Collection:
        """The items of the task, duplicates grouped; drawn where there are more than `items`."""
        from tellapart.data.identity import curate
        from tellapart.data.sources import read

        beside = self.folder / self.data
        source = beside if not Path(self.data).is_absolute() and beside.exists() else self.data
        made = read(source, cache=cache_home(), columns=self.columns or None)
        if len(made) < task_scores.FEWEST:
            raise DataError(f"{self.name}: {len(made)} items are too few for a task; give {task_scores.FEWEST}")
        if len(made) > self.items:
            made = made.take(np.sort(np.random.default_rng(0).choice(len(made), self.items, replace=False)))
        return made if "group" in made.columns else curate(made, cache=cache_home() / "curated")

    def side(self, which: Literal["query", "document"]) -> Side:
        """The column of a side."""
        named = self.query if which == "query" else self.document
        if not named:
            return getattr(self.collection.sides(), which)
        return Side(self.column(named), modality_of(named) or "text")

    def column(self, name: str) -> str:
        """The name, if the data have such a column."""
        if name not in self.collection.columns:
            raise DataError(f"{self.name}: there is no column {name!r}; there are {', '.join(self.collection.columns)}")
        return name


def read_tasks(places_: Sequence[str | Path]) -> list[Task]:
    """The tasks of TOML files, and of all such files in folders.

    Raises:
        TellapartError: no file, one that is no task, or two tasks of one name.
    """
    files = [f for p in map(Path, places_) for f in (sorted(p.glob("*.toml")) if p.is_dir() else [p])]
    if not files:
        raise TellapartError(f"there is no task (*.toml) in {', '.join(map(str, places_)) or 'what was named'}")
    tasks = [_task(file) for file in files]
    names = [task.name for task in tasks]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise TellapartError(f"two tasks are named {twice!r}")
    return tasks


def _task(file: Path) -> Task:
    named, beside = {"name": file.stem}, {"folder": file.parent}
    return read_toml(file, Task, what="task", missing=f"there is no task {file}", before=named, after=beside)


@dataclass(frozen=True)
class Contestant:
    """A model of the leaderboard: a run, a model's folder, the spec of an encoder, or an object with `encode`."""

    name: str
    over: Any

    @staticmethod
    def of(name: str, given: Any) -> Contestant:
        """Opened; one that cannot be opened raises in words."""
        from tellapart.engine.model import FILE, Model

        if not isinstance(given, str | Path):
            return Contestant(name, given)
        folder = Path(given)
        folder = folder / "model" if (folder / "collection").is_dir() else folder
        if (folder / FILE).is_file():
            return Contestant(name, Model.load(folder))
        known = {n for card in cards("encode").values() for n in (card.name, *card.aliases)}
        if (spec := parse_spec(str(given))[0]) not in known:
            raise TellapartError(f"{given} is no run, no model folder and no encoder; {near(spec, known)}")
        return Contestant(name, make("encode", str(given)))

    def vectors(self, task: Task, which: Literal["query", "document"], rows: np.ndarray | None = None) -> np.ndarray:
        """[n, d] vectors of a side of a task.

        Raises:
            DataError: it does not read such items.
        """
        from tellapart.data.spool import cache_folder
        from tellapart.engine.embed import embed
        from tellapart.engine.model import Model

        side, items = task.side(which), task.collection if rows is None else task.collection.take(rows)
        cache = cache_folder(None, "embeddings")
        if isinstance(self.over, Model):
            if getattr(self.over.sides, which).modality != side.modality:
                raise DataError(f"its {which} side reads no {side.modality}s")
            return self.over.project(which, np.asarray(embed(items, side.column, self.over.encoders[side.modality],
                                                             cache=cache)))  # fmt: skip
        if hasattr(self.over, "modality") and hasattr(self.over, "fingerprint"):
            if self.over.modality != side.modality:
                raise DataError(f"it reads {self.over.modality}s, and these are {side.modality}s")
            return np.asarray(embed(items, side.column, self.over, cache=cache))
        from tellapart.engine.embed import items_of
        from tellapart.mteb import encoded

        opened = items_of(items, side.column, side.modality)
        return encoded(self.over, [opened.at(row) for row in range(len(items))], which, task=task.name, kind=task.kind)


def bench(
    tasks: Sequence[str | Path | Task],
    models: Sequence[str | Path] | Mapping[str, Any],
    *,
    least: int = 0,
    seed: int = 0,
    out: str | Path | None = None,
    stages: Stages | None = None,
) -> Report:
    """A leaderboard of one's own models over one's own tasks.

    Args:
        tasks: TOML files, folders of them, or `Task`s.
        models: runs, model folders or specs of encoders; or names with these or with objects that have `encode`.
        least: where above 0, tasks that the others make needless are named, until so many are left.
        seed: of what is drawn: items a class, starts of k-means, intervals.
        out: a JSON file of all scores.

    Raises:
        TellapartError: what cannot be read or opened, and a task that no model can be given.
    """
    stages = stages or Silence()
    files = [t for t in tasks if not isinstance(t, Task)]
    held = [*(t for t in tasks if isinstance(t, Task)), *(read_tasks(files) if files else [])]
    named = models if isinstance(models, Mapping) else {str(m): m for m in models}
    if not named or not held:
        raise TellapartError("name one task and one model at least")
    running = [Contestant.of(name, given) for name, given in named.items()]
    figures: dict[tuple[str, str], Figure] = {}
    why: list[list[str]] = []
    with stages.stage("bench") as told:
        for place, task in enumerate(held):
            found, missed = scored(task, running, seed=seed)
            figures |= {(model, task.name): figure for model, figure in found.items()}
            why += [[task.name, model, words] for model, words in missed.items()]
            told(place + 1, len(held))
    scores = np.array([[getattr(figures.get((m, t.name)), "value", np.nan) for t in held] for m in named])
    if empty := [t.name for t, column in zip(held, scores.T, strict=True) if not np.isfinite(column).any()]:
        raise DataError(f"no model can be given {empty[0]}: {next((w for t, _, w in why if t == empty[0]), '')}")
    report = leaderboard(list(named), held, scores, figures)
    if why:
        report.add(Table("What could not be asked", ["task", "model", "why"], why))
    if least:
        report.add(*shrunk(list(named), held, scores, least=least, seed=seed))
    if out is not None:
        plain = [[None if np.isnan(v) else v for v in row] for row in scores.tolist()]
        content = {"models": list(named), "tasks": [{"name": t.name, "kind": t.kind} for t in held], "scores": plain}
        write_atomically(Path(out), json.dumps(content, indent=1).encode())
    return report


def scored(task: Task, models: Sequence[Contestant], *, seed: int) -> tuple[dict[str, Figure], dict[str, str]]:
    """What each model scores in a task, and why some cannot be given it."""
    missed: dict[str, str] = {}
    pairs: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    two = task.kind in ("retrieval", "pair-classification", "sts")
    for model in models:
        try:
            q = model.vectors(task, "query")
            pairs[model.name] = (q, model.vectors(task, "document") if two else q)
            if pairs[model.name][0].shape[1] != pairs[model.name][1].shape[1]:
                del pairs[model.name]
                missed[model.name] = "its vectors of the two sides cannot be compared"
        except DataError as error:
            missed[model.name] = str(error)
    groups = task.collection.numbers("group")
    if task.kind == "retrieval":
        return _searched(task, pairs, groups, seed), missed
    if task.kind == "pair-classification":
        same = _yes(task)
        return {m: task_scores.told_apart(*z, same, groups, seed=seed) for m, z in pairs.items()}, missed
    if task.kind == "sts":
        given = np.asarray(task.collection.values(task.column(task.score)), float)
        if not np.isfinite(given).all():
            raise DataError(f"{task.name}: {task.score} is not a number everywhere")
        return {m: task_scores.agreed(*z, given, groups, seed=seed) for m, z in pairs.items()}, missed
    y = [str(v) for v in task.collection.values(task.column(task.label))]
    if task.kind == "clustering":
        return {m: task_scores.clustered(z[0], y, seed=seed) for m, z in pairs.items()}, missed
    return {m: task_scores.classified(z[0], y, groups, seed=seed) for m, z in pairs.items()}, missed


def _searched(
    task: Task, pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], groups: np.ndarray, seed: int
) -> dict[str, Figure]:
    """A document is right for the queries of its item and of duplicates of it, and of the same target or label."""
    target, same = "target" if "target" in task.collection.columns else "", task.side("query") == task.side("document")
    target = target or (task.label if same else "")
    codes = task.collection.codes(task.column(target))[0] if target else groups
    asked = rows = np.arange(len(codes))
    if 0 < task.queries < len(rows):
        asked = np.sort(np.random.default_rng(0).choice(len(rows), task.queries, replace=False))
    if 0 < task.documents < len(rows):
        answers = [np.flatnonzero((codes == c) & (c >= 0)).tolist() for c in codes[asked]]
        both = [[unit_rows(z).astype(np.float32) for z in (q[asked], k)] for q, k in pairs.values()]
        depth = min(len(rows), max(20, task.documents))
        rows = pooled([nearest(q, [k], depth)[1] for q, k in both], answers, task.documents)
    relevant = Relevant.by_target(codes[asked], codes[rows])
    own: dict[str, Any] = {"groups": (groups[asked], groups[rows]), "own": "exclude" if same else "keep"}
    return {
        m: task_scores.searched(q[asked], k[rows], relevant, groups[asked], seed=seed, **own)
        for m, (q, k) in pairs.items()
    }


def _yes(task: Task) -> np.ndarray:
    said = [str(v).strip().lower() for v in task.collection.values(task.column(task.label))]
    if odd := next((v for v in said if v not in (*YES, *NO)), None):
        raise DataError(f"{task.name}: {task.label} says {odd!r}, where yes or no, or 1 or 0, is needed")
    return np.array([v in YES for v in said])


def leaderboard(
    models: Sequence[str], tasks: Sequence[Task], scores: np.ndarray, figures: Mapping[tuple[str, str], Figure]
) -> Report:
    """Models by Borda points, their mean of each kind of task, and every score."""
    points, kinds = borda(scores), sorted({t.kind for t in tasks})
    place = places(points)
    of_kind = {k: scores[:, [t.kind == k for t in tasks]] for k in kinds}
    whole = {k: [float(np.mean(row)) if np.isfinite(row).all() else None for row in v] for k, v in of_kind.items()}
    rows = [
        [f"{place[m]:g}", models[m], points[m], *(whole[k][m] for k in kinds)]
        for m in np.argsort(place, kind="stable")
    ]  # fmt: skip
    report = Report("Leaderboard", facts={"models": len(models), "tasks": len(tasks)})
    note = (
        "points: of each task as many as there are models below (Borda); a mean where all tasks of the kind were done"
    )
    report.add(Table("Models", ["place", "model", "points", *kinds], rows, note))
    for task in tasks:
        mine = [[m, figures[m, task.name]] for m in models if (m, task.name) in figures]
        report.add(Table(f"{task.name} ({task.kind})", ["model", task_scores.KINDS[task.kind]],
                         sorted(mine, key=lambda row: -row[1].value)))  # fmt: skip
    return report


def shrunk(models: Sequence[str], tasks: Sequence[Task], scores: np.ndarray, *, least: int, seed: int) -> list[Any]:
    """Which tasks the others make needless, and whether the ranking holds on models that had no say in it."""
    if not np.isfinite(scores).all() or len(models) < 2 * FEWEST_MODELS or len(tasks) <= FEWEST_TASKS:
        return [Text(
            f"cannot tell which tasks are needless: {2 * FEWEST_MODELS} models that do all of more than {FEWEST_TASKS} "
            "tasks are needed", "verdict",
        )]  # fmt: skip
    kinds = [t.kind for t in tasks]
    left, went = shrink(scores, kinds, least=least)
    if not went:
        return [Text("no task is needless: none is foretold by the others", "verdict")]
    rows = [[tasks[d.task].name, d.agreement] for d in went]
    kept, drawn = held_out(scores, kinds, least=least, seed=seed)
    note = "the rank correlation of its scores with those foretold from the tasks that were left (leave one model out)"
    return [
        Table("Tasks that the others make needless", ["task", "foretold"], rows, note),
        Figure("ranking of held-out models kept", kept, note=f"Spearman; mean of {HALVES} halves of the models"),
        Figure("ranking of held-out models kept by as many tasks at random", drawn, note="as above"),
        Text(f"{len(left)} of {len(tasks)} tasks are left: {', '.join(tasks[i].name for i in left)}", "verdict"),
    ]


def held_out(scores: np.ndarray, kinds: Sequence[str], *, least: int, seed: int) -> tuple[float, float]:
    """Spearman of the Borda ranking by fewer tasks with that by all, on models that did not choose them.

    Returns:
        (by tasks that `shrink` leaves on the other half of the models, by as many tasks at random), means over halves.
    """
    rng, kept, drawn = np.random.default_rng(seed), [], []
    for _ in range(HALVES):
        order = rng.permutation(len(scores))
        mine, theirs = order[: len(order) // 2], order[len(order) // 2 :]
        left, _ = shrink(scores[mine], kinds, least=least)
        truth = borda(scores[theirs])
        kept.append(spearman(borda(scores[theirs][:, left]), truth))
        some = [rng.choice(scores.shape[1], len(left), replace=False) for _ in range(RANDOM // HALVES)]
        drawn += [spearman(borda(scores[theirs][:, each]), truth) for each in some]
    return float(np.mean(kept)), float(np.mean(drawn))
