"""Frozen vectors of a column, computed once: kept by content, resumed after any interruption, mapped instead of read.

What lies in the cache folder, under the encoder's fingerprint:

- `block-NAME.npy`: finished items of a call that has not ended, a structured array of (key, vector);
- `table-NAME.npy` with `table-NAME.keys.npy`: a whole column row by row, and the keys of its rows.

A key is a hash of an item's content and files are named by hashes of keys, so a changed collection embeds only what
changed, and a file that was renamed is known again.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, TellapartError
from tellapart.core.files import placed
from tellapart.core.pieces import Remade, done, threads, workers
from tellapart.core.progress import Progress
from tellapart.data.frames import framed

ITEMS_A_BLOCK = 512
ROWS_A_COPY = 16_384
LEFT_OVER_SECONDS = 3600.0
UNWRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def embed(
    collection: Collection, column: str, encoder: Any, *, cache: str | Path, progress: Progress | None = None
) -> np.ndarray:
    """The vectors of a column under an encoder: [n, dim] float32, one row an item, memory-mapped and read-only.

    Equal items are embedded once. The rest is taken in blocks of `ITEMS_A_BLOCK`, each of which is written whole or
    not at all, so that a call killed anywhere goes on where it was and ends with the same bits.

    Args:
        column: texts, or pictures or windows of recordings as bytes or as paths relative to the collection's root.
        encoder: a part of shape `encode` and trait `frozen`.
        cache: a folder, which any number of collections, encoders and processes may share.
        progress: called with (items done, items).

    The vector of an item of several frames (`data.frames`) is the mean of theirs, in memory.

    Raises:
        DataError: an item is missing, is no text, or cannot be read; the message names it.
        TellapartError: the folder cannot be written, or the disk is full; what was finished stays.
    """
    if not len(collection):
        return np.empty((0, encoder.dim), np.float32)
    if column == "image" and encoder.modality == "image" and framed(collection):
        return _means(collection, encoder, cache=cache, progress=progress)
    items = items_of(collection, column, encoder.modality)
    folder = Path(cache) / str(encoder.fingerprint)
    with _in_words(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        keys = np.asarray([items.key(row) for row in range(len(collection))], "<u8").reshape(-1, 2)
        table = folder / f"table-{_name(keys)}.npy"
        vectors = _load(table)
        if vectors is None:
            _embed_missing(folder, keys, items, encoder, collection, column, progress)
            _assemble(folder, table, keys, encoder.dim)
            vectors = np.load(table, mmap_mode="r", allow_pickle=False)
        if progress is not None:
            progress(len(keys), len(keys))
    return vectors


def _means(collection: Collection, encoder: Any, *, cache: str | Path, progress: Progress | None = None) -> np.ndarray:
    """[n, dim] means of the vectors of the items' frames."""
    from tellapart.data.regions import counts, crops

    x, count = embed(crops(collection), "image", encoder, cache=cache, progress=progress), counts(collection)
    mean: np.ndarray = np.add.reduceat(x, np.cumsum(count) - count, axis=0) / count[:, None].astype(np.float32)
    mean.setflags(write=False)
    return mean


@dataclass(frozen=True)
class Items:
    """A column whose items are opened one by one, in whichever thread asks; `key` is a hash of an item's content."""

    values: pa.ChunkedArray
    ids: np.ndarray
    open: Callable[[Any], Any]
    content: Callable[[Any], bytes]

    def key(self, row: int) -> tuple[int, int]:
        digest = self._named(row, self.content)
        return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")

    def at(self, row: int) -> Any:
        return self._named(row, self.open)

    def _named(self, row: int, call: Callable[[Any], Any]) -> Any:
        try:
            return call(self.values[row].as_py())
        except (DataError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DataError(f"item {self.ids[row]!r}: {reason}. `curate` leaves such items out") from None


class _Chosen(Sequence[Any]):
    """Some items of a column, opened when they are asked for."""

    def __init__(self, items: Items, rows: np.ndarray) -> None:
        self.items, self.rows = items, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: Any) -> Any:
        return self.items.at(int(self.rows[at]))


def each_of(collection: Collection, column: str, modality: str) -> Sequence[Any]:
    """The items of a column as a sequence, each opened when it is asked for."""
    return _Chosen(items_of(collection, column, modality), np.arange(len(collection)))


def items_of(collection: Collection, column: str, modality: str) -> Items:
    """The items of a column; what cannot be opened is a `DataError` that names the item."""
    return {"image": _pictures, "series": _windows, "text": _texts}[modality](collection, column)


