"""Everything: from what somebody has to a model, an index, figures to trust and a report to look at."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, TellapartError
from tellapart.core.files import cache_home, write_atomically
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Example, Examples, Figure, Picture, Report, Table, Text
from tellapart.core.version import VERSION
from tellapart.data.composed import REFERENCE
from tellapart.data.given import completed
from tellapart.data.identity import curate
from tellapart.data.marks import FILE as MARKS
from tellapart.data.marks import Mark, marked, read_marks
from tellapart.data.problems import problems_table
from tellapart.data.provenance import about
from tellapart.data.searched import searched
from tellapart.data.sources import read
from tellapart.data.splits import leaks
from tellapart.data.unpaired import all_searched, unpaired
from tellapart.data.usable import answerable, check_pairs, check_parts
from tellapart.recipe import CLOSED_FORM, FROZEN, PLAIN, Recipe

if TYPE_CHECKING:
    from tellapart.engine.corpus import Corpus
    from tellapart.engine.reorder import Chain, Encode
    from tellapart.engine.trial import Outcome
    from tellapart.engine.unpaired import Unpaired

LATEST = Path("runs/latest")
UNTRAINED = "untrained"
SHOWN = 12
FOUND = 6
REGIONS = "regions"
COMPARED = 64


def run(
    source: str | Path | Collection,
    *,
    out: str | Path = LATEST,
    recipe: Recipe | None = None,
    seed: int | None = None,
    columns: Mapping[str, str] | None = None,
    marks: str | Path | None = None,
    cache: str | Path | None = None,
    stages: Stages | None = None,
) -> Report:
    """Read, curate, split, embed, train, measure, index and report.

    What a killed run had done is found again: embeddings by content, training by its checkpoint.

    Args:
        source: a path in any format that `tellapart.read` takes, the name `openmoji`, or a collection.
        out: the run folder: `collection/`, `model/`, `index/`, `fulltext/` where there are texts, `sparse/` where a
            strategy weighs words, `rank/` where the recipe names rank parts, `corpus/` where the data keep what is
            searched apart, `regions/` where a strategy maps attributes to them,
            `sets/` where a rank part scores items by their tokens (`engine.token_sets`),
            `sides/` where it learns from further columns (`engine.together`); where it composes queries of them,
            `corpus/` has all pictures; where it learns from items of one side only, `corpus/` has these as well,
            `recipe.toml`, `report.html`, `report.json`, `manifest.json`.
        recipe: None: plain InfoNCE, canonical correlation and no training at all are tried, and the one that is best
            on the validation part is taken.
        seed: of split and training; None: the recipe's.
        columns: role -> column, where the names do not say it.
        marks: a file of pairs that somebody called the same or different (`data.marks`); None: that of the run folder,
            where `tellapart serve` writes it.

    Returns:
        The report that is also written; its facts name the folder.

    Raises:
        TellapartError: what cannot go on, with what to do next.
    """
    stages = stages or Silence()
    given = recipe
    recipe = given or PLAIN
    seed = recipe.seed if seed is None else seed
    out, cache = Path(out), Path(cache) if cache else cache_home()
    from tellapart.engine.composed import with_gallery

    started = time.monotonic()
    _writable(out)
    said = read_marks(marks) if marks is not None else _own_marks(out, source, stages)
    collection = prepare(source, seed=seed, columns=columns, marks=said, cache=cache, stages=stages)
    documents = all_documents(source, collection, cache=cache, stages=stages)
    collection, documents = with_gallery(collection, documents, recipe)
    items = all_unpaired(source, collection, recipe, columns=columns, cache=cache, stages=stages)
    whole = all_searched(collection, items) if items is not None else documents
    collection.save(out / "collection")
    if whole is None:
        shutil.rmtree(out / "corpus", ignore_errors=True)
    else:
        whole.save(out / "corpus")
    from tellapart.engine.corpus import open_corpus
    from tellapart.engine.distributed import rank
    from tellapart.engine.early import fuses
    from tellapart.engine.prepare import features
    from tellapart.engine.regions import keep_mapping
    from tellapart.engine.remarks import remarks
    from tellapart.engine.sided import keep_others
    from tellapart.engine.unpaired import open_unpaired

    odd = remarks(collection, recipe)
    for line in odd:
        stages.say(line)
    vectors = features(collection, recipe, cache=cache / "embeddings", stages=stages)
    corpus = open_corpus(documents, recipe, cache=cache / "embeddings", stages=stages)
    report = Report("tellapart run")
    alone = open_unpaired(items, recipe, cache=cache / "embeddings", stages=stages)
    pooled = None
    if given is not None and fuses(given):
        plain = _recipes(collection, given)["plain InfoNCE"]
        x = features(collection, plain, cache=cache / "embeddings", stages=stages)
        pooled = x, open_corpus(documents, plain, cache=cache / "embeddings", stages=stages)
    outcomes, name = _trials(collection, vectors, corpus, pooled, alone, given, seed, out, stages)
    if rank() > 0:
        # Several processes train; the first of them keeps what comes of it.
        return report
    recipe = _recipes(collection, given).get(name, recipe)
    report.facts = manifest(source, collection, recipe, seed) | {"chosen": name, "marks": len(said)}
    report.add(*_measured(collection, corpus, outcomes, name))
    report.add(*(Text(line, "warn") for line in odd))
    report.add(*([Text(alone.words())] if alone is not None else []), *_learnt(outcomes[name]))
    report.add(*keep_mapping(collection, vectors, recipe, outcomes[name].fitted, out / REGIONS))
    report.add(*keep_others(collection, vectors, corpus, recipe, outcomes[name], out))
    beside = (whole, alone) if whole is not None and alone is not None else None
    report.add(*_kept(collection, vectors, corpus, beside, recipe, outcomes[name], out, cache, stages))
    report.facts |= {"seconds": round(time.monotonic() - started, 1), "folder": str(out)}
    report.add(*notes(collection))
    write_report(report, out, whole or collection)
    write_atomically(out / "recipe.toml", recipe.to_toml().encode())
    return report


def prepare(
    source: str | Path | Collection,
    *,
    seed: int,
    columns: Mapping[str, str] | None = None,
    marks: Sequence[Mark] = (),
    cache: Path | None = None,
    stages: Stages | None = None,
) -> Collection:
    """A collection that is read, curated and split; what is done already is not done again."""
    stages = stages or Silence()
    cache = cache or cache_home()
    if isinstance(source, Collection):
        collection = source
    else:
        with stages.stage(f"read {Path(str(source)).name}") as told:
            collection = read(source, cache=cache, columns=columns, progress=told)
    stages.say(f"{len(collection)} items read, {len(collection.problems)} problems")
    check_pairs(collection)
    if "group" not in collection.columns:
        with stages.stage("look for duplicates") as told:
            collection = curate(collection, progress=told, cache=cache / "curated", say=stages.say)
    collection = completed(marked(collection, marks), seed=seed)
    check_parts(collection)
    return collection


def _own_marks(out: Path, source: Any, stages: Stages) -> list[Mark]:
    """The marks in the run folder, if the run that they were made on is of the same source."""
    try:
        before = json.loads((out / "manifest.json").read_text(encoding="utf-8")).get("source")
    except (OSError, ValueError, AttributeError):
        return []
    if before != _named(source):
        if (out / MARKS).is_file():
            stages.say(f"the marks in {out / MARKS} were made on {before} and are left aside; use them with --marks")
        return []
    return read_marks(out / MARKS, missing_ok=True)


def _named(source: Any) -> str:
    return repr(source) if isinstance(source, Collection) else str(source)


def all_documents(
    source: str | Path | Collection, collection: Collection, *, cache: Path, stages: Stages
) -> Collection | None:
    """What is searched, where the source keeps it apart from the pairs (a BEIR folder); None: the items themselves."""
    if isinstance(source, Collection):
        return None
    with stages.stage(f"read the documents of {Path(str(source)).name}") as told:
        return searched(source, collection, cache=cache, progress=told)


def all_unpaired(
    source: str | Path | Collection,
    collection: Collection,
    *recipes: Recipe,
    columns: Mapping[str, str] | None,
    cache: Path,
    stages: Stages,
) -> Collection | None:
    """The items of a source that lack one side, where a recipe's strategy learns from them and there are any."""
    from tellapart.engine.unpaired import learns_from_unpaired

    if isinstance(source, Collection) or not any(map(learns_from_unpaired, recipes)):
        return None
    with stages.stage(f"read what has one side only in {Path(str(source)).name}") as told:
        return unpaired(source, collection, columns=columns, cache=cache, progress=told)


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
        "source": _named(source),
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


