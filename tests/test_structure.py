"""The shape of the house: who may import whom, how long a file may be, what a part may do. Read by `ast`."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tellapart
from tellapart.core.parts import cards

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tellapart"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Each may import those before it and itself. A package or module that is not named here stands with `run`.
LAYERS = (("core",), ("recipe",), ("parts",), ("data",), ("engine",), ("run",), ("cli", "server", "client", "__main__"))
LINES = 600
LINES_OF_A_PART = 150
LINES_OF_THE_LOOP = 250


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(file): file for file in MODULES}
IDS = [name.removeprefix("tellapart.") for name in NAMES]


@functools.cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def layer(module: str) -> int:
    room = module.split(".")[1]
    return next((i for i, rooms in enumerate(LAYERS) if room in rooms), len(LAYERS) - 2)


def imported(node: ast.AST) -> Iterator[str]:
    """Modules of this package that an import statement names."""
    if isinstance(node, ast.Import):
        yield from (a.name for a in node.names if a.name.split(".")[0] == "tellapart")
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tellapart":
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in NAMES else str(node.module)


def at_run_time(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node but what stands under `if TYPE_CHECKING`."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("name", list(NAMES), ids=IDS)
def test_imports_go_one_way(name: str):
    if name == "tellapart":
        return
    wrong = {
        m for n in at_run_time(tree_of(NAMES[name])) for m in imported(n) if m != "tellapart" and layer(m) > layer(name)
    }
    assert not wrong, f"{name} imports {sorted(wrong)}, which stand above it"


@pytest.mark.parametrize("name", list(NAMES), ids=IDS)
def test_nobody_inside_imports_the_facade(name: str):
    for node in ast.walk(tree_of(NAMES[name])):
        if "tellapart" in imported(node):
            raise AssertionError(f"{name}, line {node.lineno}: import the module that holds it, not the facade")
        if isinstance(node, ast.ImportFrom) and node.module == "tellapart":
            clash = [a.name for a in node.names if a.name in tellapart.__all__]
            assert not clash, f"{name} asks the facade for {clash}"


def test_no_cycles():
    """Not even through imports inside functions."""
    graph = {n: {m for node in at_run_time(tree_of(f)) for m in imported(node)} - {n} for n, f in NAMES.items()}
    left = dict(graph)
    while free := [n for n, needs in left.items() if not needs & left.keys()]:
        for n in free:
            del left[n]
    assert not left, f"these import each other: {sorted(left)}"


@pytest.mark.parametrize("name", list(NAMES), ids=IDS)
def test_no_module_is_long(name: str):
    lines = len(NAMES[name].read_text(encoding="utf-8").splitlines())
    limit = LINES_OF_THE_LOOP if name == "tellapart.engine.fit" else LINES
    assert lines <= limit, f"{name} has {lines} lines: take something out of it"


@pytest.mark.parametrize("card", list(cards().values()), ids=lambda c: f"{c.shape}/{c.name}")
class TestPart:
    def test_is_short(self, card):
        lines = len(card.file.read_text(encoding="utf-8").splitlines())
        assert lines <= LINES_OF_A_PART, f"{lines} lines are more than one idea"

    def test_is_named_as_its_file(self, card):
        stem = card.file.stem
        assert re.fullmatch(r"[a-z][a-z0-9_]*", stem)
        assert card.symbol == stem or (card.symbol.lower() == stem.replace("_", "") and card.symbol[0].isupper())

    def test_is_the_one_public_thing_of_its_file(self, card):
        public = [
            n.name
            for n in tree_of(card.file).body
            if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name[0] != "_"
        ]
        assert public == [card.symbol]

    def test_reaches_other_parts_by_name(self, card):
        reached = {m for n in ast.walk(tree_of(card.file)) for m in imported(n) if m.startswith("tellapart.parts")}
        own = f"tellapart.parts.{card.shape}._"
        assert all(m.startswith(own) for m in reached), (
            f"imports {sorted(reached)}: reach a part with make(shape, spec)"
        )

    def test_imports_core_alone(self, card):
        reached = {m for n in ast.walk(tree_of(card.file)) for m in imported(n)}
        other = {m for m in reached if not m.startswith(("tellapart.core", "tellapart.parts"))}
        assert not other, f"a part imports the core alone, not {sorted(other)}"


FORBIDDEN_CALLS = {"backward", "zero_grad", "cuda", "DataLoader", "device", "load", "save"}
FORBIDDEN_MODULES = ("torch.optim", "torch.utils.data", "torch.distributed", "torch.cuda")


@pytest.mark.parametrize("card", list(cards("strategy").values()), ids=lambda c: c.name)
def test_strategy_leaves_the_loop_to_the_loop(card):
    assert not loop_work(tree_of(card.file))


def test_loop_work_is_seen():
    for line in (
        "loss.backward()",
        "torch.optim.SGD(p)",
        "x.cuda()",
        "torch.device('cpu')",
        "from torch.utils.data import DataLoader",
        "import torch.optim as o",
    ):
        assert loop_work(ast.parse(line)), line
    assert not loop_work(ast.parse("self.queue.copy_(torch.cat([a, b]))"))


def loop_work(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in FORBIDDEN_CALLS:
                found.append(f"calls {called}")
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith(FORBIDDEN_MODULES):
            found.append(ast.unparse(node))
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [m for m in modules if m.startswith(FORBIDDEN_MODULES)]
    return found


def test_the_package_imports_without_torch_or_anything_heavy():
    code = (
        "import sys; before = set(sys.modules); import tellapart; tellapart.__version__; "
        "heavy = {'torch', 'numpy', 'pyarrow', 'pydantic', 'onnxruntime', 'typer', 'PIL'}; "
        "assert not heavy & (set(sys.modules) - before), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_listing_parts_imports_none_and_no_torch():
    code = (
        "import sys; from tellapart.core.parts import cards; assert len(cards()) > 0; "
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules; "
        "assert not [m for m in sys.modules if m.startswith('tellapart.parts')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_core_values_that_search_needs_import_without_torch():
    code = (
        "import sys, tellapart.core.collection, tellapart.core.hits, tellapart.core.report, tellapart.recipe; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def kept_files() -> list[Path]:
    """What git keeps or would keep; all sources where there is no git."""
    try:
        asked = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
        return [ROOT / name for name in listed if (ROOT / name).is_file()]
    except (OSError, subprocess.SubprocessError):
        rooms = ("tellapart", "tests", "docs", "scripts", "evidence", "benchmarks")
        return [f for room in rooms for f in (ROOT / room).rglob("*") if f.is_file()]


def test_no_file_names_a_registry_or_a_path_of_a_machine():
    # Written in pieces, so that this file does not name them either.
    words = [
        "pypi" + ".org",
        "python" + "hosted",
        "registry.npm" + "js",
        "/wo" + "rk/",
        "/tmp/" + "venv",
        "/ro" + "ot/",
    ]
    found = []
    for file in kept_files():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{file.relative_to(ROOT)}: {word}" for word in words if word in text]
    assert not found


def test_no_module_prints():
    for name, file in NAMES.items():
        calls = [n for n in ast.walk(tree_of(file)) if isinstance(n, ast.Call) and ast.unparse(n.func) == "print"]
        assert not calls, f"{name} prints in line {calls[0].lineno}"


def test_every_module_says_what_it_is_for():
    silent = [
        name
        for name, file in NAMES.items()
        if not ast.get_docstring(tree_of(file)) and file.read_text(encoding="utf-8").strip()
    ]
    parts = {f"tellapart.parts.{c.shape}.{c.file.stem}" for c in cards().values()}
    assert not [name for name in silent if name not in parts]
