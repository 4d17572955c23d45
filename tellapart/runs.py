"""What can be asked of a run folder afterwards: its vectors, figures on held-out items, why a figure is so."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.core.collection import Collection, Sides
from tellapart.core.errors import DataError, TellapartError, near
from tellapart.core.features import unit_rows
from tellapart.core.needs import require
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Figure, Report, Table, Text
from tellapart.data.composed import REFERENCE
from tellapart.engine import versions
from tellapart.engine.together import composer_of
from tellapart.recipe import Recipe

if TYPE_CHECKING:
    from tellapart.engine.corpus import Corpus

LATEST = Path("runs/latest")
MOST_BYTES = 100_000_000
SIDES = ("query", "document")


def embedded(collection: Collection, column: str, encoder: Any, *, stages: Stages) -> np.ndarray:
    """[n, width] vectors of a column under a frozen encoder, kept by content in the cache folder."""
    from tellapart.data.spool import cache_folder
    from tellapart.engine.embed import embed

    with stages.stage(f"embed {column}") as told:
        return embed(collection, column, encoder, cache=cache_folder(None, "embeddings"), progress=told)


class Over:
    """A model over a collection, and the vectors of its items, computed when they are asked for.

    Raises:
        DataError: the collection lacks what the model reads.
    """

    collection: Collection

    def __init__(self, model: Any, collection: Collection, *, stages: Stages | None = None) -> None:
        self.model, self.collection, self.stages = model, collection, stages or Silence()
        for side in (self.sides.query, self.sides.document):
            if side.column not in collection.columns:
                raise DataError(
                    f"the model reads {side.column!r}, and the collection has {', '.join(collection.columns)}; "
                    f"say which column that is: --column {side.column}=COLUMN"
                )

    @property
    def sides(self) -> Sides:
        """What the model searches with, and what it searches."""
        sides: Sides = self.model.sides
        return sides

    @cached_property
    def features(self) -> dict[str, np.ndarray]:
        """[n, width] frozen features by side, kept by content and read back where they were computed before."""
        sides = self.sides
        found = {"query": self.embedded(sides.query.column, self.model.encoders[sides.query.modality])}
        if sides.same_space:
            found["document"] = found["query"]
        else:
            found["document"] = self.embedded(sides.document.column, self.model.encoders[sides.document.modality])
        return found

    @cached_property
    def vectors(self) -> dict[str, np.ndarray]:
        """[n, dim] unit vectors of the trained space by side."""
        return {side: self.model.project(side, np.asarray(self.features[side])) for side in SIDES}

    def embedded(self, column: str, encoder: Any) -> np.ndarray:
        """[n, width] vectors of a column under a frozen encoder."""
        return embedded(self.collection, column, encoder, stages=self.stages)


class Run(Over):
    """A run folder, opened: its collection, its model, and the vectors of both, computed when they are asked for.

    Raises:
        TellapartError: the folder holds no run.
    """

    def __init__(self, folder: str | Path, *, stages: Stages | None = None) -> None:
        self.folder = Path(folder)
        self.stages = stages or Silence()
        if not (self.folder / "model").is_dir() or not (self.folder / "collection").is_dir():
            raise TellapartError(f"{self.folder} holds no run; make one: tellapart run PATH --out {self.folder}")
        self.collection = Collection.open(self.folder / "collection")

    @cached_property
    def model(self) -> Any:
        """The trained `Model`."""
        from tellapart.engine.model import Model

        return Model.load(self.folder / "model")

    @property
    def sides(self) -> Sides:
        """What the run searches with, and what it searches."""
        return self.collection.sides()

    @cached_property
    def vectors(self) -> dict[str, np.ndarray]:
        """[n, dim] unit vectors of the trained space by side; queries as composed, where the run does that."""
        found = {side: self.model.project(side, np.asarray(self.features[side])) for side in SIDES}
        if (composer := composer_of(self.folder, of_captions=False)) is not None:
            change = self.features["query"] if composer.of_features else found["query"]
            found["query"] = composer(self._references(of_features=composer.of_features), np.asarray(change))
        return found

    def _references(self, *, of_features: bool) -> np.ndarray:
        """[n, dim] vectors of the pictures that the words of a composed query change, NaN where there is none.

        Args:
            of_features: [n, width] frozen features in their place.
        """
        rows = np.flatnonzero(self.collection[REFERENCE].is_valid().to_numpy())
        encoder = self.model.encoders[self.model.sides.document.modality]
        x = np.asarray(embedded(self.collection.take(rows), REFERENCE, encoder, stages=self.stages))
        z = x if of_features else self.model.project("document", x)
        found = np.full((len(self.collection), z.shape[1]), np.nan, np.float32)
        found[rows] = z
        return found

    def encode(self, side: str, rows: np.ndarray) -> np.ndarray:
        """[n, dim] unit vectors of the items at these rows; the side `corpus` has rows of the corpus."""
        if side not in SIDES and self.corpus is not None:
            return np.asarray(self.model.project("document", np.asarray(self.corpus.vectors[rows])))
        return self.vectors[side][rows]

    @cached_property
    def corpus(self) -> Corpus | None:
        """All documents, where the data keep them apart from the pairs; None: the items are what is searched."""
        from tellapart.data.spool import cache_folder
        from tellapart.engine.corpus import FOLDER, open_corpus

        if not (self.folder / FOLDER).is_dir():
            return None
        documents, recipe = Collection.open(self.folder / FOLDER), Recipe.of(self.model.recipe)
        encoder = self.model.encoders[self.model.sides.document.modality]
        cache = cache_folder(None, "embeddings")
        return open_corpus(documents, recipe, cache=cache, stages=self.stages, encoder=encoder)

    @contextmanager
    def searched(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Ids and [n, dim] unit vectors of what an index holds; of a corpus they lie in a file as long as needed.

        Of an upgraded run they are those that its index has: making them anew would be what an upgrade spares.
        """
        if versions.facts_of(self.folder) is not None:
            from tellapart.engine.indexing import open_index

            index = open_index(self.folder / "index")
            ids = index.ids.tolist()
            yield ids, np.asarray(index.vectors(ids), np.float32)
            return
        if self.corpus is None:
            yield self.collection.ids.tolist(), self.vectors["document"]
            return
        with self.corpus.encoded(self.encode) as z:
            yield self.corpus.documents.ids.tolist(), z

    def held_out_queries(self) -> np.ndarray | None:
        """[m, dim] unit vectors that an index is measured with; None where items are as good (`engine.indexing`).

        None of an upgraded run too: its features are kept of few items.
        """
        from tellapart.engine.indexing import asked

        return asked(self.collection, self.encode) if versions.facts_of(self.folder) is None else None

    def rows(self, part: str) -> np.ndarray:
        """Row numbers of a part of the split; none of them raises `DataError`."""
        if "split" not in self.collection.columns:
            raise DataError("the collection has no column 'split'")
        found = np.flatnonzero(np.asarray(self.collection.values("split"), dtype=object) == part)
        if not len(found):
            raise DataError(f"no item is in the part {part!r}; {near(part, set(self.collection.values('split')))}")
        return found


