"""The same data, the same split, the same budget and seeds, N recipes: one table with intervals and verdicts in words.

Every seed splits what is not held out anew, even where the data came with a validation part; a variant is trained and
measured on the same split as the base, query by query, so that differences are paired. The held-out test part of the
base recipe's own seed, or the one that came with the data, is never touched here: what is chosen by this table can
still be measured on it.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.files import cache_home, write_atomically
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Figure, Report, Table, Text
from tellapart.data.marks import read_marks
from tellapart.data.splits import split
from tellapart.data.votes import by_vote, parted_again
from tellapart.recipe import PLAIN, Recipe
from tellapart.run import all_documents, all_unpaired, manifest, notes, prepare, write_report

if TYPE_CHECKING:
    from tellapart.engine.corpus import Corpus
    from tellapart.engine.unpaired import Unpaired

LOOKS_FROM = 3
BASE = "base"


@dataclass(frozen=True)
class Variant:
    """A recipe under comparison.

    Attributes:
        name: what was tried, as the user wrote it.
        values: [seeds so far][queries] of the figure compared, and the seconds each training took.
        stopped: after how many seeds the answer was clear; 0: never.
    """

    name: str
    recipe: Recipe
    values: list[np.ndarray]
    seconds: list[float]
    stopped: int = 0


def compare(
    source: str | Path | Collection,
    *,
    tries: Sequence[str],
    base: Recipe | None = None,
    seeds: int = 5,
    figure: str = "nDCG@10",
    columns: Mapping[str, str] | None = None,
    out: str | Path = Path("runs/compare"),
    stop_early: bool = True,
    marks: str | Path | None = None,
    cache: str | Path | None = None,
    stages: Stages | None = None,
) -> Report:
    """Run the base and every variant over the same seeds and say which of them help.

    An interrupted comparison goes on where it was. With `stop_early` a variant is dropped once its interval, corrected
    for the number of variants and of looks, excludes zero.

    Args:
        source: as in `tellapart.run`.
        tries: changes of the base recipe: `objective=dcl`, or several at once: `relate=gist-embed + batch_size=512`.
        base: None: plain InfoNCE.
        figure: which figure is compared (`R@1`, `R@10`, `nDCG@10`), as the mean of both directions.
        columns: role -> column, where the names do not say it.
        out: folder of results and of the report.
        marks: a file of pairs that somebody called the same or different (`data.marks`).

    Raises:
        PartError: a change that cannot be made, or parts that cannot be used on these data.
    """
    stages = stages or Silence()
    base = base or PLAIN
    out, cache = Path(out), Path(cache) if cache else cache_home()
    if not 1 <= seeds <= 1000:
        raise DataError(f"give between 1 and 1000 seeds, not {seeds}")
    variants = [Variant(BASE, base, [], []), *(Variant(text, changed(base, text), [], []) for text in tries)]
    if len({v.recipe.hash for v in variants}) != len(variants):
        raise PartError("two of the variants are the same recipe (or equal to the base); leave one out")
    collection = prepare(
        source, seed=base.seed, columns=columns, marks=read_marks(marks) if marks else (), cache=cache, stages=stages
    )
    from tellapart.engine.compatible import check_together
    from tellapart.engine.composed import with_gallery
    from tellapart.engine.remarks import remarks

    for variant in variants:
        try:
            check_together(collection, variant.recipe)
        except PartError as error:
            raise PartError(f"{variant.name}: {error}") from None
    odd = {line: v.name for v in reversed(variants) for line in remarks(collection, v.recipe)}
    said = [f"{name}: {line}" for line, name in reversed(odd.items())]
    for line in said:
        stages.say(line)
    out.mkdir(parents=True, exist_ok=True)
    rows = np.flatnonzero(np.asarray(collection.values("split"), dtype=object) != "test")
    documents = all_documents(source, collection, cache=cache, stages=stages)
    collection, documents = with_gallery(collection, documents, *(v.recipe for v in variants))
    recipes = [v.recipe for v in variants]
    alone = all_unpaired(source, collection, *recipes, columns=columns, cache=cache, stages=stages)
    rest, vectors = collection.take(rows), _Vectors(collection, rows, cache, stages, documents, alone)
    store = _Store(out / "trials")
    looks = max(1, seeds - LOOKS_FROM + 1)
    for seed in range(seeds):
        live = [i for i, v in enumerate(variants) if not v.stopped]
        with stages.stage(f"seed {seed + 1} of {seeds}") as told:
            for done, i in enumerate(live):
                told(done, len(live))
                variants[i] = _tried(variants[i], vectors, rest, seed, figure, store)
        if stop_early and LOOKS_FROM <= seed + 1 < seeds:
            variants = [variants[0], *(_looked(v, variants[0], len(tries) * looks) for v in variants[1:])]
            for v in variants[1:]:
                if v.stopped == seed + 1:
                    stages.say(f"{v.name}: clear after {v.stopped} seeds")
    report = _report(variants, figure, seeds).add(*(Text(line, "warn") for line in said), *notes(collection))
    report.facts = manifest(source, collection, base, base.seed) | report.facts
    write_report(report, out)
    return report


def changed(base: Recipe, text: str) -> Recipe:
    """The base with `field=value`, or several joined by ` + `."""
    recipe = base
    for assignment in re.split(r"\s\+\s", text):
        recipe = recipe.changed_by(assignment)
    return recipe


def winner(report: Report) -> Recipe:
    """The recipe of the variant that helps most; the base where none is shown to help."""
    return Recipe.of(report.facts["winner"])


class _Vectors:
    """Frozen features of the items in question, computed once for each pair of encoders."""

    def __init__(
        self,
        collection: Collection,
        rows: np.ndarray,
        cache: Path,
        stages: Stages,
        documents: Collection | None,
        alone: Collection | None,
    ) -> None:
        self.collection, self.rows, self.cache, self.stages = collection, rows, cache, stages
        self.documents, self.alone = documents, alone
        self.corpora: dict[str, Corpus | None] = {}
        self.known: dict[tuple[str, ...], dict[str, np.ndarray]] = {}

    def of(self, recipe: Recipe) -> dict[str, np.ndarray]:
        from tellapart.engine.compatible import word_chain
        from tellapart.engine.early import encoder_for
        from tellapart.engine.prepare import features
        from tellapart.engine.regions import said_of_regions
        from tellapart.engine.several import learns_from_sides
        from tellapart.engine.sounds import learns_from_sounds

        heard = str(learns_from_sounds(recipe))
        sided = str(learns_from_sides(recipe, self.collection))
        encoders = (encoder_for(modality, recipe) for modality in ("image", "text", "series"))
        key = (*encoders, word_chain(recipe), said_of_regions(recipe), heard, sided)
        if key not in self.known:
            found = features(self.collection, recipe, cache=self.cache / "embeddings", stages=self.stages)
            self.known[key] = {side: np.asarray(x[self.rows]) for side, x in found.items()}
        return self.known[key]

    def corpus(self, recipe: Recipe) -> Corpus | None:
        """What is searched, where the data keep it apart from the pairs."""
        from tellapart.engine.corpus import open_corpus
        from tellapart.engine.early import encoder_for

        spec = f"{encoder_for('image', recipe)} {encoder_for('text', recipe)}"
        if spec not in self.corpora:
            folder = self.cache / "embeddings"
            self.corpora[spec] = open_corpus(self.documents, recipe, cache=folder, stages=self.stages)
        return self.corpora[spec]

    def unpaired(self, recipe: Recipe) -> Unpaired | None:
        """Items of one side only, where the recipe's strategy learns from them; features are kept by content."""
        from tellapart.engine.unpaired import learns_from_unpaired, open_unpaired

        if self.alone is None or not learns_from_unpaired(recipe):
            return None
        return open_unpaired(self.alone, recipe, cache=self.cache / "embeddings", stages=self.stages)


