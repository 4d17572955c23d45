"""Items as sets of tokens (frames, pieces of sound) that the query pools: what `rank=rerank(scorer='tokens')` asks.

A strategy of the trait `pools` has learnt how a query pools them. A run keeps the tokens of its items in `sets/`, in
the trained space, beside the index of single vectors, which finds the items that are then scored. numpy alone.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tellapart.core import attending
from tellapart.core.errors import DataError, PartError
from tellapart.core.files import placed, write_atomically
from tellapart.core.parts import card_of, make, parse_spec, split_chain
from tellapart.recipe import Recipe

FOLDER, FILE, STATE = "sets", "sets.json", "pooling.safetensors"
SPEC = "tokens"
FRAMES, SOUND = "frames", "sound"
ALIKE = 0.99
PAIRS_AT_ONCE = 2048
LARGEST_FILE, LARGEST_STATE = 1 << 20, 1 << 31

Tokens = Mapping[str, np.ndarray]


def asks_tokens(rank: str) -> bool:
    """Whether a part of the chain scores items by their tokens."""
    pieces = [(piece, card_of("rank", parse_spec(piece)[0]).traits) for piece in split_chain(rank)]
    asking = [piece for piece, traits in pieces if "scorer" in traits and "reads" not in traits]
    return any(make("rank", piece).scorer == SPEC for piece in asking)


def check_pooled(recipe: Recipe) -> None:
    """Refuse token sets without a strategy that has learnt to pool them.

    Raises:
        PartError: with what to set.
    """
    if not asks_tokens(recipe.rank):
        return
    if "pools" not in card_of("strategy", parse_spec(recipe.strategy)[0]).traits:
        raise PartError(
            f"rank={recipe.rank} scores items by their tokens as a strategy has learnt to, and strategy="
            f"{recipe.strategy} learns nothing of the kind: set strategy=tefal or strategy=glscl"
        )
    if recipe.tune != "head":
        raise PartError(f"rank={recipe.rank} takes tokens of frozen encoders: set tune=head, not tune={recipe.tune}")


@dataclass(frozen=True)
class Several:
    """[m, d] float32 rows of n items one after the other; item i has those from `ends[i]` to `ends[i + 1]`."""

    rows: np.ndarray
    ends: np.ndarray

    @staticmethod
    def of(rows: np.ndarray, counts: Sequence[int]) -> Several:
        return Several(
            np.ascontiguousarray(rows, np.float32), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        )

    def at(self, item: int) -> np.ndarray:
        """[t, d] of one item."""
        return np.asarray(self.rows[self.ends[item] : self.ends[item + 1]])


@dataclass(frozen=True)
class TokenSets:
    """The tokens of items in the trained space, and how a query pools them.

    Attributes:
        ids: [n] of str.
        own: [n, d] the items' own vectors, those of the index.
        sets: tokens by name: `frames`, and `sound` where there is any.
        temperature: of a softmax of cosines over the frames; 0: `state` has a reader for each set, and what they read
            is added up.
    """

    ids: np.ndarray
    own: np.ndarray
    sets: Mapping[str, Several] = field(repr=False)
    temperature: float = 0.0
    state: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {id_: row for row, id_ in enumerate(self.ids.tolist())}

    @cached_property
    def _readers(self) -> dict[str, dict[str, np.ndarray]]:
        return {
            name: {key.removeprefix(f"{name}."): x for key, x in self.state.items() if key.startswith(f"{name}.")}
            for name in self.sets
        }

    def tokens(self, id_: str, vector: np.ndarray) -> Tokens:
        """The tokens of an item; one that is new, or whose vector is another now, is its vector alone.

        Args:
            vector: [d] that of the item in the index.
        """
        row = self._row_of.get(id_)
        if row is None or float(self.own[row] @ vector) < ALIKE:
            return {FRAMES: np.asarray(vector, np.float32)[None]}
        return {name: held.at(row) for name, held in self.sets.items()}

    def score(self, queries: Sequence[np.ndarray], items: Sequence[Tokens]) -> np.ndarray:
        """[n] float32 of n pairs of a query's vector [d] and an item's tokens."""
        found = [np.zeros(0, np.float32)]
        for start in range(0, len(queries), PAIRS_AT_ONCE):
            q = np.stack(queries[start : start + PAIRS_AT_ONCE]).astype(np.float32)
            found.append(self._score(q, items[start : start + PAIRS_AT_ONCE]))
        return np.concatenate(found)

    def _score(self, q: np.ndarray, items: Sequence[Tokens]) -> np.ndarray:
        places = dict[int, int]()
        place = np.asarray([places.setdefault(id(item), len(places)) for item in items])
        distinct = [items[row] for row in np.unique(place, return_index=True)[1]]
        if self.temperature:
            tokens, there = _padded(distinct, FRAMES, q.shape[1])
            return attending.softmax_cosine(q, tokens, there, place, self.temperature)
        parts = [
            attending.read(state, q, *_padded(distinct, name, q.shape[1]), place)
            for name, state in self._readers.items()
        ]
        return attending.cosine(q, np.sum(parts, 0))

    def save(self, folder: str | Path, *, model: str) -> Path:
        """Write a folder: arrays without pickle, the trained pooling as safetensors; `sets.json` comes last.

        Args:
            model: what tells the model of the vectors from others.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        drop(folder)
        folder.mkdir(parents=True)
        arrays = {"ids": self.ids.astype(str), "own": self.own.astype(np.float32)}
        for name, held in self.sets.items():
            arrays |= {f"{name}": held.rows, f"{name}.ends": held.ends}
        for name, array in arrays.items():
            with placed(folder / f"{name}.npy") as sink:
                np.save(sink, array, allow_pickle=False)
        content = save({name: np.ascontiguousarray(x) for name, x in self.state.items()})
        write_atomically(folder / STATE, content)
        digest = hashlib.sha256(content).hexdigest()
        names = [name for name in (FRAMES, SOUND) if name in self.sets]
        saved = _Saved(format=1, model=model, sets=names, temperature=self.temperature, sha256=digest)
        write_atomically(folder / FILE, saved.model_dump_json(indent=2).encode())
        return folder

    @staticmethod
    def open(folder: str | Path, *, model: str) -> TokenSets:
        """Read what `save` wrote; tokens are mapped, not read.

        Raises:
            DataError: what is missing, damaged, or of another model.
        """
        folder = Path(folder)
        again = f"Make the run again, or delete {folder} and {folder.parent / 'rank'} to search by similarity alone"
        try:
            if (folder / FILE).stat().st_size > LARGEST_FILE or (folder / STATE).stat().st_size > LARGEST_STATE:
                raise DataError(f"{folder} holds files too large to be what their names say. {again}")
            saved = _Saved.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
            arrays = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("ids", "own", *saved.sets, *(f"{each}.ends" for each in saved.sets))
            }
            content = (folder / STATE).read_bytes()
        except (OSError, ValueError, ValidationError) as error:
            said = "is missing or not whole" if isinstance(error, FileNotFoundError) else "is damaged"
            raise DataError(f"{folder} {said}. {again}") from None
        if saved.model != model:
            raise DataError(f"{folder} was made with another model than the one beside it. {again}")
        if hashlib.sha256(content).hexdigest() != saved.sha256:
            raise DataError(f"{folder / STATE} is not the file that {FILE} names (its hash differs). {again}")
        return _made(saved, arrays, content, f"{folder} is damaged. {again}")


