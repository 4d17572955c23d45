"""The card of a part: what it says of itself, and how that is read from its source without importing it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tellapart.core.errors import PartError, near

BOUNDS = ("gt", "ge", "lt", "le", "min_length", "max_length", "multiple_of")
CALL_TIME = ("rng", "seed", "epoch", "batch_size", "filter")
FIELDS = ("paper", "place", "system", "traits", "needs", "aliases")

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


def read_card(file: Path, shape: str, module: str | None) -> Card:
    """The card of a part, read from its source without importing it; what is wrong with it raises `PartError`."""
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
    odd = [n for n in fields if n not in FIELDS] + [n for n in ("paper", "place") if n not in fields]
    odd += [n for n in ("traits", "needs", "aliases") if isinstance(fields.get(n), str)]
    if odd:
        raise PartError(f"{file}: look at {odd[0]!r}: @part takes {', '.join(FIELDS)}; paper and place must be given")
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
