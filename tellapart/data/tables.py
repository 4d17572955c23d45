"""From the rows of a table to a collection: every cell checked, what is wrong with one in `problems`, the rest kept."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tellapart.core.collection import Collection, modality_of
from tellapart.core.errors import DataError
from tellapart.core.progress import Progress
from tellapart.data.columns import MORE_NEGATIVES, WINDOWS, Roles, looks_like_pictures, roles, split_of
from tellapart.data.frames import COLUMN as FRAMES
from tellapart.data.frames import PART as BY_FRAMES
from tellapart.data.frames import Sheets
from tellapart.data.images import Header, probe
from tellapart.data.limits import IMAGE_BYTES, NAME_CHARS, TEXT_CHARS, size_words
from tellapart.data.paths import below
from tellapart.data.problems import Problems, refuse_if_empty
from tellapart.data.provenance import with_about
from tellapart.data.regions import REGION_TYPE, boxes, fitted
from tellapart.data.series import Shapes, may_be_window, open_series, packed, series_source
from tellapart.data.spool import Spool

Row = tuple[str, dict[str, Any]]

THREADS = 8
ATTRIBUTES = 1000
LIST_TYPES = {"regions": REGION_TYPE, "attributes": pa.list_(pa.string())}
ADVICE = (
    "Give rows with `image` and `text` or `label`, `anchor` and `positive`, `series` and `other_series` or `label`, or "
    "`text` and `label`."
)
ONE_SIDED: ContextVar[bool] = ContextVar("rows of one side only", default=False)


@contextmanager
def one_sided() -> Iterator[None]:
    """Around a reading: of pairs, only the rows that lack one of the two sides are taken, and no others."""
    before = ONE_SIDED.set(True)
    try:
        yield
    finally:
        ONE_SIDED.reset(before)


@dataclass
class _State:
    """What has been learnt over the blocks so far; `lacking`: the sides, where rows of one side only are taken."""

    roles: Roles
    root: Path
    problems: Problems
    image_bytes: bool
    alternatives: bool
    spool: Spool
    windows: dict[str, Shapes]
    seen: dict[str, int] = field(default_factory=dict)
    types: dict[str, set[type]] = field(default_factory=dict)
    misnamed: list[str] = field(default_factory=list)
    later: set[str] = field(default_factory=set)
    lacking: tuple[str, ...] = ()
    repeated: int = 0
    items: int = 0


def in_blocks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """The rows by blocks of that size, the last one smaller; each is made when it is asked for."""
    rows = iter(rows)
    while block := list(islice(rows, size)):
        yield block


def collect(
    blocks: Iterable[list[Row]],
    *,
    source: str,
    root: Path,
    columns: Mapping[str, str] | None = None,
    typed: bool = True,
    cache: str | Path | None = None,
    progress: Progress | None = None,
    total: int | None = None,
    problems: Problems | None = None,
    drop: Iterable[str] = (),
    advice: str = ADVICE,
) -> Collection:
    """A collection from blocks of rows.

    Args:
        blocks: lists of (place, {source column: value}); the first one decides which columns there are.
        source: what to call it in messages.
        root: the folder that paths of pictures are relative to, and that they may not leave.
        columns: role -> source column, where names do not say it.
        typed: False when every value is text, as in CSV: numbers are then read off whole columns.
        drop: source columns to leave out.

    Raises:
        DataError: when the columns cannot be understood or when nothing is left.
    """
    problems = problems if problems is not None else Problems()
    dropped = set(drop)
    blocks = laid = Sheets(blocks, root, columns or {}, problems)
    columns = {role: column for role, column in (columns or {}).items() if role != FRAMES}
    state: _State | None = None
    spool = Spool(cache)
    done = 0
    try:
        for block in blocks:
            if state is None:
                names = dict.fromkeys(n for _, row in block for n in row if n not in dropped)
                if not names and not block:
                    continue
                nested = {n for _, row in block for n, v in row.items() if isinstance(v, list | dict)}
                windows = {n for _, row in block for n, v in row.items() if may_be_window(v)}
                found = roles(names, source, columns, nested=nested, windows=windows)
                state = _begin(block, found, root, problems, spool)
            _take(block, state, dropped)
            done += len(block)
            if progress is not None:
                progress(done, total or done)
        if state is None:
            refuse_if_empty(0, problems, source, advice)
            raise DataError(f"{source} holds no items. {advice}")
        if not ONE_SIDED.get():
            refuse_if_empty(state.items, problems, source, advice)
        table = spool.table()
    finally:
        spool.close()
    if table is None:
        table = _schema(state).empty_table()
    table = _typed(table, state, typed)
    collection = Collection(table, root=root)
    if laid.column:
        collection = collection.with_column(FRAMES, collection[FRAMES], by={"part": BY_FRAMES})
    collection = collection.with_problems(problems.rows())
    return with_about(collection, source=source, notes=_notes(state))


def _begin(block: list[Row], found: Roles, root: Path, problems: Problems, spool: Spool) -> _State:
    for role in ("text", "anchor", "positive"):
        if (role in found.of and found.kind != "image") or (role == "text" and role in found.of):
            column = found.of[role]
            if looks_like_pictures([row.get(column) for _, row in block[:200]]):
                raise DataError(
                    f"the column {column!r} would be {role!r}, and it holds paths of pictures: name it `image` and "
                    f"give `text` or `label` beside it (pictures are paired by `label` or `target`)"
                )
    images = [row.get(column) for role, column in found.of.items() if modality_of(role) == "image" for _, row in block]
    as_bytes = any(isinstance(v, bytes) or (isinstance(v, dict) and isinstance(v.get("bytes"), bytes)) for v in images)
    texts = [row.get(found.of["text"]) for _, row in block] if "text" in found.of else []
    alternatives = "alternatives" in found.of or bool(found.captions) or any(isinstance(v, list) for v in texts)
    windows = {
        role: Shapes(as_bytes=not all(isinstance(row.get(found.of[role]), str | None) for _, row in block))
        for role in found.of
        if modality_of(role) == "series"
    }
    state = _State(found, root, problems, as_bytes, alternatives, spool, windows)
    if ONE_SIDED.get():
        state.lacking = _sides(state)
    return state


def _sides(state: _State) -> tuple[str, ...]:
    """The columns of the two sides; none where items are of one column."""
    try:
        sides = Collection(_schema(state).empty_table()).sides()
    except DataError:
        return ()
    return () if sides.same_space else (sides.query.column, sides.document.column)


def _take(block: list[Row], state: _State, dropped: set[str]) -> None:
    known = {*state.roles.of.values(), *state.roles.captions, *state.roles.filters, *dropped}
    rows, places = [], []
    for place, row in block:
        state.later.update(n for n in row if n not in known)
        try:
            made = _row(row, state)
        except DataError as error:
            state.problems.add(_name(row, state), place, str(error))
            continue
        if ONE_SIDED.get() and sum(made[side] is not None for side in state.lacking) != 1:
            continue
        rows.append(made)
        places.append(place)
    for role in state.roles.of:
        if modality_of(role) == "image":
            rows, places = _with_pictures(role, rows, places, state)
    if state.windows:
        rows = _with_windows(rows, places, state)
    if not rows:
        return
    for made in rows:
        made["id"] = _id(made, state)
    state.items += len(rows)
    schema = _schema(state)
    state.spool.add(pa.table({f.name: pa.array([r.get(f.name) for r in rows], f.type) for f in schema}, schema=schema))


def _row(row: dict[str, Any], state: _State) -> dict[str, Any]:
    made: dict[str, Any] = {}
    further = state.roles.further
    for role, column in state.roles.of.items():
        value = row.get(column)
        empty = _nothing(value) if role in state.lacking else value is None or value == "" or value == {}
        if empty and (role in further or role in state.lacking):
            made[role] = None
        elif modality_of(role) == "image":
            made[role] = _picture(value, column)
        elif role in ("text", "anchor", "positive") or modality_of(role) == "text":
            if role == "text" and isinstance(value, list):
                captions = [_text(v, column) for v in value if v is not None and str(v).strip()]
                if not captions:
                    raise DataError(f"empty {column}")
                made[role], made["alternatives"] = captions[0], captions[1:]
            else:
                made[role] = _text(value, column)
        elif role == "negative" or MORE_NEGATIVES.match(role):
            made[role] = None if value is None or value == "" else _text(value, column)
        elif role == "alternatives":
            made[role] = [
                *made.get(role, []),
                *(_text(v, column) for v in value or [] if isinstance(v, str) and v.strip()),
            ]
        elif role == "regions":
            made[role] = boxes(value, column)
        elif role == "attributes":
            made[role] = _attributes(value, column)
        elif modality_of(role) == "series":
            made[role] = _window(value, column)
        elif role == "score":
            made[role] = _score(value, column)
        elif role == "split":
            made[role] = _split(value, column)
        else:
            made[role] = _scalar(value, column, role, state)
    for column in state.roles.captions:
        if row.get(column) not in (None, ""):
            made.setdefault("alternatives", []).append(_text(row[column], column))
    for column, name in state.roles.filters.items():
        made[name] = _filter(row.get(column), name, state)
    return made


def _nothing(value: Any) -> bool:
    """Whether a cell is empty."""
    if isinstance(value, dict):
        return all(v is None for v in value.values())
    return value is None or (isinstance(value, str | list) and not (value.strip() if isinstance(value, str) else value))


def _text(value: Any, column: str) -> str:
    if value is None:
        raise DataError(f"empty {column}")
    if not isinstance(value, str):
        raise DataError(f"{column} holds {_type(value)}, not text")
    text = _unicode(value.strip(), column)
    if not any(c.isprintable() and not c.isspace() for c in text):
        raise DataError(f"empty {column}")
    if len(text) > TEXT_CHARS:
        raise DataError(f"{column} has {len(text):,} characters, and at most {TEXT_CHARS:,} are read")
    return text


def _unicode(text: str, column: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{column} is not valid UTF-8; save the file as UTF-8") from None
    return text


def _picture(value: Any, column: str) -> Any:
    if isinstance(value, dict):
        value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
    if isinstance(value, str):
        value = _unicode(value.strip(), column)
    if value is None or value == "":
        raise DataError(f"empty {column}")
    if isinstance(value, bytes):
        if not value:
            raise DataError("empty: the picture has 0 bytes")
        if len(value) > IMAGE_BYTES:
            raise DataError(f"too large: {size_words(len(value))}, and at most {size_words(IMAGE_BYTES)} are read")
        return value
    if not isinstance(value, str):
        raise DataError(f"{column} holds {_type(value)}, not a path or the bytes of a picture")
    return value


def _window(value: Any, column: str) -> bytes | str:
    """A window as the path of its file or as the bytes of one; lists of numbers are written as such."""
    if isinstance(value, dict):
        value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
    if value is None or (isinstance(value, str) and not value.strip()):
        raise DataError(f"empty {column}")
    if isinstance(value, str):
        return _unicode(value.strip(), column)
    if isinstance(value, bytes):
        return value
    try:
        return packed(value)
    except DataError as error:
        raise DataError(f"{error} ({column})") from None


def _score(value: Any, column: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{column} is {str(value)[:40]!r}, not a finite number")
    return number


def _split(value: Any, column: str) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    known = split_of(value) if isinstance(value, str) else ""
    if not known:
        raise DataError(f"{column} is {str(value)[:40]!r}; write train, validation or test, or rename the column")
    return known


def _attributes(value: Any, column: str) -> list[str]:
    """Short texts, each once."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataError(f"{column} holds {_type(value)}; attributes are a list of short texts")
    if len(value) > ATTRIBUTES:
        raise DataError(f"{column} has {len(value):,} entries, and an item has at most {ATTRIBUTES:,} attributes")
    found = [_text(v, column) for v in value if v is not None and v != ""]
    if long := next((text for text in found if len(text) > NAME_CHARS), None):
        raise DataError(f"{column} has an entry of {len(long):,} characters, and at most {NAME_CHARS:,} are read")
    return list(dict.fromkeys(found))


