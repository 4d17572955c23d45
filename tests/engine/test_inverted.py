"""Weights of terms: BM25 by hand, and the inverted index against the product written out."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.core.terms import Weighted, bm25, counted, naming_map, rarity, weighed
from tellapart.engine.inverted import Inverted

TERMS = 30


def planted(n: int = 80, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((n, TERMS)) < 0.15, rng.integers(1, 4, (n, TERMS)) / 2, 0).astype(np.float32)
    return dense, [f"i{row:03d}" for row in rng.permutation(n)]


def true(dense: np.ndarray, ids: list[str], q: np.ndarray, k: int) -> list[tuple[str, float]]:
    scores = [(name, float(row @ q)) for name, row in zip(ids, dense, strict=True)]
    return sorted((pair for pair in scores if pair[1] > 0), key=lambda pair: (-pair[1], pair[0]))[:k]


@pytest.fixture
def index() -> Inverted:
    dense, ids = planted()
    made = Inverted(TERMS)
    for piece in np.array_split(np.arange(len(ids)), 3):
        made.add([ids[row] for row in piece], Weighted.of(dense[piece]))
    return made


def agrees(index: Inverted, dense: np.ndarray, ids: list[str], **options) -> None:
    queries = planted(12, seed=1)[0]
    for k in (1, 7, 200):
        hits = index.search(Weighted.of(queries), k, **options)
        for row, q in enumerate(queries):
            assert hits[row] == true(dense, ids, q, k)


def test_scores_are_exact_and_ties_go_by_id(index: Inverted) -> None:
    agrees(index, *planted())


def test_filter(index: Inverted) -> None:
    dense, ids = planted()
    some = np.arange(0, 80, 3)
    names = [ids[row] for row in some]
    agrees(index, dense[some], names, filter=[*names, "unknown"])
    agrees(index, dense[some], names, filter=lambda all_: np.isin(all_.astype(str), names))
    assert index.search(Weighted.of(dense[:2]), 5, filter=[]).ids.shape == (2, 0)


def test_delete_and_replace(index: Inverted) -> None:
    dense, ids = planted()
    index.delete(ids[:20])
    agrees(index, dense[20:], ids[20:])
    moved = dense[20:40][::-1]
    index.add(ids[20:40], Weighted.of(moved))
    agrees(index, np.concatenate([moved, dense[40:]]), ids[20:])
    assert len(index) == 60 and set(index.ids) == set(ids[20:])
    with pytest.raises(DataError, match="not in the index"):
        index.delete(["nothing", ids[70]])
    agrees(index, np.concatenate([moved, dense[40:]]), ids[20:])


def test_written_and_read(index: Inverted, tmp_path) -> None:
    dense, ids = planted()
    index.delete(ids[:20])
    index.write(tmp_path)
    read = Inverted.read(tmp_path)
    agrees(read, dense[20:], ids[20:])
    read.add(ids[:20], Weighted.of(dense[:20]))
    agrees(read, np.concatenate([dense[20:], dense[:20]]), ids[20:] + ids[:20])
    rows = np.load(tmp_path / "rows.npy")
    np.save(tmp_path / "rows.npy", rows + 50)
    with pytest.raises(ValueError, match="not there"):
        Inverted.read(tmp_path)
    np.save(tmp_path / "rows.npy", rows[:-1])
    with pytest.raises(ValueError, match="do not fit"):
        Inverted.read(tmp_path)


def test_nothing_and_nonsense() -> None:
    index = Inverted(3)
    row = Weighted.of(np.ones((1, 3), np.float32))
    assert index.search(row, 5).ids.shape == (1, 0)
    for ids, rows, said in (
        (["a", "a"], Weighted.joined([row, row]), "different ids"),
        ([""], row, "not empty"),
        (["a"], Weighted.of(np.ones((1, 4), np.float32)), "0 to 2"),
        (["a"], Weighted(row.starts, row.terms, -row.weights), "above 0"),
    ):
        with pytest.raises(DataError, match=said):
            index.add(ids, rows)
    with pytest.raises(DataError, match="at least 1"):
        index.search(row, 0)


def test_counts_rarity_and_bm25() -> None:
    counts = counted(np.asarray([0, 3, 4, 4]), np.asarray([1, 1, -1, 0]), 3)
    assert [counts.terms.tolist(), counts.weights.tolist(), counts.starts.tolist()] == [[1, 0], [2, 1], [0, 1, 2, 2]]
    assert rarity(counts, 3) == pytest.approx(np.log([1 + 2.5 / 1.5, 1 + 2.5 / 1.5, 1 + 3.5 / 0.5]))
    expected = [2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 2 / 1)), 2.2 / (1 + 1.2 * (0.25 + 0.75 * 1 / 1))]
    assert bm25(counts).weights == pytest.approx(expected)


def test_rows_taken_and_joined() -> None:
    dense, _ = planted(9)
    rows = Weighted.of(dense)
    taken = rows.take(np.asarray([4, 0, 4]))
    assert [taken.terms[a:b].tolist() for a, b in zip(taken.starts[:-1], taken.starts[1:], strict=True)] == [
        np.flatnonzero(dense[row]).tolist() for row in (4, 0, 4)
    ]
    again = Weighted.joined([Weighted.of(dense[:4]), Weighted.of(dense[4:])])
    assert all((getattr(again, f) == getattr(rows, f)).all() for f in ("starts", "terms", "weights"))


def test_the_map_that_names_tokens_names_them() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 24)).astype(np.float32)
    mixed = rng.normal(size=(24, 24))
    terms = rng.integers(0, 200, 3000)
    states = vectors[terms] @ mixed + 0.1 * rng.normal(size=(3000, 24))
    map_, shift = naming_map(states, terms, vectors)
    logits = states @ map_ @ vectors.T + shift
    assert (logits.argmax(1) == terms).mean() > 0.95
    assert logits[np.arange(3000), terms].mean() == pytest.approx(2, abs=0.1)
    logits[np.arange(3000), terms] = -1
    assert (logits > 0).sum() == pytest.approx(0.2 * 3000, rel=0.2)
    logits = states @ map_ @ vectors.T + shift
    assert weighed(states[:2], map_, vectors, np.float32(shift)) == pytest.approx(
        np.log1p(np.maximum(logits[:2].max(0), 0)), rel=1e-4, abs=1e-5
    )