def _recipes(collection: Collection, given: Recipe | None) -> dict[str, Recipe]:
    """What is trained, by name; the plain baseline is always among it."""
    if given is not None:
        return {
            "plain InfoNCE": PLAIN.but(image=given.image, text=given.text, series=given.series),
            "this recipe": given,
        }
    frozen = {UNTRAINED: FROZEN} if collection.sides().comparable else {}
    closed = {} if collection.sides().same_space else {"canonical correlation": CLOSED_FORM}
    return {**frozen, "plain InfoNCE": PLAIN, **closed}


def _trials(
    collection: Collection,
    vectors: dict[str, np.ndarray],
    corpus: Corpus | None,
    pooled: tuple[dict[str, np.ndarray], Corpus | None] | None,
    alone: Unpaired | None,
    given: Recipe | None,
    seed: int,
    out: Path,
    stages: Stages,
) -> tuple[dict[str, Outcome], str]:
    """Every recipe trained and measured, and the name of the one to keep.

    Args:
        pooled: one vector an item, for the plain recipe, where the given one reads tokens.
    """
    from tellapart.engine.trial import directions, key, measure, trial, without_training

    recipes, outcomes = _recipes(collection, given), {}
    if UNTRAINED not in recipes:
        outcomes[UNTRAINED] = without_training(collection, vectors, given or PLAIN, seed=seed, corpus=corpus)
    options: dict[str, Any] = {"seed": seed, "folder": out / "training", "corpus": corpus, "unpaired": alone}
    for name, recipe in recipes.items():
        with stages.stage("measure the encoder as it is" if recipe.tune == "none" else f"train {name}") as told:
            x, among = (vectors, corpus) if pooled is None or recipe is given else pooled
            outcomes[name] = trial(collection, x, recipe, progress=told, **options | {"corpus": among})
    used = {key(collection, recipe, seed) for recipe in recipes.values()}
    for old in (out / "training").glob("*"):
        if old.name not in used:
            shutil.rmtree(old, ignore_errors=True)
    if given is not None:
        return outcomes, "this recipe"
    if not answerable(collection, "validation"):
        return outcomes, "plain InfoNCE"
    chosen = {}
    for name in recipes:
        figures = measure(collection, outcomes[name].encode, part="validation", corpus=corpus)
        chosen[name] = float(np.mean([np.nanmean(figures[f"{d} nDCG@10"]) for d, _, _ in directions(collection)]))
        stages.say(f"{name}: nDCG@10 {chosen[name]:.3f} on the validation part")
    return outcomes, max(chosen, key=lambda name: chosen[name])


