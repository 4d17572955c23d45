"""Cards read from source, names resolved, options checked, and every mistake answered in words."""

from __future__ import annotations

import functools
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.core import parts
from tellapart.core.errors import MissingExtraError, PartError
from tellapart.core.parts import card_of, cards, make, parse_spec, split_chain

GOOD = '''
from __future__ import annotations
from typing import Annotated
from pydantic import Field
from tellapart.core.parts import part

raise_if_imported = {raises}

@part(paper="Somebody, Something, 2020", place="detect", system="some-system", aliases=("short",), needs={needs})
class {symbol}:
    """Does one thing.

    Formula: x.
    """

    def __init__(self, *, width: Annotated[int, Field(ge=1, le=9)] = 3, mode: str = "plain", needed: float{default}):
        self.width, self.mode = width, mode
'''


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(parts.FOLDERS_VARIABLE, str(tmp_path))
    return tmp_path


def write(folder: Path, shape: str, name: str, source: str) -> Path:
    file = folder / shape / f"{name}.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(textwrap.dedent(source), encoding="utf-8")
    # A folder is scanned once a process; a test adds files to it later.
    parts._scan.cache_clear()
    return file


def good(symbol: str = "MyPart", *, raises: str = "0", needs: str = "()", default: str = " = 1.0") -> str:
    return GOOD.format(symbol=symbol, raises=raises, needs=needs, default=default)


def test_a_file_in_a_folder_of_ones_own_is_a_part(folder):
    file = write(folder, "score", "my_part", good())
    card = card_of("score", "my-part")
    assert (card.name, card.shape, card.file, card.symbol, card.module) == ("my-part", "score", file, "MyPart", None)
    assert (card.system, card.aliases, card.summary) == (("some-system",), ("short",), "Does one thing.")
    assert card.option("width").bounds == {"ge": 1, "le": 9}
    assert card_of(None, "short") == card == card_of(None, "my_part")
    made = make("score", "my-part(width=5)", mode="other")
    assert (made.width, made.mode) == (5, "other")
    assert "my-part" in cards("score") and "my-part" not in cards("rank")


def test_listing_imports_nothing(folder):
    write(folder, "score", "never_imported", good("NeverImported", raises="1 / 0"))
    assert card_of("score", "never-imported").name == "never-imported"
    with pytest.raises(ZeroDivisionError):
        make("score", "never-imported")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def loose(): ...", "exactly one def or class with a card, it holds 0"),
        (good() + good("Other"), "it holds 2"),
        (good().replace('"Somebody, Something, 2020"', "PAPER"), "must be literals"),
        (good().replace("mode: str", "mode"), "annotated with its type"),
        (good().replace('place="detect", ', ""), "place"),
        (good().replace('place="detect"', 'place="detect", colour="red"'), "colour"),
        (good().replace('aliases=("short",)', 'aliases=("short")'), "aliases"),
        (good(default=" = sum([1, 2])"), "must be literals"),
        ("def broken(:", "not readable Python"),
    ],
)
def test_a_wrong_card_is_an_error_that_names_the_file(folder, source, words):
    file = write(folder, "score", "wrong", source)
    with pytest.raises(PartError, match=words) as error:
        cards()
    assert str(file) in str(error.value)


@pytest.mark.parametrize("clash", ["knn", "short"])
def test_a_name_taken_twice_is_an_error(folder, clash):
    write(folder, "score", "my_part", good())
    write(folder, "rank", clash, good(clash.capitalize()).replace('aliases=("short",)', "aliases=()"))
    with pytest.raises(PartError, match=f"two parts are named '{clash}'"):
        cards()


def plug_in(tmp_path, monkeypatch, value: str) -> None:
    facts = tmp_path / "their_plugin-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: their-plugin\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{parts.ENTRY_POINTS}]\ntheirs = {value}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(parts, "_plugin_folders", functools.cache(parts._plugin_folders.__wrapped__))
    parts._scan.cache_clear()


def test_an_installed_plug_in_brings_parts_and_listing_does_not_import_them(tmp_path, monkeypatch):
    room = tmp_path / "their_plugin" / "parts" / "score"
    room.mkdir(parents=True)
    for folder in (room, room.parent, room.parent.parent):
        (folder / "__init__.py").touch()
    (room / "their_part.py").write_text(good("TheirPart"))
    plug_in(tmp_path, monkeypatch, "their_plugin.parts")
    card = card_of("score", "their-part")
    assert card.module == "their_plugin.parts.score.their_part"
    assert card.module not in sys.modules
    assert make("score", "their-part(width=4)").width == 4


def test_a_plug_in_that_names_no_package_is_an_error(tmp_path, monkeypatch):
    plug_in(tmp_path, monkeypatch, "a_package_that_is_nowhere")
    with pytest.raises(PartError, match="plug-in 'theirs' names the package 'a_package_that_is_nowhere'"):
        cards()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: card_of("score", "my-prat"), "there is no score named 'my-prat'; did you mean my-part"),
        (lambda: card_of("rank", "my-part"), "is a part of shape score, not rank"),
        (lambda: make("score", "my-part(widht=3)"), "has no option 'widht'; did you mean width"),
        (lambda: make("score", "my-part(width=0)"), "width=0: .*greater than or equal to 1"),
        (lambda: make("score", "my-part(width='wide')"), "width='wide'"),
        (lambda: make("score", "my-part(width=float('nan'))"), "cannot read the options"),
        (lambda: make("score", "my-part(3)"), "options are written name=value"),
        (lambda: make("score", "my-part(width=__import__('os'))"), "cannot read the options"),
        (lambda: make("score", "my part"), "write a part as name"),
        (lambda: make("score", ""), "write a part as name"),
    ],
)
def test_mistakes_are_answered_with_what_was_meant(folder, call, words):
    write(folder, "score", "my_part", good())
    with pytest.raises(PartError, match=words):
        call()


def test_an_option_without_default_must_be_given(folder):
    write(folder, "score", "my_part", good(default=""))
    with pytest.raises(PartError, match="needs a value for needed"):
        make("score", "my-part")
    assert make("score", "my-part(needed=2.0)").width == 3


def test_a_missing_library_is_answered_with_the_line_that_installs_it(folder):
    write(folder, "score", "my_part", good(needs='("open_clip_that_is_not_there",)'))
    with pytest.raises(MissingExtraError, match="pip install open_clip_that_is_not_there"):
        make("score", "my-part")


NAMES = st.from_regex(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=3,
)
OPTIONS = st.dictionaries(
    st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True).filter(lambda n: n.isidentifier()), VALUES, max_size=3
)


def spec_of(name: str, options: dict) -> str:
    return name + (f"({', '.join(f'{k}={v!r}' for k, v in options.items())})" if options else "")


def keyword_free(options: dict) -> bool:
    import keyword

    return not any(keyword.iskeyword(name) for name in options)


@given(NAMES, OPTIONS.filter(keyword_free))
@settings(max_examples=60, deadline=None)
def test_a_spec_is_read_as_it_was_written(name, options):
    assert parse_spec(spec_of(name, options)) == (name, options)


@given(st.lists(st.tuples(NAMES, OPTIONS.filter(keyword_free)), max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_chain_is_split_where_it_was_joined(links):
    specs = [spec_of(name, options) for name, options in links]
    assert [parse_spec(piece) for piece in split_chain(" | ".join(specs))] == links
