"""Edits are where they are said to be, maps are what their formula says, and the comparison of heads runs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tellapart.core.errors import DataError, PartError
from tellapart.parts.audit._edits import EVENTS, KINDS, edited, stock
from tellapart.parts.audit._pair_head import cells, maps
from tellapart.protocol import _sets, pair_edits


def pictures(count):
    rng = np.random.default_rng(3)
    return [Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize((40, 40)) for _ in range(count)]


@pytest.mark.parametrize("plain", [True, False])
def test_without_jitter_only_the_cells_that_are_said_to_change_do(plain):
    pairs = edited(stock(pictures(12)), 70, 0, np.random.default_rng(0), plain=plain)
    assert np.bincount(pairs.kind).tolist() == [10] * len(KINDS)
    expected = {"nothing": set(), "added": {"appears"}, "removed": {"goes"}, "moved": {"appears", "goes"}}
    for before, after, kind, event in zip(pairs.before, pairs.after, pairs.kind, pairs.event, strict=True):
        name = KINDS[kind]
        assert {EVENTS[e] for e in np.unique(event) if e} == expected.get(name, {name})
        differ = (before != after).any(axis=2).reshape(16, 4, 16, 4).mean(axis=(1, 3))
        # A cell that less than half of the thing reaches into is not said to change.
        assert not (differ > 0.5)[event == 0].any()
        assert not event.any() or (differ > 0)[event > 0].mean() > 0.9
        assert bool(event.any()) == bool(differ.any())


def test_maps_and_cells_are_means_over_squares():
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 256, (2, 1, 64, 64, 3), np.uint8)
    found = maps(one, (4,))[0]
    x = one[0].astype(float) / 255
    square = x[16:32, 48:64]
    assert found.shape == (1, 4, 4, 7)
    assert found[0, 1, 3, 0] == pytest.approx(square.mean(), abs=1e-5)
    assert found[0, 1, 3, 1] == pytest.approx((square[..., 0] - square[..., 1]).mean(), abs=1e-5)
    light, steep = x.mean(axis=2), 0.0
    for r in range(16, 32):
        for c in range(16, 32):
            steep += abs(light[r, c + 1] - light[r, c - 1]) / 2 / 256
    assert found[0, 1, 1, 3] == pytest.approx(steep, abs=1e-5)
    z = cells(one, other, (8, 4), "both-and-difference")
    assert z.shape == (1, 256, 42)
    theirs = maps(other, (8,))[0]
    cell = 16 * 5 + 9
    assert np.allclose(z[0, cell, 14:21], theirs[0, 2, 4] - maps(one, (8,))[0][0, 2, 4])
    assert cells(one, other, (8, 4), "both").shape == (1, 256, 28)


def test_the_protocol_gives_every_figure(monkeypatch):
    from tellapart.core.collection import Collection

    made = Collection.of({"image": [png(p) for p in pictures(30)]})
    monkeypatch.setattr(_sets, "shipped", lambda name: made)
    spec = {"part": "image-differences", "options": {"pictures": 30, "scenes": 14, "ridges": [0.3]}}
    found = pair_edits.run(spec, "fashion", 0)
    assert len(found) == 15
    assert all(0 <= v <= 1 for pair in found.values() for v in pair)
    assert found["pointing, jitter 0, against pixels"][0] > 0.9
    with pytest.raises(PartError, match="no option"):
        pair_edits.run({"options": {"a": 1}}, "fashion", 0)
    with pytest.raises(DataError, match="not 'digits'"):
        pair_edits.run({"options": {}}, "digits", 0)


def png(picture):
    import io

    sink = io.BytesIO()
    picture.save(sink, "PNG")
    return sink.getvalue()
