"""What the protocol one_direction compares: each training in its own direction, chosen by that direction."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.protocol import one_direction
from tellapart.protocol.one_direction import chosen, made, run


def found(there: float, back: float) -> dict[str, np.ndarray]:
    names = {"a-to-b": there, "b-to-a": back}
    return {f"{n} {m}": np.full(4, v) for n, v in names.items() for m in ("R@1", "R@10", "nDCG@10")}


def test_options_are_chosen_by_the_direction_they_are_judged_in() -> None:
    tried = [(found(0.9, 0.1), found(0.1, 0.2)), (found(0.3, 0.8), found(0.3, 0.4))]
    assert chosen(tried, "a-to-b")["a-to-b R@1"][0] == 0.1
    assert chosen(tried, "b-to-a")["b-to-a R@1"][0] == 0.4


def test_each_training_is_judged_where_it_was_trained_for(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"two-tower": found(0.5, 0.6), "query": found(0.7, 0.2), "document": found(0.1, 0.9)}
    named = [("a-to-b", "query", "document"), ("b-to-a", "document", "query")]
    monkeypatch.setattr(one_direction, "parted", lambda data, seed: (None, None))
    monkeypatch.setattr(one_direction, "directions", lambda pairs: named)
    monkeypatch.setattr(one_direction, "trained", lambda d, s, recipe, n: (told[recipe.strategy],) * 2)
    monkeypatch.setattr(one_direction, "made", lambda budget, fields: [type("R", (), dict(fields))()])
    options = {
        "baseline": {"strategy": "two-tower"},
        "variant": {"strategy": "query"},
        "other": {"strategy": "document"},
    }
    figures = run({"options": options}, "openmoji", 0)
    assert {k: (a[0], b[0]) for k, (a, b) in figures.items() if "R@1" in k and "R@10" not in k} == {
        "a-to-b R@1": (0.5, 0.7),
        "a-to-b R@1, against training the other direction": (0.1, 0.7),
        "b-to-a R@1": (0.6, 0.9),
        "b-to-a R@1, against training the other direction": (0.2, 0.9),
    }


def test_recipes_are_all_combinations() -> None:
    recipes = made({"epochs": 3}, {"objective": ["triplet", "infonce"], "batch_size": [8, 16]})
    assert {(r.objective, r.batch_size, r.epochs) for r in recipes} == {
        (o, b, 3) for o in ("triplet", "infonce") for b in (8, 16)
    }


def test_unknown_data_and_options_are_named() -> None:
    with pytest.raises(DataError, match="knows openmoji"):
        run({"options": {}}, "digits", 0)
    with pytest.raises(PartError, match="no option 'wrong'"):
        run({"options": {"wrong": 1}}, "openmoji", 0)
