"""The protocol of selections on texts of known classes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart.core.errors import PartError
from tellapart.protocol import select

WORDS = {c: [f"{c}{i}" for i in range(40)] for c in ("apple", "boat", "cloud")}


def planted(each=300):
    rng = np.random.default_rng(0)
    shared = [f"the{i}" for i in range(30)]
    classes = np.repeat(list(WORDS), each)
    return [" ".join(rng.choice(WORDS[c] + shared, size=12)) for c in classes], classes


@pytest.fixture
def data(monkeypatch):
    monkeypatch.setattr(select, "texts", lambda name: planted())
    return "planted"


def spec(baseline="random", **options):
    return {"part": "dsir", "baseline": baseline, "options": {"sample": 40, "share": 0.1} | options}


def test_a_selection_for_the_target_is_better_than_a_random_one(data):
    found = select.run(spec(also=["top-k(dsir)", "classifier"]), data, 0)
    assert found["bits a word"][1] < found["bits a word"][0] - 0.3
    assert found["target share"][1] > 0.8 and found["target share"][0] == pytest.approx(0.22, abs=0.12)
    assert found["kl reduction"][1] > found["kl reduction"][0] + 0.4
    assert found["target share, against classifier"][0] > 0.8 and found["target share, against top-k(dsir)"][0] > 0.8
    assert -1 <= found["rank agreement"][1] <= 1 and found["rank agreement"][0] == 0
    assert "classes kept" not in found and found["classes kept, against classifier"][0] >= 1
    assert select.run(spec(also=["top-k(dsir)", "classifier"]), data, 0) == found


def test_nothing_of_the_target_that_is_shown_or_held_out_is_in_the_pool(data):
    task = select.Task.drawn(data, 3, 40, 500, 0.05)
    everything, _ = planted()
    sides = [task.shown, task.tuning, task.test, task.pool]
    assert [len(s) for s in sides] == [40, 40, 40, 500] and task.n == 25
    assert sum(len(set(s)) for s in sides) == len(set().union(*sides)), "no text stands on two sides"
    assert set().union(*sides) <= set(everything)
    assert (task.classes == task.target).sum() == 180, "the rest of the class is hidden in the pool"


def test_options_are_chosen_on_texts_kept_for_it_and_not_on_the_test(data, monkeypatch):
    asked = []
    true_bits = select.Task.bits
    monkeypatch.setattr(
        select.Task, "bits", lambda self, rows, held: (asked.append(held), true_bits(self, rows, held))[1]
    )
    tasks = []
    true_drawn = select.Task.drawn
    monkeypatch.setattr(select.Task, "drawn", lambda *a: (tasks.append(true_drawn(*a)), tasks[-1])[1])
    select.run(spec(part_grid={"buckets": [100, 1000]}), data, 0)
    assert [held == tasks[0].tuning for held in asked[:2]] == [True, True] and tasks[0].test not in asked[:2]
    assert all(held == tasks[0].test for held in asked[2:])


def test_bits_a_word_by_hand():
    model = select.Bigrams(["a b", "a a"], vocabulary=3)
    one = {"a": 3.1 / 4.3, "b": 1.1 / 4.3, "c": 0.1 / 4.3}
    first = math.log2(0.5 * one["a"] + 0.5 * 1.0)
    second = math.log2(0.5 * one["b"] + 0.5 * (1 / 2))
    third = math.log2(one["c"])
    assert model.bits(["a b c"]) == pytest.approx(-(first + second + third) / 3)


def test_rank_correlation_and_spread():
    assert select._spearman([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert select._spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert select._spread(np.array(["a", "b", "a", "b"])) == pytest.approx(2) and select._spread(np.array(["a"])) == 1


def test_what_cannot_be_drawn_is_said(data):
    with pytest.raises(PartError, match="no class of planted has 4000 texts"):
        select.run(spec(sample=1000), data, 0)
    with pytest.raises(PartError, match="no way to select named 'rendom'"):
        select.run(spec("rendom"), data, 0)


def test_unknown_texts_are_refused():
    with pytest.raises(PartError, match="did you mean wordnet"):
        select.texts("wordnets")
