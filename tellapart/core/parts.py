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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tellapart.core.errors import PartError, near
from tellapart.core.needs import require

SHAPES = (
    "objective", "relate", "sample", "augment", "encode", "strategy",
    "classify", "score", "rank", "index", "audit", "merge",
)  # fmt: skip
BOUNDS = ("gt", "ge", "lt", "le", "min_length", "max_length", "multiple_of")
FOLDERS_VARIABLE = "TELLAPART_PARTS"
ENTRY_POINTS = "tellapart.parts"

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Option:
    """One keyword-only parameter of a part: its type as written, its bounds, its default (all literals)."""

    name: str
    type: str
    default: Any
    bounds: dict[str, Any]
    required: bool = False

    def describe(self) -> str:
        """`temperature: float = 0.07 (gt 0)`, as `tellapart explain` shows it."""
        bounds = f" ({', '.join(f'{k} {v}' for k, v in self.bounds.items())})" if self.bounds else ""
        default = "" if self.required else f" = {self.default!r}"
        return f"{self.name}: {self.type}{default}{bounds}"


@dataclass(frozen=True, slots=True)
class Card:
    """What a part says of itself."""

    name: str
    shape: str
    place: str
    paper: str
    system: tuple[str, ...]
    traits: tuple[str, ...]
    needs: tuple[str, ...]
    aliases: tuple[str, ...]
    options: tuple[Option, ...]
    doc: str
    symbol: str
    file: Path
    module: str | None

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.doc.strip().split("\n", 1)[0]

    def option(self, name: str) -> Option:
        """The option of that name; an unknown one raises with near matches."""
        for option in self.options:
            if option.name == name:
                return option
        raise PartError(f"{self.name} has no option {name!r}; {near(name, [o.name for o in self.options])}")


def part(
    *,
    paper: str,
    place: str,
    system: str | tuple[str, ...] = (),
    traits: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
) -> Callable[[T], T]:
    """Mark the one public def or class of a file as a part. Arguments are literals.

    Args:
        paper: authors, title, venue and year; "(plain baseline)" where there is none.
        place: the stage of the work it serves, such as "pairs" or "retrieve".
        system: slug or slugs of the catalogue that this part realises.
        traits: what the contracts may assume of it, such as "rowwise".
        needs: import names of optional libraries.
        aliases: other well-known names.
    """

    def mark(target: T) -> T:
        return target

    return mark


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
        for card in _scan_folder(folder, package):
            for name in (card.name, *card.aliases):
                other = found.get(name) or next((c for c in found.values() if name in c.aliases), None)
                if other is not None:
                    raise PartError(f"two parts are named {name!r}: {other.file} and {card.file}")
            found[card.name] = card
    return found


def _scan_folder(folder: Path, package: str | None) -> Iterator[Card]:
    for shape in SHAPES:
        for file in sorted((folder / shape).glob("*.py")):
            if not file.name.startswith("_"):
                yield _read_card(file, shape, f"{package}.{shape}.{file.stem}" if package else None)


def _read_card(file: Path, shape: str, module: str | None) -> Card:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise PartError(f"{file} is not readable Python: {error}") from None
    marked = [
        (node, call)
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        for call in node.decorator_list
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "part"
    ]
    if len(marked) != 1:
        raise PartError(f"{file} must hold exactly one def or class with a card, it holds {len(marked)}")
    node, call = marked[0]
    try:
        fields = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
        options = tuple(_read_options(node))
    except ValueError as error:
        raise PartError(f"{file}: arguments of @part, bounds and defaults must be literals ({error})") from None
    known = inspect.signature(part).parameters
    odd = [n for n in fields if n not in known] + [n for n in ("paper", "place") if n not in fields]
    odd += [n for n in ("traits", "needs", "aliases") if isinstance(fields.get(n), str)]
    if odd:
        raise PartError(f"{file}: look at {odd[0]!r}: @part takes {', '.join(known)}; paper and place must be given")
    system = fields.get("system", ())
    return Card(
        name=file.stem.replace("_", "-"),
        shape=shape,
        place=fields["place"],
        paper=fields["paper"],
        system=(system,) if isinstance(system, str) else tuple(system),
        traits=tuple(fields.get("traits", ())),
        needs=tuple(fields.get("needs", ())),
        aliases=tuple(fields.get("aliases", ())),
        options=options,
        doc=inspect.cleandoc(ast.get_docstring(node) or ""),
        symbol=node.name,
        file=file,
        module=module,
    )


CALL_TIME = ("rng", "seed", "epoch", "batch_size", "filter")


def _read_options(node: ast.FunctionDef | ast.ClassDef) -> Iterator[Option]:
    """Keyword-only parameters, less those that the caller of the shape supplies at each call (`CALL_TIME`)."""
    init = node
    if isinstance(node, ast.ClassDef):
        inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        if not inits:
            return
        init = inits[0]
    assert isinstance(init, ast.FunctionDef)
    for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        if argument.arg in CALL_TIME and isinstance(node, ast.FunctionDef):
            continue
        kind, bounds = _read_annotation(argument.annotation)
        value = None if default is None else ast.literal_eval(default)
        yield Option(argument.arg, kind, value, bounds, required=default is None)


def _read_annotation(annotation: ast.expr | None) -> tuple[str, dict[str, Any]]:
    if annotation is None:
        raise PartError("every option of a part is annotated with its type")
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        assert isinstance(annotation.slice, ast.Tuple)
        kind, *extras = annotation.slice.elts
        keywords = [k for e in extras if isinstance(e, ast.Call) for k in e.keywords]
        return ast.unparse(kind), {k.arg: ast.literal_eval(k.value) for k in keywords if k.arg in BOUNDS}
    return ast.unparse(annotation), {}


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
