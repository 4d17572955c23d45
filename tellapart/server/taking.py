"""What may be put into a collection while it is served, checked before anything is written, and made into vectors."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from tellapart.core.collection import ID, Collection, Sides, modality_of
from tellapart.core.errors import DataError, near
from tellapart.data.sound import is_sound
from tellapart.server.journal import VECTOR_WIDTH
from tellapart.server.limits import ID_CHARACTERS, PIXELS, TooLargeError, check_upload
from tellapart.server.snapshot import unit_rows

DERIVED = ("hash", "group", "near", "link", "split")
ENCODED_AT_ONCE = 64
WORDS = {"text": "a text", "image": "a picture", "series": "a window of a recording (.npy)"}
KEPT = "journal"
COLUMNS_CHARACTERS = 1_000_000


@dataclass(frozen=True)
class Given:
    """An item as somebody gives it.

    Attributes:
        columns: values by column; None takes a value away. Of an item that is there, other columns stay as they are.
        file: the bytes of its picture, or of a window of a recording (.npy).
        vector: in place of what the model would make of it, such as one that was made elsewhere.
    """

    id: str
    columns: Mapping[str, Any] = field(default_factory=dict)
    file: bytes | None = None
    vector: Sequence[float] | np.ndarray | None = None


class Taking:
    """What items of a collection must be like.

    Args:
        collection: whose columns count.
        model: encodes documents.
    """

    def __init__(self, collection: Collection, sides: Sides, model: Any) -> None:
        self.schema, self.sides, self.model = collection.table.schema, sides, model
        self.derived = {c for c in collection.columns if c in DERIVED or collection.provenance(c) is not None}
        picture = next((s for s in (sides.document, sides.query) if s.modality != "text"), None)
        self.file_column = picture.column if picture else ("image" if "image" in collection.columns else None)
        self.file_kind = picture.modality if picture else "image"
        self._encoding = threading.Lock()

    def check(self, given: Given) -> Given:
        """The same item with its vector as an array.

        Raises:
            DataError: an id, a column, a value, a file or a vector that cannot be taken, in words.
        """
        check_id(given.id)
        for name, value in given.columns.items():
            self._check_column(given.id, name, value)
        size = sum(len(str(k)) + len(str(v)) for k, v in given.columns.items())
        if size > COLUMNS_CHARACTERS:
            raise TooLargeError(
                f"the columns of {given.id!r} have {size:,} characters, and {COLUMNS_CHARACTERS:,} are taken"
            )
        document = self.sides.document
        if document.modality == "text" and not str(given.columns.get(document.column, "-") or "").strip():
            raise DataError(f"the item {given.id!r} has no text in {document.column!r}, and that is what is searched")
        if given.file is not None:
            self._check_file(given)
        return given if given.vector is None else replace(given, vector=self._vector(given.id, given.vector))

    def has_content(self, given: Given) -> bool:
        """Whether what is searched is given."""
        document = self.sides.document
        return given.file is not None if document.column == self.file_column else document.column in given.columns

    def missing(self, id_: str) -> DataError:
        """What is said of a new item without what is searched."""
        column, kind = self.sides.document.column, WORDS[self.sides.document.modality]
        return DataError(
            f"there is no item {id_!r} yet, and a new one needs {kind} ({column!r}), which is what is searched"
        )

    def encode(self, items: Sequence[Given]) -> tuple[list[np.ndarray | None], list[str]]:
        """(the vector of each item of which what is searched is given, notes)."""
        found: list[np.ndarray | None] = [None] * len(items)
        wanted = []
        for n, given in enumerate(items):
            if self.has_content(given):
                if given.vector is None:
                    wanted.append(n)
                else:
                    found[n] = np.asarray(given.vector, np.float32)
            elif given.vector is not None:
                raise DataError(
                    f"the item {given.id!r} is given a vector without {WORDS[self.sides.document.modality]}: give both"
                )
        notes = []
        encoder = getattr(self.model, "encoders", {}).get(self.sides.document.modality)
        with self._encoding:
            before = getattr(encoder, "truncated_", 0)
            for start in range(0, len(wanted), ENCODED_AT_ONCE):
                some = wanted[start : start + ENCODED_AT_ONCE]
                z = np.asarray(self.model.encode_document([self._content(items[n]) for n in some]), np.float32)
                for n, vector in zip(some, z, strict=True):
                    found[n] = self._vector(items[n].id, vector)
            if (cut := getattr(encoder, "truncated_", 0) - before) > 0:
                reads = getattr(encoder, "max_tokens", None)
                longer = "A text is" if cut == 1 else f"{cut} texts are"
                notes.append(f"{longer} longer than the model reads: cut{f' after {reads} tokens' if reads else ''}.")
        return found, notes

    def marker(self) -> Any:
        """What stands in the column of pictures where the bytes lie in the journal."""
        assert self.file_column is not None
        kind = self.schema.field(self.file_column).type
        if pa.types.is_struct(kind):
            return {f.name: KEPT if f.name == "path" else None for f in kind}
        return KEPT.encode() if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) else KEPT

    def _content(self, given: Given) -> Any:
        document = self.sides.document
        if document.column != self.file_column:
            return given.columns[document.column]
        assert given.file is not None
        return opened(given.file, document.modality)

    def _check_column(self, id_: str, name: str, value: Any) -> None:
        if name == ID:
            if value != id_:
                raise DataError(f"the item {id_!r} gives itself the id {str(value)[:80]!r}; leave the column out")
            return
        if name not in self.schema.names:
            known = [n for n in self.schema.names if n not in self.derived and n != ID]
            raise DataError(f"the collection has no column {name[:80]!r}; {near(name[:80], known)}")
        if name in self.derived:
            raise DataError(f"the column {name!r} is made by curation and cannot be given; leave it out")
        if name == self.file_column or modality_of(name) in ("image", "series"):
            raise DataError(
                f"the column {name!r} holds files: send the item as multipart, with the file beside its columns"
            )
        if value is not None:
            _check_value(name, self.schema.field(name).type, value)

    def _check_file(self, given: Given) -> None:
        assert given.file is not None
        if self.file_column is None:
            raise DataError(
                f"the item {given.id!r} is given a file, and the items of this collection are texts: give the column "
                f"{self.sides.document.column!r}"
            )
        check_upload(len(given.file))
        found = "series" if is_sound(given.file[:12]) or given.file.startswith(b"\x93NUMPY") else "image"
        if found != self.file_kind:
            raise DataError(
                f"the item {given.id!r} is given {WORDS[found]}, and this collection holds {WORDS[self.file_kind]}"
            )
        try:
            opened(given.file, self.file_kind)
        except DataError as error:
            what = "window" if self.file_kind == "series" else "picture"
            raise DataError(f"the {what} of {given.id!r} cannot be used: {error}") from None

    def _vector(self, id_: str, vector: Any) -> np.ndarray:
        try:
            z = np.asarray(vector, np.float32)
        except (TypeError, ValueError):
            raise DataError(f"the vector of {id_!r} must be a list of numbers") from None
        dim = getattr(self.model, "dim", None)
        if z.ndim != 1 or not 0 < len(z) <= VECTOR_WIDTH or dim not in (None, len(z)):
            raise DataError(f"the vector of {id_!r} has the shape {z.shape}, and the model's have {dim} numbers")
        if not np.isfinite(z).all():
            raise DataError(f"the vector of {id_!r} holds a value that is not finite")
        if not float(np.linalg.norm(z.astype(np.float64))) > 0:
            raise DataError(f"the vector of {id_!r} holds nothing but zeros")
        return unit_rows(z[None])[0]


def opened(content: bytes, kind: str) -> Any:
    """A picture or a window from the bytes of its file."""
    from tellapart.data.images import open_image
    from tellapart.data.series import open_series

    return open_series(content) if kind == "series" else open_image(content, max_pixels=PIXELS)


def check_id(id_: Any) -> str:
    """An id that can be kept and be part of an address."""
    if not isinstance(id_, str) or not id_.strip():
        raise DataError("an item needs an id: some characters")
    if len(id_) > ID_CHARACTERS:
        raise DataError(f"an id may have {ID_CHARACTERS} characters, and {id_[:40]!r}… has {len(id_)}")
    if not _unicode(id_) or any(ord(c) < 32 or ord(c) == 127 for c in id_):
        raise DataError(f"the id {id_[:80]!r} holds characters that cannot be shown")
    return id_


def _unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_value(name: str, kind: pa.DataType, value: Any) -> None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    good = False
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        good = isinstance(value, str) and _unicode(value)
    elif pa.types.is_boolean(kind):
        good = isinstance(value, bool)
    elif pa.types.is_integer(kind):
        good = isinstance(value, int) and not isinstance(value, bool)
    elif pa.types.is_floating(kind):
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        good = isinstance(value, list)
        for part in value if good else ():
            if part is not None:
                _check_value(name, kind.value_type, part)
    else:
        raise DataError(f"the column {name!r} holds {kind}, which cannot be given here")
    if good:
        try:
            pa.scalar(value, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            good = False
    if not good:
        raise DataError(f"the column {name!r} holds {kind}, and {str(value)[:60]!r} ({_called(value)}) does not fit")


def _called(value: Any) -> str:
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)