class _Store:
    """Finished trials on disk: one file each, whole or not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str) -> tuple[np.ndarray, float] | None:
        file = self.folder / f"{key}.npy"
        if not file.is_file():
            return None
        x = np.load(file, allow_pickle=False)
        return x[1:], float(x[0])

    def write(self, key: str, values: np.ndarray, seconds: float) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        sink = io.BytesIO()
        np.save(sink, np.concatenate([[seconds], values]), allow_pickle=False)
        write_atomically(self.folder / f"{key}.npy", sink.getvalue())


def _tried(v: Variant, vectors: _Vectors, rest: Collection, seed: int, figure: str, store: _Store) -> Variant:
    """The variant with one seed more, from the store or by training."""
    from tellapart.engine.trial import directions, key, trial

    among = f"-{vectors.documents.fingerprint}" if vectors.documents is not None else ""
    alone = vectors.unpaired(v.recipe)
    among += f"-{alone.items.fingerprint}" if alone is not None else ""
    name = f"{key(rest, v.recipe, seed)}-{figure.replace('@', '')}{among}"
    known = store.read(name)
    if known is None:
        votes = by_vote(rest)
        parted = parted_again(rest, seed=seed) if votes else split(rest, seed=seed, shares=(0.8, 0.2, 0.0))
        start = time.monotonic()
        corpus = vectors.corpus(v.recipe)
        outcome = trial(
            parted, vectors.of(v.recipe), v.recipe, seed=seed, part="validation", corpus=corpus, unpaired=alone
        )
        values = np.concatenate([outcome.values[f"{way} {figure}"] for way, _, _ in directions(parted)])
        known = values, time.monotonic() - start
        store.write(name, *known)
    return Variant(v.name, v.recipe, [*v.values, known[0]], [*v.seconds, known[1]])


def _means(v: Variant) -> np.ndarray:
    """[seeds so far] mean figures: seeds split anew, so they are the units of the interval."""
    return np.asarray([float(np.nanmean(x)) for x in v.values])


def _looked(v: Variant, base: Variant, tests: int) -> Variant:
    """The variant, stopped if its interval at 95% over all variants and looks (Bonferroni) excludes zero."""
    from tellapart.engine.intervals import NO_DIFFERENCE, paired, verdict

    if v.stopped:
        return v
    _, low, high = paired(_means(base)[: len(v.values)], _means(v), level=1 - 0.05 / tests)
    clear = verdict(low, high) != NO_DIFFERENCE
    return Variant(v.name, v.recipe, v.values, v.seconds, len(v.values) if clear else 0)


def _report(variants: list[Variant], figure: str, seeds: int) -> Report:
    """The table: difference with interval and verdict, corrected by Holm's procedure; cost beside it."""
    from tellapart.engine.intervals import holm

    base, rest = variants[0], variants[1:]
    judged = holm(_means(base), {v.name: _means(v) for v in rest})
    rows: list[list[Any]] = [[BASE, _means(base).mean(), None, "", _cost(base, base), len(base.values)]]
    best, best_difference = base, 0.0
    for v in rest:
        found = judged[v.name]
        difference = Figure("difference", found.difference, found.low, found.high, count=len(v.values))
        rows.append([v.name, _means(v).mean(), difference, found.verdict, _cost(v, base), len(v.values)])
        if found.verdict == "helps" and found.difference > best_difference:
            best, best_difference = v, found.difference
    note = (
        f"{figure}, mean of both directions, on validation parts; paired over the seeds; intervals hold for all "
        f"{len(rest)} variants at once (Holm); cost is training time against the base"
    )
    said = f"{best.name} helps most." if best is not base else "No variant is shown to help: keep the base."
    table = Table("against the base", ["variant", figure, "difference", "verdict", "cost", "seeds"], rows, note)
    facts = {"winner": best.recipe.model_dump(), "base": base.recipe.model_dump(), "seeds": seeds, "figure": figure}
    return Report("tellapart compare", [Text(said), table], facts)


def _cost(v: Variant, base: Variant) -> str:
    ratio = np.median(v.seconds) / max(float(np.median(base.seconds[: len(v.seconds)])), 1e-9)
    return f"{ratio:.1f}x"