def _measured(
    collection: Collection, corpus: Corpus | None, outcomes: dict[str, Outcome], chosen: str
) -> list[Text | Table | Figure | Picture]:
    """What the held-out items say: a table a direction, and the chosen one's figures."""
    from tellapart.engine import intervals
    from tellapart.engine.trial import METRICS, directions

    blocks: list[Text | Table | Figure | Picture] = [Text(_headline(collection, chosen))]
    plain, ours = outcomes["plain InfoNCE"], outcomes[chosen]
    for name, asking, _ in directions(collection):
        rows: list[list[Any]] = [
            [label, *(_figure(outcome.values[f"{name} {m}"], m) for m in METRICS)]
            for label, outcome in outcomes.items()
        ]
        queries = int((~np.isnan(ours.values[f"{name} R@1"])).sum())
        if ours is not plain:
            differences: list[Any] = [f"{chosen} less plain"]
            for m in METRICS:
                found = intervals.paired(plain.values[f"{name} {m}"], ours.values[f"{name} {m}"])
                differences.append(Figure(m, *found, count=queries, note=intervals.verdict(*found[1:])))
            rows.append(differences)
        among = f", among all {len(corpus):,} documents" if corpus is not None and asking == "query" else ""
        note = f"{queries} held-out items that training never saw{among}; 95% intervals over queries"
        blocks.append(Table(name, ["", *METRICS], rows, note))
    blocks += [_figure(values, name) for name, values in ours.values.items()]
    return [*blocks, *_without_twins(collection, ours), *_scores(ours)]


def _learnt(outcome: Outcome) -> list[Table]:
    """What the chosen one learnt beside its towers."""
    if outcome.fitted is None or not outcome.fitted.learnt:
        return []
    return [Table("Learnt beside the towers", ["what", "value"], [list(row) for row in outcome.fitted.learnt.items()])]


