"""`import tellapart`: the names it promises are the names it has, and verbs stay verbs."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import tellapart

MOST = 30


def test_all_is_what_can_be_imported():
    for name in tellapart.__all__:
        value = getattr(tellapart, name)
        assert not isinstance(value, ModuleType), f"{name} is a module, not what it promises"
    assert len(tellapart._HOME) <= MOST
    assert set(tellapart.__all__) <= set(dir(tellapart))
    assert tellapart.__all__ == ["__version__", *sorted(tellapart.__all__[1:])]


@pytest.mark.parametrize("name", sorted(set(tellapart.__all__) - {"__version__"}))
def test_every_public_name_is_documented(name):
    doc = inspect.getdoc(getattr(tellapart, name))
    assert doc and len(doc) >= 20


@pytest.mark.parametrize("name", [n for n in tellapart._HOME if importlib.util.find_spec(f"tellapart.{n}")])
def test_a_verb_stays_a_verb_when_a_module_of_its_name_is_imported(name):
    code = (
        "import importlib, tellapart, types\n"
        f"importlib.import_module('tellapart.{name}')\n"
        f"assert not isinstance(tellapart.{name}, types.ModuleType) and callable(tellapart.{name})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tellapart.nothing
