"""Cards that are kept say what the sources say, and never more than that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tellapart
from tellapart.core import kept_cards
from tellapart.core.errors import PartError
from tellapart.core.files import CACHE_VARIABLE
from tellapart.core.parts import SHAPES

SOURCE = '''
@part(paper="P", place="pairs", traits=("rowwise",))
def mine(*, sizes: tuple[int, ...] = (1, 2), rate: float = 0.5) -> None:
    """A part."""
'''


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    file = tmp_path / "own" / "relate" / "mine.py"
    file.parent.mkdir(parents=True)
    file.write_text(SOURCE)
    return tmp_path / "own"


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The files that were read from source."""
    seen, real = [], kept_cards.read_card
    monkeypatch.setattr(kept_cards, "read_card", lambda file, *rest: seen.append(file.name) or real(file, *rest))
    return seen


def test_all_parts_are_kept_as_they_are_read(cache, read) -> None:
    package = Path(tellapart.__file__).parent / "parts"
    first = kept_cards.read_folder(package, "tellapart.parts", SHAPES)
    assert len(read) == len(first) > 50
    assert kept_cards.read_folder(package, "tellapart.parts", SHAPES) == first
    assert len(read) == len(first)


def test_a_changed_file_is_read_anew(cache, folder, read) -> None:
    (card,) = kept_cards.read_folder(folder, None, SHAPES)
    assert card.option("sizes").default == (1, 2)
    (folder / "relate" / "mine.py").write_text(SOURCE.replace("0.5", "0.25"))
    (card,) = kept_cards.read_folder(folder, None, SHAPES)
    assert card.option("rate").default == 0.25
    (folder / "relate" / "mine.py").unlink()
    assert kept_cards.read_folder(folder, None, SHAPES) == []
    assert read == ["mine.py"] * 2


@pytest.mark.parametrize("harm", ["", "[]", "{", '{"code": 1}', "no options", "other code"])
def test_what_is_kept_broken_is_read_anew(cache, folder, read, harm) -> None:
    (card,) = kept_cards.read_folder(folder, None, SHAPES)
    (file,) = (cache / "cards").iterdir()
    whole = file.read_text()
    value = json.loads(whole)
    if harm == "no options":
        del value["cards"]["relate/mine.py"]["card"]["options"]
        harm = json.dumps(value)
    elif harm == "other code":
        harm = json.dumps(value | {"code": "older"})
    file.write_text(harm)
    assert kept_cards.read_folder(folder, None, SHAPES) == [card]
    assert read == ["mine.py"] * 2
    assert json.loads(file.read_text()) == json.loads(whole)


def test_a_cache_that_cannot_be_written_costs_nothing_else(tmp_path, monkeypatch, folder) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    assert [c.name for c in kept_cards.read_folder(folder, None, SHAPES)] == ["mine"]


def test_a_file_without_a_card_is_never_kept(cache, folder) -> None:
    (folder / "relate" / "odd.py").write_text("x = 1\n")
    for _ in range(2):
        with pytest.raises(PartError, match="exactly one"):
            kept_cards.read_folder(folder, None, SHAPES)