def _texts(collection: Collection, column: str) -> Items:
    def text(value: Any) -> str:
        if not isinstance(value, str):
            raise DataError(f"column {column!r} holds no text for it")
        return value

    def content(value: Any) -> bytes:
        return hashlib.sha256(text(value).encode("utf-8", "surrogatepass")).digest()

    return Items(collection[column], collection.ids, text, content)


def _pictures(collection: Collection, column: str) -> Items:
    from tellapart.data.images import image_source, open_image
    from tellapart.data.regions import BOX, has_boxes

    root = collection.root

    def content(value: Any) -> bytes:
        source = image_source(value, root)
        if isinstance(source, bytes):
            return hashlib.sha256(source).digest()
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    if not has_boxes(collection):
        return Items(collection[column], collection.ids, lambda value: open_image(image_source(value, root)), content)
    # Regions of one picture follow each other: it is hashed and decoded once for all of them.
    hashed = functools.lru_cache(maxsize=1)(content)
    whole = functools.lru_cache(maxsize=1)(lambda value: open_image(image_source(value, root)))

    def region(value: dict[str, Any]) -> Any:
        x, y, width, height = value[BOX]
        return whole(value[column]).crop((x, y, x + width, y + height))

    def region_content(value: dict[str, Any]) -> bytes:
        return hashlib.sha256(hashed(value[column]) + repr(list(value[BOX])).encode()).digest()

    both = collection.table.select([column, BOX]).to_struct_array()
    return Items(both, collection.ids, region, region_content)


def _windows(collection: Collection, column: str) -> Items:
    from tellapart.data.identity import window_hash
    from tellapart.data.series import open_series, series_source

    def window(value: Any) -> np.ndarray:
        return open_series(series_source(value, collection.root))

    return Items(collection[column], collection.ids, window, lambda value: bytes.fromhex(window_hash(window(value))))


def _name(keys: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(keys).tobytes()).hexdigest()[:24]


