"""The protocol of few-shot episodes on features of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.protocol import _sets, episodes


def crowds(classes=8, each=120, dim=10):
    """Wide clusters, so that one item says little of where its class lies."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(classes), each)
    x = 2.0 * rng.normal(size=(classes, dim))[y] + rng.normal(size=(len(y), dim))
    return _sets.Labelled(x.astype(np.float32), y, np.arange(len(y)))


@pytest.fixture
def data(monkeypatch):
    monkeypatch.setitem(_sets._SETS, "crowds", crowds)
    return "crowds"


def spec(**options):
    return {"part": "opta", "baseline": "nearest-mean", "options": {"episodes": 20, **options}}


def test_queries_help_where_one_item_says_little(data):
    found = episodes.run(spec(shots=[1], also=["logistic-regression"]), data, 0)
    assert set(found) == {
        f"accuracy, 1 shots{uneven}{other}"
        for uneven in ("", ", unequal queries")
        for other in ("", ", against logistic-regression")
    }
    base, ours = found["accuracy, 1 shots"]
    assert base.shape == ours.shape == (20,) and ours.mean() > base.mean() + 0.03
    gain, uneven = ours.mean() - base.mean(), np.subtract(*found["accuracy, 1 shots, unequal queries"][::-1]).mean()
    assert uneven < gain


def test_a_part_without_the_trait_sees_no_queries_and_ties_with_itself(data):
    found = episodes.run({**spec(shots=[2]), "part": "nearest-mean"}, data, 1)
    assert all(np.array_equal(base, ours) for base, ours in found.values())


def test_an_episode_is_drawn_without_overlap():
    items = crowds()
    for uneven, most in ((False, 15), (True, 39)):
        (one, two) = episodes.drawn_episodes(items, {"episodes": 2}, 3, np.random.default_rng(0), uneven=uneven)
        counts = sorted(np.unique(one.truth, return_counts=True)[1])
        assert one.x.shape == (15, 10) and one.z.shape == (75, 10) and counts[-1] == most and sum(counts) == 75
        assert not {row.tobytes() for row in one.x} & {row.tobytes() for row in one.z}
        assert not np.array_equal(one.x, two.x)


def test_options_are_chosen_on_items_that_are_not_tested(data, monkeypatch):
    seen, real = [], episodes.accuracies
    monkeypatch.setattr(episodes, "accuracies", lambda s, o, e: (seen.append((s, o, e)), real(s, o, e))[1])
    episodes.run(spec(shots=[1], part_grid={"passes": [1, 3]}), data, 0)
    tuned, tested = seen[:2], seen[2:]
    assert [o for _, o, _ in tuned] == [{"passes": 1}, {"passes": 3}] and len(tested) == 4
    rows = [{row.tobytes() for _, _, made in group for e in made for row in (*e.x, *e.z)} for group in (tuned, tested)]
    assert not rows[0] & rows[1]


def test_too_few_items_are_said():
    with pytest.raises(DataError, match="0 classes have 55 items"):
        episodes.drawn_episodes(crowds(each=30), {}, 16, np.random.default_rng(0), uneven=True)
