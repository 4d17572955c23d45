"""What goes below a tower: texts of unlike length go through their encoder in runs, and their vectors stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tellapart.engine import inputs as module
from tellapart.engine.inputs import Encoder


class Mean(nn.Module):
    """The mean of the token numbers that count, and how wide the run was."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.widths = []

    def forward(self, tokens, mask):
        self.widths.append(tuple(tokens.shape))
        held = (tokens * mask * self.weight).sum(1) / mask.sum(1)
        return torch.stack([held, tokens[:, 0].float()], 1)


def cheapest(lengths, cost):
    """The least cost of all ways to cut a row of items into runs."""
    if not lengths:
        return 0
    return min(n * lengths[n - 1] + cost + cheapest(lengths[n:], cost) for n in range(1, len(lengths) + 1))


@pytest.mark.parametrize("cost", [0, 7, 40])
def test_runs_are_cut_where_it_is_cheapest(monkeypatch, cost):
    monkeypatch.setattr(module, "TOKENS_OF_A_RUN", cost)
    for seed in range(4):
        lengths = np.sort(np.random.default_rng(seed).integers(1, 30, 11)).tolist()
        runs = module._rows_a_run(lengths)
        ends = np.cumsum(runs)
        assert ends[-1] == len(lengths)
        assert sum(n * lengths[e - 1] + cost for n, e in zip(runs, ends, strict=True)) == cheapest(lengths, cost)


@pytest.mark.parametrize("most", [1, 5, 64])
def test_items_of_about_one_length_go_together_and_come_back_in_their_order(monkeypatch, most):
    monkeypatch.setattr(module, "MOST_A_RUN", most)
    monkeypatch.setattr(module, "TOKENS_OF_A_RUN", 8)
    rng = np.random.default_rng(0)
    lengths = torch.from_numpy(rng.integers(1, 20, 30))
    lengths[3] = 20
    mask = (torch.arange(20) < lengths[:, None]).long()
    tokens = torch.from_numpy(rng.integers(1, 100, (30, 20))) * mask
    network = Mean()
    found = Encoder(network, several=True)(torch.stack([tokens, mask], 1))
    expected = torch.stack([(tokens * mask).sum(1) / mask.sum(1), tokens[:, 0].float()], 1)
    torch.testing.assert_close(found, expected)
    assert sum(n for n, _ in network.widths) == 30
    assert all(n <= most for n, _ in network.widths)
    assert max(width for _, width in network.widths) == 20
    assert sum(n * width for n, width in network.widths) < 1.2 * lengths.sum()
    found[:, 0].sum().backward()
    assert network.weight.grad.item() == pytest.approx(expected[:, 0].sum().item(), rel=1e-5)