def evaluate(folder: str | Path = LATEST, *, part: str = "test", stages: Stages | None = None) -> Report:
    """Retrieval figures of a run on a part of its split, with intervals, ties and near twins of training items.

    Where the recipe names rank parts, the figures are of the search that they rank.

    Args:
        part: `test`, `validation` or `train`.

    Raises:
        TellapartError: no run in the folder, no items in the part.
    """
    require("torch", "evaluating a run")
    from tellapart.engine.evaluate import near_twins, summary
    from tellapart.engine.reorder import open_sets
    from tellapart.engine.token_sets import Encoding
    from tellapart.engine.trial import directions, held_out, searched

    run = Run(folder, stages=stages)
    run.rows(part)
    rows, train = held_out(run.collection, part), run.rows("train")
    rank = str(run.model.recipe.get("rank") or "")
    sets = open_sets(run.folder, rank)
    encode = run.encode if sets is None else Encoding(run.encode, sets)
    groups = run.collection.numbers("group") if "group" in run.collection.columns else None
    report = Report(f"Figures on the part {part}: {len(rows)} items")
    for name, asking, asked in directions(run.collection):
        figures = searched(run.collection, encode, part=part, rank=rank, asking=asking, asked=asked, corpus=run.corpus)
        twins = None
        if part != "train":
            frozen = run.features[asking]
            both = (groups[rows], groups[train]) if groups is not None else None
            twins = near_twins(unit_rows(np.asarray(frozen[rows])), unit_rows(np.asarray(frozen[train])), groups=both)
        found = summary(figures, twins=twins, clusters=groups[rows] if groups is not None else None)
        report.add(Text(name, "verdict"), *found.blocks)
        report.facts[f"{name}: tied cuts"] = found.facts["tied cuts"]
    report.facts["run"] = str(folder)
    return report