def _scores(outcome: Outcome) -> list[Picture | Text]:
    """How positives and negatives scored while the chosen one was trained, and what is odd about it in words."""
    from tellapart.engine.scores import HIGH, LOW, warnings
    from tellapart.render.draw import ridges

    if outcome.fitted is None or not outcome.fitted.scores:
        return []
    looks = outcome.fitted.scores
    names = ["start", *(f"step {look['step']:,}" for look in looks[1:-1]), "end"] if len(looks) > 1 else ["solved"]
    kinds = ("positive", "negative")
    rows = [(name, {kind: look[kind] for kind in kinds}) for name, look in zip(names, looks, strict=True)]
    caption = "Scores of some training items with each other; the farther apart, the better they are told apart."
    drawing = ridges(rows, LOW, HIGH, label="similarity")
    return [
        Picture("Positives and negatives over training", caption, svg=drawing),
        *(Text(said, "warn") for said in warnings(looks[-1])),
    ]


def _without_twins(collection: Collection, outcome: Outcome) -> list[Table]:
    """The figures again without held-out items that have a near duplicate in train; only a given split leaves such."""
    from tellapart.engine.trial import METRICS, directions, held_out

    ids = collection.ids[held_out(collection, "test")]
    kept = ~np.isin(ids.astype(str), list(leaks(collection).ids))
    if kept.all() or not kept.any():
        return []
    names = [name for name, _, _ in directions(collection)]
    rows = [[name, *(_figure(outcome.values[f"{name} {m}"][kept], m) for m in METRICS)] for name in names]
    note = f"without {int((~kept).sum())} of {len(ids)} held-out items that have a near duplicate in train"
    return [Table("The same figures without near duplicates", ["", *METRICS], rows, note)]


def _kept(
    collection: Collection,
    vectors: dict[str, np.ndarray],
    corpus: Corpus | None,
    beside: tuple[Collection, Unpaired] | None,
    recipe: Recipe,
    outcome: Outcome,
    out: Path,
    cache: Path,
    stages: Stages,
) -> list[Any]:
    """Save the model, build the index, and show what it finds."""
    from tellapart.engine import fulltext, sparse, token_sets, tokens, weighing
    from tellapart.engine.calibrating import FILE as CALIBRATION_FILE
    from tellapart.engine.calibrating import keep_calibration
    from tellapart.engine.composed import composing
    from tellapart.engine.corpus import SIDE, open_corpus
    from tellapart.engine.indexing import asked, build
    from tellapart.engine.keep import keep
    from tellapart.engine.prepare import features
    from tellapart.engine.reorder import FOLDER, drop, model_hash
    from tellapart.engine.several import of_column
    from tellapart.engine.together import composer_of
    from tellapart.engine.trial import fit_chain

    rows = np.arange(len(collection))
    # what a run before this one left would speak of other scores
    drop(out / FOLDER)
    token_sets.drop(out / token_sets.FOLDER)
    (out / "model" / CALIBRATION_FILE).unlink(missing_ok=True)
    model = keep(collection.sides(), recipe, outcome.fitted, out / "model")
    if recipe.tune in ("lora", "full"):
        vectors = features(collection, recipe, cache=cache / "embeddings", stages=stages, encoders=model.encoders)
        rows = rows[np.linspace(0, len(rows) - 1, min(COMPARED, len(rows))).astype(int)]
        if corpus is not None:
            tuned = model.encoders[collection.sides().document.modality]
            corpus = open_corpus(corpus.documents, recipe, cache=corpus.folder, stages=stages, encoder=tuned)
    z = model.project("document", np.asarray(vectors["document"]))
    parity = float(np.abs(z[rows] - outcome.encode("document", rows)).max())
    if parity > 1e-4:
        raise TellapartError(f"the saved model differs from the trained one by {parity:.1e}: this is a bug, report it")

    def encode(side: str, items: np.ndarray) -> np.ndarray:
        if corpus is not None and side == SIDE:
            return np.asarray(model.project("document", np.asarray(corpus.vectors[items])))
        return np.asarray(model.project(side, np.asarray(vectors[side][items])))

    if (composer := composer_of(out, of_captions=False)) is not None:
        alone = encode

        def below(side: str, items: np.ndarray) -> np.ndarray:
            x = np.asarray(vectors[side][items])
            return x if composer.of_features else model.project("document" if side == REFERENCE else "query", x)

        references = of_column(collection, REFERENCE, lambda rows: below(REFERENCE, rows))
        encode = composing(alone, composer, references, below)
    if (sets := token_sets.held_sets(outcome.encode)) is not None:
        sets.save(out / token_sets.FOLDER, model=model_hash(out / "model"))
        encode = token_sets.Encoding(encode, sets)
    documents = collection if corpus is None else corpus.documents
    if beside is not None:
        documents, one_sided = beside
        z = np.concatenate([z, model.project("document", np.asarray(one_sided.vectors["document"]))])
    with (
        stages.stage("build the index") as told,
        nullcontext(z) if corpus is None else corpus.encoded(encode) as keys,
    ):
        single = tokens.SINGLE if tokens.several(recipe.index) else recipe.index
        queries = asked(collection, encode)
        index, built = build(single, documents.ids.tolist(), keys, out / "index", queries=queries, progress=told)
    with stages.stage("index the word pieces") if tokens.several(recipe.index) else nullcontext() as told:
        built.add(*tokens.keep_tokens(recipe.index, collection, documents, model, out / tokens.FOLDER, progress=told))
    with stages.stage("index the words") as told:
        built.add(*fulltext.keep_fulltext(documents, out / fulltext.FOLDER, progress=told))
    with stages.stage("weigh the words") if sparse.learns_terms(recipe) else nullcontext() as told:
        built.add(*weighing.keep_sparse(collection, documents, recipe, outcome.fitted, out, progress=told))
    chain = None
    if recipe.rank:
        with stages.stage(f"fit {recipe.rank}"):
            chain = fit_chain(collection, encode, recipe.rank, documents=documents)
            chain.save(out / FOLDER, model=out / "model")
    blocks: list[Any] = [*built.blocks, *keep_calibration(collection, encode, chain, index, out)]
    return [*blocks, *_ranks(collection, chain), _searches(collection, documents, encode, index, chain)]


