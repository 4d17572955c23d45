"""What should not be learnt from: parts of shape `find` over a collection, and decisions on what they found.

found = find(curated)                    # every part that fits, or find(curated, ["odd-captions"])
found.save("curated")
decide("curated", accept=["odd-captions"], reject=["odd-captions:item 7"])
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.aligned import SIDE
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError, TellapartError, near
from tellapart.core.findings import Findings
from tellapart.core.parts import Card, card_of, cards, make, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Example, Examples, Report, Table, Text
from tellapart.data.decisions import Decision, Said, add_decisions

NONE = "none"
SIDES, OF_PICTURES, PICTURE = ("query", "document"), ("pictures", "pixels"), "image"
SHOWN = 12


class Frozen(Mapping[str, np.ndarray]):
    """What parts ask for of a collection, by name; each made when asked for.

    `query` and `document` are the frozen features of its sides; where there are pictures, `pictures` are theirs, and
    `pixels` [n, 64, 64, 3] uint8, in a file that is gone with this.
    """

    def __init__(self, collection: Collection, *, stages: Stages | None = None) -> None:
        self.collection = collection
        self.stages = stages or Silence()
        self._made: dict[str, np.ndarray] = {}

    def __iter__(self) -> Iterator[str]:
        return iter((*SIDES, *(OF_PICTURES if PICTURE in self.collection.columns else ())))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in set(self):
            raise KeyError(name)
        if name == "pixels":
            if name not in self._made:
                self._made[name] = self._small()
            return self._made[name]
        column, modality = PICTURE, "image"
        if name in SIDES:
            side = getattr(self.collection.sides(), name)
            column, modality = side.column, side.modality
        if column not in self._made:
            self._made[column] = self._embedded(column, modality)
        return self._made[column]

    def _embedded(self, column: str, modality: str) -> np.ndarray:
        from tellapart.recipe import PLAIN
        from tellapart.runs import embedded

        spec = getattr(PLAIN, modality)
        return np.asarray(embedded(self.collection, column, make("encode", spec), stages=self.stages))

    def _small(self) -> np.ndarray:
        from PIL.Image import Resampling

        from tellapart.engine.embed import items_of

        items = items_of(self.collection, PICTURE, "image")
        shape = (len(self.collection), SIDE, SIDE, 3)
        with tempfile.TemporaryFile() as file, self.stages.stage("make the pictures small") as told:
            found = np.memmap(file, np.uint8, "w+", shape=shape)
            for row in range(len(found)):
                found[row] = np.asarray(items.at(row).resize((SIDE, SIDE), Resampling.BOX))
                told(row + 1, len(found))
        return found


def find(
    collection: Collection,
    names: Sequence[str] = (),
    *,
    vectors: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    stages: Stages | None = None,
) -> Findings:
    """Look for what is wrong with items of a curated collection.

    Args:
        names: parts of shape `find`, with options where wanted; none named: every one that the collection has all for,
            where one that cannot go on is left out with a word.
        vectors: features by side; None: those of the usual frozen encoders, kept by content.

    Raises:
        PartError: no such part.
        DataError: a part that was named cannot use the collection.
    """
    stages = stages or Silence()
    vectors = Frozen(collection, stages=stages) if vectors is None else vectors
    found = []
    for spec in names or fitting(collection):
        card = card_of("find", parse_spec(spec)[0])
        try:
            if missing := lacking(card, collection):
                raise DataError(f"{card.name} needs {', '.join(missing)}, which this collection does not have")
            part = make("find", spec)
            with stages.stage(f"look for {card.name.replace('-', ' ')}"):
                found.append(part(vectors, collection, seed=seed))
        except TellapartError as error:
            if names:
                raise
            stages.say(f"{card.name} was left out: {error}")
    return Findings.joined(found)


def fitting(collection: Collection) -> list[str]:
    """The parts whose needs a collection meets, by name."""
    return sorted(name for name, card in cards("find").items() if not lacking(card, collection))


def lacking(card: Card, collection: Collection) -> list[str]:
    """In words, what a part needs of the data (`engine.suitable`) and a collection does not have."""
    from tellapart.engine.suitable import NEEDS, has, needs

    try:
        have = has(collection)
    except DataError:
        have = frozenset()
    have -= {"labels"}
    if "label" in collection.columns:
        counts = Counter(value for value in collection.values("label") if value is not None)
        have |= {"labels"} if max(counts.values(), default=0) > 1 else frozenset()
    if "source" in collection.columns and len(set(collection.values("source")) - {None}) > 1:
        have |= {"sources"}
    have |= {"pixels"} if PICTURE in collection.columns else frozenset()
    have |= {"trusted"} if "trusted" in collection.columns else frozenset()
    have |= {"answers"} if {"label", "regions"} & set(collection.columns) else frozenset()
    have |= {"origins"} if "origin" in collection.columns else frozenset()
    have |= {"votes"} if {"vote_1", "vote_2"} <= set(collection.columns) else frozenset()
    return [NEEDS[need] for need in needs(card) if need not in have]


def decide(
    folder: str | Path,
    *,
    accept: Sequence[str] = (),
    reject: Sequence[str] = (),
    forget: Sequence[str] = (),
) -> list[Decision]:
    """Say of findings in a curated folder that they are right or wrong; the decisions that count now.

    Args:
        accept, reject, forget: `KIND` for all that is proposed of a kind, or `KIND:ITEM`. What names an item wins over
            what names a kind only; `forget` takes decisions back.

    Raises:
        DataError: no findings in the folder, no such kind, or an item that is not proposed.
    """
    proposed: dict[str, list[str]] = {}
    findings = Findings.open(folder)
    for row in findings.proposed().rows():
        proposed.setdefault(str(row["kind"]), []).append(str(row["item"]))
    asked: list[tuple[str, Said]] = [(spec, "accept") for spec in accept]
    asked += [(spec, "reject") for spec in reject]
    asked += [(spec, "") for spec in forget]
    more: list[Decision] = []
    for spec, said in sorted(asked, key=lambda one: ":" in one[0]):
        kind, named, item = spec.partition(":")
        if kind not in findings.shown:
            raise DataError(f"there are no findings of {kind!r} in {folder}; {near(kind, list(findings.shown))}")
        items = proposed.get(kind, [])
        if named and item not in items:
            raise DataError(f"{kind} does not propose anything of {item!r}; {near(item, items)}")
        more += [Decision(each, kind, said) for each in ([item] if named else items)]
    return add_decisions(folder, more)


def report(collection: Collection, findings: Findings, decisions: Sequence[Decision] = ()) -> Report:
    """How many items of each kind are proposed and decided, and the worst of them, as items to look at."""
    proposed = findings.proposed().rows()
    counted = {(str(row["item"]), str(row["kind"])) for row in proposed}
    said = Counter((d.kind, d.said) for d in decisions if d[:2] in counted)
    looked = Counter(findings.table["kind"].to_pylist())
    rows: list[list[Any]] = []
    examples = []
    for kind in sorted(findings.shown):
        worst = [row for row in proposed if row["kind"] == kind]
        rows.append([kind, looked[kind], len(worst), said[kind, "accept"], said[kind, "reject"]])
        if worst:
            examples.append(Examples(f"{kind}: {len(worst)} proposed, the surest first", _shown(collection, worst)))
    columns = ("kind", "looked at", "proposed", "accepted", "rejected")
    note = "Nothing is deleted. What is accepted is left out, relabelled or joined by whatever reads the folder."
    return Report("Findings").add(Table("What may be wrong", columns, rows, note), *examples)


def next_step(folder: str | Path, findings: Findings) -> Text:
    """How to decide."""
    kinds = findings.proposed().table["kind"].unique().to_pylist()
    if not kinds:
        return Text(f"Use it: tellapart run {folder}", "next")
    return Text(
        f"Decide: tellapart curate {folder} --accept {kinds[0]} (or {kinds[0]}:ITEM; --reject, --forget). "
        f"Use it: tellapart run {folder}",
        "next",
    )


def wanted(names: Sequence[str]) -> bool:
    """Whether to look for anything: `none` alone says no."""
    if NONE in names and len(names) > 1:
        raise PartError("--find none stands alone")
    return NONE not in names


def _in_words(row: Mapping[str, Any]) -> str:
    return f"{row['action']} {row['to']}".strip()


def _shown(collection: Collection, worst: Sequence[Mapping[str, Any]]) -> list[Example]:
    found = []
    for row in worst[:SHOWN]:
        ids = [str(row["item"])]
        if row["action"] == "same-as" and row["to"] in collection.row_of:
            ids.append(str(row["to"]))
        found.append(Example(ids, f"{row['reason']} ({_in_words(row)})", [float(row["score"])] * len(ids)))
    return found
