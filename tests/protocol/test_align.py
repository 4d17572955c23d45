"""Maps between encoders judged: on autoencoders of digits, and on spaces whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.protocol import align


def spaces(seed: int, turn: np.ndarray, noise: float) -> align.Spaces:
    """Queries near their documents, seen through a matrix, with noise of the encoder's own."""
    rng, own = np.random.default_rng(0), np.random.default_rng([seed, 9])
    found: align.Spaces = {}
    for part, n in (("train", 300), ("validation", 60), ("test", 120)):
        inner = rng.normal(size=(n, 8))
        found[part] = {}
        for side in align.SIDES:
            z = (inner + 0.3 * rng.normal(size=inner.shape)) @ turn
            z = z + noise * own.normal(size=z.shape)
            found[part][side] = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
    return found


@pytest.fixture
def known(monkeypatch):
    """An old encoder with much noise and a new one with little, a rotation apart."""
    turns = [np.linalg.qr(np.random.default_rng(s).normal(size=(8, 8)))[0] for s in (1, 2)]

    def trained(data, seed, start, kind, dim, items, epochs):
        return spaces(start, turns[start % 2], 0.4 if kind == "weak" else 0.05)

    monkeypatch.setattr(align, "_trained", trained)


def test_encoders_of_other_seeds_are_told_apart_from_mapped_ones():
    found = align.run({"part": "procrustes", "baseline": "absolute", "options": {"controls": ["ridge"]}}, "digits", 0)
    absolute, mapped = (float(x.mean()) for x in found["accuracy, A to B"])
    assert mapped > absolute + 0.3
    alone, turned = (float(x.mean()) for x in found["accuracy, A to A"])
    assert turned == pytest.approx(alone, abs=0.03), "a rotation of an encoder onto itself is nothing"
    assert set(found) == {"accuracy, A to B", "accuracy, A to A", "accuracy, A to B, against ridge"}


@pytest.mark.parametrize("part", ["procrustes", "relative-representations(anchors=100)"])
def test_a_rotation_is_undone(known, part):
    found = align.run({"part": part, "baseline": "absolute"}, "openmoji", 0)
    absolute, mapped = (float(x.mean()) for x in found["R@10, B to A"])
    assert absolute < 0.3 < 0.8 < mapped
    assert float(np.mean(found["R@10, A to A"][1])) > 0.8


def test_an_upgrade_is_compared_with_old_queries(known):
    spec = {
        "part": "xbt",
        "baseline": "ridge",
        "options": {"pairs": 40, "part_grid": {"epochs": [5]}, "baseline_grid": {"penalty": [0.01, 1.0]}},
    }
    found = {name: tuple(float(np.mean(x)) for x in pair) for name, pair in align.run(spec, "weak-openmoji", 0).items()}
    assert found["R@10, the baseline against old queries"][1] == found["R@10, new to old"][0]
    assert found["R@10, the baseline against old queries"][1] > found["R@10, the baseline against old queries"][0]
    assert found["R@10, new to new, against old to old"][1] > found["R@10, new to new, against old to old"][0]
    assert found["R@10, 100% backfilled"][0] > found["R@10, new to old"][0]
    assert any("without pairs" in name for name in found) and any("on texts" in name for name in found)


def test_weak_features_are_of_the_item_alone():
    texts = Collection.of({"text": ["a red hat", "A RED HAT", "nothing"], "label": ["a", "a", "b"]})
    x = align._weak(texts, texts.sides().query)
    assert x.shape == (3, align.TRIPLES) and np.array_equal(x[0], x[1]) and not np.array_equal(x[0], x[2])


def test_what_it_does_not_know_is_refused():
    with pytest.raises(DataError, match="not 'fashion'"):
        align.run({"part": "ridge", "baseline": "absolute"}, "fashion", 0)
    with pytest.raises(PartError, match="no option 'depth'"):
        align.run({"part": "ridge", "baseline": "absolute", "options": {"depth": 3}}, "digits", 0)
