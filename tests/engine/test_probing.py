"""An index to mine through looks into as many cells as its recall takes, and is left out where that does not pay."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import PartError
from tellapart.core.nearest import nearest
from tellapart.engine import probing as module
from tellapart.engine.probing import probing


def clustered(n, seed=0, d=16):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((max(n // 100, 1), d))[rng.integers(0, max(n // 100, 1), n)]
    x = x + 0.25 * rng.standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def names(n):
    return np.asarray([f"{i:06d}" for i in range(n)], object)


def test_few_documents_are_all_compared():
    x = clustered(500)
    found = probing(names(500), x, x, 10)
    assert (found.index, found.spec, found.recall) == (None, "exact", 1.0)
    assert probing(names(500), x, x, 10, spec="exact").index is None


def test_many_are_looked_for_in_as_many_cells_as_recall_takes(monkeypatch):
    monkeypatch.setattr(module, "EXACT_UP_TO", 1000)
    monkeypatch.setattr(module, "ITEMS_A_CELL", 64)
    monkeypatch.setattr(module, "FIRST_PROBE", 1)
    x = clustered(12_000)
    found = probing(names(len(x)), x, x, 20)
    assert found.spec == f"ivf(cells=187, probe={found.index.probe})" and found.recall >= module.RECALL
    others = np.arange(len(x))[np.isin(np.arange(len(x)), np.linspace(0, len(x) - 1, 512).astype(int), invert=True)]
    q = x[others[::20]]
    places, truth = found.index.search_places(q, 20)[1], nearest(q, [x], 20)[1]
    recall = np.mean([np.isin(t, p).mean() for t, p in zip(truth, places, strict=True)])
    assert recall == pytest.approx(found.recall, abs=0.03)
    found.index.probe = found.index.probe * 3 // 4 if found.index.probe > 4 else found.index.probe - 1
    less = np.mean([np.isin(t, p).mean() for t, p in zip(truth, found.index.search_places(q, 20)[1], strict=True)])
    assert less < module.RECALL


def test_vectors_without_any_order_are_all_compared(monkeypatch):
    monkeypatch.setattr(module, "EXACT_UP_TO", 1000)
    monkeypatch.setattr(module, "ITEMS_A_CELL", 64)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6000, 128)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert probing(names(6000), x, x, 20).index is None


def test_an_index_by_name_has_its_recall_measured():
    x = clustered(3000)
    found = probing(names(3000), x, x[:700], 10, spec="ivf(cells=70, probe=1)")
    assert 0.3 < found.recall < 1 and found.queries == 512 and len(found.index) == 3000
    with pytest.raises(PartError, match="did you mean ivf"):
        probing(names(3000), x, x, 10, spec="ivff")
