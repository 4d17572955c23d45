"""The protocol of rank parts: its figures by hand, and both kinds of comparison on small data of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.protocol import rank


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def hubby(seed, n):
    """Queries and their documents in one narrow cone, so that the documents in its middle are hubs."""
    rng = np.random.default_rng(seed)
    q = unit(0.15 * rng.normal(size=(n, 16)) + 0.15)
    return {"query": q, "document": unit(q + 0.2 * rng.normal(size=q.shape))}


@pytest.fixture
def encoded(monkeypatch):
    def made(data, seed, epochs, pairs):
        return {"train": hubby(seed, 300), "validation": hubby(seed + 100, 120), "test": hubby(seed + 200, 120)}

    monkeypatch.setattr(rank, "encoded", made)


def spec(part, baseline="cosine", **options):
    return {"part": part, "baseline": baseline, "options": options}


def test_hubs_are_reduced_where_there_are_some(encoded):
    found = rank.run(spec("inverted-softmax", part_grid={"temperature": [0.03, 0.1]}), "openmoji", 0)
    assert set(found) == {
        f"{m} {a}" for m in ("R@1", "R@10", "hub skew") for a in ("query to document", "document to query")
    }
    base, ours = found["R@1 query to document"]
    assert len(base) == len(ours) == 120 and ours.mean() > base.mean() + 0.03
    assert found["hub skew query to document"][1] < found["hub skew query to document"][0]


def test_a_baseline_that_is_a_part_is_tuned_and_cosine_stands_beside_it(encoded):
    options = {"baseline_grid": {"temperature": [0.03, 50.0]}, "part_grid": {"query_temperature": [0.03, 50.0]}}
    found = rank.run(spec("dbnorm", "inverted-softmax", **options), "docstrings", 1)
    untuned = rank.run(spec("dbnorm", "inverted-softmax(temperature=50.0)"), "docstrings", 1)
    assert found["R@1 query to document"][0].mean() >= untuned["R@1 query to document"][0].mean()
    plain = rank.run(spec("dbnorm"), "docstrings", 1)["R@1 query to document"][0]
    assert (found["R@1 query to document, against cosine"][0] == plain).all()


def test_equal_seeds_give_equal_figures(encoded):
    one, two = (rank.run(spec("dbnorm-dynamic"), "openmoji", 3) for _ in range(2))
    assert all(np.array_equal(one[m][i], two[m][i]) for m in one for i in (0, 1))


def sought(seed=0, n=260, dim=8):
    """Two kinds of query whose relevant documents lie at other distances."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 2
    q = unit(rng.normal(size=(n, dim)) + 2 * np.where(kind, 1, -1)[:, None] * np.eye(dim)[0])
    wide = np.where(kind, 0.25, 0.9)[:, None] / dim**0.5
    right = [q + wide * rng.normal(size=q.shape) for _ in range(4)]
    wrong = [q + 2 * wide * rng.normal(size=q.shape) for _ in range(4)]
    relevant = np.concatenate([np.eye(n, dtype=bool)] * 4 + [np.zeros((n, n), dtype=bool)] * 4, axis=1)
    return q, unit(np.concatenate(right + wrong)), relevant, None


def test_the_adapter_gains_where_queries_differ(monkeypatch):
    monkeypatch.setattr(rank, "sought", lambda data: sought())
    found = rank.run(spec("cosine-adapter", part_grid={"hidden": [0, 16]}), "wordnet", 0)
    base, ours = found["average precision"]
    assert ours > base + 0.03
    assert abs(found["recall as deployed"][1] - 0.95) < 0.08
    assert found["precision at 90% recall"][1] > found["precision at 90% recall"][0]


def test_without_the_query_nothing_is_gained(monkeypatch):
    monkeypatch.setattr(rank, "sought", lambda data: sought(1))
    found = rank.run(spec("cosine-adapter(hidden=0)"), "wordnet", 0)
    for metric in ("average precision", "precision at 95% recall", "precision at 90% recall"):
        assert found[metric][0] == pytest.approx(found[metric][1], abs=1e-3), "an increasing map changes no ranking"


def test_figures_by_hand():
    scores, y = np.array([[0.9, 0.8], [0.7, 0.1]]), np.array([[True, False], [True, False]])
    assert rank.precision_at(scores, y, 1.0) == pytest.approx(2 / 3)
    assert rank.precision_at(scores, y, 0.5) == 1.0
    assert rank.average_precision(scores, y) == pytest.approx((1 + 2 / 3) / 2)
    search = rank.Search(unit(np.eye(4)[:2]), unit(np.eye(4)))
    assert search.places(search.hits).tolist() == [1.0, 1.0]


def test_data_that_do_not_fit_the_part_are_refused():
    with pytest.raises(DataError, match="judged on wordnet, fashion"):
        rank.run(spec("cosine-adapter"), "openmoji", 0)
    with pytest.raises(DataError, match="judged on openmoji, docstrings"):
        rank.run(spec("dbnorm"), "wordnet", 0)
