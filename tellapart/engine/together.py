"""Searching by several sides at once, after a strategy of the trait `sides`: in Python and in what is served.

    both = Together.open("runs/latest")
    q = both.encode({"text": ["medium skin tone"], "other_image": ["face.png"]})
    hits = index.search(q, 10)

The vectors of the sides that are known become one: their product after `symile`, their sum after `pairwise`, what a
learnt module makes of reference and words after a strategy of the trait `composed`. Its cosine with a document's vector
orders documents as the strategy's score does, so any index finds them. Works without torch; what needs it, training and
figures, stands in `engine/sided.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tellapart.core.composing import Composer
from tellapart.core.errors import DataError, TellapartError, near
from tellapart.core.files import write_atomically
from tellapart.core.joint import KIND, Joint
from tellapart.data.composed import REFERENCE
from tellapart.engine.model import Model

FOLDER, FILE, COMPOSER = "sides", "sides.json", "composer.safetensors"
LARGEST_FILE, LARGEST_COMPOSER = 1 << 20, 1 << 31

Joins = Literal["product", "sum", "composer"]


def joined(vectors: Sequence[np.ndarray], how: Joins) -> np.ndarray:
    """[n, d] float32 unit vectors of several sides' vectors, [n, d] each; a row of NaN is a side that is not known.

    Raises:
        DataError: an item of which no side is known, vectors of unlike shapes, or sides that a learnt module joins.
    """
    if how == "composer":
        raise DataError("these sides are joined by what was learnt: use Together.encode, or its composer")
    shapes = {x.shape for x in vectors}
    if len(shapes) != 1:
        raise DataError(f"the sides' vectors must have one shape [n, d], not {sorted(shapes)}: give as many items each")
    there = [~np.isnan(x).any(1) for x in vectors]
    if (unknown := np.flatnonzero(~np.any(there, 0))).size:
        raise DataError(f"nothing is known of item {unknown[0]}: give at least one side of every item")
    neutral, together = (1.0, np.ones) if how == "product" else (0.0, np.zeros)
    made = together(vectors[0].shape)
    for x, known in zip(vectors, there, strict=True):
        # Numbers of unit vectors are small: as many products of them as there may be sides stay in range like this.
        x = np.where(
            known[:, None], np.asarray(x, np.float64) * (x.shape[1] ** 0.5 if how == "product" else 1), neutral
        )
        made = made * x if how == "product" else made + x
    unit: np.ndarray = made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12)
    return unit.astype(np.float32)


class _SavedComposer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str = Field(max_length=100)
    heads: int = Field(ge=1, le=1024)
    size: int = Field(ge=8, le=LARGEST_COMPOSER)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Saved(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1]
    joins: Joins
    sides: list[str] = Field(max_length=1000)
    composer: _SavedComposer | None = None


def keep_joined(folder: Path, joins: Joins, sides: Sequence[str], composer: Composer | None = None) -> None:
    """Write how the sides of a run are joined: `sides.json`, and the tensors of a composer beside it."""
    from safetensors.numpy import save

    saved = None
    if composer is not None:
        content = save({name: np.ascontiguousarray(x, np.float32) for name, x in composer.state.items()})
        write_atomically(folder / COMPOSER, content)
        digest = hashlib.sha256(content).hexdigest()
        saved = _SavedComposer(kind=composer.kind, heads=composer.heads, size=len(content), sha256=digest)
    held = _Saved(format=1, joins=joins, sides=list(sides), composer=saved)
    write_atomically(folder / FILE, held.model_dump_json(indent=2, exclude_none=True).encode())


def composer_of(folder: str | Path, *, of_captions: bool = True) -> Composer | None:
    """What joins a reference and a change in words in a run folder; None for a run of another kind.

    Args:
        of_captions: also one that captions taught, where the run's own queries are captions and have no reference.

    Raises:
        TellapartError: files that do not read, or are not those that were written.
    """
    place = Path(folder) / FOLDER
    saved = _read(place / FILE) if (place / FILE).is_file() else None
    found = _composer(place, saved) if saved is not None else None
    return None if found is not None and found.of_captions and not of_captions else found


class Together:
    """The model of a run with its further towers: several sides of an item as one vector to search with.

    Args:
        model: of the two sides.
        others: by column, a model of that column alone.
        joins: how the strategy joins what is known.
        composer: what joins them, where that was learnt; the reference then goes through the side that is searched.
    """

    def __init__(
        self, model: Model, others: Mapping[str, Model], joins: Joins, composer: Composer | None = None
    ) -> None:
        self.model, self.others, self.joins, self.composer = model, dict(others), joins, composer

    @staticmethod
    def open(folder: str | Path) -> Together:
        """Read what a run with a strategy of the trait `sides` left in its folder.

        Raises:
            TellapartError: nothing of the kind, or files that do not read.
        """
        place = Path(folder) / FOLDER / FILE
        if not place.is_file():
            raise TellapartError(
                f"{folder} holds no further sides: run with a strategy such as symile, pairwise or "
                "combiner on data that have some"
            )
        saved = _read(place)
        others = {name: Model.load(place.parent / name) for name in saved.sides}
        model = Model.load(Path(folder) / "model")
        return Together(model, others, saved.joins, _composer(place.parent, saved))

    def encode(self, known: Mapping[str, Sequence[Any]], batch_size: int = 32) -> np.ndarray:
        """[n, dim] float32 unit vectors of what is known, to search documents with.

        Args:
            known: by column, as many items each, as `Model.encode_query` takes them.

        Raises:
            DataError: no column, an unknown one, or unlike numbers of items.
        """
        sides = self.model.sides
        encoders = {name: other.encode_document for name, other in self.others.items()}
        encoders |= {sides.document.column: self.model.encode_document, sides.query.column: self.model.encode_query}
        if self.composer is not None:
            encoders = {sides.query.column: self.model.encode_query, REFERENCE: self.model.encode_document}
        if unknown := [name for name in known if name not in encoders]:
            raise DataError(f"this run knows no side {unknown[0]!r}; {near(unknown[0], encoders)}")
        if not known:
            raise DataError(f"give at least one of {', '.join(encoders)}")
        if self.composer is not None and self.composer.of_features:
            names = {REFERENCE: sides.document.modality, sides.query.column: sides.query.modality}
            found = {name: self.model.features(names[name], items, batch_size) for name, items in known.items()}
            widths = {name: self.model.encoders[modality].dim for name, modality in names.items()}
        else:
            found = {name: encoders[name](items, batch_size) for name, items in known.items()}
            widths = dict.fromkeys(encoders, self.model.dim)
        if self.composer is None:
            return joined(list(found.values()), self.joins)
        n = len(next(iter(found.values())))
        nothing = {name: np.full((n, width), np.nan, np.float32) for name, width in widths.items()}
        reference, change = ({**nothing, **found}[name] for name in (REFERENCE, sides.query.column))
        return self.composer(reference, change)


def _read(place: Path) -> _Saved:
    if place.stat().st_size > LARGEST_FILE:
        raise TellapartError(f"{place} is too large to be what its name says, and was not read")
    try:
        saved = _Saved.model_validate_json(place.read_bytes())
    except ValidationError as error:
        raise TellapartError(f"{place} cannot be read: {error.errors()[0]['msg'].lower()}") from None
    if any(name in (".", "..") or Path(name).name != name for name in saved.sides):
        raise TellapartError(f"{place} names a side that is no name of a column")
    if (saved.composer is None) == (saved.joins == "composer") or not (saved.sides or saved.composer):
        raise TellapartError(f"{place} cannot be read: it does not say how the sides are joined")
    return saved


def _composer(place: Path, saved: _Saved) -> Composer | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if saved.composer is None:
        return None
    file = place / COMPOSER
    if not file.is_file() or file.stat().st_size != saved.composer.size:
        raise TellapartError(f"{file} is missing or has another size than {FILE} says; copy the whole folder again")
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != saved.composer.sha256:
        raise TellapartError(f"{file} is not the file that {FILE} names (its hash differs); copy the folder again")
    try:
        made = Joint if saved.composer.kind == KIND else Composer
        return made(saved.composer.kind, load(content), saved.composer.heads)
    except SafetensorError as error:
        raise TellapartError(f"{file} cannot be read: {error}") from None
