"""Low-rank additions: nothing changes before training, merged equals unmerged, the library agrees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tellapart.core.errors import PartError
from tellapart.core.parts import make
from tellapart.engine.tune import LowRank, lora, low_rank_layers, merge


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Sequential(nn.Linear(7, 7, bias=False), nn.Linear(7, 3)))


def test_nothing_changes_before_training_and_only_additions_train() -> None:
    module, x = network(), torch.randn(4, 5)
    before = module(x)
    trained = lora(module, rank=2, targets=["0", "2.*"])
    torch.testing.assert_close(module(x), before)
    assert sum(p.numel() for p in trained) == 2 * (5 + 7) + 2 * (7 + 7) + 2 * (7 + 3)
    assert {id(p) for p in module.parameters() if p.requires_grad} == {id(p) for p in trained}


def test_merged_equals_trained_and_has_the_old_names() -> None:
    module, x = network(), torch.randn(4, 5)
    names = {k: v.shape for k, v in module.state_dict().items()}
    old = {k: v.clone() for k, v in module.state_dict().items()}
    optimizer = torch.optim.SGD(lora(module, rank=2, alpha=4, targets=["0", "2.1"]), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        module(x).square().sum().backward()
        optimizer.step()
    trained = module(x)
    merge(module)
    torch.testing.assert_close(module(x), trained)
    assert {k: v.shape for k, v in module.state_dict().items()} == names
    assert not any(isinstance(m, LowRank) for m in module.modules())
    assert torch.equal(module.state_dict()["2.0.weight"], old["2.0.weight"])
    assert torch.linalg.matrix_rank(module.state_dict()["0.weight"] - old["0.weight"]) <= 2
    assert not torch.equal(module.state_dict()["0.weight"], old["0.weight"])
    assert all(p.requires_grad for p in module.parameters())


def test_the_additions_are_those_of_the_paper() -> None:
    linear = nn.Linear(4, 3)
    addition = LowRank(linear, rank=2, alpha=6.0)
    with torch.no_grad():
        addition.up.normal_()
    x = torch.randn(5, 4)
    expected = torch.stack([linear.weight @ row + linear.bias + 3 * (addition.up @ (addition.down @ row)) for row in x])
    torch.testing.assert_close(addition(x), expected)


def test_a_convolution_over_single_points_gets_them_too() -> None:
    torch.manual_seed(2)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 1, stride=2), nn.Conv2d(5, 5, 1, groups=5))
    x, kept = torch.randn(2, 3, 9, 9), [p.clone() for p in module.parameters()]
    down, up = lora(module, rank=2, alpha=3.0, targets=["*"])
    with torch.no_grad():
        up.normal_()
    whole = torch.einsum("or,ri->oi", up, down)[:, :, None, None] * 1.5
    inner = nn.functional.conv2d(x, kept[0], kept[1])
    expected = nn.functional.conv2d(inner, kept[2] + whole, kept[3], stride=2)
    torch.testing.assert_close(module[:2](x), expected)
    torch.testing.assert_close(merge(module)[:2](x), expected)
    assert all(torch.equal(a, b) for a, b in zip(list(module.parameters())[4:], kept[4:], strict=True))


def test_a_picture_encoder_is_tuned_and_saved_as_usual(tmp_path) -> None:
    encoder = make("encode", "lite0")
    module = encoder.module().eval()
    trained = lora(module, rank=2, targets=low_rank_layers(encoder))
    assert sum(p.numel() for p in trained) < 0.1 * sum(p.numel() for p in module.parameters())
    draw = np.random.default_rng(3)
    pictures = [Image.fromarray(draw.integers(0, 256, (40, 50, 3), np.uint8)) for _ in range(2)]
    torch.manual_seed(3)
    with torch.no_grad():
        for p in trained:
            p.add_(0.01 * torch.randn_like(p))
        tuned = module(*encoder.prepare(pictures)).numpy()
    encoder.save(tmp_path, {k: v.numpy() for k, v in merge(module).state_dict().items()})
    np.testing.assert_allclose(
        make("encode", "lite0", path=str(tmp_path)).encode(pictures), tuned, rtol=1e-3, atol=1e-4
    )
    assert np.abs(encoder.encode(pictures) - tuned).max() > 1e-2


def test_a_text_encoder_is_tuned_and_saved_as_usual(tmp_path) -> None:
    encoder = make("encode", "minilm")
    module = encoder.module().eval()
    torch.manual_seed(1)
    trained = lora(module, rank=4)
    assert len(trained) == 2 * 3 * 6
    inputs = encoder.prepare(["a cat", "two dogs in the snow"])
    with torch.no_grad():
        for p in trained:
            p.add_(0.02 * torch.randn_like(p))
        tuned = module(*inputs).numpy()
    encoder.save(tmp_path, {k: v.numpy() for k, v in merge(module).state_dict().items()})
    loaded = make("encode", "minilm", path=str(tmp_path)).encode(["a cat", "two dogs in the snow"])
    assert float((loaded * tuned).sum(1).min()) > 0.9999
    assert float((loaded * encoder.encode(["a cat", "two dogs in the snow"])).sum(1).min()) < 0.9999


def test_mistakes_are_said() -> None:
    module = network()
    with pytest.raises(PartError, match="no linear layer is named like"):
        lora(module, targets=["*query"])
    with pytest.raises(PartError, match="at least 1"):
        lora(module, rank=0, targets=["0"])
    lora(module, targets=["0"])
    with pytest.raises(PartError, match="already"):
        lora(module, targets=["0"])
