"""The protocol of a step before an encoder: its attacks and its fixed steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tellapart.core.errors import PartError
from tellapart.protocol import mended

SIZE = 0.05


def answer(x: torch.Tensor) -> torch.Tensor:
    """Dark or bright, by the first colour."""
    level = 40 * (x[:, 0].mean((1, 2)) - 0.5)
    return torch.stack([-level, level], 1)


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    levels = torch.tensor([0.2, 0.47, 0.53, 0.8])
    return levels[:, None, None, None].expand(-1, 3, 16, 16).clone(), torch.tensor([0, 0, 1, 1])


def test_attacks_stay_within_their_size_and_change_what_is_near_the_border():
    x, y = pictures()
    for loss in mended.LOSSES:
        moved = mended.attacked(answer, x, y, SIZE, loss)
        assert (moved - x).abs().max() <= SIZE + 1e-6 and moved.min() >= 0 and moved.max() <= 1
        assert mended.right(answer, nn.Identity(), [moved], y).tolist() == [1, 0, 0, 1]


def test_a_picture_is_right_after_all_versions_and_the_aware_attack_goes_through_the_step():
    x, y = pictures()
    altered = [mended.attacked(answer, x, y, SIZE, loss) for loss in mended.LOSSES]
    found = mended.judged(answer, lambda pixels: pixels.roll(1, 1), x, y, altered, SIZE)
    assert found["clean"].tolist() == found["unaware"].tolist() == [1, 1, 1, 1]
    assert found["aware"].tolist() == [1, 0, 0, 1]


def test_the_best_fixed_step_is_chosen_by_clean_and_attacked_pictures():
    x, y = pictures()
    steps = {"all": torch.zeros_like, "right": nn.Identity(), "wrong": lambda pixels: 1 - pixels}
    assert mended.best(answer, steps, x, y, 0.01) is steps["right"]


def test_fixed_steps_keep_the_shape_and_let_gradients_through():
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for name, step in (mended.fixed() | mended.random_places()).items():
        made = step(x)
        (slope,) = torch.autograd.grad(made.sum(), [x])
        assert made.shape == x.shape and made.min() >= 0 and made.max() <= 1 and slope.abs().sum() > 0, name
    np.testing.assert_allclose(mended.moved(x, reach=0.0).detach(), x.detach(), atol=1e-5)


def test_unknown_options_are_refused():
    with pytest.raises(PartError, match="knows items, steps"):
        mended.run({"options": {"speed": 1}}, "digits", 0)
