"""The cards of a folder of parts, kept from one process to the next: reading sources takes longer than all else.

A kept card counts only while its file has the same time and size, and so has the code that reads cards.
"""

from __future__ import annotations

import ast
import contextlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tellapart.core import card as reader
from tellapart.core.card import Card, Option, read_card
from tellapart.core.files import cache_home, write_atomically

SCALARS = (str, int, float, bool, type(None))


def read_folder(folder: Path, package: str | None, shapes: Sequence[str]) -> list[Card]:
    """The cards of `folder/SHAPE/*.py`, shape by shape; files that begin with _ are no parts.

    A cache folder that cannot be read or written costs time and nothing else.

    Raises:
        PartError: a file without a card, or with one that cannot be read.
    """
    keep = cache_home() / "cards" / f"{zlib.crc32(str(folder.resolve()).encode()):08x}.json"
    code = " ".join(_stamp(Path(str(module))) for module in (reader.__file__, __file__))
    kept = _kept(keep, code)
    found, entries = [], {}
    for shape in shapes:
        for file in sorted((folder / shape).glob("[!_]*.py")):
            name, stamp = f"{shape}/{file.name}", _stamp(file)
            module = f"{package}.{shape}.{file.stem}" if package else None
            entry = kept.get(name)
            card = _card(entry["card"], file, shape, module) if entry and entry["stamp"] == stamp else None
            if card is None:
                card = read_card(file, shape, module)
                entry = {"stamp": stamp, "card": _plain(card)}
            found.append(card)
            entries[name] = entry
    if entries != kept:
        with contextlib.suppress(OSError):
            keep.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(keep, json.dumps({"code": code, "cards": entries}).encode())
    return found


def _stamp(file: Path) -> str:
    status = file.stat()
    return f"{status.st_mtime_ns} {status.st_size}"


def _kept(file: Path, code: str) -> dict[str, Any]:
    """What is kept, by SHAPE/FILE; nothing where there is none, or where other code wrote it."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(file.read_bytes())
        if found["code"] == code:
            return dict(found["cards"])
    return {}


def _plain(card: Card) -> dict[str, Any]:
    """A card as JSON; a default that is no scalar is written as a literal."""
    value = {k: v for k, v in asdict(card).items() if k not in ("file", "shape", "module")}
    for option in value["options"]:
        if not isinstance(option["default"], SCALARS):
            option["literal"] = repr(option.pop("default"))
    return value


def _card(value: Any, file: Path, shape: str, module: str | None) -> Card | None:
    """The card that was kept; None if it is not whole."""
    try:
        options = tuple(
            Option(**{k: v for k, v in o.items() if k != "literal"}, **_default(o)) for o in value["options"]
        )
        rest: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items() if k != "options"}
        return Card(**rest, options=options, file=file, shape=shape, module=module)
    except (TypeError, KeyError, ValueError, SyntaxError, AttributeError):
        return None


def _default(option: dict[str, Any]) -> dict[str, Any]:
    return {"default": ast.literal_eval(option["literal"])} if "literal" in option else {}
