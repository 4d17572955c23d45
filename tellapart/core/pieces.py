"""Work in pieces: each is a shard that goes in and a table that comes out, here or on workers, with the same bits.

A job is called with one piece after the other and gives an Arrow table for each. What it needs for all of them stands
in its fields; what it opens on the way (sessions, models) is opened where it runs. Pieces do not know of each other, so
one may be done again, and those that a stopped call had finished are read instead.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tellapart.core.files import cache_home, placed
from tellapart.core.parts import card_of, cards, make
from tellapart.core.version import VERSION

Job = Callable[[Any], pa.Table]


class Workers(ABC):
    """Who does the pieces where it is not this process."""

    @abstractmethod
    def tables(self, job: Job, pieces: Iterable[Any], count: int) -> Iterator[pa.Table]:
        """The table of each of `count` pieces, in their order."""


_workers: ContextVar[Workers | None] = ContextVar("workers", default=None)


def workers() -> Workers | None:
    """Who does the pieces in this block; None: this process."""
    return _workers.get()


@contextmanager
def using(those: Workers) -> Iterator[None]:
    """Let these workers do whatever is done in pieces in the block."""
    token = _workers.set(those)
    try:
        yield
    finally:
        _workers.reset(token)


def done(job: Job, pieces: Iterable[Any], count: int) -> Iterator[pa.Table]:
    """The table of each of `count` pieces in their order; a single one is done here, whoever the workers are."""
    elsewhere = _workers.get()
    return map(job, pieces) if elsewhere is None or count < 2 else elsewhere.tables(job, pieces, count)


def done_once(job: Job, piece: Callable[[int], Any], count: int, key: Callable[[], str]) -> Iterator[pa.Table]:
    """`done`, where workers do it with every finished table in a file until all are: a stopped call goes on there.

    Args:
        piece: the piece of a number from 0.
        key: all that the tables depend on, as `content_key` says it; asked only where it is needed.
    """
    if _workers.get() is None or count < 2:
        yield from done(job, map(piece, range(count)), count)
        return
    folder = cache_home() / "pieces" / key()
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:08d}.arrow" for number in range(count)]
    left = [number for number, file in enumerate(files) if not file.is_file()]
    fresh, missing = done(job, map(piece, left), len(left)), set(left)
    for number, file in enumerate(files):
        if number in missing:
            write_table(next(fresh), file)
        yield read_table(file)
    shutil.rmtree(folder, ignore_errors=True)


def content_key(*what: Any) -> str:
    """32 hex digits of this version and of values: arrays and bytes by their content, others by their `repr`."""
    digest = hashlib.sha256(VERSION.encode())
    for value in what:
        kind = f"\x1d{type(value).__name__} {getattr(value, 'dtype', '')} {getattr(value, 'shape', '')}\x1d"
        digest.update(kind.encode())
        if isinstance(value, bytes):
            digest.update(value)
        elif hasattr(value, "dtype"):
            for start in range(0, len(value), 65_536):
                digest.update(value[start : start + 65_536].tobytes())
        else:
            digest.update(repr(value).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]


def write_table(table: pa.Table, file: Path) -> None:
    """Put a table in the place of a file, whole or not at all."""
    with placed(file) as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def read_table(file: Path) -> pa.Table:
    """The table of a file, memory-mapped."""
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).read_all()


def threads() -> int:
    """How many threads work here may take: what `OMP_NUM_THREADS` says, else every core."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else os.cpu_count() or 1


@dataclass(frozen=True)
class Remade:
    """A part by name and options, to be made where it is needed: a model in memory does not travel."""

    shape: str
    name: str
    options: dict[str, Any]

    @staticmethod
    def of(shape: str, made: Any) -> Remade | None:
        """What a class part is made of; None for an object that is no part."""
        kind = type(made)
        for card in cards(shape).values():
            local = card.module is None and kind.__module__.startswith(f"tellapart_local_{shape}_{card.file.stem}_")
            if card.symbol == kind.__name__ and (card.module == kind.__module__ or local):
                with contextlib.suppress(AttributeError):
                    return Remade(shape, card.name, {o.name: getattr(made, o.name) for o in card.options})
        return None

    def make(self, **options: Any) -> Any:
        """The part; options that it does not have are left out."""
        known = {o.name for o in card_of(self.shape, self.name).options}
        return make(self.shape, self.name, **self.options | {k: v for k, v in options.items() if k in known})
