"""Everything: from what somebody has to a model, an index, figures to trust and a report to look at."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, TellapartError
from tellapart.core.files import write_atomically
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Example, Examples, Figure, Report, Table, Text
from tellapart.core.version import VERSION
from tellapart.data.identity import curate
from tellapart.data.problems import problems_table
from tellapart.data.provenance import about
from tellapart.data.sources import read
from tellapart.data.splits import split
from tellapart.recipe import RECOMMENDED, Recipe

LATEST = Path("runs/latest")
SHOWN = 12


def cache_folder() -> Path:
    """Where embeddings and rendered pictures are kept: TELLAPART_CACHE, else `~/.cache/tellapart`."""
    return Path(os.environ.get("TELLAPART_CACHE") or Path.home() / ".cache" / "tellapart")


def run(
    source: str | Path | Collection,
    *,
    out: str | Path = LATEST,
    recipe: Recipe | None = None,
    seed: int | None = None,
    columns: Mapping[str, str] | None = None,
    cache: str | Path | None = None,
    stages: Stages | None = None,
) -> Report:
    """Read, curate, split, embed, train, measure, index and report.

    What a killed run had done is found again: embeddings by content, training by its checkpoint.

    Args:
        source: a path in any format that `tellapart.read` takes, the name `openmoji`, or a collection.
        out: the run folder: `collection/`, `model/`, `index/`, `recipe.toml`, `report.html`, `report.json`,
            `manifest.json`.
        recipe: None: the recommended one.
        seed: of split and training; None: the recipe's.
        columns: role -> column, where the names do not say it.

    Returns:
        The report that is also written; its facts name the folder.

    Raises:
        TellapartError: what cannot go on, with what to do next.
    """
    stages = stages or Silence()
    recipe = recipe or RECOMMENDED
    seed = recipe.seed if seed is None else seed
    out, cache = Path(out), Path(cache) if cache else cache_folder()
    started = time.monotonic()
    _writable(out)
    collection = prepare(source, seed=seed, columns=columns, cache=cache, stages=stages)
    collection.save(out / "collection")
    from tellapart.engine.prepare import features

    vectors = features(collection, recipe, cache=cache / "embeddings", stages=stages)
    report = Report("tellapart run")
    report.facts = manifest(source, collection, recipe, seed)
    _train_and_measure(collection, vectors, recipe, seed, out, report, stages)
    report.facts["seconds"] = round(time.monotonic() - started, 1)
    report.facts["folder"] = str(out)
    report.add(*_notes(collection))
    write_report(report, out, collection)
    write_atomically(out / "recipe.toml", recipe.to_toml().encode())
    return report


def prepare(
    source: str | Path | Collection,
    *,
    seed: int,
    columns: Mapping[str, str] | None = None,
    cache: Path | None = None,
    stages: Stages | None = None,
) -> Collection:
    """A collection that is read, curated and split; what is done already is not done again."""
    stages = stages or Silence()
    cache = cache or cache_folder()
    if isinstance(source, Collection):
        collection = source
    else:
        with stages.stage(f"read {Path(str(source)).name}") as told:
            collection = read(source, cache=cache, columns=columns, progress=_two(told))
    stages.say(f"{len(collection)} items read, {len(collection.problems)} problems")
    if "group" not in collection.columns:
        with stages.stage("look for duplicates") as told:
            collection = curate(collection, progress=_two(told))
    if "split" not in collection.columns or not {"train", "test"} <= set(collection.values("split")):
        collection = split(collection, seed=seed)
    return collection


def manifest(source: Any, collection: Collection, recipe: Recipe, seed: int) -> dict[str, Any]:
    """What a figure depends on: data, recipe, seed, versions, machine."""
    import importlib.metadata

    versions = {"tellapart": VERSION, "python": platform.python_version()}
    for name in ("numpy", "torch", "onnxruntime", "tokenizers", "pyarrow", "pillow", "faiss-cpu"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "source": repr(source) if isinstance(source, Collection) else str(source),
        "items": len(collection),
        "data": collection.fingerprint,
        "recipe": recipe.model_dump(),
        "recipe hash": recipe.hash,
        "seed": seed,
        "versions": versions,
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "about": about(collection),
    }


def write_report(report: Report, out: Path, collection: Collection | None = None) -> None:
    """`report.html`, `report.json` and `manifest.json` of a run folder."""
    from tellapart import render

    write_atomically(out / "report.html", render.html(report, collection).encode())
    write_atomically(out / "report.json", render.json(report).encode())
    write_atomically(out / "manifest.json", json.dumps(render.plain(report.facts), indent=2, sort_keys=True).encode())


def _train_and_measure(
    collection: Collection,
    vectors: dict[str, np.ndarray],
    recipe: Recipe,
    seed: int,
    out: Path,
    report: Report,
    stages: Stages,
) -> None:
    from tellapart.engine import intervals
    from tellapart.engine.trial import METRICS, directions, held_out, trial, without_training

    plain = Recipe(image=recipe.image, text=recipe.text)
    outcomes = {"untrained": without_training(collection, vectors, recipe, seed=seed)}
    for name, made in (("plain InfoNCE", plain), ("this recipe", recipe)):
        with stages.stage(f"train {name}") as told:
            folder = out / "training" / f"{made.hash}-{seed}"
            outcomes[name] = trial(collection, vectors, made, seed=seed, folder=folder, progress=told)
    ours = outcomes["this recipe"]
    queries = len(held_out(collection, "test"))
    report.add(Text(_headline(collection, queries)))
    for name, _, _ in directions(collection):
        columns = ["", *METRICS]
        rows = [
            [label, *(_figure(outcome.values[f"{name} {m}"], m) for m in METRICS)]
            for label, outcome in outcomes.items()
        ]
        differences: list[Any] = ["this recipe less plain"]
        for m in METRICS:
            found = intervals.paired(outcomes["plain InfoNCE"].values[f"{name} {m}"], ours.values[f"{name} {m}"])
            differences.append(Figure(m, *found, count=queries, note=intervals.verdict(*found[1:])))
        note = f"{queries} held-out items that training never saw; 95% intervals over queries"
        report.add(Table(name, columns, [*rows, differences], note))
        for m in METRICS:
            report.add(_figure(ours.values[f"{name} {m}"], f"{name} {m}"))
    assert ours.fitted is not None
    _keep(collection, vectors, recipe, ours.fitted, out, report, stages)


def _keep(
    collection: Collection,
    vectors: dict[str, np.ndarray],
    recipe: Recipe,
    fitted: Any,
    out: Path,
    report: Report,
    stages: Stages,
) -> None:
    """Save the model, build the index, and show what it finds and what it cannot tell apart."""
    from tellapart.engine.indexing import build
    from tellapart.engine.model import Head, Model

    sides = collection.sides()
    heads = {side: Head(recipe.head, state) for side, state in fitted.state.items()}
    model = Model(sides, {"image": recipe.image, "text": recipe.text}, heads, recipe=recipe.model_dump())
    z = model.project("document", vectors["document"])
    parity = float(np.abs(z - fitted.encode("document", vectors["document"])).max())
    if parity > 1e-4:
        raise TellapartError(f"the saved model differs from the trained one by {parity:.1e}: this is a bug, report it")
    model.save(out / "model")
    with stages.stage("build the index") as told:
        _, built = build(recipe.index, collection.ids.tolist(), z, out / "index", progress=told)
    report.add(*built.blocks)
    report.add(_searches(collection, model, vectors, z))


def _searches(collection: Collection, model: Any, vectors: dict[str, np.ndarray], z: np.ndarray) -> Examples:
    from tellapart.engine.trial import held_out

    rows = held_out(collection, "test")
    rows = rows[np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).astype(int)]
    sim = model.project("query", np.asarray(vectors["query"][rows])) @ z.T
    if collection.sides().same_space:
        sim[np.arange(len(rows)), rows] = -np.inf
    examples = []
    column = collection.sides().query.column
    asked = collection.values(column) if collection.sides().query.modality == "text" else collection.ids
    for row, scores in zip(rows, sim, strict=True):
        best = np.argsort(-scores, kind="stable")[:6]
        ids = [str(collection.ids[b]) for b in best]
        examples.append(Example(ids, f"{asked[row]}", [float(scores[b]) for b in best]))
    return Examples("Held-out queries and what they find in the whole collection", examples)


def _headline(collection: Collection, queries: int) -> str:
    sides = collection.sides()
    unit = "concepts" if "concept" in collection.columns else "items"
    counts = {name: collection.values("split").count(name) for name in ("train", "validation", "test")}
    return (
        f"{len(collection)} items, {counts['train']} to train on, {counts['validation']} to choose by, "
        f"{counts['test']} held out ({queries} {unit} asked for). "
        f"Searched with {sides.query.column}, found: {sides.document.column}."
    )


def _figure(values: np.ndarray, name: str) -> Figure:
    from tellapart.engine.intervals import bootstrap

    seen = values[~np.isnan(values)]
    if len(seen) < 2:
        return Figure(name, float(seen.mean()) if len(seen) else 0.0, count=len(seen), note="too few for an interval")
    return Figure(name, float(seen.mean()), *bootstrap(seen), count=len(seen))


def _notes(collection: Collection) -> list[Table | Text]:
    blocks: list[Table | Text] = [Text(str(note)) for note in about(collection).get("notes", [])]
    if len(collection.problems):
        blocks.append(problems_table(collection))
    return blocks


def _two(told: Any) -> Any:
    """A progress of (done, total) as one that is also given a text, and a total that may not be known."""
    return lambda done, total, text="": told(done, total or done)


def _writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".probe.{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror}); give another folder with --out") from None
