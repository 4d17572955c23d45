"""The audit of interpolation and extrapolation on worlds of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.core.report import Table, Text


def world(seed, *, apart, n=600, dim=16, kinds=5):
    """Queries and documents: with `apart` every kind has a place and a map of its own, otherwise all share one."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % kinds
    q = apart * 2 * rng.normal(size=(kinds, dim))[kind] + rng.normal(size=(n, dim))
    common = rng.normal(size=(dim, dim))
    maps = [common + apart * 2 * rng.normal(size=(dim, dim)) for _ in range(kinds)]
    d = np.stack([row @ maps[k] for row, k in zip(q, kind, strict=True)])
    return q, d + 0.4 * rng.normal(size=d.shape) * d.std()


def verdict(report):
    return next(b.text for b in report.blocks if isinstance(b, Text))


def test_kinds_apart_show_a_gap_and_the_random_split_does_not():
    q, d = world(0, apart=True)
    report = make("audit", "interp-extrap")({"query": q, "document": d}, Collection.of({"x": range(600)}), seed=0)
    assert "fare worse" in verdict(report)
    assert report.figure("gap").low > 0.1
    assert abs(report.figure("random split").value - report.figure("interpolation").value) < 0.05
    table = next(b for b in report.blocks if isinstance(b, Table))
    assert sum(row[1] for row in table.rows) == report.figure("gap").count


def test_one_kind_shows_none():
    shown = 0
    for seed in range(3):
        q, d = world(seed, apart=False)
        report = make("audit", "interp-extrap")({"query": q, "document": d}, Collection.of({"x": range(600)}), seed=0)
        shown += "fare worse" in verdict(report)
        assert abs(report.figure("gap").value) < 0.06
    assert shown <= 1


def test_it_cannot_tell_from_thirty_queries():
    q, d = world(1, apart=True, n=100)
    report = make("audit", "interp-extrap")({"query": q, "document": d}, Collection.of({"x": range(100)}), seed=0)
    assert verdict(report).startswith("cannot tell")


def test_twins_and_group_mates_are_left_out():
    q, d = world(2, apart=False, n=200)
    q[150:155] = q[:5]
    split = ["train"] * 100 + ["test"] * 100
    group = np.arange(200)
    group[160:163] = group[10:13]
    collection = Collection.of({"split": split, "group": group})
    report = make("audit", "interp-extrap")({"query": q, "document": d}, collection, seed=0)
    assert report.facts["twins left out"] == 8 and report.figure("gap").count == 92


def test_a_trainer_of_ones_own_is_asked_with_training_rows_alone():
    q, d = world(3, apart=False, n=200)
    collection = Collection.of({"split": ["train"] * 140 + ["test"] * 60})
    seen = []

    def train(rows):
        seen.append(rows)
        return lambda asked, pool: -np.abs(asked[:, None] - pool)

    report = make("audit", "interp-extrap", k=1)({"query": q, "document": d}, collection, train, seed=0)
    assert report.figure("extrapolation").value == 1.0, "every query finds its own row"
    assert all(rows.max() < 140 for rows in seen) and len(seen) == 10


def test_a_collapsed_scorer_looks_like_chance():
    q, d = world(4, apart=False, n=200)
    collection = Collection.of({"split": ["train"] * 140 + ["test"] * 60})
    report = make("audit", "interp-extrap", k=5)(
        {"query": q, "document": d},
        collection,
        lambda rows: lambda asked, pool: np.zeros((len(asked), len(pool))),
        seed=0,
    )
    assert report.figure("interpolation").value == 0.0


def test_a_scorer_that_is_not_finite_is_refused():
    q, d = world(5, apart=False, n=200)
    broken = lambda rows: lambda asked, pool: np.full((len(asked), len(pool)), np.nan)  # noqa: E731
    with pytest.raises(DataError, match="finite scores"):
        make("audit", "interp-extrap")({"query": q, "document": d}, Collection.of({"x": range(200)}), broken, seed=0)


def test_labels_of_one_column_are_relevant_to_each_other():
    rng = np.random.default_rng(0)
    label = np.arange(300) % 30
    x = 2 * rng.normal(size=(30, 12))[label] + 0.5 * rng.normal(size=(300, 12))
    collection = Collection.of({"label": [f"l{v}" for v in label]})
    report = make("audit", "interp-extrap", k=3, twin=1.0)({"query": x}, collection, seed=0)
    assert report.figure("interpolation").value > 0.9
    with pytest.raises(DataError, match="name the column"):
        make("audit", "interp-extrap")({"query": x}, Collection.of({"x": range(300)}), seed=0)