def _scalar(value: Any, column: str, role: str, state: _State) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | bool) or (role == "id" and isinstance(value, bool)):
        raise DataError(f"{column} holds {_type(value)}; a {role} is text or a whole number")
    state.types.setdefault(role, set()).add(type(value))
    text = _unicode(str(value).strip(), column)
    if len(text) > NAME_CHARS:
        raise DataError(f"{column} has {len(text):,} characters, and a {role} has at most {NAME_CHARS:,}")
    return text


def _filter(value: Any, name: str, state: _State) -> str | None:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    types = state.types.setdefault(name, set())
    if isinstance(value, list | dict | tuple | bytes):
        types.add(dict)
        return None
    types.add(type(value) if isinstance(value, bool | int | float | str) else str)
    text = repr(value) if isinstance(value, float) else value.isoformat() if hasattr(value, "isoformat") else str(value)
    return text.encode("utf-8", "replace").decode()[:TEXT_CHARS]


def _with_windows(rows: list[dict[str, Any]], places: list[str], state: _State) -> list[dict[str, Any]]:
    """The rows whose windows can be opened, each with as many channels as the first."""
    kept = []
    for made, place in zip(rows, places, strict=True):
        windows = {role: shapes for role, shapes in state.windows.items() if made[role] is not None}
        name = next((made[r] for r in windows if isinstance(made[r], str)), "")
        try:
            found = {role: _opened(made[role], shapes, state.root) for role, shapes in windows.items()}
            for role, shapes in windows.items():
                shapes.check(found[role][1])
        except DataError as error:
            state.problems.add(made.get("id") or name, place, str(error))
            continue
        for role, shapes in windows.items():
            made[role] = found[role][0]
            shapes.take(found[role][1])
        kept.append(made)
    return kept


