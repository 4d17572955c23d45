"""The protocol of both kinds in one index: its figures by sorting in loops, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import small_run
from tellapart.core.errors import DataError, PartError
from tellapart.engine.fit import fit
from tellapart.protocol import mixed
from tellapart.recipe import Recipe


def unit(rng, n, d=3):
    x = rng.normal(size=(n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_figures_are_those_of_sorting():
    rng = np.random.default_rng(0)
    n = 30
    q, wanted, own_kind = (unit(rng, n) for _ in range(3))
    target, group = np.arange(n) // 2, np.arange(n) // 3
    found, wrong, alone = [], [], []
    for i in range(n):
        both = [(float(q[i] @ wanted[j]), "right", j) for j in range(n)]
        both += [(float(q[i] @ own_kind[j]), "wrong", j) for j in range(n) if group[j] != group[i]]
        both.sort(reverse=True)
        is_answer = [kind == "right" and target[j] == target[i] for _, kind, j in both]
        found.append(any(is_answer[:5]))
        wrong.append(sum(kind == "wrong" for _, kind, _ in both[:5]) / 5)
        of_right = [j for _, kind, j in both if kind == "right"][:5]
        alone.append(any(target[j] == target[i] for j in of_right))
    got = mixed.found_among_both(q, wanted, own_kind, target, group)
    assert got == {
        "recall@5": pytest.approx(np.mean(found)),
        "wrong kind in the first five": pytest.approx(np.mean(wrong)),
        "recall@5, own kind alone": pytest.approx(np.mean(alone)),
    }


def test_a_collapsed_model_finds_nothing():
    z = np.ones((20, 3), np.float32) / 3**0.5
    got = mixed.found_among_both(z, z, z, np.arange(20), np.arange(20))
    assert got["recall@5"] == got["recall@5, own kind alone"] == 0 and got["wrong kind in the first five"] == 1


def test_wishes_are_searched_with_and_come_out_of_the_run():
    fields = {"strategy": "mm-embed(depth=9, skip=3)", "head": "linear-head(dim=4)", "epochs": 3, "batch_size": 8}
    recipe = Recipe.of(fields)
    fitted = fit(recipe, small_run().data, seed=0)
    z = unit(np.random.default_rng(0), 6, 4)
    for at, side in enumerate(("query", "document")):
        moved = z + fitted.strategy.wishes[at].detach().numpy()
        assert np.abs(moved - z).max() > 1e-4, "a wish was not learnt"
        expected = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        assert np.allclose(mixed.asked(fitted.strategy, z, side), expected, atol=1e-6)
    assert mixed.asked(torch.nn.Identity(), z, "query") is z


def test_what_it_does_not_know_is_refused():
    with pytest.raises(PartError, match="no option 'epoch'"):
        mixed.run({"options": {"epoch": 3}}, "openmoji", 0)
    with pytest.raises(DataError, match="digits"):
        mixed.run({"options": {}}, "digits", 0)