def pooled_as(strategy: Any) -> dict[str, Any]:
    """How queries pool, as `TokenSets` takes it: a strategy's own `pooling()`, or else a softmax at its temperature."""
    if hasattr(strategy, "pooling"):
        return {"state": strategy.pooling()}
    return {"temperature": float(strategy.temperature)}


def drop(folder: str | Path) -> None:
    """Take saved token sets away, their description first."""
    (Path(folder) / FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Encoding:
    """What makes vectors of rows, as `engine.reorder.Encode`, with the token sets of the documents beside it."""

    of: Callable[[str, np.ndarray], np.ndarray]
    sets: TokenSets

    def __call__(self, side: str, rows: np.ndarray) -> np.ndarray:
        return self.of(side, rows)


def held_sets(encode: Any) -> TokenSets | None:
    """The token sets beside an `Encode`; None where there are none."""
    found: TokenSets | None = getattr(encode, "sets", None)
    return found


def _padded(items: Sequence[Tokens], name: str, width: int) -> tuple[np.ndarray, np.ndarray]:
    """([n, t, d] tokens of a set, [n, t] bool which there are)."""
    held = [item.get(name, np.zeros((0, width), np.float32)) for item in items]
    count = np.asarray([len(one) for one in held])
    there = np.arange(max(count.max(), 1)) < count[:, None]
    found = np.zeros((*there.shape, width), np.float32)
    found[there] = np.concatenate(held)
    return found, there


class _Saved(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    format: Literal[1]
    model: Annotated[str, Field(max_length=64)]
    sets: Annotated[list[Annotated[str, Field(pattern="^(frames|sound)$")]], Field(min_length=1, max_length=2)]
    temperature: Annotated[float, Field(ge=0, le=100)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _made(saved: _Saved, arrays: Mapping[str, np.ndarray], content: bytes, damaged: str) -> TokenSets:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    ids, own = arrays["ids"], arrays["own"]
    sets = {name: Several(arrays[name], np.asarray(arrays[f"{name}.ends"])) for name in saved.sets}
    fits = ids.shape == own.shape[:1] and own.ndim == 2 and own.dtype == np.float32 and ids.dtype.kind == "U"
    for held in sets.values():
        fits = fits and held.rows.ndim == 2 and held.rows.shape[1] == own.shape[1] and held.rows.dtype == np.float32
        fits = fits and held.ends.shape == (len(ids) + 1,) and held.ends.dtype == np.int64
        fits = fits and bool((np.diff(held.ends) >= 0).all()) and held.ends[0] == 0 and held.ends[-1] == len(held.rows)
    if not fits:
        raise DataError(damaged)
    try:
        made = TokenSets(np.asarray(ids), own, sets, saved.temperature, load(content))
        if len(ids):
            made.score([np.asarray(own[0])], [{name: held.at(0) for name, held in sets.items()}])
    except (SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{damaged} ({error})") from None
    return made
