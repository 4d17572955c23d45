"""The protocol of sounds: kinds can be told apart, arms hold what they say, scores find what is planted; refusals."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make
from tellapart.protocol import sounds
from tellapart.protocol.sounds import Items


def planted(count: int, seed: int) -> Items:
    """Captions of two halves, one shown in two of the frames, the other heard in three of the pieces."""
    rng = np.random.default_rng(seed)
    seen, heard = np.random.default_rng(0).normal(size=(2, 6, 8))
    a, b = rng.integers(0, 6, (2, count))
    frames, sound = rng.normal(size=(count, 4, 8)), rng.normal(size=(count, 5, 8))
    frames[:, :2], sound[:, :3] = seen[a][:, None], heard[b][:, None]
    text = np.concatenate([np.eye(6)[a], np.eye(6)[b]], 1) + 0.05 * rng.normal(size=(count, 12))
    return Items(*(x.astype(np.float32) for x in (text, frames, sound)))


def test_a_kind_of_sound_is_more_like_itself_than_like_others():
    rng, encoder = np.random.default_rng(0), make("encode", "log-mel")
    waves = [sounds.sounded(kind, rng)[None] for kind in sounds.KINDS for _ in range(6)]
    assert {wave.shape for wave in waves} == {(1, 12_800)} and max(np.abs(wave).max() for wave in waves) < 0.4
    z = encoder.encode(waves)
    z = (z - z.mean(0)) / z.std(0)
    gaps = np.linalg.norm(z[:, None] - z, axis=2)
    np.fill_diagonal(gaps, np.inf)
    kind = np.repeat(np.arange(len(sounds.KINDS)), 6)
    assert (kind[gaps.argmin(1)] == kind).mean() > 0.85


def test_arms_hold_what_they_say():
    items = planted(5, 1)
    whole, sets = sounds.tokens(items, "joint")
    assert sets["region"].shape == (5, 9, 16) and not sets["sound"].size
    np.testing.assert_array_equal(sets["region"][:, :4, :8], items.frames)
    np.testing.assert_array_equal(sets["region"][:, 4:, 8:], items.sound)
    assert not sets["region"][:, :4, 8:].any() and not sets["region"][:, 4:, :8].any()
    np.testing.assert_allclose(whole, sets["region"].mean(1), atol=1e-6)
    assert sounds.tokens(items, "concat")[0].shape == (5, 16) and not sounds.tokens(items, "concat")[1]
    assert not sounds.tokens(items, "pictures")[1]["sound"].size
    assert sounds.tokens(items, "separate")[1]["sound"] is items.sound
    noisy = sounds.with_noise(items, "sound", 0)
    assert noisy.frames is items.frames and not np.isin(noisy.sound, items.sound).any()


def test_sound_that_is_read_finds_more():
    parts = [planted(120, 2), planted(20, 3), planted(40, 4)]
    shared = {"head": "linear-head(dim=16)", "epochs": 12, "batch_size": 30, "learning_rate": 0.003}
    shared |= {"objective": "infonce(temperature=0.1)"}
    found = {
        arm: sounds.chosen(parts, {"arm": arm, "strategy": "two-tower" if arm == "concat" else "tefal", **shared}, 0)
        for arm in sounds.ARMS
    }
    assert found["separate"]["R@10"] > found["pictures"]["R@10"] + 0.2
    assert found["separate"]["R@1"] > found["separate"]["R@1 with noise for sound"]
    assert found["separate"]["R@10"] > found["separate"]["R@1, against its own index"]
    assert found["concat"]["R@1"] == found["concat"]["R@1, against its own index"]


def test_what_it_refuses():
    with pytest.raises(DataError, match="made-sounds"):
        sounds.run({"options": {}}, "films", 0)
    with pytest.raises(PartError, match="no option 'size'"):
        sounds.run({"options": {"size": 3}}, "made-sounds", 0)
    with pytest.raises(PartError, match="arms"):
        sounds.chosen([], {"arm": "late"}, 0)
