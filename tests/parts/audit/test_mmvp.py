"""Blind pairs on planted pictures, and the features they are found with."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.gradients import oriented_gradients
from tellapart.core.parts import make
from tellapart.core.report import Examples, Text


def glyphs(seed, n=120, size=16):
    """Smooth random pictures, and then their mirror images; A sees only what mirroring leaves as it is."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((n, 5, 5))
    grid = np.linspace(0, 3.999, size)
    low, share = grid.astype(int), grid % 1
    rows = coarse[:, low] * (1 - share)[None, :, None] + coarse[:, low + 1] * share[None, :, None]
    drawn = rows[:, :, low] * (1 - share) + rows[:, :, low + 1] * share
    pixels = np.concatenate([drawn, drawn[:, :, ::-1]])
    seen = (pixels + pixels[:, :, ::-1]).reshape(2 * n, -1)
    seen = seen - seen.mean(axis=0)
    return seen + 0.02 * rng.normal(size=seen.shape), pixels, np.arange(2 * n) % n, np.arange(2 * n) // n


def test_planted_mirror_images_are_found_and_the_probe_fails_on_them():
    a, pixels, glyph, side = glyphs(0)
    collection = Collection.of({"label": [str(s) for s in side], "glyph": glyph.tolist()})
    report = make("audit", "mmvp")({"image": a, "pixels": pixels}, collection, seed=0)
    pairs = next(b for b in report.blocks if isinstance(b, Examples)).items
    row = {id_: i for i, id_ in enumerate(collection.ids.tolist())}
    same = [glyph[row[e.ids[0]]] == glyph[row[e.ids[1]]] for e in pairs]
    assert len(same) > 60 and np.mean(same) > 0.95
    assert report.figure("enrichment").low > 1
    assert report.figure("pair accuracy on A, blind").high < report.figure("pair accuracy on A and B, blind").low


def test_encoders_that_agree_have_no_blind_pairs_to_show_but_by_quantiles():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(100, 8))
    report = make("audit", "mmvp")({"image": x, "other": x}, Collection.of({"x": range(100)}), seed=0)
    said = " ".join(b.text for b in report.blocks if isinstance(b, Text))
    assert "quantiles" in said and "cannot tell" in said


def test_words_that_tell_pairs_apart_score_and_words_that_do_not_do_not():
    rng = np.random.default_rng(2)
    a = np.repeat(rng.normal(size=(60, 8)), 2, axis=0) + 0.03 * rng.normal(size=(120, 8))
    b = rng.normal(size=(120, 8))
    rest = {"image": a, "other": b}
    collection = Collection.of({"x": range(120)})
    name = "pair accuracy by words, blind"
    own = make("audit", "mmvp")({**rest, "text": a + 0.001 * rng.normal(size=a.shape)}, collection, seed=0)
    shared = make("audit", "mmvp")({**rest, "text": np.repeat(a[::2], 2, axis=0)}, collection, seed=0)
    assert own.figure(name).value > 0.9 and shared.figure(name).value < 0.1


def test_large_collections_are_drawn_from():
    rng = np.random.default_rng(3)
    vectors = {"image": rng.normal(size=(400, 5)), "other": rng.normal(size=(400, 5))}
    report = make("audit", "mmvp", items=100)(vectors, Collection.of({"x": range(400)}), seed=0)
    assert report.facts["pictures"] == 100 and report.figure("blind pairs").count == 100


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"other": None}, "a second encoder is needed"),
        ({"pixels": np.zeros((60, 4, 4)), "other": None}, "at least 8 x 8"),
        ({"text": np.zeros((60, 3))}, "same encoder"),
    ],
)
def test_what_cannot_be_used_is_said(change, words):
    rng = np.random.default_rng(4)
    vectors = {"image": rng.normal(size=(60, 5)), "other": rng.normal(size=(60, 5))} | change
    vectors = {name: x for name, x in vectors.items() if x is not None}
    with pytest.raises(DataError, match=words):
        make("audit", "mmvp")(vectors, Collection.of({"x": range(60)}), seed=0)


def test_gradients_tell_directions_apart_and_not_brightness():
    ramp = np.tile(np.arange(16.0), (16, 1))
    pictures = np.stack([ramp, ramp[:, ::-1], ramp.T, 2 * ramp + 5, np.zeros((16, 16))])
    x = oriented_gradients(pictures)
    x = x - x[4]
    cosines = x[:4] @ x[:4].T / np.linalg.norm(x[:4], axis=1)[:, None] / np.linalg.norm(x[:4], axis=1)
    assert cosines[0, 3] == pytest.approx(1, abs=1e-5)
    assert abs(cosines[0, 1]) < 0.05 and abs(cosines[0, 2]) < 0.05
    colour = np.repeat(pictures[..., None], 3, axis=3)
    assert np.allclose(oriented_gradients(colour), oriented_gradients(pictures), atol=1e-6)
