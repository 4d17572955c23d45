"""Rows of a reference picture, a change in words and the picture that comes out; and all pictures that are searched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data.columns import DERIVED
from tellapart.data.identity import normal
from tellapart.data.images import image_source, open_image
from tellapart.data.problems import Problems
from tellapart.data.provenance import with_about
from tellapart.data.searched import DOCUMENT, QUERY, described

REFERENCE, OWN = "other_image", "reference_id"
OF_THE_REFERENCE = "reference_"
PROBLEMS = 1000
INNER = {*DERIVED, "id", "image", "text", REFERENCE, "split", "target", "score", "alternatives", QUERY, DOCUMENT, OWN}


def composed(collection: Collection) -> bool:
    """Whether rows have a picture that is found, words, and a reference picture that the words change."""
    return {"image", "text", REFERENCE} <= set(collection.columns)


def gallery(collection: Collection) -> tuple[Collection, Collection]:
    """(rows with `query_id`, `document_id` and `reference_id`; all their pictures, each once).

    A picture is a file or bytes: equal content is one picture. It goes by its path, or where it is bytes by the id of
    the first row that it is the target of (or of the first that refers to it, with ` reference` behind). Rows of one
    reference and equal words are one query with several right answers. What a row says of its target in further columns
    stands with the picture; a column `reference_x` says of the reference what `x` does of the target.

    References that cannot be opened go to `problems` with their rows.
    """
    rows, keys = _readable(collection)
    names, taken = dict[bytes, str](), set[str]()
    first: dict[bytes, tuple[int, bool]] = {}
    for place, column in enumerate(("image", REFERENCE)):
        for row, key in enumerate(keys[place]):
            if key is not None and key not in first:
                first[key] = (row, column == "image")
                value = rows[column][row].as_py()
                name = value if isinstance(value, str) else str(rows.ids[row]) + (" reference" if place else "")
                names[key] = name if name not in taken else f"{name} {key.hex()[:8]}"
                taken.add(names[key])
    said = [normal(text or "") for text in rows.values("text")]
    documents = [names[key] for key in keys[0] if key is not None]
    owns = [names[key] if key is not None else None for key in keys[1]]
    asked = [_name(own, words) for own, words in zip(owns, said, strict=True)]
    for column, values in ((QUERY, asked), (DOCUMENT, documents), (OWN, owns)):
        rows = rows.with_column(column, pa.array(values, pa.string()), by={"part": "gallery"})
    if "target" not in rows.columns or (rows.provenance("target") or {}).get("part") == "curate":
        # Equal words alone make nothing right: they change a picture.
        rows = rows.with_column("target", pa.array(asked, pa.string()), by={"part": "gallery"})
    pictures = _pictures(rows, first, [names[key] for key in first])
    pictures = described(pictures, rows, columns=("split",) if "split" in rows.columns else ())
    told = f"{len(pictures)} pictures are searched, references included; {len(set(asked))} different queries"
    return with_about(rows, notes=[told]), pictures


def picture_codes(collection: Collection) -> np.ndarray:
    """[n, 2] int64 of target and reference, equal where the picture is one; -1 where there is none."""
    if OWN in collection.columns:
        held: Sequence[Sequence[Any]] = (collection.values(DOCUMENT), collection.values(OWN))
    else:
        held = _contents(collection)
    codes: dict[Any, int] = {}
    found = [[-1 if x is None else codes.setdefault(x, len(codes)) for x in column] for column in held]
    return np.asarray(found, np.int64).T


def question_codes(collection: Collection, pictures: np.ndarray) -> np.ndarray:
    """[n] int64, equal for rows of one reference and equal words; `pictures` as `picture_codes` gives them."""
    codes: dict[tuple[int, str], int] = {}
    texts = collection.values("text")
    return np.asarray(
        [
            codes.setdefault((int(own), normal(text or "")), len(codes))
            for own, text in zip(pictures[:, 1], texts, strict=True)
        ],
        np.int64,
    )


def _name(own: str | None, words: str) -> str:
    return hashlib.sha256(f"{own}\n{words}".encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _contents(collection: Collection) -> list[list[bytes | None]]:
    known: dict[str, bytes] = {}

    def key(row: int, value: Any) -> bytes | None:
        if value is None:
            return None
        source = image_source(value, collection.root)
        if isinstance(source, bytes):
            return hashlib.sha256(source).digest()
        if value not in known:
            try:
                known[value] = hashlib.sha256(source.read_bytes()).digest()
            except OSError as error:
                raise DataError(f"item {collection.ids[row]!r}: {value} cannot be read: {error.strerror}") from None
        return known[value]

    return [
        [key(row, value.as_py()) for row, value in enumerate(collection[column])] for column in ("image", REFERENCE)
    ]


def _readable(collection: Collection) -> tuple[Collection, list[list[bytes | None]]]:
    """The rows whose references can be opened, and the contents of both pictures."""
    problems, kept, seen = Problems(PROBLEMS), [], dict[Any, str]()
    for row, cell in enumerate(collection[REFERENCE]):
        value = cell.as_py()
        if value is not None and value not in seen:
            try:
                open_image(image_source(value, collection.root))
                seen[value] = ""
            except DataError as error:
                seen[value] = str(error)
        if value is not None and seen[value]:
            place = value if isinstance(value, str) else ""
            problems.add(str(collection.ids[row]), place, f"the reference: {seen[value]}")
        else:
            kept.append(row)
    if not kept:
        raise DataError("no reference picture could be opened: give paths below the folder of the table, or bytes")
    if len(kept) < len(collection):
        collection = collection.take(np.asarray(kept)).with_problems(problems.rows())
    return collection, _contents(collection)


def _pictures(rows: Collection, first: dict[bytes, tuple[int, bool]], ids: list[str]) -> Collection:
    """One row a picture, with what is said of it by the first row that holds it."""
    at = pa.array([row for row, _ in first.values()])
    target = pa.array([is_target for _, is_target in first.values()])
    of_target, of_reference = rows["image"].combine_chunks().take(at), rows[REFERENCE].combine_chunks().take(at)
    image = pa.compute.if_else(target, of_target, of_reference.cast(of_target.type))
    columns = {"id": pa.array(ids), "image": image, "text": pa.nulls(len(ids), pa.string())}
    for name in rows.columns:
        if name in INNER or name.startswith(OF_THE_REFERENCE):
            continue
        told = rows[name].combine_chunks().take(at)
        other = f"{OF_THE_REFERENCE}{name}"
        beside = pa.nulls(len(ids), told.type)
        if other in rows.columns and rows[other].type == told.type:
            beside = rows[other].combine_chunks().take(at)
        if pa.types.is_nested(told.type):
            continue
        columns[name] = pa.compute.if_else(target, told, beside)
    made = Collection(pa.table(columns), root=rows.root)
    return made
