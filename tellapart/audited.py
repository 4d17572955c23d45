"""What audit parts are given of a model and a collection, by the names that they know (`contract.audit`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import before_after
from tellapart.core.collection import Collection, Side, Sides
from tellapart.core.composing import Composer
from tellapart.core.errors import DataError, TellapartError
from tellapart.core.parts import Card, cards, make, parse_spec
from tellapart.core.progress import Stages
from tellapart.engine.together import composer_of
from tellapart.runs import Over, Run

PIXELS, LARGEST = 48, 448
ARRAYS = ("query", "document", "q", "k", "image", "text", "other", "pixels")
OTHERS = ("encoder", "pictures", "image-encoder", "text-encoder", "composer")
_PICTURES, _ONE_SPACE = "pictures", "a model that searches one side with another"
WORDS = {
    "q": _ONE_SPACE, "k": _ONE_SPACE, "image": _PICTURES, "pixels": _PICTURES, "pictures": _PICTURES,
    "image-encoder": _PICTURES, "text": "texts", "encoder": "texts on both sides",
    "text-encoder": "a model that reads texts",
}  # fmt: skip
COLUMNS = {"labels": "label", "captions": "text"}


class Audited(Mapping[str, Any]):
    """Vectors, pictures and encoders of what is audited; each is made when it is asked for.

    Args:
        over: a run, or a model over another collection.
        other: the spec of a second encoder.
    """

    def __init__(self, over: Over, other: str = "") -> None:
        self.over, self.other = over, other
        self.collection, self.sides = over.collection, over.sides
        # What its examples are items of: more than the collection, where a part was given two items for one.
        self.shown = over.collection
        self.side_of: dict[str, str] = {self.sides.document.modality: "document"}
        self.side_of.setdefault(self.sides.query.modality, "query")

    def __iter__(self) -> Iterator[str]:
        return iter(name for name in (*ARRAYS, *OTHERS) if name in self)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        if name in ("query", "document"):
            return True
        if name in ("q", "k"):
            return not self.sides.same_space
        if name == "other":
            return bool(self.other)
        if name == "encoder":
            return {self.sides.query.modality, self.sides.document.modality} == {"text"}
        if name in ("pixels", "pictures", "image-encoder"):
            return "image" in self.side_of
        if name == "composer":
            return self._composer is not None
        return name in self.side_of or (name == "text-encoder" and "text" in self.side_of)

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        made: dict[str, Callable[[], Any]] = {
            "query": lambda: np.asarray(self.over.features["query"]),
            "document": lambda: np.asarray(self.over.features["document"]),
            "q": lambda: self.over.vectors["query"],
            "k": lambda: self.over.vectors["document"],
            "other": self._other,
            "encoder": self._reader,
            "pictures": lambda: self._pictures,
            "pixels": lambda: self._pixels,
            "image-encoder": lambda: self._encoder("image"),
            "text-encoder": lambda: self._encoder("text"),
            "composer": lambda: self._composer,
        }
        return made[name]() if name in made else self.over.vectors[self.side_of[name]]

    def lacks(self, card: Card) -> list[str]:
        """What a part needs that is not here, in words."""
        columns = [t for t in card.traits if t in COLUMNS and COLUMNS[t] not in self.collection.columns]
        lacking = [t for t in card.traits if t in WORDS and t not in self]
        # A part may do with something else in place of a second encoder; it says so itself when it cannot.
        said = [*(WORDS[t] for t in lacking), *(f"a column {COLUMNS[t]!r}" for t in columns)]
        return list(dict.fromkeys(said))

    def given(self, card: Card, options: Mapping[str, Any]) -> tuple[Mapping[str, Any], Collection]:
        """What a part is called with: this and the collection, or of items with two pictures two items each."""
        if "before-after" not in card.traits:
            return self, self.collection
        two = before_after.two_items(self.collection, str(options.get("pair", "pair")))
        if two is None:
            return self, self.collection
        self.shown = before_after.beside(self.collection, two)
        return {"pictures": Pictures(two, before_after.AFTER)}, two

    def _other(self) -> np.ndarray:
        encoder = make("encode", self.other)
        both = (self.sides.document, self.sides.query)
        side = next((s for s in both if s.modality == encoder.modality), None)
        if side is None:
            raise DataError(f"{self.other} encodes {encoder.modality}s, and there are none here")
        return np.asarray(self.over.embedded(side.column, encoder))

    def _reader(self) -> Any:
        from tellapart.engine.reading import Reader

        return Reader(self.over.model.encoders["text"], self.over.model)

    def _encoder(self, modality: str) -> Callable[[Sequence[Any]], np.ndarray]:
        from tellapart.engine.reading import Tower

        return Tower(self.over.model, self.side_of[modality], modality)

    @cached_property
    def _composer(self) -> Composer | None:
        if not isinstance(self.over, Run) or set(self.side_of) != {"text", "image"}:
            return None
        found = composer_of(self.over.folder)
        return None if found is None or found.of_features else found

    @cached_property
    def _pictures(self) -> Pictures:
        side = next(s for s in (self.sides.document, self.sides.query) if s.modality == "image")
        return Pictures(self.collection, side.column)

    @cached_property
    def _pixels(self) -> np.ndarray:
        out = np.empty((len(self.collection), PIXELS, PIXELS, 3), dtype=np.uint8)
        with self.over.stages.stage("look at the pictures") as told:
            for row in range(len(out)):
                out[row] = np.asarray(self._pictures.open(row, 2 * PIXELS).resize((PIXELS, PIXELS)))
                told(row + 1, len(out))
        return out


class Pictures(Sequence[Any]):
    """The pictures of a collection, opened one by one: upright RGB, at most 448 pixels a side."""

    def __init__(self, collection: Collection, column: str) -> None:
        self.collection, self.column = collection, column
        self.cells = collection[column]

    def __len__(self) -> int:
        return len(self.collection)

    def __getitem__(self, row: Any) -> Any:
        image = self.open(int(row), LARGEST)
        image.thumbnail((LARGEST, LARGEST))
        return image

    def opacity(self, row: int) -> Any:
        """How opaque the picture is, mode L and as large; None where nothing of it shines through."""
        from tellapart.data.images import opacity

        source, box = self._source(row)
        veil = opacity(source, box=box)
        if veil is not None:
            veil.thumbnail((LARGEST, LARGEST))
        return veil

    def open(self, row: int, at_least: int) -> Any:
        """The picture of an item, or its box, with at least so many pixels a side where it has them."""
        from tellapart.data.images import open_image

        source, box = self._source(row)
        return open_image(source, at_least=at_least, box=box)

    def _source(self, row: int) -> tuple[Any, Any]:
        from tellapart.data.images import image_source
        from tellapart.data.regions import box_of

        return image_source(self.cells[row].as_py(), self.collection.root), box_of(self.collection, row)


def opened(
    model: str | Path, data: str | Path | None, *, other: str, columns: Mapping[str, str] | None, stages: Stages
) -> Audited:
    """A model and what it is audited on.

    Args:
        model: the folder of a run, that of a model, or the spec of a frozen encoder.
        data: a collection, as `run` takes it; None: that of the run.

    Raises:
        TellapartError: there is no such model; no data for a model that comes without.
    """
    if data is None:
        if not (Path(model) / "collection").is_dir():
            raise TellapartError(f"{model} comes without a collection: name one, tellapart audit {model} DATA")
        return Audited(Run(model, stages=stages), other)
    from tellapart.run import prepare

    return Audited(over(model, prepare(data, seed=0, columns=columns, stages=stages), stages=stages), other)


def over(model: str | Path, collection: Collection, *, stages: Stages) -> Over:
    """A model over a collection that it did not come with; arguments and errors as in `opened`."""
    from tellapart.engine.model import FILE, Model

    folder = Path(model)
    is_run = (folder / "collection").is_dir()
    if is_run or (folder / FILE).is_file():
        return Over(Model.load(folder / "model" if is_run else folder), collection, stages=stages)
    known = {name for card in cards("encode").values() for name in (card.name, *card.aliases)}
    if folder.exists() or parse_spec(str(model))[0] not in known:
        raise TellapartError(f"{model} is no run, no model folder and no encoder; see tellapart parts encode")
    return Over(_frozen(str(model), collection), collection, stages=stages)


def _frozen(spec: str, collection: Collection) -> Any:
    """An encoder as a model of the one side that it reads."""
    from tellapart.engine.model import Model

    encoder = make("encode", spec)
    sides = collection.sides()
    if sides.query.modality == sides.document.modality == encoder.modality:
        return Model(sides, {encoder.modality: spec})
    side = next((s for s in (sides.document, sides.query) if s.modality == encoder.modality), None)
    if side is None:
        raise DataError(f"{spec} encodes {encoder.modality}s, and the collection has none")
    return Model(Sides(Side(side.column, side.modality), Side(side.column, side.modality)), {encoder.modality: spec})
