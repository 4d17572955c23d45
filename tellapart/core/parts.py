"""The registry of parts: cards read from source, names resolved, options checked in one place.

A part is one published idea in one file under `tellapart/parts/SHAPE/`. Its card is the `@part(...)` decorator on the
one public def or class of the file; every argument is a literal, so that listing parses the source and imports nothing.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import os
import re
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tellapart.core.card import CALL_TIME
from tellapart.core.card import Card as Card
from tellapart.core.card import Option as Option
from tellapart.core.card import part as part
from tellapart.core.errors import PartError, near
from tellapart.core.kept_cards import read_folder
from tellapart.core.needs import require

SHAPES = (
    "objective", "relate", "sample", "augment", "encode", "strategy",
    "classify", "score", "rank", "index", "align", "find", "condense", "audit", "merge",
)  # fmt: skip
FOLDERS_VARIABLE = "TELLAPART_PARTS"
ENTRY_POINTS = "tellapart.parts"


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """`"dcl(temperature=0.1)"` -> `("dcl", {"temperature": 0.1})`; values are Python literals, never code."""
    match = re.fullmatch(r"\s*([A-Za-z0-9][\w-]*)\s*(\(.*\))?\s*", spec, flags=re.DOTALL)
    if not match:
        raise PartError(f"cannot read {spec!r}: write a part as name or name(option=value, ...)")
    name, arguments = match[1], match[2]
    if arguments is None:
        return name, {}
    try:
        call = ast.parse(f"f{arguments}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
            raise ValueError("options are written name=value")
        return name, {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
    except (SyntaxError, ValueError) as error:
        raise PartError(f"cannot read the options of {spec!r}: {error}") from None


def split_chain(spec: str) -> list[str]:
    """`"a|b(x='|')"` -> `["a", "b(x='|')"]`: split at bars outside brackets and quotes; no text is no chain."""
    pieces, depth, quote, start = [], 0, "", 0
    for i, c in enumerate(spec):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "|" and depth == 0:
            pieces.append(spec[start:i])
            start = i + 1
    pieces.append(spec[start:])
    return [p.strip() for p in pieces if p.strip()]


def cards(shape: str | None = None) -> dict[str, Card]:
    """All parts by name, or those of one shape."""
    found = _scan(_folders())
    return {name: card for name, card in found.items() if shape is None or card.shape == shape}


def card_of(shape: str | None, name: str) -> Card:
    """The card of a part by name or alias; unknown names raise with near matches."""
    wanted = name.replace("_", "-")
    known = cards()
    card = known.get(wanted) or next((c for c in known.values() if wanted in c.aliases), None)
    if card is None:
        pool = [n for n, c in known.items() if shape in (None, c.shape)]
        raise PartError(f"there is no {shape or 'part'} named {name!r}; {near(wanted, pool)}")
    if shape is not None and card.shape != shape:
        raise PartError(f"{card.name} is a part of shape {card.shape}, not {shape}")
    return card


def load(card: Card) -> Callable[..., Any]:
    """Import the def or class behind a card; a missing library is answered with the line that installs it."""
    for name in card.needs:
        require(name, f"the {card.shape} {card.name}")
    if card.module is not None:
        module = importlib.import_module(card.module)
    else:
        module = _import_file(card)
    target: Callable[..., Any] = getattr(module, card.symbol)
    return target


def check_options(card: Card, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a call, checked against the part's own signature (types and bounds)."""
    for name in options:
        card.option(name)
    missing = [o.name for o in card.options if o.required and o.name not in options]
    if missing:
        raise PartError(f"{card.name} needs a value for {', '.join(missing)}")
    if not options:
        return {}
    from pydantic import ValidationError

    try:
        model = _options_model(card.name, load(card))
        checked = model(**options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise PartError(f"{card.name}: {where}={first.get('input')!r}: {first['msg'].lower()}") from None
    return {name: getattr(checked, name) for name in options}


def make(shape: str, spec: str, **options: Any) -> Any:
    """A part ready to call: a class part is constructed, a function part has its options bound.

    Args:
        shape: one of `SHAPES`.
        spec: name, alias, or `name(option=value, ...)`.
        options: further options, which win over those of the spec.

    Raises:
        PartError: unknown name or option, or a value out of its bounds.
        MissingExtraError: a library the part needs is not installed.
    """
    name, given = parse_spec(spec)
    card = card_of(shape, name)
    target = load(card)
    checked = check_options(card, {**given, **options})
    return target(**checked) if inspect.isclass(target) else functools.partial(target, **checked)


def make_chain(shape: str, spec: str) -> tuple[Any, ...]:
    """`"a|b(x=1)"` -> the parts in order."""
    return tuple(make(shape, piece) for piece in split_chain(spec))


def chain_cards(shape: str, spec: str) -> tuple[Card, ...]:
    """The cards of a chain, without importing any part."""
    return tuple(card_of(shape, parse_spec(piece)[0]) for piece in split_chain(spec))


def _folders() -> tuple[tuple[Path, str | None], ...]:
    own = Path(__file__).parents[1] / "parts"
    folders: list[tuple[Path, str | None]] = [(own, "tellapart.parts")]
    folders += [(Path(p), None) for p in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if p]
    folders += _plugin_folders()
    return tuple(folders)


@functools.cache
def _plugin_folders() -> tuple[tuple[Path, str | None], ...]:
    if not any(map(_offers_parts, sys.path)):
        return ()
    from importlib.metadata import entry_points

    found: list[tuple[Path, str | None]] = []
    for point in entry_points(group=ENTRY_POINTS):
        spec = importlib.util.find_spec(point.value)
        if spec is None or not spec.submodule_search_locations:
            raise PartError(f"plug-in {point.name!r} names the package {point.value!r}, which cannot be found")
        found.append((Path(spec.submodule_search_locations[0]), point.value))
    return tuple(found)


def _offers_parts(folder: str) -> bool:
    """Whether a package installed in a folder of the import path has a plug-in of parts.

    Reading the few files that can say so costs a tenth of importing the library that reads them properly.
    """
    try:
        with os.scandir(folder or ".") as entries:
            places = [e.path for e in entries if e.name.endswith((".dist-info", ".egg-info"))]
    except OSError:
        return False
    for place in places:
        try:
            with open(os.path.join(place, "entry_points.txt"), encoding="utf-8", errors="replace") as file:
                if f"[{ENTRY_POINTS}]" in file.read():
                    return True
        except OSError:
            continue
    return False


@functools.lru_cache(maxsize=4)
def _scan(folders: tuple[tuple[Path, str | None], ...]) -> dict[str, Card]:
    found: dict[str, Card] = {}
    for folder, package in folders:
        for card in read_folder(folder, package, SHAPES):
            for name in (card.name, *card.aliases):
                other = found.get(name) or next((c for c in found.values() if name in c.aliases), None)
                if other is not None:
                    raise PartError(f"two parts are named {name!r}: {other.file} and {card.file}")
            found[card.name] = card
    return found


@functools.lru_cache(maxsize=512)
def _options_model(name: str, target: Callable[..., Any]) -> Any:
    from typing import get_type_hints

    from pydantic import ConfigDict, create_model

    call = target.__init__ if inspect.isclass(target) else target
    hints = get_type_hints(call, include_extras=True)
    fields: dict[str, Any] = {
        p.name: (hints[p.name], ... if p.default is p.empty else p.default)
        for p in inspect.signature(call).parameters.values()
        if p.kind is p.KEYWORD_ONLY and (inspect.isclass(target) or p.name not in CALL_TIME)
    }
    fields = {k: (v[0], None if v[1] is ... else v[1]) for k, v in fields.items()}
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=False, allow_inf_nan=False), **fields)


def _import_file(card: Card) -> Any:
    name = f"tellapart_local_{card.shape}_{card.file.stem}_{zlib.crc32(str(card.file).encode()):08x}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, card.file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