class _Store:
    """What the files of a folder hold; vectors are read file by file, only the keys are in memory."""

    def __init__(self, folder: Path) -> None:
        self.files: list[Path] = []
        keys, origins = [np.empty((0, 2), "<u8")], [np.empty(0, np.int64)]
        for file in sorted(folder.glob("block-*.npy")) + sorted(folder.glob("table-*.keys.npy")):
            held = _load(file)
            if held is None:
                continue
            if file.name.startswith("table-"):
                file = file.with_name(file.name.replace(".keys.npy", ".npy"))
            else:
                held = held["key"]
            if _load(file) is not None:
                keys.append(np.array(held))
                origins.append(np.full(len(held), len(self.files)))
                self.files.append(file)
        self.keys, self.origin = np.concatenate(keys), np.concatenate(origins)
        starts = np.cumsum([0, *(len(k) for k in keys[1:])])[:-1]
        self.row = np.arange(len(self.keys)) - (starts[self.origin] if len(self.keys) else 0)
        self.order = np.argsort(self.keys[:, 0], kind="stable")
        self.sorted = self.keys[self.order, 0]

    def find(self, keys: np.ndarray) -> np.ndarray:
        """[n] entry of each key, -1 where there is none."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        entry = self.order[np.searchsorted(self.sorted, keys[:, 0]).clip(max=len(self.keys) - 1)]
        return np.where((self.keys[entry] == keys).all(1), entry, -1)

    def read(self, entries: np.ndarray, dim: int) -> np.ndarray:
        """[n, dim] the vectors of these entries; `FileNotFoundError` where another process moved one meanwhile."""
        if (entries < 0).any():
            raise FileNotFoundError(errno.ENOENT, "vectors vanished from the cache")
        out = np.empty((len(entries), dim), np.float32)
        origins = self.origin[entries]
        for number in np.unique(origins):
            here = np.flatnonzero(origins == number)
            held = _load(self.files[number])
            if held is None:
                raise FileNotFoundError(errno.ENOENT, "vectors vanished from the cache")
            out[here] = (held["vector"] if held.dtype.names else held)[self.row[entries[here]]]
        return out


def _load(file: Path) -> np.ndarray | None:
    """A mapped array; None where another process has just taken the file away, or where it is not one of ours."""
    try:
        array: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError):
        return None
    return array


@dataclass(frozen=True)
class _Elsewhere:
    """The job of the workers: vectors of the items that come with a piece, by the same encoder made anew."""

    column: str
    modality: str
    root: Path | None
    encoder: Any
    fingerprint: str

    @staticmethod
    def of(collection: Collection, column: str, encoder: Any) -> _Elsewhere:
        root = collection.root.absolute() if collection.root else None
        made = Remade.of("encode", encoder) or encoder
        return _Elsewhere(column, encoder.modality, root, made, str(encoder.fingerprint))

    @cached_property
    def _opened(self) -> Any:
        made = self.encoder.make(threads=threads()) if isinstance(self.encoder, Remade) else self.encoder
        if str(made.fingerprint) != self.fingerprint:
            raise TellapartError(
                "a worker's encoder has other weights or another version than this machine's: install the same on all"
            )
        return made

    def __call__(self, piece: pa.Table) -> pa.Table:
        encoder, some = self._opened, Collection(piece, root=self.root)
        before = getattr(encoder, "truncated_", 0)
        z = encoder.encode(_Chosen(items_of(some, self.column, self.modality), np.arange(len(some))))
        flat = pa.array(np.ascontiguousarray(z, np.float32).ravel())
        cut = getattr(encoder, "truncated_", 0) - before
        table = pa.table({"vector": pa.FixedSizeListArray.from_arrays(flat, z.shape[1])})
        return table.replace_schema_metadata({"truncated": str(cut)})

    def vectors(self, collection: Collection, blocks: list[np.ndarray], encoder: Any) -> Iterator[np.ndarray]:
        """The vectors of each block of rows, in order."""
        from tellapart.data.regions import BOX

        names = ["id", *(name for name in collection.columns if name in (self.column, BOX) and name != "id")]
        given = (collection.table.select(names).take(pa.array(rows)) for rows in blocks)
        for table in done(self, given, len(blocks)):
            if hasattr(encoder, "truncated_"):
                encoder.truncated_ += int(table.schema.metadata[b"truncated"])
            column = table["vector"].combine_chunks()
            yield column.values.to_numpy().reshape(len(table), column.type.list_size)


def _embed_missing(
    folder: Path, keys: np.ndarray, items: Items, encoder: Any, collection: Collection, column: str,
    progress: Progress | None,
) -> None:  # fmt: skip
    first = np.sort(np.unique(keys, axis=0, return_index=True)[1])
    rows = first[_Store(folder).find(keys[first]) < 0]
    blocks = [rows[start : start + ITEMS_A_BLOCK] for start in range(0, len(rows), ITEMS_A_BLOCK)]
    if workers() is None or len(blocks) < 2:
        found: Iterator[np.ndarray] = (encoder.encode(_Chosen(items, chosen)) for chosen in blocks)
    else:
        found = _Elsewhere.of(collection, column, encoder).vectors(collection, blocks, encoder)
    for number, chosen in enumerate(blocks):
        if progress is not None:
            progress(len(keys) - len(rows) + number * ITEMS_A_BLOCK, len(keys))
        vectors = next(found)
        if vectors.shape != (len(chosen), encoder.dim) or not np.isfinite(vectors).all():
            raise TellapartError(
                f"the encoder gave an array of shape {vectors.shape} for {len(chosen)} items of width {encoder.dim}, "
                "or values that are not finite"
            )
        block = np.empty(len(chosen), [("key", "<u8", 2), ("vector", "<f4", encoder.dim)])
        block["key"], block["vector"] = keys[chosen], vectors
        with placed(folder / f"block-{_name(keys[chosen])}.npy") as sink:
            np.save(sink, block, allow_pickle=False)


def _assemble(folder: Path, table: Path, keys: np.ndarray, dim: int) -> None:
    """Put the rows in order into one file; blocks that it holds whole are not needed any more."""
    with placed(table.with_name(f"{table.stem}.keys.npy")) as sink:
        np.save(sink, keys, allow_pickle=False)
    with placed(table) as sink:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(keys), dim)}
        np.lib.format.write_array_header_1_0(sink, header)
        store = _Store(folder)
        for start in range(0, len(keys), ROWS_A_COPY):
            wanted = keys[start : start + ROWS_A_COPY]
            try:
                vectors = store.read(store.find(wanted), dim)
            except FileNotFoundError:
                store = _Store(folder)
                vectors = store.read(store.find(wanted), dim)
            sink.write(vectors.tobytes())
    inside = set(map(bytes, keys))
    for block in folder.glob("block-*.npy"):
        held = _load(block)
        if held is not None and all(bytes(key) in inside for key in held["key"]):
            block.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what killed calls left half-written."""
    for part in folder.glob(".*.npy.*"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > LEFT_OVER_SECONDS:
                part.unlink()


@contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise TellapartError(
                f"the disk that holds {folder} is full: free some space and run again, what was finished is kept"
            ) from None
        if error.errno in UNWRITABLE:
            raise TellapartError(f"{folder} cannot be written ({error.strerror}): give another cache folder") from None
        raise
