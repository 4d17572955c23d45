"""Every part against a second computation of the same formula, at default and at other options."""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tellapart.core.needs import installed
from tellapart.core.parts import Card, cards, make

FOLDER = Path(__file__).parent / "oracles"
SHARED_WITH_PARTS = ("tellapart.parts", "tellapart.engine", "tellapart.core.maths", "tellapart.core.features")


@functools.cache
def oracle(stem: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tellapart_oracle_{stem}", FOLDER / f"{stem}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kept() -> list[Card]:
    return [card for card in cards().values() if (FOLDER / f"{card.file.stem}.py").is_file()]


def cases():
    for card in kept():
        for options in oracle(card.file.stem).CASES:
            said = ",".join(f"{name}={value}" for name, value in options.items()) or "default"
            yield pytest.param(card, options, id=f"{card.shape}/{card.name}/{said}")


def library_comparisons():
    for card in kept():
        for name, function in vars(oracle(card.file.stem)).items():
            if name.startswith("check_library"):
                yield pytest.param(card, function, id=f"{card.shape}/{card.name}/{name}")


def build(card: Card, request: pytest.FixtureRequest):
    missing = [name for name in card.needs if not installed(name)]
    if missing:
        pytest.skip(f"{card.name} needs {', '.join(missing)}, which is not installed")
    if "database" in card.traits:
        request.getfixturevalue("postgres")
    return functools.partial(make, card.shape, card.name)


@pytest.mark.parametrize(("card", "options"), list(cases()))
def test_part_agrees_with_its_oracle(card: Card, options: dict, request: pytest.FixtureRequest):
    oracle(card.file.stem).check(build(card, request), dict(options))


@pytest.mark.parametrize(("card", "compare"), list(library_comparisons()))
def test_part_agrees_with_a_library(card: Card, compare, request: pytest.FixtureRequest):
    compare(build(card, request))


@pytest.mark.parametrize("card", list(cards().values()), ids=lambda card: f"{card.shape}/{card.name}")
def test_every_part_has_an_oracle_at_default_and_other_options(card: Card):
    assert (FOLDER / f"{card.file.stem}.py").is_file(), f"write tests/oracles/{card.file.stem}.py"
    found = oracle(card.file.stem).CASES
    neutral = {o.name: o.default for o in card.options}
    assert any(not case or all(neutral[k] == v for k, v in case.items()) for case in found) or any(
        o.required for o in card.options
    ), "no case at the default options"
    if card.options:
        assert len(found) >= 2, "one case alone cannot show that the options are used"
        assert any(neutral[k] != v for case in found for k, v in case.items()), "no case at other options"


def test_no_oracle_without_a_part():
    stems = {card.file.stem for card in cards().values()}
    left = [file.name for file in FOLDER.glob("[!_]*.py") if file.stem not in stems]
    assert not left, f"oracles of parts that do not exist: {left}"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("[!_]*.py")), ids=lambda file: file.stem)
def test_oracle_shares_no_code_with_the_part(file: Path):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    modules = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    modules += [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
    shared = [m for m in modules if m.startswith(SHARED_WITH_PARTS)]
    assert not shared, f"{file.name} imports {shared}: write the formula again, plainly"
