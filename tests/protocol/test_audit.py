"""The protocol of audits tells a good forecast from a bad one, and blind pairs from pairs as near."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.protocol import audit


def spec(part, **options):
    return {"part": part, "baseline": "none", "options": options}


def test_extrapolation_foretells_kinds_that_are_held_back():
    found = audit.run(spec("interp-extrap", items=900), "clustered", 0)
    random, extrapolation = found["error about new kinds"]
    assert extrapolation < random - 0.1
    assert abs(np.subtract(*found["random split and interpolation"])) < 0.05


def test_without_kinds_both_foretell():
    found = audit.run(spec("interp-extrap", items=900), "unclustered", 0)
    assert max(found["error about new kinds"]) < 0.08


def test_the_hit_rate_counts_by_hand():
    rng = np.random.default_rng(0)
    q = rng.normal(size=(60, 4))
    rate = audit.hit_rate(q, q, np.arange(40), np.arange(40, 60), np.arange(40, 60), 1)
    assert rate == 1.0, "a map of vectors to themselves finds every own document"
    shuffled = q[rng.permutation(60)]
    assert audit.hit_rate(q, shuffled, np.arange(40), np.arange(40, 60), np.arange(40, 60), 20) == 1.0


def glyphs(data, n=audit.PICTURES, size=10):
    rng = np.random.default_rng(0)
    pixels = rng.random((n, size, size)).cumsum(axis=1)
    both = np.concatenate([pixels, pixels[:, :, ::-1]])
    seen = (both + both[:, :, ::-1]).reshape(2 * n, -1)
    return {"image": seen - seen.mean(axis=0), "pixels": both}, np.arange(2 * n) % n


def test_planted_mirror_images_are_what_the_blind_pairs_are(monkeypatch):
    monkeypatch.setattr(audit, "mirrored", glyphs)
    found = audit.run(spec("mmvp", items=150), "openmoji", 0)
    control, blind = found["mirror images"]
    assert blind > 0.9 and blind > control
    on_a, on_both = found["pair accuracy, on A against on A and B"]
    assert on_both > on_a


def test_unknown_parts_and_data_are_refused():
    with pytest.raises(DataError, match="knows interp-extrap, mmvp"):
        audit.run(spec("knn"), "clustered", 0)
    with pytest.raises(DataError, match="clustered, unclustered and wordnet"):
        audit.run(spec("interp-extrap"), "fashion", 0)
    with pytest.raises(DataError, match="openmoji and fashion"):
        audit.run(spec("mmvp"), "wordnet", 0)