def _opened(value: bytes | str, shapes: Shapes, root: Path) -> tuple[bytes | str, tuple[int, int]]:
    """A window as it is kept, and its channels and steps."""
    if isinstance(value, str):
        value = below(root, value)
    elif not shapes.as_bytes:
        raise DataError("numbers in the table, and the first windows are in files: give all of them in one way")
    window = open_series(series_source(value, root))
    return packed(window) if shapes.as_bytes and isinstance(value, str) else value, window.shape


def _with_pictures(
    role: str, rows: list[dict[str, Any]], places: list[str], state: _State
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows whose pictures of a column can be opened, and their places."""

    def look(made: dict[str, Any]) -> Header | DataError | None:
        try:
            value = made[role]
            if value is None:
                return None
            if isinstance(value, bytes):
                return probe(value)
            made[role] = below(state.root, value)
            found = probe(state.root / made[role])
            if state.image_bytes:
                made[role] = (state.root / made[role]).read_bytes()
            return found
        except OSError as error:
            return DataError(f"cannot be opened: {error.strerror or error}")
        except DataError as error:
            return error

    kept, where = [], []
    with ThreadPoolExecutor(THREADS) as pool:
        for made, place, said in zip(rows, places, pool.map(look, rows), strict=True):
            name = made[role] if isinstance(made[role], str) else made.get("id") or ""
            if isinstance(said, DataError):
                state.problems.add(name, place, str(said))
                continue
            if said is not None and "named as" in said.note:
                state.misnamed.append(f"{made[role]}: {said.note}")
            if role == "image" and said is not None and made.get("regions"):
                made["regions"], wrong = fitted(made["regions"], *said.upright)
                for reason in wrong:
                    state.problems.add(name, place, f"{reason}; the picture is kept without it")
            kept.append(made)
            where.append(place)
    return kept, where


def _id(made: dict[str, Any], state: _State) -> str:
    """The id given, the path of the picture or of the window, or a hash of the content; repeated ones are numbered."""
    given = made.get("id")
    name: str
    if given:
        name = given
    elif isinstance(made.get("image"), str):
        name = made["image"]
    elif isinstance(made.get("series"), str):
        name = made["series"]
    else:
        digest = hashlib.sha256()
        more = [role for role in state.roles.of if role.startswith("other_") and role not in WINDOWS]
        for role in ("image", *WINDOWS, "text", "anchor", "positive", "negative", "label", *more):
            value = made.get(role)
            if value is not None:
                digest.update(
                    role.encode() + b"\x1f" + (value if isinstance(value, bytes) else str(value).encode()) + b"\x1e"
                )
        name = digest.hexdigest()[:16]
    times = state.seen[name] = state.seen.get(name, 0) + 1
    if times == 1:
        return name
    state.repeated += bool(given)
    numbered = f"{name}#{times}"
    while numbered in state.seen:
        times += 1
        numbered = f"{name}#{times}"
    state.seen[numbered] = 1
    return numbered


def _schema(state: _State) -> pa.Schema:
    fields = [pa.field("id", pa.string())]
    for role in state.roles.of:
        if modality_of(role) == "image":
            fields.append(pa.field(role, pa.large_binary() if state.image_bytes else pa.string()))
        elif role in state.windows:
            fields.append(pa.field(role, pa.large_binary() if state.windows[role].as_bytes else pa.string()))
        elif role == "score":
            fields.append(pa.field(role, pa.float64()))
        elif role in LIST_TYPES:
            fields.append(pa.field(role, LIST_TYPES[role]))
        elif role not in ("id", "alternatives"):
            fields.append(pa.field(role, pa.string()))
    if state.alternatives:
        fields.append(pa.field("alternatives", pa.list_(pa.string())))
    fields += [pa.field(name, pa.string()) for name in state.roles.filters.values()]
    return pa.schema(fields)


def _typed(table: pa.Table, state: _State, typed: bool) -> pa.Table:
    """Columns kept as text while reading, as the numbers they were."""
    for name in ("label", *state.roles.filters.values()):
        if name not in table.column_names:
            continue
        types = state.types.get(name, set())
        at = table.column_names.index(name)
        if dict in types or (name != "label" and not types):
            table = table.remove_column(at)
            continue
        if not typed:
            column = _number(table[name], whole_only=name == "label")
        elif types == {bool}:
            column = pc.equal(table[name], "True") if name != "label" else table[name]
        elif types == {int}:
            column = _cast(table[name], pa.int64())
        elif types <= {int, float} and types:
            column = _cast(table[name], pa.float64())
        else:
            column = table[name]
        table = table.set_column(at, name, column)
    return table


def _number(column: pa.ChunkedArray, *, whole_only: bool) -> pa.ChunkedArray:
    """A column of text as numbers when every value is written as one; `007` stays text."""
    if column.null_count == len(column):
        return column
    if pc.all(pc.match_substring_regex(column, r"^-?(0|[1-9]\d{0,17})$")).as_py():
        return _cast(column, pa.int64())
    if not whole_only and pc.all(pc.match_substring_regex(column, r"^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$")).as_py():
        return _cast(column, pa.float64())
    return column


def _cast(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    try:
        return column.cast(type_)
    except pa.ArrowInvalid:
        return column


def _notes(state: _State) -> Iterator[str] | list[str]:
    notes = list(state.roles.notes)
    nested = [n for n in state.roles.filters.values() if dict in state.types.get(n, set())]
    kept = [n for n in state.roles.filters.values() if n not in nested and state.types.get(n)]
    if kept:
        notes.append(f"kept as filters, never taken as input: {', '.join(kept)}")
    if nested:
        notes.append(f"left out, because they hold lists or records: {', '.join(nested)}")
    if state.later:
        notes.append(f"left out, because they first appear after the first rows: {', '.join(sorted(state.later)[:20])}")
    for role, shapes in state.windows.items():
        notes.append(f"{state.roles.of[role]}: {shapes.words()}")
    if state.misnamed:
        notes.append(f"{len(state.misnamed)} pictures have a name that promises another format: {state.misnamed[0]}")
    if state.repeated:
        notes.append(f"{state.repeated} ids stood more than once; the later ones were numbered, as in name#2")
    return notes


def _type(value: Any) -> str:
    kind = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a record", bytes: "bytes"}
    return kind.get(type(value), type(value).__name__)


def _name(row: dict[str, Any], state: _State) -> str:
    for role in ("id", "image"):
        value = row.get(state.roles.of.get(role, ""))
        if isinstance(value, str | int):
            return str(value)[:NAME_CHARS]
    return ""
