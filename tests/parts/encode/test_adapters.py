"""timm and open_clip do not install beside CPU torch, so their adapters are run against stand-ins of their calls."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from tellapart.core.errors import MissingExtraError, PartError
from tellapart.core.parts import make

ORACLES = Path(__file__).parents[2] / "oracles"


def oracle(stem: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"oracle_of_{stem}", ORACLES / f"{stem}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def transform(image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image.resize((8, 8)), np.float32)).permute(2, 0, 1) / 255


class Tower(nn.Module):
    num_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.visual, self.words, self.dropout = nn.Linear(192, 6), nn.Embedding(256, 6), nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(self.visual(x.flatten(1)))

    encode_image = forward

    def encode_text(self, tokens):
        return self.dropout(self.words(tokens).sum(1))


@pytest.fixture
def timm(monkeypatch) -> SimpleNamespace:
    asked: list[dict] = []

    def create_model(name, **options):
        if name == "unknown":
            raise RuntimeError("Unknown model (unknown)\nand more")
        asked.append({"name": name, **options})
        return Tower()

    module = ModuleType("timm")
    module.__spec__ = importlib.util.spec_from_loader("timm", None)
    module.create_model = create_model
    module.data = SimpleNamespace(
        resolve_model_data_config=lambda model: {"input_size": (3, 8, 8)},
        create_transform=lambda *, input_size, is_training: transform,
    )
    monkeypatch.setitem(sys.modules, "timm", module)
    return SimpleNamespace(asked=asked)


@pytest.fixture
def open_clip(monkeypatch) -> None:
    module = ModuleType("open_clip")
    module.__spec__ = importlib.util.spec_from_loader("open_clip", None)
    module.create_model_and_transforms = lambda name, pretrained: (Tower(), None, transform)
    module.get_tokenizer = lambda name: lambda texts: torch.tensor([list(t.encode().ljust(40)[:40]) for t in texts])
    module.get_model_config = lambda name: {"embed_dim": 6}
    monkeypatch.setitem(sys.modules, "open_clip", module)


def test_timm_agrees_with_its_oracle(timm) -> None:
    found = oracle("timm_model")
    for options in found.CASES:
        found.check(functools.partial(make, "encode", "timm-model"), options)
    assert all(call["num_classes"] == 0 for call in timm.asked)


def test_timm_says_what_it_cannot_load(timm) -> None:
    with pytest.raises(PartError, match=r"unknown cannot be loaded: Unknown model \(unknown\)$"):
        make("encode", "timm-model", name="unknown").fingerprint  # noqa: B018


def test_timm_fingerprint_is_that_of_the_weights(timm) -> None:
    prints = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        prints.append(make("encode", "timm-model", name="a").fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_open_clip_agrees_with_its_oracle(open_clip) -> None:
    found = oracle("open_clip_model")
    for options in found.CASES:
        found.check(functools.partial(make, "encode", "open-clip-model"), options)


def test_open_clip_towers_have_fingerprints_of_their_own(open_clip) -> None:
    prints = []
    for modality in ("image", "text"):
        torch.manual_seed(0)
        prints.append(make("encode", "open-clip-model", name="a", modality=modality).fingerprint)
    assert prints[0] != prints[1]


@pytest.mark.parametrize(("part", "extra"), [("timm-model", "timm"), ("open-clip-model", "open-clip")])
def test_a_missing_library_is_answered_with_the_line_that_installs_it(monkeypatch, part: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, extra.replace("-", "_"), None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'tellapart\[{extra}\]'"):
        make("encode", part, name="any")
