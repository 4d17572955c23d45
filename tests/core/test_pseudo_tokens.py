"""A vector in place of a word: only that vector changes, and a place must be named."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tellapart.core.errors import DataError

torch = pytest.importorskip("torch")
from tellapart.core.pseudo_tokens import invert  # noqa: E402

WORDS = {"see": 0, "cat": 1, "dog": 2}


class Sum(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding.from_pretrained(0.1 * torch.eye(3, 4))

    def forward(self, tokens):
        return self.words(tokens).sum(1)


def tower(module):
    def prepare(texts):
        return (torch.tensor([[WORDS[word] for word in text.split()] for text in texts]),)

    return SimpleNamespace(module=lambda: module, prepare=prepare)


def test_what_can_be_said_is_said_and_the_tower_stays():
    module, goal = Sum(), np.eye(4)[[2, 3, 0]] + 0.5
    found = invert(tower(module), [], goal, template="see *", steps=200, rate=0.05, seed=0, batch=2)
    assert found.shape == (3, 4)
    assert ((found * goal).sum(1) / np.linalg.norm(goal, axis=1) > 0.99).all()
    assert torch.equal(module.words.weight, 0.1 * torch.eye(3, 4)) and not module.words._forward_hooks


@pytest.mark.parametrize("template", ["see", "see * *"])
def test_a_template_names_one_place(template):
    with pytest.raises(DataError, match="one"):
        invert(tower(Sum()), [], np.eye(4), template=template, steps=1, rate=0.1, seed=0)
