"""What goes into a tower: frozen features, or pictures and texts below an encoder, given by row numbers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tellapart.core.collection import Collection
from tellapart.core.draws import RowDraws
from tellapart.core.errors import DataError
from tellapart.core.relation import Keys
from tellapart.engine.embed import Items
from tellapart.engine.tune import lora, low_rank_layers

TOKENS_OF_A_RUN, MOST_A_RUN = 64, 64


class Inputs(ABC):
    """One side of the training pairs.

    Attributes:
        width: numbers a row that the head gets.
        chunk: rows that are encoded at once where no gradient is wanted.
        reference: how many rows' vectors under the fresh encoder the head is standardised on; 0: it is not.
        part: the encoder part of items that are opened; sides of equal part share their encoder.
        encodes: whether an encoder stands below the head.
    """

    width: int
    chunk = 4096
    reference = 0
    part: Any = None
    encodes = False

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, rows: np.ndarray, *, seed: int | None) -> Tensor:
        """The input of the tower for some rows; `seed` None means without augmentation."""

    @abstractmethod
    def encoder(self) -> nn.Module | None:
        """A fresh trainable encoder below the head; None when the inputs are features already."""

    @abstractmethod
    def content(self, row: int) -> bytes:
        """What tells an item from others: equal for equal items of sides of one kind."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of the content."""


class Features(Inputs):
    """Frozen vectors, [n, width] float32."""

    def __init__(self, x: np.ndarray) -> None:
        if x.ndim != 2 or not np.isfinite(x).all():
            raise DataError(f"features must be a finite [n, width] table, this one has shape {x.shape}")
        self.x = torch.from_numpy(np.array(x, dtype=np.float32))
        self.width = x.shape[1]

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, rows: np.ndarray, *, seed: int | None) -> Tensor:
        return self.x[torch.from_numpy(rows)]

    def encoder(self) -> nn.Module | None:
        return None

    def content(self, row: int) -> bytes:
        return self.x[row].numpy().tobytes()

    def fingerprint(self) -> str:
        return hashlib.sha256(self.x.numpy().tobytes()).hexdigest()[:16]


class Views(Features):
    """Frozen vectors beside those of altered copies of the same items, one of which stands for the item in a step.

    Args:
        x: [n, width] of the items themselves.
        views: [n, v, width] of their altered copies.
    """

    def __init__(self, x: np.ndarray, views: np.ndarray) -> None:
        super().__init__(x)
        if views.shape[::2] != x.shape or not views.shape[1] or not np.isfinite(views).all():
            raise DataError(f"altered copies of {x.shape} features must be finite, [n, v, width], not {views.shape}")
        self.views = torch.from_numpy(np.array(views, dtype=np.float32))

    def batch(self, rows: np.ndarray, *, seed: int | None) -> Tensor:
        if seed is None:
            return super().batch(rows, seed=None)
        at = torch.from_numpy(rows)
        return self.views[at, RowDraws(seed, at).integers(self.views.shape[1], 1)[:, 0]]

    def fingerprint(self) -> str:
        digest = hashlib.sha256(super().fingerprint().encode())
        digest.update(self.views.numpy().tobytes())
        return digest.hexdigest()[:16]


