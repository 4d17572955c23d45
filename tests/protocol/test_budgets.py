"""The protocol of selections by budgets of words, on texts of known classes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.errors import PartError
from tellapart.protocol import budgets

WORDS = {c: [f"{c}{i}" for i in range(40)] for c in ("apple", "boat", "cloud")}


def planted(each=300):
    rng = np.random.default_rng(0)
    shared = [f"the{i}" for i in range(30)]
    classes = np.repeat(list(WORDS), each)
    return [" ".join(rng.choice(WORDS[c] + shared, size=rng.integers(4, 20))) for c in classes], classes


@pytest.fixture
def data(monkeypatch):
    monkeypatch.setattr(budgets, "texts", lambda name: planted())
    return "planted"


def spec(**options):
    return {"part": "color-filter", "baseline": "random", "options": {"sample": 40, "keep": [0.2, 0.05]} | options}


def test_what_is_selected_for_the_target_saves_words(data):
    grids = {"dsir": {"smoothing": [1e-4]}, "conditional only": {}}
    found = budgets.run(spec(also=grids, part_grid={"passes": [1.0, 10.0]}), data, 0)
    for share in ("5%", "20%"):
        base, part = found[f"bits a word, keep {share}"]
        assert part < base - 0.2
        base, part = found[f"target share, keep {share}"]
        assert part > 0.9 and base == pytest.approx(0.22, abs=0.15)
        assert found[f"target share, keep {share}, against dsir"][0] > 0.6
        assert f"bits a word, keep {share}, against conditional only" in found
    assert found["times less data"][0] == 1 and found["times less data"][1] > 2
    assert budgets.run(spec(also=grids, part_grid={"passes": [1.0, 10.0]}), data, 0) == found


def test_nothing_of_the_target_that_is_shown_or_held_out_is_in_the_pool(data):
    task = budgets.Task.drawn(data, 3, 40, 500)
    sides = [task.shown, task.tuning, task.test, task.pool]
    assert [len(s) for s in sides] == [40, 40, 40, 500]
    assert sum(len(set(s)) for s in sides) == len(set().union(*sides)), "no text stands on two sides"
    assert (task.classes == task.target).sum() == 125, "a quarter of the pool is of the target's class"


def test_a_budget_is_of_words(data):
    task = budgets.Task.drawn(data, 0, 40, 500)
    for order in (np.argsort(task.lengths), np.argsort(-task.lengths), task.random):
        rows = task.first(order, 0.25)
        assert task.lengths[rows].sum() == pytest.approx(0.25 * task.lengths.sum(), abs=20)
        assert np.array_equal(rows, order[: len(rows)])


def test_options_are_chosen_on_texts_kept_for_it_and_not_on_the_test(data, monkeypatch):
    asked = []
    true_bits = budgets.Task.bits
    monkeypatch.setattr(
        budgets.Task, "bits", lambda t, rows, held: (asked.append((t, held)), true_bits(t, rows, held))[1]
    )
    budgets.run(spec(part_grid={"passes": [1.0, 10.0]}), data, 0)
    task = asked[0][0]
    assert all(held is task.tuning for _, held in asked[:4]) and all(held is task.test for _, held in asked[4:])


def test_bits_a_word_by_hand():
    model = budgets.Trigrams(["a b", "a a"], vocabulary=3)
    # a comes 3 times of 4, b once; at the beginning a comes twice of 2; after (start, a) come a and b once each
    one = {"a": (3 - 0.75 + 0.75 * 2 / 3) / 4, "b": (1 - 0.75 + 0.75 * 2 / 3) / 4, "c": 0.75 * 2 / 3 / 4}
    assert sum(one.values()) == pytest.approx(1)
    after_start = (2 - 0.75 + 0.75 * one["a"]) / 2
    first = (2 - 0.75 + 0.75 * after_start) / 2
    after_a = (1 - 0.75 + 0.75 * 2 * one["b"]) / 2
    second = (1 - 0.75 + 0.75 * 2 * after_a) / 2
    third = one["c"]  # neither (a, b) nor b has been followed by anything
    assert model.bits(["a b c"]) == pytest.approx(-(math.log2(first) + math.log2(second) + math.log2(third)) / 3)


def test_how_much_is_saved_is_read_off_the_random_curve(data, monkeypatch):
    task = budgets.Task.drawn(data, 0, 40, 500)
    curve = {True: lambda share: -math.log2(share), False: lambda share: 1.0}  # the part reaches what half of all does
    part = task.random[::-1].copy()
    monkeypatch.setattr(
        budgets.Task,
        "bits",
        lambda t, rows, held: curve[bool(rows[0] == t.random[0])](t.lengths[rows].sum() / t.lengths.sum()),
    )
    assert task.saved(part, 0.0625) == pytest.approx(8, rel=0.05)


def test_what_cannot_be_drawn_is_said(data):
    with pytest.raises(PartError, match="no class of planted has 4000 texts"):
        budgets.run(spec(sample=1000), data, 0)
    with pytest.raises(PartError, match="puts no texts in an order"):
        budgets.run(spec(also={"knn": {}}), data, 0)
    with pytest.raises(PartError, match="no option 'kept'"):
        budgets.run(spec(kept=[0.1]), data, 0)
