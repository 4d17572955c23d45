"""Files of what somebody said, a line each; the last line about a thing counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from tellapart.core.errors import DataError
from tellapart.core.files import write_atomically

T = TypeVar("T", bound=tuple[Any, ...])


def read_said(
    file: Path,
    of: type[T],
    about: Callable[[T], Hashable],
    sound: Callable[[T], bool],
    *,
    most_bytes: int,
    called: str,
    form: str,
) -> dict[Hashable, T]:
    """The last line about each thing, in the order in which the things came first.

    Args:
        of: a NamedTuple of strings; its fields are those of a line.
        about: what a line is about.
        called, form: what the lines are and what one looks like, for messages.

    Raises:
        DataError: the file is too large, cannot be read, or holds something else.
    """
    if file.stat().st_size > most_bytes:
        raise DataError(f"{file} has more than {most_bytes // 2**20} MiB, so it is no file of {called}")
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from None
    fields: tuple[str, ...] = of._fields  # type: ignore[attr-defined]
    last: dict[Hashable, T] = {}
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
            said = of(*(value[name] for name in fields))
        except (ValueError, KeyError, TypeError):
            said = of(*("" for _ in fields))
        if not sound(said):
            raise DataError(f"{file}, line {number}: {form}; correct the line or remove it")
        last[about(said)] = said
    return last


def write_said(file: Path, kept: Iterable[Any]) -> None:
    """Put NamedTuples as lines in the place of a file, whose folder is made where there is none.

    Raises:
        DataError: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, "".join(json.dumps(k._asdict(), ensure_ascii=False) + "\n" for k in kept).encode())
    except OSError as error:
        raise DataError(f"{file} cannot be written: {error.strerror}") from None