class Pictures(Inputs):
    """Decoded pictures, [n, size, size, 3] uint8, augmented when a batch is made.

    Args:
        x: the pictures.
        encoder: part of trait `trainable`: `module()` takes [n, 3, size, size] float32 in 0..1 and gives [n, dim].
        augment: pixel parts, applied in order, each with a generator of the (step, item)'s own.
    """

    encodes = True

    def __init__(self, x: np.ndarray, encoder: Any, augment: Sequence[Callable[..., Image.Image]] = ()) -> None:
        self.x, self._encoder, self.augment = x, encoder, tuple(augment)
        self.width = encoder.dim

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, rows: np.ndarray, *, seed: int | None) -> Tensor:
        if seed is None or not self.augment:
            chosen = self.x[rows]
        else:
            chosen = np.stack([self._augmented(int(row), seed) for row in rows])
        return torch.from_numpy(chosen).permute(0, 3, 1, 2).float() / 255

    def _augmented(self, row: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(np.random.SeedSequence([seed, row]))
        picture = Image.fromarray(self.x[row])
        for part in self.augment:
            picture = part(picture, rng=rng)
        if picture.size != self.x.shape[2:0:-1]:
            raise ValueError(f"an augmentation changed the size of a picture to {picture.size}")
        return np.asarray(picture.convert("RGB"))

    def encoder(self) -> nn.Module | None:
        module: nn.Module = self._encoder.module()
        return module

    def content(self, row: int) -> bytes:
        return self.x[row].tobytes()

    def fingerprint(self) -> str:
        return hashlib.sha256(np.ascontiguousarray(self.x).tobytes()).hexdigest()[:16]


class Opened(Inputs):
    """Texts or pictures of a collection, opened and prepared for their encoder when a batch is made.

    What `prepare` gives as several tensors (token numbers and mask, padded to the longest of the batch) is one tensor
    here, [n, tensors, ...].

    Args:
        items: a column.
        part: encoder of trait `trainable`: `prepare(items)` gives what `module()` takes.
        low_rank: train low-rank additions to the encoder's attention instead of all its weights.
        augment: pixel or word parts, applied in order, each with a generator of the (step, item)'s own.
    """

    chunk = 64
    reference = 64
    encodes = True

    def __init__(
        self, items: Items, part: Any, *, low_rank: bool = False, augment: Sequence[Callable[..., Any]] = ()
    ) -> None:
        self.items, self.part, self.low_rank, self.augment = items, part, low_rank, tuple(augment)
        self.width = part.dim

    def __len__(self) -> int:
        return len(self.items.ids)

    def batch(self, rows: np.ndarray, *, seed: int | None) -> Tensor:
        tensors = self.part.prepare([self._opened(int(row), seed) for row in rows])
        return tensors[0] if len(tensors) == 1 else torch.stack(tuple(tensors), 1)

    def _opened(self, row: int, seed: int | None) -> Any:
        item = self.items.at(row)
        if seed is not None and self.augment:
            rng = np.random.default_rng(np.random.SeedSequence([seed, row]))
            for part in self.augment:
                item = part(item, rng=rng)
        return item

    def encoder(self) -> nn.Module | None:
        module = Encoder(self.part.module(), several=len(self.part.prepare([self.items.at(0)])) > 1)
        if self.low_rank:
            lora(module, targets=low_rank_layers(self.part))
        return module

    def content(self, row: int) -> bytes:
        return np.asarray(self.items.key(row), "<u8").tobytes()

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.part.fingerprint} {self.low_rank}".encode())
        digest.update(np.asarray([self.items.key(row) for row in range(len(self))], "<u8").tobytes())
        return digest.hexdigest()[:16]


class Encoder(nn.Module):
    """The network of an encoder part, called with one tensor.

    Token numbers and mask come side by side, [n, 2, longest]. Items of about one length then go through the network
    together, cut at the longest of them: padding would cost as much as what is read, and changes no vector. (Not on an
    accelerator, where a run more costs more than padding.)

    Args:
        several: the network takes token numbers and mask.
    """

    def __init__(self, network: nn.Module, *, several: bool) -> None:
        super().__init__()
        self.network, self.several = network, several

    def forward(self, x: Tensor) -> Tensor:
        """[n, ...] -> [n, width]."""
        if not self.several:
            whole: Tensor = self.network(x)
            return whole
        if x.device.type != "cpu":
            return torch.as_tensor(self.network(*x.unbind(1)))
        lengths = x[:, -1].sum(1)
        order = lengths.argsort(stable=True)
        parts = []
        for rows in order.split(_rows_a_run(lengths[order].tolist())):
            parts.append(self.network(*x[rows, :, : int(lengths[rows].max())].unbind(1)))
        return torch.cat(parts)[order.argsort()]


def _rows_a_run(lengths: list[int]) -> list[int]:
    """How many consecutive items of rising length go together: the cut with the fewest tokens, padding included.

    A run costs as much as `TOKENS_OF_A_RUN` more.
    """
    n = len(lengths)
    least, start = [0] * (n + 1), [0] * (n + 1)
    for stop in range(1, n + 1):
        first = range(max(0, stop - MOST_A_RUN), stop)
        costs = [least[i] + (stop - i) * lengths[stop - 1] + TOKENS_OF_A_RUN for i in first]
        least[stop] = min(costs)
        start[stop] = first[costs.index(least[stop])]
    runs, stop = [], n
    while stop:
        runs.append(stop - start[stop])
        stop = start[stop]
    return runs[::-1]


