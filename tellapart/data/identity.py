"""One identity for each item: the hash of its content and its duplicate group, found once and used everywhere."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from tellapart.core.close import cosine_pairs
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.needs import installed, require
from tellapart.core.pieces import done_once, threads, workers
from tellapart.core.progress import Progress
from tellapart.data.columns import RESERVED, WINDOWS
from tellapart.data.curated import key, once
from tellapart.data.groups import LINK, Groups, Links, count_groups, join
from tellapart.data.images import image_source, open_image
from tellapart.data.limits import PROBLEMS
from tellapart.data.neighbours import hamming_pairs, jaccard, shingles, text_pairs
from tellapart.data.origin import RULE as ORIGIN_RULE
from tellapart.data.origin import with_origin
from tellapart.data.problems import Problems, refuse_if_empty
from tellapart.data.provenance import with_about
from tellapart.data.regions import BOX, box_of
from tellapart.data.series import open_series, series_source

# To be raised whenever the code below gives other groups for the same items: results are kept under it.
RULE = 1
HASH_SIDE = 16
COLOUR_SIDE = 16
# (bits of 256, steps of 255 a colour) that both must not exceed; measured on drawings that differ in little and on
# copies of photographs, see docs/data.md. The more exactly the shapes agree, the more the colours may differ.
SAME = ((4, 6), (2, 16))
NEAR_BITS, NEAR_COLOUR = 12, 32
SAME_JACCARD, NEAR_JACCARD = 0.95, 0.8
SAME_COSINE = 0.98
BLOCK = 256
ASKED_AGAIN = 16


@dataclass(frozen=True)
class Pictures:
    """What was seen of the pictures of a collection, row by row.

    Attributes:
        digest: hash of the pixels, None for a picture that cannot be decoded.
        reason: why not.
        bits: [n, 32] uint8 perceptual hash; None without imagehash.
        colour: [n, 768] uint8, the picture at 16 x 16 pixels.
    """

    digest: list[str | None]
    reason: list[str]
    bits: np.ndarray | None
    colour: np.ndarray


def curate(
    collection: Collection,
    *,
    embeddings: np.ndarray | None = None,
    progress: Progress | None = None,
    same_cosine: float = SAME_COSINE,
    cache: str | Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Collection:
    """The collection with identities: what is the same item is known to be.

    Adds `hash` (of the decoded pixels, or of the normalised text), `group` (int64, duplicates have one number), `near`
    (int64, a wider set that a split never cuts), `link` (to, rule, distance: why an item is in its group) and, where
    one query stands with several answers and no `target` says so, `target`; where the file of any picture says how it
    was made, `origin` (`data.origin`). Pictures count where there are any,
    otherwise the `positive` of a pair, otherwise the text. Pictures that cannot be decoded go to `problems`; nothing
    else is dropped. A column of the user's own that has one of these names is kept as `source_NAME`, with a note.

    Args:
        embeddings: [n, d], row-aligned; pairs with a cosine of at least `same_cosine` then count as duplicates too.
        progress: called with (done, total).
        cache: a folder in which the result is kept by content: the same items are then looked at once.
        say: told in words when the result was in the cache.

    Raises:
        DataError: nothing is left, the embeddings do not fit, or the cache cannot be written.
    """
    if embeddings is not None and (np.ndim(embeddings) != 2 or len(embeddings) != len(collection)):
        raise DataError(f"embeddings must have one row for each of the {len(collection)} items")
    if embeddings is not None and not np.isfinite(embeddings).all():
        raise DataError("embeddings hold NaN or infinite values; embed the collection again")
    if not 0 < same_cosine <= 1:
        raise DataError(f"same_cosine is between 0 and 1, not {same_cosine}")
    rules = {"rule": RULE, "same": SAME, "near": (NEAR_BITS, NEAR_COLOUR, NEAR_JACCARD), "same_jaccard": SAME_JACCARD}
    rules["origin"] = ORIGIN_RULE
    if embeddings is not None:
        digest = hashlib.sha256(np.ascontiguousarray(embeddings).data).hexdigest()
        rules |= {"embeddings": digest, "same_cosine": same_cosine}

    collection = _own_kept(collection)

    def make() -> Collection:
        return _curated(collection, embeddings, progress, same_cosine)

    return once(collection, rules, make, Path(cache), say) if cache is not None else make()


def _own_kept(collection: Collection) -> Collection:
    """The collection with its own columns out of the way of those that curation makes; made ones are made anew."""
    names, notes = collection.columns, []
    for place, name in enumerate(names):
        if name in RESERVED and collection.provenance(name) is None:
            new = f"source_{name}"
            while new in names:
                new += "_"
            names[place] = new
            notes.append(f"the column {name!r} is kept as {new!r}, because curation writes a column of that name")
    if not notes:
        return collection
    return with_about(Collection(collection.table.rename_columns(names), problems=collection.problems), notes=notes)


def _curated(
    collection: Collection, embeddings: np.ndarray | None, progress: Progress | None, same_cosine: float
) -> Collection:
    notes: list[str] = []
    if "image" in collection.columns:
        collection, kept, hashes, found = _by_pictures(collection, progress, notes)
        embeddings = embeddings[kept] if embeddings is not None else None
    elif (window := next((c for c in reversed(WINDOWS) if c in collection.columns), None)) is not None:
        collection, kept, hashes, found = _by_windows(collection, window, notes)
        embeddings = embeddings[kept] if embeddings is not None else None
    else:
        column = next((c for c in ("positive", "text") if c in collection.columns), None)
        if column is None:
            raise DataError(
                f"nothing to tell items apart by: give image, text, positive or series, not only {collection.columns}"
            )
        hashes, found = _by_texts(collection.values(column), progress, notes)
    if embeddings is not None:
        found.append(_by_vectors(embeddings, same_cosine, progress))
    groups = join(len(collection), found)
    by = {"part": "curate", "same": SAME, "same_jaccard": SAME_JACCARD,
          "same_cosine": same_cosine if embeddings is not None else None}  # fmt: skip
    made = collection.with_column("hash", pa.array(hashes, pa.string()), by=by)
    made = made.with_column("group", pa.array(groups.group), by=by).with_column("near", pa.array(groups.near), by=by)
    made = made.with_column("link", _link_column(collection, groups), by=by)
    made = _with_target(made, notes)
    made = with_origin(made) if "image" in made.columns else made
    duplicates = len(made) - (int(groups.group.max()) + 1)
    notes.append(f"{duplicates} items repeat another one" if duplicates else "no item repeats another one")
    if groups.refused:
        notes.append(
            f"{groups.refused} pairs that look alike were not made one group: what they would unite is too far apart"
        )
    return with_about(made, groups_at=_levels(len(made), found), notes=notes)


def normal(text: str) -> str:
    """A text as compared for equality: compatible characters unified, case folded, white space single."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_hash(text: str) -> str:
    """32 hex digits of the normalised text."""
    return hashlib.sha256(normal(text).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def image_hash(image: Image.Image) -> str:
    """32 hex digits of size and pixels of an upright RGB picture, whatever file they came from."""
    return hashlib.sha256(f"{image.width}x{image.height}:".encode() + image.tobytes()).hexdigest()[:32]


def look(collection: Collection, progress: Progress | None = None) -> Pictures:
    """Decode every picture once, by blocks, and keep its hashes: in threads, or where workers do the pieces, there."""
    if workers() is None or len(collection) <= BLOCK:
        return _looked(collection, progress, min(8, os.cpu_count() or 1))
    starts = range(0, len(collection), BLOCK)
    names = ["id", "image", *(name for name in (BOX,) if name in collection.columns)]
    held = Collection(collection.table.select(names), root=collection.root and collection.root.absolute())
    parts = []
    pieces = done_once(
        _Looking(held.root), lambda n: held.table.slice(starts[n], BLOCK).combine_chunks(), len(starts),
        lambda: key(held, {"look": RULE, "imagehash": installed("imagehash")}),
    )  # fmt: skip
    for start, table in zip(starts, pieces, strict=True):
        parts.append(table)
        if progress is not None:
            progress(start + len(table), len(collection))
    seen = pa.concat_tables(parts)
    bits, colour = (_matrix(seen[name]) for name in ("bits", "colour"))
    if (bits is None) != (not installed("imagehash")):
        raise DataError("imagehash is installed on this machine or on the workers, but not on both: make them alike")
    unread = [row for row, digest in enumerate(seen["digest"].to_pylist()) if digest is None][:ASKED_AGAIN]
    if any(_looked(held.take(unread), None, 1).digest):
        raise DataError(
            f"workers cannot open {held.ids[unread[0]]!r}, and here it opens: give paths that all machines see"
        )
    return Pictures(seen["digest"].to_pylist(), seen["reason"].to_pylist(), bits, colour)


@dataclass(frozen=True)
class _Looking:
    """What is seen of the pictures of a piece, a few columns of the collection."""

    root: Path | None

    def __call__(self, piece: pa.Table) -> pa.Table:
        seen = _looked(Collection(piece, root=self.root), None, threads())
        bits = [None] * len(piece) if seen.bits is None else [row.tobytes() for row in seen.bits]
        colour = [row.tobytes() for row in seen.colour]
        columns = [pa.array(x, kind) for x, kind in ((seen.digest, pa.string()), (seen.reason, pa.string()))]
        columns += [pa.array(x, pa.binary()) for x in (bits, colour)]
        return pa.table(columns, ["digest", "reason", "bits", "colour"])


def _matrix(rows: pa.ChunkedArray) -> np.ndarray | None:
    if rows.null_count:
        return None
    return np.frombuffer(b"".join(rows.to_pylist()), np.uint8).reshape(len(rows), -1)


def _looked(collection: Collection, progress: Progress | None, threads: int) -> Pictures:
    perceptual = require("imagehash", "perceptual hashes").phash if installed("imagehash") else None
    n, root = len(collection), collection.root
    digest: list[str | None] = [None] * n
    reason = [""] * n
    bits = np.zeros((n, HASH_SIDE * HASH_SIDE // 8), np.uint8)
    colour = np.zeros((n, COLOUR_SIDE * COLOUR_SIDE * 3), np.uint8)

    def one(row: int, value: Any) -> None:
        try:
            image = open_image(image_source(value, root), box=box_of(collection, row))
        except DataError as error:
            reason[row] = str(error)
            return
        digest[row] = image_hash(image)
        colour[row] = np.asarray(image.resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.BOX)).ravel()
        if perceptual is not None:
            bits[row] = np.packbits(perceptual(image, hash_size=HASH_SIDE).hash.ravel())

    column = collection["image"]
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, n, BLOCK):
            values = column.slice(start, BLOCK).to_pylist()
            list(pool.map(one, range(start, start + len(values)), values))
            if progress is not None:
                progress(min(start + BLOCK, n), n)
    return Pictures(digest, reason, bits if perceptual is not None else None, colour)


def _by_pictures(
    collection: Collection, progress: Progress | None, notes: list[str]
) -> tuple[Collection, np.ndarray, list[str], list[Links]]:
    seen = look(collection, progress)
    kept = np.flatnonzero([d is not None for d in seen.digest])
    if len(kept) < len(collection):
        problems = Problems(PROBLEMS)
        values = collection["image"]
        for row in np.setdiff1d(np.arange(len(collection)), kept):
            value = values[int(row)].as_py()
            problems.add(str(collection.ids[row]), value if isinstance(value, str) else "", seen.reason[row])
        collection = collection.take(kept).with_problems(problems.rows())
        refuse_if_empty(len(kept), problems, "the collection", "Give pictures that can be opened.")
    hashes = [d for d in seen.digest if d is not None]
    found = [_equal(hashes)]
    if seen.bits is None:
        notes.append("imagehash is not installed, so only equal pictures are found: pip install 'tellapart[curate]'")
        return collection, kept, hashes, found
    bits, colour = seen.bits[kept], seen.colour[kept]
    first = np.unique(np.asarray(hashes), return_index=True)[1]
    first.sort()
    a, b, distance = hamming_pairs(bits[first], NEAR_BITS)
    a, b = first[a], first[b]
    apart = _colours_apart(colour, a, b)
    close = apart <= NEAR_COLOUR
    a, b, distance, apart = a[close], b[close], distance[close], apart[close]

    def guard(one: np.ndarray, other: np.ndarray) -> bool:
        x, y = np.repeat(one, len(other)), np.tile(other, len(one))
        far = np.bitwise_count(bits[x] ^ bits[y]).sum(axis=1).max()
        return bool(far <= 2 * SAME[0][0] and _colours_apart(colour, x, y).max() <= 2 * SAME[1][1])

    tight = np.any([(distance <= bits_) & (apart <= steps) for bits_, steps in SAME], axis=0)
    # Bits decide; among equal bits the colours do.
    found.append(Links("perceptual hash", a, b, distance + apart / 256, tight, guard, (1, 3, 5, 9, 13)))
    return collection, kept, hashes, found


def window_hash(window: np.ndarray) -> str:
    """32 hex digits of shape and values of a window [channels, steps] float32, whatever file they came from."""
    return hashlib.sha256(f"{window.shape}:".encode() + window.tobytes()).hexdigest()[:32]


def _by_windows(
    collection: Collection, column: str, notes: list[str]
) -> tuple[Collection, np.ndarray, list[str], list[Links]]:
    """Equal windows alone: how unlike two recordings of one event may be, nothing here knows."""
    problems, kept = Problems(PROBLEMS), []
    names = [name for name in WINDOWS if name in collection.columns]
    hashes: dict[str, list[str]] = {name: [] for name in names}
    for row in range(len(collection)):
        values = {name: collection[name][row].as_py() for name in names}
        try:
            held = {n: window_hash(open_series(series_source(v, collection.root))) for n, v in values.items()}
        except DataError as error:
            place = next((v for v in values.values() if isinstance(v, str)), "")
            problems.add(str(collection.ids[row]), place, str(error))
            continue
        kept.append(row)
        for name in names:
            hashes[name].append(held[name])
    if len(kept) < len(collection):
        collection = collection.take(kept).with_problems(problems.rows())
        refuse_if_empty(len(kept), problems, "the collection", "Give windows that can be opened.")
    notes.append(
        "only equal windows count as duplicates: name in `concept` what a split must not cut, as the recording"
    )
    first = hashes[names[0]]
    if names[0] != column and "target" not in collection.columns and len({*first}) < len(first):
        notes.append(f"{len(first) - len({*first})} windows of {names[0]} repeat another: items with one are positive")
        collection = collection.with_column("target", pa.array(first), by={"part": "curate", "column": names[0]})
    return collection, np.asarray(kept, np.int64), hashes[column], [_equal(hashes[column])]


def _by_texts(texts: Sequence[str], progress: Progress | None, notes: list[str]) -> tuple[list[str], list[Links]]:
    plain = [normal(t) for t in texts]
    hashes = [text_hash(t) for t in texts]
    found = [_equal(hashes)]
    if not installed("datasketch"):
        notes.append("datasketch is not installed, so only equal texts are found: pip install 'tellapart[curate]'")
        return hashes, found
    first = np.unique(np.asarray(hashes), return_index=True)[1]
    first.sort()
    a, b, score = text_pairs([plain[i] for i in first], NEAR_JACCARD, SAME_JACCARD, progress)
    a, b = first[a], first[b]

    def guard(one: np.ndarray, other: np.ndarray) -> bool:
        left, right = [shingles(plain[i]) for i in one], [shingles(plain[i]) for i in other]
        return all(jaccard(x, y) >= NEAR_JACCARD for x in left for y in right)

    found.append(Links("shared shingles", a, b, 1 - score, score >= SAME_JACCARD, guard, (0.05, 0.1, 0.2001)))
    return hashes, found


def _by_vectors(z: np.ndarray, threshold: float, progress: Progress | None) -> Links:
    a, b, score = cosine_pairs(z, threshold, progress)
    unit = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)

    def guard(one: np.ndarray, other: np.ndarray) -> bool:
        return bool((unit[one] @ unit[other].T).min() >= 1 - 2 * (1 - threshold))

    return Links("neighbouring vectors", a, b, 1 - score, np.ones(len(a), bool), guard)