def _ranks(collection: Collection, chain: Chain | None) -> list[Text]:
    """Which searches the chain ranks."""
    if chain is None:
        return []
    sides = collection.sides()
    text = f"{chain.spec} ranks what is searched for by {sides.query.column}, as in the figures above."
    if not sides.same_space:
        text += (
            f" Other searches go by similarity; the figures from {sides.document.column} are of a chain of their own."
        )
    return [Text(text)]


def _searches(
    collection: Collection, documents: Collection, encode: Encode, index: Any, chain: Chain | None
) -> Examples:
    from tellapart.engine.calibrating import searched_as_served
    from tellapart.engine.trial import held_out

    rows = held_out(collection, "test")
    rows = rows[np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).astype(int)]
    hits = searched_as_served(collection, encode, index, chain, rows, FOUND)
    examples = []
    column = collection.sides().query.column
    asked = collection.values(column) if collection.sides().query.modality == "text" else collection.ids
    for place, row in enumerate(rows):
        best = hits[place][:FOUND]
        ids = [i for i, _ in best]
        examples.append(Example(ids, f"{asked[row]}", [score for _, score in best], _names(documents, ids)))
    return Examples("Held-out queries and what they find in the whole collection", examples)


def _names(collection: Collection, ids: list[str]) -> list[str]:
    """What items are called: their text, where they have one."""
    sides = collection.sides()
    named = next((side.column for side in (sides.document, sides.query) if side.modality == "text"), None)
    return [str(collection.item(i)[named] or i) for i in ids] if named else []


def _headline(collection: Collection, chosen: str) -> str:
    sides = collection.sides()
    unit = ", one of each concept asked for" if "concept" in collection.columns else ""
    counts = {name: collection.values("split").count(name) for name in ("train", "validation", "test")}
    return (
        f"{len(collection)} items, {counts['train']} to train on, {counts['validation']} to choose by, "
        f"{counts['test']} held out{unit}. Searched with {sides.query.column}, found: {sides.document.column}. "
        f"Kept: {chosen}."
    )


def _figure(values: np.ndarray, name: str) -> Figure:
    from tellapart.engine.intervals import SHARE, bootstrap

    seen = values[~np.isnan(values)]
    if len(seen) < 2:
        return Figure(name, float(seen.mean()) if len(seen) else 0.0, count=len(seen), note="too few for an interval")
    return Figure(name, float(seen.mean()), *bootstrap(seen, within=SHARE), count=len(seen))


def notes(collection: Collection) -> list[Table | Text]:
    """What is to be known of how a collection was read, curated and split, and its problems."""
    blocks: list[Table | Text] = [Text(str(note)) for note in about(collection).get("notes", [])]
    if len(collection.problems):
        blocks.append(problems_table(collection))
    return blocks


def _writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".probe.{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror}); give another folder with --out") from None
