"""The text encoder as it trains: dropout and attention are what torch's own are, by another way."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from tellapart.parts.encode._bert_torch import Dropout, _attention  # noqa: E402


def test_dropout_keeps_the_share_and_the_mean():
    torch.manual_seed(0)
    x = torch.full((301, 777), 2.0, requires_grad=True)
    drop = Dropout(0.1).train()
    y = drop(x)
    gone = (y == 0).double().mean().item()
    assert gone == pytest.approx(0.1, abs=0.004)
    assert y[y != 0].unique().tolist() == pytest.approx([2 / 0.9], rel=1e-4)
    assert y.mean().item() == pytest.approx(2.0, rel=0.005)
    y.sum().backward()
    assert torch.equal(x.grad == 0, y == 0)
    columns = (y == 0).double().mean(0)
    assert columns.min() > 0.02 and columns.max() < 0.2, "every place of a draw drops as often"
    torch.manual_seed(0)
    assert torch.equal(drop(x), y)
    assert not torch.equal(drop(x), y)
    assert drop.eval()(x) is x and Dropout(0.0).train()(x) is x


def test_places_of_one_draw_do_not_hang_together():
    torch.manual_seed(1)
    gone = (Dropout(0.5).train()(torch.ones(40_000, 4)) == 0).double()
    together = torch.corrcoef(gone.T) - torch.eye(4)
    assert together.abs().max() < 0.02


def test_attention_without_dropout_is_that_of_torch():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 5, 8)
    keep = torch.arange(5) < torch.tensor([5, 2, 1, 4])[:2, None]
    keep = keep[:, None, None]
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=keep)
    torch.testing.assert_close(_attention(q, k, v, keep, Dropout(0.0).train()), expected)
    torch.testing.assert_close(_attention(q, k, v, keep, Dropout(0.5).eval()), expected)
