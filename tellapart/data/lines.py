"""Lines of a text file, each of bounded length, whatever encoding its first bytes declare."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tellapart.core.errors import DataError
from tellapart.data.limits import JSON_DEPTH, LINE_BYTES, size_words

MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def lines(path: Path, *, limit: int = LINE_BYTES) -> Iterator[str | None]:
    """Every line with its ending; None in the place of one that is longer than the limit.

    Bytes that are not UTF-8 come back as lone surrogates, so that the row they stand in can be named.

    Raises:
        DataError: the file cannot be opened, is binary, or is cut short (gzip).
    """
    try:
        with _open(path) as file:
            while line := file.readline(limit + 1):
                if len(line) <= limit:
                    yield line
                    continue
                while line and not line.endswith("\n"):
                    line = file.readline(limit)
                yield None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path.name} is cut short or no gzip file: {error}") from None
    except UnicodeError as error:
        raise DataError(f"{path.name} is not readable text ({error}); save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def too_long() -> str:
    """The reason for a line that was left out."""
    return f"a line longer than {size_words(LINE_BYTES)}"


def record(text: str) -> dict[str, Any]:
    """One JSON record of bounded depth; raises `DataError` with the reason."""
    if text.count("{") + text.count("[") > JSON_DEPTH and _depth(text) > JSON_DEPTH:
        raise DataError(f"records inside records more than {JSON_DEPTH} deep")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise DataError('not a record: every line is one JSON object, as in {"anchor": "…", "positive": "…"}')
    return value


def _open(path: Path) -> io.TextIOWrapper:
    packed = path.suffix.lower() == ".gz"
    with gzip.open(path, "rb") if packed else path.open("rb") as start:
        head = start.read(4096)
    encoding = next((name for mark, name in MARKS if head.startswith(mark)), "utf-8")
    if encoding != "utf-16" and b"\0" in head:
        raise DataError(f"{path.name} is a binary file, not text")
    raw = gzip.open(path, "rb") if packed else path.open("rb")  # noqa: SIM115 - closed with its wrapper
    return io.TextIOWrapper(raw, encoding=encoding, errors="surrogateescape", newline="")


def _depth(text: str) -> int:
    """How deep brackets stand outside quotes."""
    depth = deepest = 0
    quoted = escaped = False
    for c in text:
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = c == "\\", c != '"'
        elif c == '"':
            quoted = True
        elif c in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif c in "]}":
            depth -= 1
    return deepest
