"""Folds keep groups whole and are of about one size; towers bring pairs together."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.crossfit import correlated, crossed, folds_of, judged, trusted
from tellapart.core.errors import DataError


def test_folds_keep_groups_whole_and_even():
    group = np.random.default_rng(0).integers(0, 90, 400)
    fold = folds_of(group, 4, np.random.default_rng(1))
    assert all(len(set(fold[group == g])) == 1 for g in set(group))
    assert np.bincount(fold).max() <= 1.2 * len(group) / 4
    assert not np.array_equal(fold, folds_of(group, 4, np.random.default_rng(2)))


def test_towers_bring_pairs_together_that_they_have_not_seen():
    rng = np.random.default_rng(0)
    thing = rng.normal(size=(300, 4))
    x, y = thing @ rng.normal(size=(4, 8)) + 5, thing @ rng.normal(size=(4, 6)) - 3
    f, g = correlated(x[:200], y[:200], dim=3, ridge=0.01)
    s = f(x[200:]) @ g(y[200:]).T
    assert f(x).shape == (300, 3) and np.allclose(np.linalg.norm(g(y), axis=1), 1)
    assert np.diag(s).mean() > 0.95 and abs(s.mean()) < 0.2


def test_a_side_that_does_not_vary_is_no_error():
    f, g = correlated(np.ones((20, 3)), np.random.default_rng(0).normal(size=(20, 2)), dim=2, ridge=1.0)
    assert np.isfinite(f(np.ones((4, 3)))).all() and np.isfinite(g(np.ones((4, 2)))).all()


def _labelled(n: int, codes: np.ndarray, **more: object) -> tuple[dict[str, np.ndarray], Collection]:
    x = np.eye(3)[codes] + 0.1 * np.random.default_rng(0).normal(size=(n, 3))
    names = [None if c == 2 else f"kind {c}" for c in codes]
    return {"document": x}, Collection.of({"text": ["a text"] * n, "label": names, **more})


def test_items_are_judged_where_others_know_their_class():
    codes = np.array([0] * 8 + [1] * 8 + [2] * 4)
    held = judged(*_labelled(20, codes), folds=4, seed=0)
    assert held.rows.tolist() == list(range(16)) and held.names == ["kind 0", "kind 1"]
    proba = crossed(held.x, held.codes, held.fold, "nearest-mean")
    assert np.allclose(proba.sum(axis=1), 1) and (proba.argmax(axis=1) == held.codes).all()
    # An item has no say in what is said of it: a wrong label outvotes nobody.
    wrong = held.codes.copy()
    wrong[0] = 1
    assert crossed(held.x, wrong, held.fold, "nearest-mean").argmax(axis=1)[0] == 0
    kept = np.arange(16) % 2 == 0
    again = crossed(held.x, np.where(kept, held.codes, 1 - held.codes), held.fold, "nearest-mean", kept)
    assert (again.argmax(axis=1) == held.codes).all(), "what is not kept is not learnt from"


def test_a_class_of_copies_is_not_judged():
    codes = np.array([0] * 8 + [1] * 8)
    with pytest.raises(DataError, match="fewer than two labels have 5 items"):
        judged(*_labelled(16, codes, near=[*range(8), *[8] * 8]), folds=4, seed=0)


@pytest.mark.parametrize("said", [["Yes", "no", None], [True, False, None], [1, 0, None], [1.0, 0.0, None]])
def test_what_is_trusted_is_said_in_several_ways(said):
    assert trusted(Collection.of({"text": ["a", "b", "c"], "trusted": said})).tolist() == [True, False, False]


def test_what_is_trusted_is_not_guessed():
    with pytest.raises(DataError, match="holds 'perhaps'; write yes or no"):
        trusted(Collection.of({"text": ["a", "b"], "trusted": ["perhaps", "no"]}))
    with pytest.raises(DataError, match="say in a column 'trusted'"):
        trusted(Collection.of({"text": ["a", "b"]}))
