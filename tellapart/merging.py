"""Several runs of one start merged into one model, chosen on their validation items and measured on the test items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.needs import require
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Figure, Report, Table, Text
from tellapart.engine import intervals
from tellapart.run import write_report
from tellapart.runs import Run, _read

CHOSEN_BY = "nDCG@10"


def merge(
    folders: Sequence[str | Path], out: str | Path, *, part: str = "model-soups", stages: Stages | None = None
) -> Report:
    """Merge the heads of several runs over one collection, and write a run folder that can be searched and served.

    Runs may be merged that began with the same weights: the same seed, head and encoders (`tellapart run --seed`), with
    other learning rates, objectives, samplers or epochs. The validation part of their split chooses; the test part is
    measured once, the merged model against the best single one.

    Args:
        folders: run folders (or the `model/` in them), at least two.
        out: the new run folder.
        part: a merge part.

    Raises:
        DataError: runs over other collections or splits, with other encoders or heads, or from other starts.
    """
    require("torch", "measuring merged models")
    from tellapart.engine import token_sets
    from tellapart.engine.corpus import FOLDER as CORPUS
    from tellapart.engine.indexing import build
    from tellapart.engine.model import Model
    from tellapart.engine.reorder import FOLDER, drop

    card, stages = card_of("merge", parse_spec(part)[0]), stages or Silence()
    runs = [Run(_run_folder(folder), stages=stages) for folder in folders]
    if len(runs) < 2:
        raise DataError("give at least two runs to merge")
    told = [_read(run.folder / "manifest.json") for run in runs]
    _alike(runs, told)
    starts = [f"seed {facts.get('seed')}" for facts in told]
    states = [_flat(run.model) for run in runs]
    first = runs[0]

    def figures(state: dict[str, np.ndarray], split: str) -> dict[str, np.ndarray]:
        return _figures(first, state, split)

    scores: list[float] = []

    def score(state: dict[str, np.ndarray]) -> float:
        scores.append(_mean(figures(state, "validation")))
        return scores[-1]

    with stages.stage(f"merge by {card.name}"):
        alone = [score(state) for state in states]
        merged, kept = make("merge", part)(states, score, None, starts)
    best = int(np.argmax(alone))
    made_by = {**first.model.recipe, "rank": ""}
    model = Model(first.model.sides, first.model.specs, _heads(first.model, merged), recipe=made_by)
    drop(Path(out) / FOLDER)
    token_sets.drop(Path(out) / token_sets.FOLDER)
    model.save(Path(out) / "model")
    first.collection.save(Path(out) / "collection")
    if first.corpus is not None:
        first.corpus.documents.save(Path(out) / CORPUS)
    index = str(first.model.recipe.get("index") or "exact")
    with stages.stage("build the index") as advance, Run(out, stages=stages).searched() as (ids, z):
        _, built = build(index, ids, z, Path(out) / "index", progress=advance)
    kept_facts = {name: told[0][name] for name in ("data", "items", "seed", "about", "recipe") if name in told[0]}
    sources = [str(run.folder) for run in runs]
    report = Report("tellapart merge", facts={**kept_facts, "part": part, "source": sources, "folder": str(out)})
    report.add(Text(f"{card.name} kept {len(kept)} of {len(runs)} models.", "verdict"))
    rows = [[str(run.folder), alone[i], "yes" if i in kept else "no"] for i, run in enumerate(runs)]
    columns = ["run", f"validation {CHOSEN_BY}", "kept"]
    report.add(Table("Models", columns, [*rows, ["merged", score(merged), ""]], "mean of both directions"))
    report.add(_compared(figures(states[best], "test"), figures(merged, "test"), str(runs[best].folder)))
    report.add(*built.blocks)
    if first.model.recipe.get("rank"):
        said = f"rank={first.model.recipe['rank']} is not carried over: the merged run searches by similarity alone."
        report.add(Text(said, "warning"))
    write_report(report, Path(out), first.collection)
    return report


def _run_folder(folder: str | Path) -> Path:
    folder = Path(folder)
    return folder.parent if folder.name == "model" and (folder / "model.json").is_file() else folder


def _alike(runs: list[Run], told: list[dict[str, Any]]) -> None:
    first = runs[0]
    for run, facts in zip(runs[1:], told[1:], strict=True):
        pairs = (
            ("collection or split", first.collection.fingerprint, run.collection.fingerprint),
            ("encoders", first.model.specs, run.model.specs),
            ("heads", _specs(first.model), _specs(run.model)),
            ("strategy", *((f.get("recipe") or {}).get("strategy") for f in (told[0], facts))),
        )
        for what, one, other in pairs:
            if one != other:
                raise DataError(
                    f"{run.folder} and {first.folder} differ in their {what}: only runs over one collection, with "
                    "one seed, encoders, head and strategy can be merged"
                )


def _specs(model: Any) -> dict[str, str]:
    return {side: head.spec for side, head in model.heads.items()}


def _flat(model: Any) -> dict[str, np.ndarray]:
    if not model.heads:
        raise DataError("a model without heads has nothing to merge: its encoders are frozen")
    sides = ("query",) if model.sides.same_space else ("query", "document")
    return {
        f"{side}/{name}": np.asarray(value)
        for side in sides
        if side in model.heads
        for name, value in model.heads[side].state.items()
    }


def _heads(model: Any, state: dict[str, np.ndarray]) -> dict[str, Any]:
    from tellapart.engine.model import Head

    sides = dict.fromkeys(name.split("/", 1)[0] for name in state)
    of = {s: {n.split("/", 1)[1]: v for n, v in state.items() if n.startswith(f"{s}/")} for s in sides}
    return {side: Head(model.heads[side].spec, tensors) for side, tensors in of.items()}


def _figures(run: Run, state: dict[str, np.ndarray], split: str) -> dict[str, np.ndarray]:
    """Figures per query of the run's items of a split, under heads of these weights."""
    from tellapart.engine.corpus import SIDE
    from tellapart.engine.trial import measure

    run.rows(split)
    heads = {side: (make("encode", head.spec), head.state) for side, head in _heads(run.model, state).items()}

    def encode(side: str, rows: np.ndarray) -> np.ndarray:
        if run.corpus is not None and side == SIDE:
            side, x = "document", run.corpus.vectors[rows]
        else:
            x = run.features[side][rows]
        head, tensors = heads.get(side, heads["query"])
        return np.asarray(head.apply(tensors, np.asarray(x)))

    return measure(run.collection, encode, part=split, corpus=run.corpus)


def _mean(values: dict[str, np.ndarray]) -> float:
    return float(np.mean([np.nanmean(v) for name, v in values.items() if name.endswith(CHOSEN_BY)]))


def _compared(single: dict[str, np.ndarray], merged: dict[str, np.ndarray], name: str) -> Table:
    rows: list[list[Any]] = []
    for metric in single:
        difference, low, high = intervals.paired(single[metric], merged[metric])
        count = int((~np.isnan(single[metric])).sum())
        figure = Figure(metric, difference, low, high, count=count, note=intervals.verdict(low, high))
        means = (float(np.nanmean(values[metric])) for values in (single, merged))
        rows.append([metric, *means, figure, figure.note])
    note = f"the best single model by the validation part is {name}; intervals over queries"
    return Table("On the test part", ["figure", "best single", "merged", "difference", "verdict"], rows, note)
