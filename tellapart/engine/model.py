"""A trained model: a frozen encoder for each modality, a head for each side, maybe a map behind. No torch needed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tellapart.core.collection import Modality, Side, Sides
from tellapart.core.errors import DataError, PartError, TellapartError
from tellapart.core.files import write_atomically
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.core.version import VERSION
from tellapart.engine.card import model_card

FILE, CARD, MAP, FORMAT = "model.json", "README.md", "map", 2
LARGEST_FILE, LARGEST_HEAD = 1 << 20, 1 << 31

SideName = Literal["query", "document"]


@dataclass(frozen=True)
class Head:
    """What was trained for a side, or a map behind both heads.

    Attributes:
        spec: the part, such as `mlp-head(dim=128)`; of shape `align` where it is a map.
        state: its tensors by name.
    """

    spec: str
    state: Mapping[str, np.ndarray] = field(repr=False)


class Model:
    """Texts, pictures and windows of recordings as vectors of one space, by side.

    Args:
        sides: what is searched with and what is searched.
        encoders: the spec of a frozen encoder for each modality of the sides, such as `{"text": "minilm"}`. A tuned
            one is named by the folder it was saved in: `minilm(path='…')`.
        heads: by side; where both sides are one column the query's serves both. A side without a head has the
            encoder's own vectors, at unit length.
        recipe: plain values of what trained it, for the card.
        aligned: a map of both sides' vectors into the space of another model, whose index is searched.

    Raises:
        PartError: a part that is no frozen encoder or no head, or pieces that do not fit together.
    """

    def __init__(
        self,
        sides: Sides,
        encoders: Mapping[str, str],
        heads: Mapping[str, Head] | None = None,
        *,
        recipe: Mapping[str, Any] | None = None,
        aligned: Head | None = None,
    ) -> None:
        self.sides = sides
        self.recipe = dict(recipe or {})
        self.modalities: tuple[Modality, ...] = tuple(dict.fromkeys((sides.query.modality, sides.document.modality)))
        missing = [m for m in self.modalities if m not in encoders]
        if missing:
            raise PartError(f"a side of this model holds {missing[0]}s, and no encoder of them is given")
        self.specs = {m: encoders[m] for m in self.modalities}
        self.encoders = {m: _encoder(m, spec) for m, spec in self.specs.items()}
        self.heads = dict(heads or {})
        if sides.same_space and self.heads:
            self.heads = dict.fromkeys(("query", "document"), self.heads["query"])
        self._heads = {side: _checked_head(head, self._encoder_of(side).dim) for side, head in self.heads.items()}
        widths = {self._heads[s].dim if s in self._heads else self._encoder_of(s).dim for s in ("query", "document")}
        if len(widths) != 1:
            raise PartError(f"the sides give vectors of widths {sorted(widths)}, and only equal widths can be compared")
        self.dim: int = widths.pop()
        self.aligned = aligned
        self._map = None if aligned is None else _checked_map(aligned, self.dim)
        if self._map is not None:
            self.dim = int(self._map.layers()[-1].weight.shape[0])

    def __repr__(self) -> str:
        return f"Model({self.sides.query.modality} -> {self.sides.document.modality}, dim={self.dim})"

    def encode_query(self, items: Sequence[Any], batch_size: int = 32) -> np.ndarray:
        """[n, dim] float32 unit vectors of what is searched with: texts; pictures as PIL images, paths or bytes; or
        windows of recordings as arrays [channels, steps], paths or bytes of .npy files."""
        return self._encode("query", items, batch_size)

    def encode_document(self, items: Sequence[Any], batch_size: int = 32) -> np.ndarray:
        """[n, dim] float32 unit vectors of what is searched; items as in `encode_query`."""
        return self._encode("document", items, batch_size)

    def encode(self, items: Sequence[Any], modality: Modality | None = None, batch_size: int = 32) -> np.ndarray:
        """[n, dim] vectors of items of a modality, through the side that holds it.

        Args:
            modality: may be left out where the model has only one.

        Raises:
            PartError: no side holds that modality, or both do with different heads.
        """
        if modality is None and len(self.modalities) == 1:
            modality = self.modalities[0]
        sides: list[SideName] = [s for s in _SIDES if getattr(self.sides, s).modality == modality]
        if not sides:
            raise PartError(f"say of which modality the items are: {' or '.join(self.modalities)}")
        if len(sides) == 2 and self.heads.get("query") is not self.heads.get("document"):
            raise PartError("the two sides of this model differ: use encode_query or encode_document")
        return self._encode(sides[0], items, batch_size)

    def features(self, modality: Modality, items: Sequence[Any], batch_size: int = 32) -> np.ndarray:
        """[n, width] of items under the frozen encoder of a modality, before any head; see `encode`."""
        if isinstance(items, str | bytes) or not isinstance(items, Sequence | np.ndarray):
            raise DataError("give a list of items, even for one of them")
        opened = items if modality == "text" else _Opened(items, modality)
        return np.asarray(self.encoders[modality].encode(opened, batch_size=batch_size))

    def project(self, side: SideName, features: np.ndarray) -> np.ndarray:
        """[n, width] features of a side's frozen encoder -> [n, dim] float32 unit vectors."""
        if side in self._heads:
            z: np.ndarray = self._heads[side].apply(self.heads[side].state, np.asarray(features))
        else:
            length = np.linalg.norm(features, axis=1, keepdims=True)
            z = (features / np.maximum(length, np.float32(1e-12))).astype(np.float32, copy=False)
        if self._map is not None:
            z = self._map.transform(z, side=side) if len(z) else np.zeros((0, self.dim), np.float32)
        return z

    def layers(self, side: SideName) -> list[Any]:
        """The head of a side as dense layers (`weight`, `bias`, `relu`); a side without a head has none."""
        return list(self._heads[side].layers(self.heads[side].state)) if side in self._heads else []

    def stages(self, side: SideName) -> list[list[Any]]:
        """The head of a side, then the map where there is one, each as dense layers; after each comes unit length."""
        return [self.layers(side), *([] if self._map is None else [list(self._map.layers(side))])]

    def similarity(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """[n, m] float32 scores in -1..1: the dot products of unit vectors."""
        a, b = np.atleast_2d(np.asarray(a, np.float32)), np.atleast_2d(np.asarray(b, np.float32))
        if a.shape[1] != self.dim or b.shape[1] != self.dim:
            raise DataError(f"the vectors of this model have width {self.dim}, not {a.shape[1]} and {b.shape[1]}")
        scores: np.ndarray = a @ b.T
        return scores

    def card(self) -> str:
        """The model card: what it is, its recipe, and the papers of its parts."""
        heads = {side: head.spec for side, head in self.heads.items()}
        aligned = self.aligned.spec if self.aligned else ""
        specs: dict[str, str] = {m: _without_path(s) for m, s in self.specs.items()}
        return model_card(self.sides, self.dim, specs, heads, self.recipe, aligned=aligned)

    def save(self, folder: str | Path) -> Path:
        """Write the model: `model.json`, a safetensors file a head, tuned encoders in folders of their own, a card.

        `model.json` comes last and names the hashes of the rest, so a half-written folder is refused by `load`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        encoders, heads, aligned = {}, {}, None
        for modality, encoder in self.encoders.items():
            path = getattr(encoder, "path", "")
            own = bool(path) and hasattr(encoder, "save") and Path(path).expanduser().is_dir()
            if own:
                encoder.save(folder / modality)
            spec = _without_path(self.specs[modality]) if own else self.specs[modality]
            fingerprint = make("encode", spec, path=str(folder / modality)).fingerprint if own else encoder.fingerprint
            encoders[modality] = _SavedEncoder(part=spec, fingerprint=fingerprint, dim=encoder.dim, own=own)
        for side in ("query",) if self.sides.same_space else _SIDES:
            if side in self.heads:
                heads[side] = _save_head(folder, side, self.heads[side], self._encoder_of(side).dim)
        if self.aligned is not None and self._map is not None:
            width = self._map.layers()[0].weight.shape[1]
            aligned = _save_head(folder, MAP, self.aligned, width)
        query, document = _SavedSide.of(self.sides.query), _SavedSide.of(self.sides.document)
        saved = _SavedModel(
            format=1 if aligned is None else FORMAT, tellapart=VERSION, query=query, document=document,
            target=self.sides.target, dim=self.dim, encoders=encoders, heads=heads, recipe=self.recipe, aligned=aligned,
        )  # fmt: skip
        # A model without a map is written as it was before there were any, for those who read it.
        left_out = {"aligned"} if aligned is None else None
        write_atomically(folder / CARD, self.card().encode())
        write_atomically(folder / FILE, saved.model_dump_json(indent=2, exclude=left_out).encode())
        return folder

    @staticmethod
    def load(folder: str | Path) -> Model:
        """Read a saved model.

        Raises:
            TellapartError: no model there, or one whose files are incomplete, changed, or of a later version.
            PartError: an encoder on this machine is not the one that the heads were trained on.
        """
        folder = Path(folder)
        saved = _read(folder)
        encoders: dict[str, str] = {}
        for modality, encoder in saved.encoders.items():
            name, options = parse_spec(encoder.part)
            encoders[modality] = (
                _spec(name, {**options, "path": str(folder / modality)}) if encoder.own else encoder.part
            )
        heads: dict[str, Head] = {
            side: Head(head.part, _head_state(folder, side, head)) for side, head in saved.heads.items()
        }
        sides = Sides(saved.query.side(), saved.document.side(), saved.target)
        held = saved.aligned
        aligned = None if held is None else Head(held.part, _head_state(folder, MAP, held))
        model = Model(sides, encoders, heads, recipe=saved.recipe, aligned=aligned)
        for modality, loaded in model.encoders.items():
            expected = saved.encoders[modality].fingerprint
            if loaded.fingerprint != expected:
                raise PartError(
                    f"the {modality} encoder {saved.encoders[modality].part} on this machine gives other vectors than "
                    f"the one {folder} was trained with (fingerprint {loaded.fingerprint}, not {expected}): install "
                    "the version of its weights that was used then, or train again"
                )
        if model.dim != saved.dim:
            raise TellapartError(f"{folder} says its vectors have width {saved.dim}, and they have {model.dim}")
        return model

    def _encode(self, side: SideName, items: Sequence[Any], batch_size: int) -> np.ndarray:
        return self.project(side, self.features(getattr(self.sides, side).modality, items, batch_size))

    def _encoder_of(self, side: str) -> Any:
        return self.encoders[getattr(self.sides, side).modality]


_SIDES: tuple[SideName, ...] = ("query", "document")


class _Opened(Sequence[Any]):
    """Pictures or windows of recordings that are opened when they are asked for."""

    def __init__(self, items: Sequence[Any], modality: Modality) -> None:
        self.items, self.modality = items, modality

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: Any) -> Any:
        item = self.items[at]
        if not isinstance(item, str | bytes | Path):
            return item
        from tellapart.data.images import open_image
        from tellapart.data.series import open_series

        open_item, word = (open_image, "picture") if self.modality == "image" else (open_series, "window")
        try:
            return open_item(item if isinstance(item, bytes) else Path(item))
        except DataError as error:
            named = "" if isinstance(item, bytes) else f" ({item})"
            raise DataError(f"{word} {at}{named}: {error}") from None


class _Saved(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _SavedSide(_Saved):
    column: Annotated[str, Field(max_length=1024)]
    modality: Modality

    @staticmethod
    def of(side: Side) -> _SavedSide:
        return _SavedSide(column=side.column, modality=side.modality)

    def side(self) -> Side:
        return Side(self.column, self.modality)


class _SavedEncoder(_Saved):
    part: Annotated[str, Field(max_length=4096)]
    fingerprint: Annotated[str, Field(max_length=256)]
    dim: Annotated[int, Field(ge=1, le=1 << 20)]
    own: bool


class _SavedHead(_Saved):
    part: Annotated[str, Field(max_length=4096)]
    width: Annotated[int, Field(ge=1, le=1 << 20)]
    size: Annotated[int, Field(ge=8, le=LARGEST_HEAD)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _SavedModel(_Saved):
    format: int
    tellapart: str
    query: _SavedSide
    document: _SavedSide
    target: Annotated[str, Field(max_length=1024)] | None
    dim: Annotated[int, Field(ge=1, le=1 << 20)]
    encoders: dict[Modality, _SavedEncoder]
    heads: dict[SideName, _SavedHead]
    recipe: dict[str, Any]
    aligned: _SavedHead | None = None


def _read(folder: Path) -> _SavedModel:
    file = folder / FILE
    if not file.is_file():
        raise TellapartError(f"{folder} holds no model (no {FILE}); write one with `tellapart run` or Model.save")
    if file.stat().st_size > LARGEST_FILE:
        raise TellapartError(f"{file} is too large to be what its name says, and was not read")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(content, dict) and isinstance(content.get("format"), int) and content["format"] > FORMAT:
            raise TellapartError(f"{file} was written by tellapart {content.get('tellapart')}: update tellapart")
        return _SavedModel.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise TellapartError(f"{file} is not a model that can be read: {where}: {first['msg'].lower()}") from None
    except (ValueError, RecursionError) as error:
        raise TellapartError(f"{file} is not readable JSON: {str(error)[:200]}") from None


def _save_head(folder: Path, name: str, head: Head, width: int) -> _SavedHead:
    from safetensors.numpy import save

    # The numbers of a map's anchors are whole; all others are float32.
    arrays = {k: v if v.dtype.kind in "iu" else np.asarray(v, np.float32) for k, v in head.state.items()}
    content = save({k: np.ascontiguousarray(v) for k, v in arrays.items()})
    write_atomically(folder / f"{name}.safetensors", content)
    return _SavedHead(part=head.spec, width=width, size=len(content), sha256=_sha256(content))


def _head_state(folder: Path, side: str, head: _SavedHead) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    file = folder / f"{side}.safetensors"
    if not file.is_file() or file.stat().st_size != head.size:
        raise TellapartError(f"{file} is missing or has another size than {FILE} says; copy the whole folder again")
    content = file.read_bytes()
    if _sha256(content) != head.sha256:
        raise TellapartError(
            f"{file} is not the file that {FILE} names (its hash differs); copy the whole folder again"
        )
    try:
        return load(content)
    except SafetensorError as error:
        raise TellapartError(f"{file} cannot be read: {error}") from None


def _encoder(modality: str, spec: str) -> Any:
    card = card_of("encode", parse_spec(spec)[0])
    if "frozen" not in card.traits:
        raise PartError(f"{card.name} is no frozen encoder; train it first, or name one that is (trait frozen)")
    encoder = make("encode", spec)
    if encoder.modality != modality:
        words = {"series": "windows of recordings"}
        found, wanted = (words.get(m, f"{m}s") for m in (encoder.modality, modality))
        raise PartError(f"{card.name} encodes {found}, not {wanted}")
    return encoder


def _checked_head(head: Head, width: int) -> Any:
    card = card_of("encode", parse_spec(head.spec)[0])
    if "head" not in card.traits:
        raise PartError(f"{card.name} is no head; heads are parts of shape encode with the trait head")
    part = make("encode", head.spec)
    try:
        given = part.apply(head.state, np.ones((1, width), np.float32))
    except (KeyError, ValueError, IndexError) as error:
        raise PartError(
            f"the tensors given are not those of {head.spec} on features of width {width}: {error}"
        ) from None
    if given.shape != (1, part.dim) or not np.isfinite(given).all():
        raise PartError(f"these tensors make no {head.spec}: vectors of width {given.shape[1]} or not finite")
    return part


def _checked_map(aligned: Head, width: int) -> Any:
    part = make("align", aligned.spec)
    for name, value in aligned.state.items():
        setattr(part, name, value)
    try:
        given = part.transform(np.ones((1, width), np.float32))
    except (TellapartError, ValueError, IndexError, AttributeError) as error:
        raise PartError(f"the tensors given are no {aligned.spec} of vectors of width {width}: {error}") from None
    if given.ndim != 2 or not np.isfinite(given).all():
        raise PartError(f"these tensors make no {aligned.spec}: what they give is not finite")
    return part


def _without_path(spec: str) -> str:
    name, options = parse_spec(spec)
    options.pop("path", None)
    return _spec(name, options)


def _spec(name: str, options: Mapping[str, Any]) -> str:
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in options.items())})" if options else name


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