def _equal(hashes: Sequence[str]) -> Links:
    first: dict[str, int] = {}
    pairs = [(first[h], i) for i, h in enumerate(hashes) if first.setdefault(h, i) != i]
    a, b = np.asarray(pairs, np.int64).reshape(-1, 2).T
    return Links("equal content", a, b, np.zeros(len(a), np.float32), np.ones(len(a), bool))


def _colours_apart(colour: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The greatest difference of two pictures at 16 x 16 pixels, in steps of 255."""
    apart = np.zeros(len(a), np.int64)
    for start in range(0, len(a), 65_536):
        block = slice(start, start + 65_536)
        apart[block] = np.abs(colour[a[block]].astype(np.int16) - colour[b[block]]).max(axis=1)
    return apart


def _link_column(collection: Collection, groups: Groups) -> pa.Array:
    ids = collection.ids
    rows = [
        None if link is None else {"to": ids[link[0]], "rule": link[1], "distance": link[2]} for link in groups.links
    ]
    return pa.array(rows, LINK)


def _with_target(collection: Collection, notes: list[str]) -> Collection:
    """Several answers of one query are all positive: they get one `target` where none was given."""
    several = {"image", *WINDOWS} & {*collection.columns}
    column = "anchor" if "anchor" in collection.columns else "text" if several else ""
    if column not in collection.columns or "target" in collection.columns:
        return collection
    keys = [text_hash(t) for t in collection.values(column)]
    if len(set(keys)) == len(keys):
        return collection
    notes.append(
        f"{len(keys) - len(set(keys))} rows repeat the {column} of another: items with one {column} are positive"
    )
    return collection.with_column("target", pa.array(keys), by={"part": "curate", "column": column})


def _levels(n: int, found: Sequence[Links]) -> list[dict[str, Any]]:
    """How many groups there are at stricter and looser thresholds, without guards."""
    levels: list[dict[str, Any]] = [{"rule": "equal content", "groups": count_groups(n, found[:1], lambda x: x.tight)}]
    for links in found[1:]:
        both = [found[0], links]
        for level in links.levels:
            at = count_groups(n, both, lambda x, level=level: x.distance < level)  # type: ignore[misc]
            levels.append({"rule": links.rule, "below": level, "groups": at})
    return levels
