"""Functions and their docstrings as pairs, read from the source of installed packages; nothing is imported."""

from __future__ import annotations

import ast
import importlib.util
import re
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data.limits import MIB
from tellapart.data.paths import walk
from tellapart.data.provenance import with_about

STANDARD = "python"
SOURCE_BYTES = MIB
SOURCE_CHARS = 4000
LINES = (3, 80)
WORDS = (3, 60)
LEFT_OUT = {
    "test",
    "tests",
    "testing",
    "_vendor",
    "site-packages",
    "dist-packages",
    "idlelib",
    "lib2to3",
    "conftest.py",
}


def docstrings(packages: Sequence[str] = (), *, limit: int = 20_000) -> Collection:
    """Documented functions, in one fixed order: packages as named, files by path, functions as they stand.

    Columns: `id` (module:function), `anchor` (the first sentence of the docstring), `positive` (the source without it),
    `label` (the package), `concept` (the file: what a split must not cut).

    Args:
        packages: import names of installed packages; `python` is the standard library, and the default.
        limit: at most so many functions, taken at even distances.

    Raises:
        DataError: a package that is not installed, or none with documented functions.
    """
    if limit < 1:
        raise DataError(f"limit must be at least 1, not {limit}")
    rows: dict[str, dict[str, str]] = {}
    for package in packages or (STANDARD,):
        for row in _functions(package, _folder(package)):
            rows.setdefault(row["id"], row)
    found = list(rows.values())
    if not found:
        raise DataError(f"no documented functions in {', '.join(packages or (STANDARD,))}")
    step = max(1.0, len(found) / limit)
    kept = [found[int(i * step)] for i in range(min(limit, len(found)))]
    made = Collection.of({name: [r[name] for r in kept] for name in ("id", "anchor", "positive", "label", "concept")})
    return with_about(
        made, name="docstrings", licence="that of each package", source=", ".join(packages or (STANDARD,))
    )


def _functions(package: str, root: Path) -> Iterator[dict[str, str]]:
    files = [root] if root.is_file() else [f for f in walk(root) if f.suffix == ".py"]
    for file in files:
        inner = file.relative_to(root.parent)
        if set(inner.parts[1:]) & LEFT_OUT or file.is_symlink() or file.stat().st_size > SOURCE_BYTES:
            continue
        try:
            text = file.read_text(encoding="utf-8")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        module = ".".join((package, *inner.with_suffix("").parts[1:])).removesuffix(".__init__")
        for name, node in _defs(tree.body, ""):
            row = _row(name, node, text, module)
            if row is not None:
                yield {**row, "label": package, "concept": module}


def _defs(body: list[ast.stmt], inside: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield inside + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _defs(node.body, f"{inside}{node.name}.")


def _row(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, text: str, module: str) -> dict[str, str] | None:
    doc = ast.get_docstring(node)
    if not doc or len(node.body) < 2 or node.end_lineno is None:
        return None
    said = " ".join(re.split(r"(?<=[.!?])\s|\n\s*\n", doc.strip(), maxsplit=1)[0].split())
    first, rest = node.body[0], node.body[1]
    source_lines = text.splitlines()
    kept = source_lines[node.lineno - 1 : first.lineno - 1] + source_lines[rest.lineno - 1 : node.end_lineno]
    source = "\n".join(kept)
    right = (
        LINES[0] <= len(kept) <= LINES[1] and len(source) <= SOURCE_CHARS and WORDS[0] <= len(said.split()) <= WORDS[1]
    )
    return {"id": f"{module}:{name}", "anchor": said, "positive": source} if right else None


def _folder(package: str) -> Path:
    if package == STANDARD:
        return Path(sysconfig.get_path("stdlib"))
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin in (None, "built-in", "frozen"):
        raise DataError(f"the package {package!r} is not installed here, or has no source")
    return Path(spec.submodule_search_locations[0]) if spec.submodule_search_locations else Path(str(spec.origin))
