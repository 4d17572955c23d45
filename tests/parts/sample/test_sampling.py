"""Samplers on data of their own: places from columns, refusals in words, large collections in parts."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from tellapart.core.balanced import balanced_order
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make
from tellapart.core.plan import SampleKeys, once
from tellapart.engine.prepare import train_data
from tellapart.recipe import Recipe

RECIPE = Recipe(sample="sample4geo", epochs=6, batch_size=4)


def towns(**changed: list[object]) -> Collection:
    """Twelve pairs in three towns."""
    latitude = [base + 0.01 * n for n in range(4) for base in (52.0, -33.0, 1.0)]
    longitude = [base + 0.01 * n for n in range(4) for base in (13.0, 151.0, 179.99)]
    columns = {"latitude": latitude, "longitude": [x - 360 if x > 180 else x for x in longitude]}
    texts = {"anchor": [f"view {n}" for n in range(12)], "positive": [f"map {n}" for n in range(12)]}
    return Collection.of({**texts, **columns, **changed})


def frozen() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {side: rng.normal(size=(12, 5)).astype(np.float32) for side in ("query", "document")}


def test_first_batches_are_towns_where_places_are_known() -> None:
    data = train_data(towns(), frozen(), RECIPE)
    rows = np.arange(12)
    keys = SampleKeys(rows, rows, rows, extra=data.extra)
    sampler = make("sample", "sample4geo(neighbours=6, select=6)")
    for seed in range(4):
        plan = sampler(keys, seed=seed, epoch=0, batch_size=4)
        assert sorted(sorted(set(batch % 3)) for batch in plan) == [[0], [1], [2]]
    without = train_data(towns().take(rows), frozen(), RECIPE.but(sample="tas"))
    assert "place_vectors" not in without.extra
    assert data.fingerprint() != without.fingerprint()


@pytest.mark.parametrize("wrong", [[91.0, *[0.0] * 11], [None, *[0.0] * 11], ["north", *["0"] * 11]])
def test_a_row_that_is_nowhere_is_said(wrong: list[object]) -> None:
    with pytest.raises(DataError, match=r"latitude.* 90 .*mend or remove"):
        train_data(towns(latitude=wrong), frozen(), RECIPE)


def test_what_cannot_be_selected_is_said() -> None:
    rows = np.arange(12)
    with pytest.raises(PartError, match="smaller select"):
        make("sample", "sample4geo(neighbours=8, select=9)")(
            SampleKeys(rows, rows, rows), seed=0, epoch=0, batch_size=4
        )
    with pytest.raises(PartError, match="start=0"):
        make("sample", "sample4geo")(SampleKeys(rows, rows, rows), seed=0, epoch=0, batch_size=4)


def test_many_rows_are_searched_in_parts_and_most_neighbours_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("tellapart.parts.sample.sample4geo")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 16))
    x = (centres[rng.integers(40, size=2000)] + 0.5 * rng.normal(size=(2000, 16))).astype(np.float32)
    item = np.arange(2000)
    given = (x, (x + 0.1 * rng.normal(size=x.shape)).astype(np.float32), item // 2, item, 20, 0)
    whole = module._neighbours(*given)
    monkeypatch.setattr(module, "_LEAF", 300)
    in_parts = module._neighbours(*given)
    assert not np.array_equal(whole, in_parts)
    shared = np.mean([len(set(a.tolist()) & set(b.tolist())) / 20 for a, b in zip(whole, in_parts, strict=True)])
    assert shared > 0.7
    for found in (whole, in_parts):
        assert ((found == -1) | (found // 2 != item[:, None] // 2)).all()


@pytest.mark.parametrize(("n", "size"), [(1, 3), (7, 3), (64, 8), (101, 10), (50, 100)])
def test_balanced_clusters_have_one_size_and_hold_every_row_once(n: int, size: int) -> None:
    x = np.random.default_rng(0).normal(size=(n, 4))
    order = balanced_order(x, size, seed=0)
    assert np.array_equal(np.sort(order), np.arange(n))
    assert np.array_equal(order, balanced_order(x, size, seed=0))


def test_equal_rows_are_cut_all_the_same() -> None:
    assert len(np.unique(balanced_order(np.ones((33, 4)), 4, seed=1))) == 33


def test_balanced_clusters_are_tight() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 8))
    order = balanced_order(x, 10, seed=0)

    def spread(rows: np.ndarray) -> float:
        parts = x[rows].reshape(40, 10, 8)
        return float(((parts - parts.mean(1, keepdims=True)) ** 2).sum())

    assert spread(order) < 0.6 * spread(rng.permutation(400))


def test_what_is_computed_once_depends_on_bytes_and_arguments() -> None:
    calls = []

    def counted(x: np.ndarray, more: int) -> int:
        calls.append(more)
        return int(x.sum()) + more

    x = np.arange(3)
    assert [once(counted, [x], 1), once(counted, [x.copy()], 1), once(counted, [x], 2)] == [4, 4, 5]
    assert once(counted, [x + 1], 1) == 7 and calls == [1, 2, 1]
