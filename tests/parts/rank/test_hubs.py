"""What the normalisations against hubs do, beyond their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core import banks
from tellapart.core.errors import DataError, PartError
from tellapart.core.hits import Hits
from tellapart.core.parts import make

PARTS = ("inverted-softmax", "dbnorm", "dbnorm-dynamic")


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def hubby(seed, n=120, dim=16):
    """Queries with noisy documents, and one document in the middle of all queries that is near everything."""
    rng = np.random.default_rng(seed)
    middle = np.ones(dim) / dim**0.5
    q = unit(0.15 * rng.normal(size=(n, dim)) + 0.6 * middle)
    k = unit(np.concatenate([q + 0.2 * rng.normal(size=q.shape), middle[None] + 0.01 * rng.normal(size=(1, dim))]))
    ids = np.array([f"d{i:03d}" for i in range(n + 1)])
    return q, k, ids


def search(q, k, ids, first=20):
    return Hits.sorted(np.tile(ids, (len(q), 1)), q @ k.T, first)


@pytest.mark.parametrize("name", PARTS)
def test_a_planted_hub_is_found_less_often_and_the_right_document_more_often(name):
    q, k, ids = hubby(0)
    bank, _, _ = hubby(1)
    hits = search(q, k, ids)
    part = make("rank", name).fit(bank, k, ids=ids)
    out = part.rank(q, hits, lambda wanted: k[[int(i[1:]) for i in wanted]])
    before, after = ((h.ids[:, 0] == ids[-1]).mean() for h in (hits, out))
    assert before > 0.1 and after < before / 3
    right = ids[: len(q)]
    assert (out.ids[:, 0] == right).mean() > (hits.ids[:, 0] == right).mean()


def test_the_dynamic_form_leaves_queries_alone_that_found_no_hub():
    _, k, ids = hubby(2)
    part = make("rank", "dbnorm-dynamic", query_temperature=0.1, document_temperature=0.1)
    far = unit(-np.ones((9, 16)) + 0.3 * np.random.default_rng(0).normal(size=(9, 16)))
    part.fit(far, unit(np.concatenate([k, far])), ids=np.concatenate([ids, [f"x{i}" for i in range(9)]]))
    hub = part._hubs(k.astype(np.float32), ids, True)
    assert not hub.any(), "the bank's own corner has documents that are nearer"


def test_an_item_does_not_count_in_its_own_bank():
    rng = np.random.default_rng(3)
    z = unit(rng.normal(size=(6, 4))).astype(np.float32)
    ids = np.array(list("abcdef"))
    with_itself = banks.attraction(z, ids, z, np.full(6, ""), 0.1)
    without = banks.attraction(z, ids, z, ids, 0.1)
    alone = banks.attraction(z[:1], ids[:1], z[:1], ids[:1], 0.1)
    assert (with_itself > without).all() and alone.tolist() == [0.0]


def test_attraction_stays_finite_where_exponentials_do_not():
    z = unit(np.eye(3)).astype(np.float32)
    found = banks.attraction(z, np.array(list("abc")), -z, np.full(3, ""), 1e-3)
    assert np.isfinite(found).all()


def test_attraction_does_not_depend_on_how_it_is_cut(monkeypatch):
    rng = np.random.default_rng(4)
    z, bank = (unit(rng.normal(size=(n, 5))).astype(np.float32) for n in (37, 23))
    ids, names = np.array([f"a{i}" for i in range(37)]), np.array([f"a{i}" for i in range(23)])
    whole = banks.attraction(z, ids, bank, names, 0.2)
    monkeypatch.setattr(banks, "ENTRIES", 50)
    assert np.allclose(whole, banks.attraction(z, ids, bank, names, 0.2), atol=1e-6)


def test_queries_without_hits_are_left_as_they_are():
    q, k, ids = hubby(5)
    empty = Hits(np.full((len(q), 3), "", dtype="<U4"), np.full((len(q), 3), -np.inf, dtype=np.float32))
    out = make("rank", "dbnorm").fit(q, k, ids=ids).rank(q, empty, lambda wanted: k[:0])
    assert (out.ids == "").all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda q, k: make("rank", "dbnorm").fit(q, k, ids=["a"]), "one id a row"),
        (lambda q, k: make("rank", "dbnorm").fit(q, k[:, :3]), "same encoder"),
        (lambda q, k: make("rank", "dbnorm-dynamic", k=200).fit(q, k), "more than 200 documents"),
        (lambda q, k: make("rank", "dbnorm-dynamic").fit(q, k, pairs=[[0, 999]]), "row numbers"),
    ],
)
def test_what_cannot_be_used_is_said(call, words):
    q, k, _ = hubby(6)
    with pytest.raises(DataError, match=words):
        call(q, k)


def test_bounds_of_options_are_checked():
    with pytest.raises(PartError, match="temperature"):
        make("rank", "inverted-softmax", temperature=0)