def why(folder: str | Path = LATEST, figure: str = "") -> Report:
    """What a figure of a run came from: data, recipe, seed, versions; what is different now; how to run it again.

    Args:
        figure: its name or part of it; empty: all figures of the run.

    Raises:
        TellapartError: no run in the folder, or no figure of that name.
    """
    folder = Path(folder)
    manifest, told = (_read(folder / name) for name in ("manifest.json", "report.json"))
    figures = list(_figures(told.get("blocks", [])))
    chosen = [row for row in figures if figure.lower() in f"{row[0]} {row[1]}".lower()]
    if figure and not chosen:
        names = {row[1] for row in figures}
        raise TellapartError(f"{folder} has no figure {figure!r}; {near(figure, names)}")
    report = Report(f"Why the figures of {folder} are what they are")
    report.add(Table("Figures", ["where", "figure", "value", "over"], chosen))
    differences = list(_different_now(folder, manifest))
    if differences:
        report.add(Table("Different now", ["what", "then", "now"], differences))
        report.add(Text("Run again here, the figures may come out differently.", "warning"))
    else:
        report.add(Text("Data and versions are those of the run."))
    report.add(Text(f"Run it again: {_command(folder, manifest)}", "next"))
    recipe = manifest.get("recipe") or {}
    report.facts = {name: value for name, value in manifest.items() if not isinstance(value, dict | list)}
    report.facts |= {f"recipe: {name}": value for name, value in recipe.items() if value != ""}
    report.facts |= {f"version: {name}": value for name, value in (manifest.get("versions") or {}).items()}
    return report


def _read(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise TellapartError(f"{file} is too large to be one that a run wrote")
        held = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TellapartError(f"{file.parent} holds no run (no {file.name}); make one: tellapart run PATH") from None
    except ValueError as error:
        raise TellapartError(f"{file} is damaged: {error}. Make the run again") from None
    if not isinstance(held, dict):
        raise TellapartError(f"{file} is damaged: it holds no facts. Make the run again")
    return held


def _figures(blocks: list[Any]) -> Iterator[list[Any]]:
    """[where, name, figure, count] of every figure of a report, those in tables too."""
    for block in blocks:
        if block.get("block") == "figure":
            yield ["", *_figure(block)]
        for row in block.get("rows", ()):
            label = row[0] if row and isinstance(row[0], str) else ""
            for cell in row:
                if isinstance(cell, dict) and "value" in cell:
                    yield [" · ".join(t for t in (block.get("title"), label) if t), *_figure(cell)]


def _figure(held: dict[str, Any]) -> list[Any]:
    value = held["value"] if held["value"] is not None else float("nan")
    made = Figure(held.get("name", ""), value, held.get("low"), held.get("high"), unit=held.get("unit", ""))
    return [made.name, made, held.get("count") or None]


def _different_now(folder: Path, manifest: dict[str, Any]) -> Iterator[list[Any]]:
    import importlib.metadata
    import platform

    try:
        now = Collection.open(folder / "collection").fingerprint
    except DataError:
        now = "missing"
    if now != manifest.get("data"):
        yield ["data", manifest.get("data"), now]
    for name, then in (manifest.get("versions") or {}).items():
        try:
            found = platform.python_version() if name == "python" else importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "not installed"
        if found != then:
            yield [name, then, found]


def _command(folder: Path, manifest: dict[str, Any]) -> str:
    source, seed = str(manifest.get("source", "PATH")), manifest.get("seed", 0)
    recipe, out = folder / "recipe.toml", folder.with_name(f"{folder.name}-again")
    return shlex.join(["tellapart", "run", source, "--recipe", str(recipe), "--seed", str(seed), "--out", str(out)])
