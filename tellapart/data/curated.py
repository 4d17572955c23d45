"""What curation found, kept by content: the same items are looked at once, and a changed file is noticed."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.version import VERSION
from tellapart.data.images import image_source
from tellapart.data.provenance import about, with_about
from tellapart.data.spool import write_words

SEEN = ("image", "series", "other_series", "box", "positive", "text", "anchor", "target")
FILES = ("image", "series", "other_series")
FOUND = ("hash", "group", "near", "link", "target", "origin")
LIBRARIES = ("pillow", "imagehash", "datasketch", "scipy", "numpy")
ROWS = 1024


def once(
    collection: Collection,
    rules: Mapping[str, Any],
    make: Callable[[], Collection],
    cache: Path,
    say: Callable[[str], None] | None = None,
) -> Collection:
    """What `make` gives for a collection, or what it gave before for the same items under the same rules.

    Args:
        rules: everything beside the items that the result depends on, as plain values.
        cache: the folder that results are kept in, one folder each, whole or not there.
        say: told when a result was there already.

    Raises:
        DataError: the folder cannot be written.
    """
    folder = cache / key(collection, rules)
    known = _recalled(collection, folder)
    if known is not None:
        if say is not None:
            say("duplicates: the files are those of an earlier run, so its result was read from the cache")
        return known
    made = make()
    columns = [name for name in FOUND if name in made.columns and made.provenance(name) is not None]
    kept = Collection(made.table.select(["id", *columns]).replace_schema_metadata(None))
    old, new = about(collection), about(made)
    facts = {name: value for name, value in new.items() if name != "notes" and value != old.get(name)}
    added = [note for note in new.get("notes", []) if note not in old.get("notes", [])]
    kept = with_about(kept, notes=added, **facts)
    problems = made.problems.slice(len(collection.problems))
    try:
        Collection(kept.table, problems=problems).save(folder)
    except OSError as error:
        raise write_words(error, folder) from None
    return made


def key(collection: Collection, rules: Mapping[str, Any]) -> str:
    """A hash of ids, texts and the bytes of the pictures and windows; of the rules; and of the versions that decide."""
    digest = hashlib.sha256(json.dumps([VERSION, _versions(), rules], sort_keys=True, default=str).encode())
    picture = functools.partial(_picture, root=collection.root)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for name in ("id", *(c for c in SEEN if c in collection.columns)):
            digest.update(f"\x1d{name}\x1d".encode())
            for start in range(0, len(collection), ROWS):
                values = collection[name].slice(start, ROWS).to_pylist()
                if name in FILES:
                    digest.update(b"".join(pool.map(picture, values)))
                else:
                    digest.update(json.dumps(values, default=str).encode())
    return digest.hexdigest()[:32]


def _picture(value: bytes | str | None, root: Path | None) -> bytes:
    try:
        source = image_source(value, root)
        if isinstance(source, bytes):
            return hashlib.sha256(source).digest()
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (OSError, DataError) as error:
        return hashlib.sha256(f"unreadable: {error}".encode("utf-8", "surrogatepass")).digest()


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found


def _recalled(collection: Collection, folder: Path) -> Collection | None:
    """The collection with what is kept in the folder; None where there is nothing, or nothing that can be read."""
    if not folder.is_dir():
        return None
    try:
        kept = Collection.open(folder)
        rows = np.asarray([collection.row_of[i] for i in kept.ids], np.int64)
    except (OSError, ValueError, KeyError):
        return None
    made = collection.take(rows) if len(rows) < len(collection) else collection
    for name in kept.columns[1:]:
        made = made.with_column(name, kept[name], by=kept.provenance(name))
    problems = [(p["id"], p["place"], p["reason"]) for p in kept.problems.to_pylist()]
    return with_about(made.with_problems(problems), **about(kept))