@dataclass(frozen=True)
class TrainData:
    """Aligned training pairs: row i of `query` belongs to row i of `document`.

    Attributes:
        keys: identities of the rows, on the CPU.
        same_space: both sides are one column of the collection (then `query is document`).
        guide: the two sides' vectors under a frozen guide, for relations of the trait `guide`.
        negative: what else goes into the tower of `negative_side`: texts that are no answer, or no caption.
        negatives: [n, s] int64 rows, for each pair, of `negative`, or where that is None of `document`; -1 where
            there are fewer.
        negative_side: "document", or "query" where negatives are captions that do not describe their picture.
        region, phrase: what else goes into the document and the query tower, for strategies of the trait `regions`:
            parts of the pictures, and what is said of them (`engine.regions`).
        others: further columns of the items, one row a pair, each with a tower of its own (`engine.several`).
        alone: by side, items that lack the other one, for strategies of the trait `unpaired` (`engine.unpaired`).
        extra: further columns for samplers and strategies.
    """

    query: Inputs
    document: Inputs
    keys: Keys
    same_space: bool = False
    guide: tuple[Tensor, Tensor] | None = None
    negative: Inputs | None = None
    negatives: Tensor | None = None
    negative_side: str = "document"
    region: Inputs | None = None
    phrase: Inputs | None = None
    others: dict[str, Inputs] = field(default_factory=dict)
    alone: dict[str, Inputs] = field(default_factory=dict)
    extra: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {len(self.query), len(self.document), len(self.keys), *map(len, self.others.values())}
        if len(lengths) != 1:
            raise DataError(f"the sides and keys of training data have different lengths: {sorted(lengths)}")
        if len(self.keys) < 2:
            raise DataError("training needs at least two pairs; check the split and the problems of the collection")

    def __len__(self) -> int:
        return len(self.keys)

    def negatives_in(self) -> str:
        """What the numbers of `negatives` count, as `side` knows it."""
        return "document" if self.negative is None else "negative"

    @property
    def one_encoder(self) -> bool:
        """Whether one trained encoder serves both sides, as where texts are looked for with texts."""
        return self.query.part is not None and self.query.part is self.document.part

    @property
    def sides(self) -> tuple[str, ...]:
        """The names of all columns that have a tower."""
        return ("query", *(() if self.same_space else ("document",)), *self.others)

    def side(self, name: str) -> Inputs:
        """What goes in by that name: a side, or something else that a side's tower takes ("negative", "region")."""
        found: Inputs = self.others[name] if name in self.others else getattr(self, name)
        return found

    def without_guide(self) -> TrainData:
        """The same pairs with no guide."""
        return replace(self, guide=None)

    def fingerprint(self) -> str:
        """Hash of both sides, the keys and what else travels with them."""
        digest = hashlib.sha256((self.query.fingerprint() + self.document.fingerprint()).encode())
        held = [self.keys.item, self.keys.group, self.keys.target, self.negatives, *(self.guide or ())]
        for side in (self.negative, self.region, self.phrase, *self.others.values(), *self.alone.values()):
            if side is not None:
                digest.update(side.fingerprint().encode())
        for x in held:
            digest.update(b"-" if x is None else x.contiguous().numpy().tobytes())
        for name in sorted(self.extra):
            digest.update(name.encode() + np.ascontiguousarray(self.extra[name]).tobytes())
        return digest.hexdigest()[:16]


def keys_of(collection: Collection, *, positives: str = "item") -> Keys:
    """The identities of a collection's items, by row.

    Args:
        positives: "item": a pair is positive to itself alone (or to equal values of the sides' `target` column);
            "group": to its whole duplicate group.
    """
    n = len(collection)
    item = np.arange(n, dtype=np.int64)
    group = collection.numbers("group").astype(np.int64) if "group" in collection.columns else item
    target = item
    if (column := collection.sides().target) is not None:
        target = collection.codes(column)[0]
    elif positives == "group":
        target = group
    return Keys(*(torch.from_numpy(np.array(x, dtype=np.int64)) for x in (item, group, target)))
