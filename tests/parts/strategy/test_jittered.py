"""Vectors that are shaken: the draws are an item's own at a step, and standard normal."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tellapart.contract.strategy import composed_run
from tellapart.core.draws import RowDraws
from tellapart.parts.strategy._jittered import coarseness, normal, shaken

ROWS = np.arange(3, 15)


def test_numbers_are_standard_normal_and_independent():
    drawn = normal(RowDraws(3, torch.arange(500)), 40)
    assert abs(drawn.mean().item()) < 0.02 and abs(drawn.std().item() - 1) < 0.02
    assert abs((drawn[:, :20] * drawn[:, 20:]).mean().item()) < 0.03


def test_an_item_is_shaken_the_same_in_any_batch_and_otherwise_at_the_next_step():
    run = composed_run()
    z = run.encode("document", ROWS).detach()
    whole = shaken(run, ROWS, z, length=4.0, strength=1.0).z
    torch.testing.assert_close(whole[3:], shaken(run, ROWS[3:], z[3:], length=4.0, strength=1.0).z)
    run.step += 1
    assert (whole - shaken(run, ROWS, z, length=4.0, strength=1.0).z).abs().max() > 0.01


def test_more_strength_and_longer_vectors_are_shaken_more():
    run = composed_run()
    z = run.encode("document", ROWS).detach()
    kept = [
        (shaken(run, ROWS, z, length=length, strength=strength).z * z).sum(1).mean().item()
        for length, strength in ((1.0, 0.1), (1.0, 1.0), (8.0, 1.0))
    ]
    assert kept == sorted(kept, reverse=True) and kept[0] > 0.95 > kept[2]


def test_the_share_of_the_shaken_loss_falls_from_one():
    run = composed_run()
    run.steps = 10
    found = []
    for step in (0, 5, 10):
        run.step = step
        found.append(coarseness(run, 2.0))
    assert found == pytest.approx([1.0, np.exp(-1.0), np.exp(-2.0)])
