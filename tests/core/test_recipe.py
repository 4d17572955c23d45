"""Recipe: the same on the disk, on the command line and in Python, and refused in words when it is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.core.errors import PartError, TellapartError
from tellapart.core.parts import card_of, cards, chain_cards
from tellapart.recipe import PART_FIELDS, Recipe

CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "objective": st.sampled_from(sorted(cards("objective"))),
        "sample": st.sampled_from(sorted(cards("sample"))),
        "both_ways": st.booleans(),
        "epochs": st.integers(1, 10_000),
        "batch_size": st.integers(2, 4096),
        "learning_rate": st.floats(1e-6, 10, exclude_min=True),
        "warmup": st.floats(0, 1),
        "seed": st.integers(0, 2**31 - 1),
        "positives": st.sampled_from(["item", "group"]),
    },
)


def recipe_of(changes: dict) -> Recipe:
    return Recipe(**changes)


@given(CHANGES)
@settings(max_examples=60, deadline=None)
def test_toml_is_read_back_equal(tmp_path_factory, changes):
    recipe = recipe_of(changes)
    file = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    file.write_text(recipe.to_toml(), encoding="utf-8")
    assert Recipe(**_table(file)) == recipe
    assert Recipe(**_table(file)).hash == recipe.hash


def _table(file):
    import tomllib

    data = tomllib.loads(file.read_text(encoding="utf-8"))
    assert set(data) == {"recipe"}
    return data["recipe"]


@given(CHANGES, CHANGES)
@settings(max_examples=60, deadline=None)
def test_hash_names_the_content(one, other):
    a, b = recipe_of(one), recipe_of(other)
    assert (a.hash == b.hash) == (a == b)
    assert len(a.hash) == 10


def test_the_default_recipe_names_parts_that_exist_and_survives_a_file(tmp_path):
    recipe = Recipe.of({})
    (tmp_path / "r.toml").write_text(recipe.to_toml(), encoding="utf-8")
    assert Recipe.from_toml(tmp_path / "r.toml") == recipe


def test_quotes_and_bars_in_options_survive_the_file(tmp_path):
    recipe = Recipe(objective="infonce(temperature=0.1)", relate="a(x='|\"')|b")
    (tmp_path / "r.toml").write_text(recipe.to_toml(), encoding="utf-8")
    assert Recipe(**_table(tmp_path / "r.toml")) == recipe


def test_one_assignment_is_read_by_the_type_of_its_field():
    recipe = Recipe()
    changed = recipe.changed_by("epochs=3").changed_by("both_ways=false").changed_by("objective = dcl(temperature=0.2)")
    assert (changed.epochs, changed.both_ways, changed.objective) == (3, False, "dcl(temperature=0.2)")
    assert recipe == Recipe()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"objectiv": "dcl"}, "a recipe has no 'objectiv'; did you mean objective"),
        ({"objective": "dlc"}, "no objective named 'dlc'; did you mean dcl"),
        ({"objective": "dcl(temprature=1)"}, "no option 'temprature'; did you mean temperature"),
        ({"objective": "dcl(temperature=0)"}, "temperature=0: .*greater than 0"),
        ({"sample": "dcl"}, "is a part of shape objective, not sample"),
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": "many"}, "epochs='many'"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"positives": "concept"}, "positives='concept'"),
    ],
)
def test_a_wrong_recipe_is_refused_before_anything_runs(values, words):
    with pytest.raises(PartError, match=words):
        Recipe.of(values)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[recipe\n", "not a readable TOML file"),
        (b"\xff\xfe", "not a readable TOML file"),
        (b"objective = 'dcl'\n", "must hold one table"),
        (b"[recipe]\nepochs = 1\n[other]\n", "must hold one table"),
        (b"recipe = 3\n", "must hold one table"),
    ],
)
def test_a_broken_file_is_refused_in_words(tmp_path, content, words):
    (tmp_path / "r.toml").write_bytes(content)
    with pytest.raises(TellapartError, match=words):
        Recipe.from_toml(tmp_path / "r.toml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TellapartError, match="there is no recipe file"):
        Recipe.from_toml(tmp_path / "none.toml")


def test_an_assignment_without_a_sign_is_refused():
    with pytest.raises(PartError, match="field=value"):
        Recipe().changed_by("dcl")


def test_every_part_field_is_a_field():
    assert set(PART_FIELDS) <= set(Recipe.model_fields)


def test_other_code_of_a_part_is_another_trial(tmp_path, monkeypatch) -> None:
    recipe = Recipe()
    before = recipe.code
    assert before == Recipe(epochs=3).code != Recipe(objective="dcl").code
    card = card_of("objective", "infonce")
    changed = tmp_path / "infonce.py"
    changed.write_bytes(card.file.read_bytes() + b"\n")

    def cards_now(shape: str, chain: str):
        return tuple(replace(c, file=changed) if c.name == "infonce" else c for c in chain_cards(shape, chain))

    monkeypatch.setattr("tellapart.recipe.chain_cards", cards_now)
    assert recipe.code != before and recipe.hash == Recipe().hash
