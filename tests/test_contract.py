"""Every check of a shape's contract over every part of the shape: `objective/dcl/check_finite`."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import tellapart.contract
from tellapart.core.needs import installed
from tellapart.core.parts import SHAPES, Card, cards, make

CONTRACTS = {file.stem for file in Path(tellapart.contract.__file__).parent.glob("[!_]*.py")}


def promises():
    """(card, check) of all parts whose shape has a contract."""
    for card in cards().values():
        if card.shape in CONTRACTS:
            contract = importlib.import_module(f"tellapart.contract.{card.shape}")
            for check in contract.checks(card):
                yield pytest.param(card, check, id=f"{card.shape}/{card.name}/{check.__name__}")


@pytest.mark.parametrize(("card", "check"), list(promises()))
def test_part_keeps_its_promise(card: Card, check, request: pytest.FixtureRequest):
    missing = [name for name in card.needs if not installed(name)]
    if missing:
        pytest.skip(f"{card.name} needs {', '.join(missing)}, which is not installed")
    if "database" in card.traits:
        request.getfixturevalue("postgres")
    check(lambda **options: make(card.shape, card.name, **options))


def test_contracts_are_named_after_shapes():
    assert set(SHAPES) >= CONTRACTS


@pytest.mark.parametrize("shape", sorted({card.shape for card in cards().values()}))
def test_every_shape_in_use_has_a_contract_with_checks(shape: str):
    assert shape in CONTRACTS, f"parts of shape {shape} are promised nothing: write tellapart/contract/{shape}.py"
    contract = importlib.import_module(f"tellapart.contract.{shape}")
    assert any(contract.checks(card) for card in cards(shape).values()), "not one check applies to any of its parts"
